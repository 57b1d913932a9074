"""The code on the pages runs: in README.md and its like, and in the docstrings of the packages."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastact

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "bench/README.md", "fastact/backends/kernels/README.md", "tests/README.md")
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(fastact.__path__, "fastact.")
    if not re.search(r"__main__|_core|\.kernels|\.elementwise", name)
]


def blocks():
    for page in PAGES:
        file = ROOT / page
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL), 1):
            yield pytest.param(page, block, id=f"{page}-{number}")


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="not in a checkout")
def test_the_readme_has_examples():
    assert sum(case.id.startswith("README.md") for case in blocks()) >= 2


@pytest.mark.parametrize(("page", "block"), list(blocks()))
def test_examples_of_the_pages(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for library in {"onnx", "torch"}.intersection(name.split(".")):
        pytest.importorskip(library)
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0


def test_packages_with_long_texts_show_examples():
    finder = doctest.DocTestFinder()
    for name in ("fastact.layers", "fastact.training"):
        tests = [test for test in finder.find(importlib.import_module(name)) if test.name == name]
        assert tests, name
        assert tests[0].examples, name
