"""What is derived from the registry: the elementwise functions' source, and the tables of the pages."""

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastact.functional import elementwise
from fastact.registry import ACTIVATIONS

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "bench" / "regenerate.py"
in_a_checkout = pytest.mark.skipif(
    not SCRIPT.exists(), reason="the derived files are made in a checkout, and this is none"
)


@in_a_checkout
def test_derived_files_are_up_to_date():
    spec = importlib.util.spec_from_file_location("regenerate", SCRIPT)
    regenerate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(regenerate)
    found = regenerate.differences()
    assert not found, f"run python bench/regenerate.py:\n{found}"


def test_numbers_are_places_in_the_registry(entry):
    assert list(ACTIVATIONS) == elementwise.ORDER
    source = ast.parse(Path(elementwise.__file__).read_text(encoding="utf-8"))
    for suffix, door in (("", "try_forward"), ("_backward", "try_backward")):
        (function,) = (n for n in source.body if isinstance(n, ast.FunctionDef) and n.name == entry.name + suffix)
        calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and ast.unparse(n.func) == door]
        assert [call.args[0].value for call in calls] == [elementwise.ORDER.index(entry.name)]


def test_defaults_are_recognised_by_identity(entry):
    for suffix in ("", "_backward"):
        defaults = getattr(elementwise, entry.name + suffix).__defaults__ or ()
        constants = [getattr(elementwise, f"_{entry.name}_{p.name}".upper()) for p in entry.parameters]
        assert len(defaults) == len(constants)
        assert all(default is constant for default, constant in zip(defaults, constants, strict=True))
        assert defaults == entry.defaults


@pytest.fixture
def copied(tmp_path):
    """The package without its compiled core, whose list could not be another, and the script and pages beside it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "kernels", "*.pyx", "*.c")
    shutil.copytree(ROOT / "fastact", tmp_path / "fastact", ignore=ignored)
    shutil.copytree(ROOT / "bench", tmp_path / "bench", ignore=ignored)
    shutil.copy(ROOT / "README.md", tmp_path)

    def run(*arguments):
        environment = {"FASTACT_BACKEND": "numpy", "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    return run


@in_a_checkout
def test_a_new_activation_is_an_entry_and_one_command(copied, tmp_path):
    """Put before the others, so that all numbers change: the package works before the command, with it after."""
    registry = tmp_path / "fastact" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    entry = (
        'Entry(name="doubled", init="he", formula="2 * x", slope_formula="2", value=lambda x: 2 * x, '
        'slope=lambda y: 2 * np.ones_like(y), saves=None, limits=("-inf", "inf")),'
    )
    registry.write_text(text.replace("_ENTRIES = (\n", f"_ENTRIES = (\n    {entry}\n"), encoding="utf-8")
    code = (
        "import fastact as fa, numpy as np; x = np.array([-1.0, 3.0]); "
        "print(fa.relu(x), fa.leaky_relu(x, 0.5), fa.relu_backward(x, x), getattr(fa, 'doubled', np.copy)(x))"
    )
    assert copied("-c", code) == "[0. 3.] [-0.5  3. ] [0. 3.] [-1.  3.]\n"
    rewritten = copied("bench/regenerate.py").splitlines()
    assert rewritten == [
        f"rewrote {page}" for page in ("fastact/functional/elementwise.py", "README.md", "bench/README.md")
    ]
    assert copied("-c", code) == "[0. 3.] [-0.5  3. ] [0. 3.] [-2.  6.]\n"
    rows = "from fastact.measure import activations as a; print(*a.rows(['doubled']))"
    assert copied("-c", rows) == "doubled-forward-float32-65536 doubled-backward-float32-65536\n"
    assert "| `doubled` | `2 * x` | - | 2 ULP |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    # and a function that is missing does not keep the command from working
    elementwise = tmp_path / "fastact" / "functional" / "elementwise.py"
    elementwise.write_text("", encoding="utf-8")
    assert copied("bench/regenerate.py") == "rewrote fastact/functional/elementwise.py\n"
