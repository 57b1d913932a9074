"""Short runs of what is beside this file: memory and disks that end, killed processes, damaged files, many threads."""

import os
import platform
import shutil
import sys

import allocations
import fuzz
import kills
import pytest

from fastact import backends

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="stands before glibc's malloc")
@pytest.mark.skipif(not (backends.compiled and shutil.which("gcc")), reason="needs gcc and the compiled core")
def test_allocations_that_fail():
    result = allocations.main(every=5, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("gave MemoryError") == 12


@posix
def test_killed_while_saving():
    kills.main(times=2)


@posix
def test_a_full_disk(python):
    result = python("import full_disk; assert full_disk.main(step=3000) > 12", PYTHONPATH=os.pathsep.join(sys.path))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("seed", [0, 10_000])
def test_damaged_files(seed):
    fuzz.main(count=60, seed=seed)


@posix
@pytest.mark.skipif(not backends.compiled, reason="no compiled core")
def test_a_storm_of_threads(python):
    program = "import storm; done = storm.main(seconds=2, threads=6); assert min(done.values()) > 0, done"
    options = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
    result = python(program, options=options, PYTHONPATH=os.pathsep.join(sys.path))
    assert result.returncode == 0, result.stderr
