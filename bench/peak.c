/* GFLOP/s of fused multiply-adds that touch registers only: the limit of a matrix product on one thread.
 * Built by bench/dense.py with the flags of the instruction set; best of many short runs, on the thread's own clock. */
#include <stdio.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#define FMA "vfmadd231ps %1, %1, %0"
#define REGISTER "v"
#else
#define BYTES 32
#define FMA "vfmadd231ps %1, %1, %0"
#define REGISTER "x"
#endif
typedef float vector __attribute__((vector_size(BYTES)));

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void) {
    enum { chains = 12, steps = 30000, runs = 600 };
    double best = 0;
    for (int run = 0; run < runs; run++) {
        vector sum[chains] = {{0}}, one = {1};
        double start = seconds();
        for (int step = 0; step < steps; step++)
#pragma GCC unroll 12
            for (int i = 0; i < chains; i++) __asm__ volatile(FMA : "+" REGISTER(sum[i]) : REGISTER(one));
        double rate = 2e-9 * (double)chains * steps * (BYTES / sizeof(float)) / (seconds() - start);
        best = rate > best ? rate : best;
    }
    printf("%.1f\n", best);
    return 0;
}
