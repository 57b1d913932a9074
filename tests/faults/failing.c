/* Stands before malloc and its kin: once armed, the k-th request of at least so many bytes fails, and no other. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static long left = -1, seen;
static size_t least;

void fail_at(long k, size_t bytes) { seen = 0; least = bytes; __atomic_store_n(&left, k, __ATOMIC_SEQ_CST); }
long fail_no_more(void) { __atomic_store_n(&left, -1, __ATOMIC_SEQ_CST); return seen; }

static int fails(size_t bytes) {
    if (__atomic_load_n(&left, __ATOMIC_RELAXED) < 0 || bytes < least) return 0;
    return __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED) == left + 1;
}

void *malloc(size_t n) { return fails(n) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t each) { return fails(n * each) ? NULL : __libc_calloc(n, each); }
void *realloc(void *p, size_t n) { return fails(n) ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { return fails(n) ? NULL : __libc_memalign(a, n); }
void *memalign(size_t a, size_t n) { return fails(n) ? NULL : __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    if (fails(n) || !(*p = __libc_memalign(a, n))) return ENOMEM;
    return 0;
}
