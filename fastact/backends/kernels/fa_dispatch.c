#include "fa_interface.h"

#include <string.h>

extern const fa_table fa_table_baseline;
#ifdef FA_HAVE_AVX2
extern const fa_table fa_table_avx2;
#endif
#ifdef FA_HAVE_AVX512
extern const fa_table fa_table_avx512;
#endif

static const fa_table *const tables[] = {
    &fa_table_baseline,
#ifdef FA_HAVE_AVX2
    &fa_table_avx2,
#endif
#ifdef FA_HAVE_AVX512
    &fa_table_avx512,
#endif
};

const fa_table *fa_table_at(int index) {
    int count = (int)(sizeof tables / sizeof tables[0]);
    return index >= 0 && index < count ? tables[index] : NULL;
}

int fa_supported(const fa_table *table) {
#if defined(__x86_64__)
    /* __builtin_cpu_supports also asks whether the operating system saves the registers (XGETBV). */
    if (strcmp(table->name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(table->name, "avx512") == 0)
        return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl");
#endif
    return strcmp(table->name, "baseline") == 0;
}
