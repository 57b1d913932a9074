"""The house stands: rooms import only from floors below, and what is decided in one place is asked for nowhere else."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import fastact as fa

PACKAGE = Path(fa.__file__).parent

#: Rooms by floor, lowest first. Rooms on one floor do not import each other; what is deeper than a room is its own
#: affair, but for circles.
FLOORS = (
    ("_version", "dtypes", "wording"),
    ("checks",),
    ("registry", "memory", "files"),
    ("backends",),
    ("runtime",),
    ("epilogues",),
    ("functional", "losses", "policies", "init"),
    ("layers", "optim"),
    ("network",),
    ("persistence", "data", "interop"),
    ("tables", "onnx", "torch"),  # other names of data.tables, interop.onnx and interop.torch
    ("training",),
    ("diagnostics", "sklearn", "plot"),
    ("measure",),
    ("examples",),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
UPWARDS = {("network", "persistence"), ("training", "plot")}  # net.save() and history.plot(), when they are called

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "fit" not in path.relative_to(PACKAGE).parts)
NAMES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in MODULES}


def imported(path):
    """(module below fastact, whether at import time) for each import of the package in a module."""
    package = NAMES[path].split(".")[:-1]
    modules = {name.removesuffix(".__init__") for name in NAMES.values()}

    def visit(node, at_import):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".") * bool(node.module)
            for alias in node.names:
                full = ".".join([*base, alias.name])
                yield (full if full in modules else ".".join(base)), at_import
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fastact":
            yield node.module.removeprefix("fastact").lstrip("."), at_import
        inside = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True)


def room(module):
    return module.split(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=NAMES.get)
def test_imports_go_down(path):
    here = room(NAMES[path])
    if here in ("__init__", "__main__"):
        return
    for module, _ in imported(path):
        there = room(module)
        if there not in ("", here) and (here, there) not in UPWARDS:
            assert FLOOR[there] < FLOOR[here], f"{NAMES[path]} imports {module}"


def test_no_circles():
    """Not within a room either."""
    paths = {name.removesuffix(".__init__"): path for path, name in NAMES.items()}
    graph = {
        name: {module for module, at_import in imported(path) if at_import and module in paths and module != name}
        for name, path in paths.items()
        if name not in ("__init__", "__main__")
    }
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, f"a circle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name not in done:
            open_.append(name)
            for module in sorted(graph.get(name, ())):
                visit(module)
            open_.pop()
            done.add(name)

    for name in sorted(graph):
        visit(name)


def test_no_module_hides_a_public_function():
    for name in NAMES.values():
        stem = name.split(".")[-1]
        public = None if stem.startswith("__") else getattr(fa, stem, None)
        assert public is None or inspect.ismodule(public), name


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"get_backend\(\) ==", "backends"),
        (r"\b_core\b", "backends|__main__"),
        (r"isinstance\([^)]*(FixedActivation|LearnedActivation|CustomActivation|MaxoutEpilogue)", "epilogues"),
    ],
)
def test_decided_in_one_place(pattern, allowed):
    found = [
        f"{NAMES[path]}:{number}: {line.strip()}"
        for path in MODULES
        if not re.match(allowed, NAMES[path])
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found


def test_functions_can_be_read():
    source = inspect.getsource(fa.gelu)
    assert source.startswith("def gelu(")
    assert inspect.getsource(fa.hard_tanh_backward).startswith("def hard_tanh_backward(")


def test_functions_are_found_the_short_way():
    """CPython specialises ``module.name`` only where the module has no __getattr__: a sixth of a small call."""
    assert "__getattr__" not in vars(fa)
    assert {"diagnostics", "plot", "tables", "Monitor", "check_gradients"} <= vars(fa).keys()
