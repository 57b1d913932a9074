"""The pool of threads, compiled alone: each item once, who waits for whom, who sleeps; also under ThreadSanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "fastact" / "backends"
LIMIT = 120

pytestmark = [
    pytest.mark.skipif(not (SOURCES / "pool.h").is_file(), reason="not in a checkout"),
    pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler"),
]


@pytest.fixture(scope="module", params=["plain", "thread"])
def driver(request, tmp_path_factory):
    program = tmp_path_factory.mktemp("pool") / "driver"
    flags = ["-g", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pthread"]
    if request.param == "thread":
        flags.append("-fsanitize=thread")
    command = ["cc", *flags, f"-I{SOURCES}", str(HERE / "pool_driver.c"), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if request.param == "thread" and "tsan" in built.stderr:
        pytest.skip("this compiler has no ThreadSanitizer")
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.parametrize(
    "what",
    ["once", "storm", "bounded", "alone", "late", "sleep", "awaited", "refused", "warm", "exit"],
)
@pytest.mark.parametrize("processors", [1, 2, 16])
def test_pool(driver, what, processors):
    if processors > 2 and what in ("alone", "bounded"):
        pytest.skip("with more processors there are more helpers")
    result = subprocess.run(
        [str(driver), what, str(processors)], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if "unexpected memory mapping" in result.stderr:
        pytest.skip("ThreadSanitizer does not run under this kernel")
    assert result.returncode == 0, result.stderr
