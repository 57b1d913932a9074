"""Which instruction set runs, and FASTACT_ISA."""

import platform

import pytest
from support import INSTRUCTION_SETS

from fastact import backends, runtime

pytestmark = pytest.mark.skipif(not backends.compiled, reason="no compiled core")
SHOW = "import fastact.runtime as r; print(r.instruction_set)"


def test_the_baseline_is_always_there():
    built = backends.engine.instruction_sets()
    assert built[0] == ("baseline", True)
    assert len({name for name, _ in built}) == len(built)
    assert runtime.instruction_set in INSTRUCTION_SETS


@pytest.mark.skipif(platform.system() != "Linux" or platform.machine() != "x86_64", reason="reads /proc/cpuinfo")
def test_support_is_what_the_cpu_says():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = next(set(line.split()) for line in file if line.startswith("flags"))
    needs = {"baseline": set(), "avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"}}
    for name, supported in backends.engine.instruction_sets():
        assert supported == (needs[name] <= flags)


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_environment_variable(python, name):
    result = python(SHOW, FASTACT_ISA=name)
    assert result.stdout.strip() == name, result.stderr


@pytest.mark.parametrize("name", ["", "sse9", "AVX2"])
def test_unknown_value(python, name):
    result = python("import fastact", FASTACT_ISA=name)
    assert result.returncode == 1
    assert f"ValueError: FASTACT_ISA: expected one of {', '.join(INSTRUCTION_SETS)}, got {name!r}" in result.stderr
    assert "unset it" in result.stderr


def test_unsupported_value(python):
    """A set that exists but cannot run here is refused with the valid ones; the CPU's answer is replaced."""
    program = """
        import sys, types
        import fastact.backends._core as core
        true_sets = core.instruction_sets()
        class Core(types.ModuleType):
            def __getattr__(self, name):
                return getattr(core, name)
        fake = Core("fastact.backends._core")
        fake.instruction_sets = lambda: [(name, i == 0) for i, (name, _) in enumerate(true_sets)]
        for name in [n for n in sys.modules if n.startswith("fastact")]:
            del sys.modules[name]
        sys.modules["fastact.backends._core"] = fake
        import importlib.util, os
        os.environ["FASTACT_ISA"] = true_sets[-1][0]
        import fastact
    """
    if len(backends.engine.instruction_sets()) < 2:
        pytest.skip("one instruction set in this build")
    result = python(program)
    assert result.returncode == 1
    assert "ValueError: FASTACT_ISA: expected one of baseline, got" in result.stderr


def test_use_instruction_set_refuses_what_is_not_there():
    for wrong in ("", "sse9", "avx1024"):
        with pytest.raises(ValueError, match=f"^{wrong}$"):
            backends.engine.use_instruction_set(wrong)
