"""What the machine could do: fused multiply-adds on registers, and a bare loop over memory; two C loops, compiled here.

A C compiler with OpenMP is needed; without one there is no limit to compare with.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

SOURCE = r"""
#include <time.h>
#if defined(__AVX512F__)
#define BYTES 64
#define REGISTER "v"
#else
#define BYTES 32
#define REGISTER "x"
#endif
typedef float vector __attribute__((vector_size(BYTES)));

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GFLOP/s of multiply-adds that touch registers only: best of many short runs, on the thread's own clock */
double peak(void) {
#if defined(__FMA__)
    enum { chains = 12, steps = 30000, runs = 600 };
    double best = 0;
    for (int run = 0; run < runs; run++) {
        vector sum[chains] = {{0}}, one = {1};
        double start = seconds();
        for (int step = 0; step < steps; step++)
#pragma GCC unroll 12
            for (int i = 0; i < chains; i++)
                __asm__ volatile("vfmadd231ps %1, %1, %0" : "+" REGISTER(sum[i]) : REGISTER(one));
        double rate = 2e-9 * (double)chains * steps * (BYTES / sizeof(float)) / (seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
#else
    return 0;
#endif
}

/* x *= -1 where s is NULL, else x *= s */
#define PARALLEL _Pragma("omp parallel for simd num_threads(threads) schedule(static)")
#define STREAM(name, real)                                   \
    void name(real *x, const real *s, long n, int threads) { \
        if (s) {                                             \
            PARALLEL for (long i = 0; i < n; i++)            \
                x[i] *= s[i];                                \
        } else {                                             \
            PARALLEL for (long i = 0; i < n; i++)            \
                x[i] *= (real)-1;                            \
        }                                                    \
    }
STREAM(float32, float)
STREAM(float64, double)
"""
FLAGS = {"avx2": ("-mavx2", "-mfma"), "avx512": ("-mavx512f", "-mfma"), "native": ("-march=native",)}


@functools.cache
def compiled(isa: str) -> ctypes.CDLL:
    """The loops, for an instruction set of FLAGS; raises OSError or CalledProcessError without a compiler."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "limits.c"), Path(folder, "limits.so")
        source.write_text(SOURCE, encoding="ascii")
        flags = ["-O3", *FLAGS[isa], "-fopenmp", "-shared", "-fPIC"]
        subprocess.run([*compiler, *flags, str(source), "-o", str(library)], check=True, capture_output=True)
        loops = ctypes.CDLL(str(library))
    loops.peak.restype = ctypes.c_double
    return loops


def fma_peak(isa: str, dtype: str) -> float | None:
    """GFLOP/s of one thread; None where it cannot be known."""
    if isa not in FLAGS:
        return None
    try:
        rate = float(compiled(isa).peak())
    except (OSError, subprocess.CalledProcessError):
        return None
    return rate / (2 if dtype == "float64" else 1) or None  # half as many lanes
