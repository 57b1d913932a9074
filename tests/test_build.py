"""Builds of the package from its sources: without the extension, without OpenMP or AVX-512, with a broken compiler."""

import os
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="not in a checkout"),
    pytest.mark.skipif(sys.platform == "win32", reason="uses a POSIX compiler wrapper"),
]


@pytest.fixture(scope="module")
def requirements(tmp_path_factory):
    """What a build requires, installed once for all of them."""
    folder = tmp_path_factory.mktemp("requirements")
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target", str(folder), *needed]
    subprocess.run(command, check=True)
    return folder


def build(folder, requirements, **environment):
    """Build a wheel from a copy of the sources; the finished process, and the folder it is unpacked in."""
    source, target = folder / "source", folder / "unpacked"
    left_out = (".git", "build", "dist", "*.egg-info", "*.so", "__pycache__", "_core.c", ".*_cache")
    skipped = shutil.ignore_patterns(*left_out)
    shutil.copytree(ROOT, source, ignore=skipped)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-v"]
    command += ["--wheel-dir", str(folder), str(source)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTACT_")}
    clean["PYTHONPATH"] = str(requirements)
    result = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=False)
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(target)
    return result, target


def run(package, code, **environment):
    """Run code with the unpacked package; its standard output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTACT_")}
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**clean, "PYTHONPATH": str(package), **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=package,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_pure_numpy_package_on_purpose(tmp_path, requirements):
    result, package = build(tmp_path, requirements, FASTACT_NO_EXT="1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert not list(package.rglob("*.so"))
    code = (
        "import numpy as np, fastact as fa; x = np.array([-1.0, 2.0]); "
        "print(fa.__file__, fa.get_backend(), fa.relu(x), fa.relu(x, out=x) is x)"
    )
    shown = run(package, code, FASTACT_BACKEND="numpy")
    assert str(package) in shown
    assert shown.endswith("numpy [0. 2.] True")


def test_compiler_without_openmp_and_avx512(tmp_path, requirements):
    wrapper = tmp_path / "cc"
    wrapper.write_text(
        '#!/bin/sh\nfor a in "$@"; do\ncase $a in -fopenmp|-mavx512*) echo "no $a" >&2; exit 1;; esac\ndone\n'
        'exec cc "$@" -O0\n'  # the last -O counts: this is about what is built, not how well
    )
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    result, package = build(tmp_path, requirements, CC=str(wrapper))
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "this compiler has no OpenMP: building without threads" in said
    code = (
        "import numpy as np, fastact as fa; fa.set_num_threads(4); c = fa.runtime.config(); x = np.ones(10**6); "
        "print(fa.__file__, c['openmp'], c['threads'], 'avx512' in c['instruction_sets_built'], fa.relu(-x).sum())"
    )
    shown = run(package, code)
    assert str(package) in shown
    assert shown.endswith("False 1 False 0.0")


def test_broken_compiler_is_an_error_not_a_pure_python_install(tmp_path, requirements):
    result, package = build(tmp_path, requirements, CC="false")
    assert result.returncode != 0
    assert not package.exists()
