"""Build logic: one extension, its kernels compiled once per instruction set, OpenMP when the compiler has it.

Environment: FASTACT_NO_EXT=1 builds the pure-NumPy package on purpose; FASTACT_NO_OPENMP=1 builds a serial extension;
FASTACT_WERROR=1 makes the compiler's warnings errors.
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

BACKENDS = Path("fastact/backends")
KERNELS = BACKENDS / "kernels"
HEADER = Path("fastact/include/fastact.h")

# No -ffast-math, ever: FMAs are written out, NaN and infinity are honoured, and the floating-point environment is the
# user's. -fno-trapping-math and -fno-math-errno only say that nobody reads the status flags or errno.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fvisibility=hidden", "-g0"]
# A kernel for few elements takes up to a fifth longer where the linker happens to put it across cache lines.
ALIGNED = ["-falign-functions=64"]
# GCC's scheduling before the registers are given out interleaves the chains of several vectors (fa_loops.h); otherwise
# each vector is computed whole, one after another, which fills the processor's window with what has to wait.
SCHEDULING = ["-fschedule-insns", "-fsched-pressure", "-fno-sched-interblock"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion"]

# Instruction sets beyond what every CPU of the architecture has, worst first, with the flags of their one file.
INSTRUCTION_SETS = {
    "x86_64": {
        "avx2": ["-mavx2", "-mfma"],
        "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
    },
    "aarch64": {},
}
ARCHITECTURE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def enabled(variable):
    return os.environ.get(variable, "") not in ("", "0")


class BuildKernels(build_ext):
    """Compiles fa_kernels_<set>.c with the set's own flags and links all sets into the one extension."""

    def accepts(self, source, compile_flags, link_flags=None):
        """Whether the compiler takes the flags (and, with link flags, links a program)."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "probe.c")
            file.write_text(source)
            compiler = self.compiler.compiler_so if link_flags is None else self.compiler.compiler
            command = [*compiler, *compile_flags, str(file), "-o", str(Path(folder, "probe"))]
            command += ["-c"] if link_flags is None else link_flags
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def build_extension(self, ext):
        if ARCHITECTURE not in INSTRUCTION_SETS:
            raise SystemExit(
                f"fastact has kernels for {' and '.join(INSTRUCTION_SETS)}, not for {ARCHITECTURE}; "
                "FASTACT_NO_EXT=1 installs the pure-NumPy package"
            )
        openmp_source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        openmp = ["-fopenmp"]
        if enabled("FASTACT_NO_OPENMP"):
            print("fastact: FASTACT_NO_OPENMP is set: building without threads", file=sys.stderr)
            openmp = []
        elif not self.accepts(openmp_source, openmp, openmp):
            print("fastact: this compiler has no OpenMP: building without threads", file=sys.stderr)
            openmp = []

        warnings = [*WARNINGS, *(["-Werror"] if enabled("FASTACT_WERROR") else [])]
        scheduling = SCHEDULING if self.accepts("int main(void) { return 0; }\n", ["-Werror", *SCHEDULING]) else []
        sets = {"baseline": [], **INSTRUCTION_SETS[ARCHITECTURE]}
        for name in [name for name, flags in sets.items() if not self.accepts("int main(void) { return 0; }\n", flags)]:
            print(f"fastact: this compiler cannot build {name}: left out", file=sys.stderr)
            del sets[name]

        def kernels(name):
            return self.compiler.compile(
                [str(KERNELS / f"fa_kernels_{name}.c")],
                output_dir=self.build_temp,
                include_dirs=[str(KERNELS)],
                extra_postargs=[*FLAGS, *ALIGNED, *scheduling, *warnings, *sets[name]],
                depends=ext.depends,
            )

        with ThreadPoolExecutor(os.cpu_count()) as side_by_side:  # each takes the compiler half a minute and more
            objects = [one for made in side_by_side.map(kernels, sets) for one in made]
        macros = [(f"FA_HAVE_{name.upper()}", "1") for name in sets if name != "baseline"]
        objects += self.compiler.compile(
            [str(KERNELS / "fa_dispatch.c")],
            output_dir=self.build_temp,
            include_dirs=[str(KERNELS)],
            macros=macros,
            extra_postargs=[*FLAGS, *warnings],
            depends=ext.depends,
        )
        ext.extra_objects = [*ext.extra_objects, *objects]
        ext.extra_compile_args = [*FLAGS, *openmp]
        ext.extra_link_args = [*openmp]
        super().build_extension(ext)


class BuildPython(build_py):
    """Leaves C and Cython sources out of wheels: they are in the sdist."""

    def find_package_modules(self, package, package_dir):
        return [m for m in super().find_package_modules(package, package_dir) if m[2].endswith(".py")]


def extensions():
    if enabled("FASTACT_NO_EXT"):
        return []
    from Cython.Build import cythonize

    core = Extension(
        "fastact.backends._core",
        [str(BACKENDS / "_core.pyx")],
        include_dirs=[str(KERNELS), str(BACKENDS), str(HEADER.parent), numpy.get_include()],
        depends=sorted(map(str, [*KERNELS.glob("*.*"), *BACKENDS.glob("*.px?"), *BACKENDS.glob("*.h"), HEADER])),
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")],
    )
    return cythonize([core], force=True)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildKernels, "build_py": BuildPython})
