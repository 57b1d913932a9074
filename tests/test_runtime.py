"""What the package says about itself, the sizes from which threads work, and that importing changes nothing."""

import platform
import sys

import pytest

import fastact as fa
from fastact import registry, runtime


def test_config():
    config = runtime.config()
    assert {
        "version",
        "backend",
        "instruction_set",
        "instruction_sets_built",
        "instruction_sets_supported",
        "openmp",
        "threads",
        "wait_policy",
        "other_pools",
        "compiler",
        "machine",
        "python",
        "numpy",
        "path",
    } <= set(config)
    assert config["version"] == fa.__version__
    assert config["backend"] == fa.get_backend()
    assert config["threads"] == fa.get_num_threads()
    assert set(config["instruction_sets_supported"]) <= set(config["instruction_sets_built"])
    with fa.use_backend("numpy"), fa.num_threads(3):
        assert runtime.config()["backend"] == "numpy"
        assert runtime.config()["threads"] == fa.get_num_threads()


def test_config_is_json():
    import json

    assert json.loads(json.dumps(runtime.config())) == runtime.config()


def test_show_config_prints_every_entry(capsys):
    fa.show_config()
    shown = capsys.readouterr().out
    for key, value in runtime.config().items():
        assert key.replace("_", " ") in shown
        if isinstance(value, str):
            assert value in shown


def test_other_pools(monkeypatch, capsys):
    """NumPy's BLAS beside ours, where threadpoolctl is there to find it; else it is said that nobody knows."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    pools = threadpoolctl.threadpool_info()
    shown = runtime.config()["other_pools"]
    assert len(shown) == len(pools)
    for pool, text in zip(pools, shown, strict=True):
        assert pool["internal_api"] in text
        assert text.endswith(f": {pool['num_threads']} threads")
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert runtime.config()["other_pools"] is None
    fa.show_config()
    assert "other pools                 not known: threadpoolctl is not installed" in capsys.readouterr().out


def test_thresholds():
    assert {entry.cost for entry in registry.ACTIVATIONS.values()} <= set(runtime.THRESHOLDS)
    assert all(isinstance(size, int) and size > 0 for size in runtime.THRESHOLDS.values())
    assert runtime.THRESHOLDS["heavy"] <= runtime.THRESHOLDS["light"]


def test_importing_needs_no_optional_package(python):
    program = """
        import sys
        import fastact
        optional = {"scipy", "sklearn", "matplotlib", "torch", "pandas", "mpmath", "jax", "onnxruntime"}
        print(sorted(optional & set(sys.modules)))
    """
    result = python(program)
    assert result.stdout.strip() == "[]", result.stderr


def test_importing_prints_nothing(python):
    result = python("import fastact")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


FLOATING_POINT = """
    import ctypes, math, platform, sys
    libm = ctypes.CDLL("libm.so.6")

    def environment():
        state = [libm.fegetround(), 5e-324 * 1.0 != 0.0, 2.0**-1022 / 2 != 0.0, (2.0**-1022 / 2) * 2 == 2.0**-1022]
        if platform.machine() == "x86_64":
            buffer = (ctypes.c_uint32 * 8)()
            libm.fegetenv(buffer)
            # The x87 control word, and MXCSR without its six status flags.
            state += [buffer[0] & 0xFFFF, buffer[7] & ~0x3F]
        return state

    import numpy as np
    before = environment()
    {body}
    assert environment() == before, (before, environment())
    tiny = np.finfo(np.float32).smallest_subnormal
    assert np.float32(tiny) * np.float32(1) == tiny
    assert (np.full(1000, 5e-324) * 1.0 == 5e-324).all()
    print("same")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the C library's floating-point environment")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="reads the C library's floating-point environment")
@pytest.mark.parametrize(
    "body",
    [
        "import fastact",
        "import fastact as fa; [getattr(fa, n)(np.linspace(-900, 900, 500_000)) for n in fa.registry.ACTIVATIONS]",
    ],
    ids=["import", "computing"],
)
def test_the_floating_point_environment_stays(python, body):
    result = python(FLOATING_POINT.format(body=body))
    assert result.stdout.strip() == "same", result.stderr
