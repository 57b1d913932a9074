/* What is used of DLPack's table for exchange in C, https://dmlc.github.io/dlpack: how a library's arrays are looked at
 * without a call of Python. A type has it as the capsule __dlpack_c_exchange_api__. */

#ifndef FA_DLPACK_H
#define FA_DLPACK_H

#include <stdint.h>

typedef struct {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides; /* in elements; no strides: contiguous */
    uint64_t byte_offset;
} fa_dl_tensor;

typedef struct {
    uint32_t major, minor;
    void *previous;
    void *allocate, *export_owned, *import_owned;
    int (*look)(void *object, fa_dl_tensor *out); /* -1 with an exception set */
    void *stream;
} fa_dl_exchange;

enum { FA_DL_CPU = 1, FA_DL_FLOAT = 2, FA_DL_MAJOR = 1 };

#endif
