"""Rewrite what is derived from the registry, the one command after adding an activation: python bench/regenerate.py

- fastact/functional.pyi: the typed signatures of all functions, made ones and hand-written ones;
- README.md, between <!-- activations:begin --> and <!-- activations:end -->: the table of activations. Columns of
  measured figures come from bench/results: accuracy-*.json (fastact accuracy --json FILE) and speed-*.json
  (bench/compare.py --save). Without such files the table has no such columns;
- README.md, between <!-- measured:begin --> and <!-- measured:end -->: speeds from steps-*.json (bench/steps.py --save)
  and dense-*.json (bench/dense.py --save).

--check writes nothing: it prints the differences, if there are any, and exits with status 1.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import json
import math
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastact import functional
from fastact.registry import ACTIVATIONS, Entry, Parameter

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
DTYPES = ("float32", "float64")
ERRORS = ("forward", "backward", "derivative")
WIDTH = 120

# ------------------------------------------------------------------------------------------ functional.pyi

Module = dict[str, ast.stmt]


def module_names() -> Module:
    """The statement of functional.py that binds each of its names (one name per import)."""
    names: Module = {}
    for node in ast.parse(inspect.getsource(functional)).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name] = ast.Import([alias])
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = ast.ImportFrom(node.module, [alias], node.level)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node
    return names


def signature_only(node: ast.FunctionDef) -> ast.FunctionDef:
    """The function without its body and docstring, and without the values of defaults that are not constants."""
    bare = ast.parse(ast.unparse(node)).body[0]
    bare.body = [ast.Expr(ast.Constant(...))]
    for defaults in (bare.args.defaults, bare.args.kw_defaults):
        defaults[:] = [d if d is None or isinstance(d, ast.Constant) else ast.Constant(...) for d in defaults]
    return bare


def class_only(node: ast.ClassDef) -> ast.ClassDef:
    """The class without docstring and function bodies."""
    bare = ast.parse(ast.unparse(node)).body[0]
    body = [signature_only(n) if isinstance(n, ast.FunctionDef) else n for n in bare.body]
    is_text = [isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in body]
    bare.body = [n for n, text in zip(body, is_text, strict=True) if not text] or [ast.Expr(ast.Constant(...))]
    return bare


def used_names(node: ast.AST) -> set[str]:
    """The names that a statement reads."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def one_line_or_more(line: str) -> str:
    """A definition in the layout that the formatter gives it."""
    if len(line) <= WIDTH:
        return line
    head, rest = line.split("(", 1)
    inside, tail = rest.rsplit(") -> ", 1)
    together = f"{head}(\n    {inside}\n) -> {tail}"
    if len(inside) + 4 <= WIDTH:
        return together
    call = ast.parse(line).body[0].args
    return f"{head}(\n" + "".join(f"    {part},\n" for part in arguments(call)) + f") -> {tail}"


def arguments(node: ast.arguments) -> Iterator[str]:
    """The arguments of a definition, one by one."""
    positional = [*node.posonlyargs, *node.args]
    defaults = [None] * (len(positional) - len(node.defaults)) + node.defaults
    pairs = list(zip(positional, defaults, strict=True))
    for i, (argument, default) in enumerate(pairs, 1):
        yield with_default(argument, default)
        if i == len(node.posonlyargs):
            yield "/"
    if node.vararg:
        yield f"*{ast.unparse(node.vararg)}"
    elif node.kwonlyargs:
        yield "*"
    for argument, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
        yield with_default(argument, default)
    if node.kwarg:
        yield f"**{ast.unparse(node.kwarg)}"


def with_default(argument: ast.arg, default: ast.expr | None) -> str:
    """An argument as in a definition."""
    equals = (
        "" if default is None else f" = {ast.unparse(default)}" if argument.annotation else f"={ast.unparse(default)}"
    )
    return ast.unparse(argument) + equals


def definition(node: ast.FunctionDef) -> str:
    """A function's stub, formatted."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"def {node.name}({', '.join(arguments(node.args))}){returns}: ..."
    return one_line_or_more(line) if returns else line


def made(name: str) -> str:
    """The stub of a function that functional.py makes from the registry."""
    entry = ACTIVATIONS[name.removesuffix("_backward")]
    numbers = {p.name for p in entry.parameters}
    signature = inspect.signature(getattr(functional, name))
    parameters = []
    for p in signature.parameters.values():
        annotation = "float" if p.name in numbers else "str" if p.name == "approximate" else "NDArray[_Real]"
        if p.default is None:
            annotation += " | None"
        parameters.append(p.replace(annotation=annotation))
    typed = signature.replace(parameters=parameters, return_annotation="NDArray[_Real]")
    text = re.sub(r"'(NDArray[^']*|str|float)'", r"\1", str(typed))
    return one_line_or_more(f"def {name}{text}: ...".replace("'", '"'))


def is_made(name: str, names: Module) -> bool:
    """Whether functional.py makes this function from the registry."""
    return name.removesuffix("_backward") in ACTIVATIONS and name not in names


def import_order(node: ast.stmt) -> tuple[int, str]:
    """Where the import belongs: standard library, other packages, this package."""
    if isinstance(node, ast.ImportFrom):
        level = 2 if node.level else int((node.module or "").split(".")[0] not in sys.stdlib_module_names)
        return level, f"{node.module or ''} {node.names[0].name}"
    return int(node.names[0].name.split(".")[0] not in sys.stdlib_module_names), node.names[0].name


def merged_imports(nodes: list[ast.stmt]) -> list[str]:
    """Import lines, one per module, in isort's order and groups."""
    blocks: dict[int, dict[str, list[ast.stmt]]] = {}
    for node in sorted(nodes, key=import_order):
        key = f"from {'.' * node.level}{node.module or ''}" if isinstance(node, ast.ImportFrom) else ast.unparse(node)
        blocks.setdefault(import_order(node)[0], {}).setdefault(key, []).append(node)
    lines: list[str] = []
    for _, modules in sorted(blocks.items()):
        lines += [""] if lines else []
        plain = [key for key, same in modules.items() if isinstance(same[0], ast.Import)]
        lines += plain
        for key, same in modules.items():
            if key not in plain:
                lines.append(f"{key} import " + ", ".join(ast.unparse(n.names[0]) for n in same))
    return lines


def stub() -> str:
    """The text of functional.pyi."""
    names = module_names()
    functions = {name: made(name) for name in functional.__all__ if is_made(name, names)}
    imports: Module = {
        "np": ast.parse("import numpy as np").body[0],
        "NDArray": ast.parse("from numpy.typing import NDArray").body[0],
        "TypeVar": ast.parse("from typing import TypeVar").body[0],
    }
    before: dict[str, str] = {}

    def need(node: ast.AST) -> None:
        """Take over what the names in a statement stand for."""
        for name in sorted(used_names(node) & set(names)):
            found = names[name]
            if isinstance(found, ast.Import | ast.ImportFrom):
                imports[name] = found
            elif name not in before and name not in functions and not isinstance(found, ast.FunctionDef):
                kept = class_only(found) if isinstance(found, ast.ClassDef) else found
                need(kept)
                # A named tuple's "index" or "count" hides the method that all tuples have.
                before[name] = re.sub(
                    r"^(    (?:index|count): .*)$", r"\1  # type: ignore[assignment]", ast.unparse(kept), flags=re.M
                )

    # The layers use public names that are not in __all__; a stub hides what it does not list.
    own = [
        n for n, node in names.items() if not n.startswith("_") and not isinstance(node, ast.Import | ast.ImportFrom)
    ]
    for name in dict.fromkeys([*functional.__all__, *own]):
        if name in functions:
            continue
        if name not in names:  # from a module whose names functional.py takes over with a star
            home = getattr(functional, name).__module__.removeprefix("fastact.functional.")
            imports[name] = ast.ImportFrom(home, [ast.alias(name, name)], 1)
            continue
        node = names[name]
        if isinstance(node, ast.FunctionDef):
            bare = signature_only(node)
            need(bare)
            functions[name] = definition(bare)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            node.names[0].asname = name  # "as" makes it public in a stub
            imports[name] = node
        elif isinstance(node, ast.ClassDef):
            need(ast.Expr(ast.Name(name, ast.Load())))
        elif name not in before:
            before[name] = f"{name}: {type(getattr(functional, name)).__name__}"

    lines = ['"""Types of fastact.functional; made by bench/regenerate.py."""', ""]
    lines += merged_imports(list(imports.values()))
    lines += ["", '_Real = TypeVar("_Real", np.float32, np.float64)', ""]
    lines += ["__all__ = [", *(f'    "{name}",' for name in sorted(functional.__all__)), "]", ""]
    for text in before.values():
        lines += [text, ""]
    lines += [functions[name] for name in sorted(functions)]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------ the README's table


def results(pattern: str) -> list[dict[str, Any]]:
    """The contents of the results files of that name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))]


def error_cells(files: list[dict[str, Any]], name: str) -> list[str]:
    """The largest errors over all files, forward, backward and derivative, each for float32 / float64."""

    def largest(column: str, dtype: str) -> str:
        found = [file[name][dtype][column]["ulp"] for file in files if dtype in file.get(name, {})]
        return f"{max(found):.3g}" if found else "-"

    return [" / ".join(largest(column, dtype) for dtype in DTYPES) for column in ERRORS]


def typical_size(speed: dict[str, Any]) -> int:
    """The measured size nearest to 65 536 elements: in the caches, and too large for calls to cost."""
    return min({row["size"] for row in speed["rows"]}, key=lambda n: abs(n - 65_536))


def speed_cells(speed: dict[str, Any]) -> dict[str, str]:
    """Per activation, forward and backward nanoseconds per element and the ratio to PyTorch, at the typical size."""
    size = typical_size(speed)
    cells: dict[str, dict[str, str]] = {}
    for row in speed["rows"]:
        if row["dtype"] == "float32" and row["size"] == size:
            times = {library: t["min_ns"] for library, t in row["libraries"].items()}
            text = f"{times['fastact'] / size:.2f}"
            if "torch" in times:
                text += f" ({times['torch'] / times['fastact']:.1f}x)"
            cells.setdefault(row["name"], {})[row["direction"]] = text
    return {name: ", ".join(c.get(d, "-") for d in ("forward", "backward")) for name, c in cells.items()}


def code(text: str) -> str:
    """Text as code in a table's cell."""
    text = re.sub(r"\bmpf\((\d+)\)", r"\1", text)  # how the accuracy command has it divide in 50 digits
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def parameter(p: Parameter) -> str:
    """A parameter with its default and its range."""
    words = p.range.removeprefix("a finite number").strip()
    return " ".join(filter(None, [code(f"{p.name}={p.default:g}"), words]))


def at_kinks(entry: Entry) -> str:
    """The slope where it jumps."""
    if not entry.kinks or " at " in entry.at_kink:
        return entry.at_kink
    return f"{code(entry.at_kink)} at x = {', '.join(map(code, entry.kinks))}"


def cells(entry: Entry) -> list[str]:
    """The registry's columns of a row."""
    bounds = [f"{entry.ulp_bound(dtype):g}" for dtype in DTYPES]
    return [
        code(entry.name),
        ", ".join(map(parameter, entry.parameters)),
        code(entry.formula),
        entry.saves or "-",
        code(entry.slope_formula),
        at_kinks(entry),
        ", ".join(entry.limits),
        f"{bounds[0]} ULP" if len(set(bounds)) == 1 else f"{' / '.join(bounds)} ULP",
    ]


OTHERS = (
    "Likewise rows of 64 for softmax and log_softmax, one weight a column for prelu and swish (backward gives both "
    "gradients), pairs for maxout, which also writes which of the two won, and a bit an element for relu_masked."
)


def table() -> str:
    """The generated section: the table and a legend of its columns."""
    heads = ["function", "parameters", "f(x)", "saves", "slope", "at the kink", "f(-inf), f(inf)", "error bound"]
    rows = {name: cells(entry) for name, entry in ACTIVATIONS.items()}
    legend = [
        '"saves" is what backward reads: the output y or the input x. The error bound of forward is in units in the '
        "last place, float32 / float64 where they differ, for default parameters. `s` is the logistic function, `Phi` "
        "and `phi` are the normal distribution and its density."
    ]
    accuracy = results("accuracy-*.json")
    if accuracy:
        heads += ["measured error: forward", "backward", "derivative"]
        for name in rows:
            rows[name] += error_cells(accuracy, name)
        known = {name: [file[name]["float32"] for file in accuracy if "float32" in file.get(name, {})] for name in rows}
        whole = [code(name) for name, found in known.items() if any(f["exhaustive"] for f in found)]
        legend.append(
            "Measured errors are the largest found in ULP, float32 / float64: of forward, of backward against the "
            "slope at what it was given, and against the true derivative at x, of which a rounded y cannot know more. "
            + (
                "float32: all 2^32 numbers"
                if len(whole) == len(rows)
                else "float32: every 4099th number and the surroundings of special ones"
                + (f", for {', '.join(whole)} all 2^32" if whole else "")
            )
            + "; float64: about 3,000 points."
        )
    speeds = [file for file in results("speed-*.json") if file["threads"] == 1]
    if speeds:
        speed = max(speeds, key=lambda file: file["date"])
        heads.append("speed")
        found = speed_cells(speed)
        for name, row in rows.items():
            row.append(found.get(name, ""))
        legend.append(
            "Speed: nanoseconds per element forward, backward, in place, and how many times faster than PyTorch's "
            f"kernel; {typical_size(speed)} float32 elements, one thread, {speed['cpu']}, {speed['isa']}, "
            f"{speed['date']}, "
            + ", ".join(f"{library} {about['version']}" for library, about in speed["versions"].items())
            + "."
        )
    text = markdown(heads, list(rows.values())).replace("|  |", "| |") + f"\n\n{wrapped(' '.join(legend))}"
    if speeds:
        others = [[code(name), cell] for name, cell in found.items() if name not in ACTIVATIONS]
        text += f"\n\n{markdown(['function', 'speed'], others)}\n\n{wrapped(OTHERS)}"
    return text


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *rows])


def conditions(file: dict[str, Any]) -> str:
    """On what and with what a results file was measured."""
    versions = ", ".join(f"{library} {version}" for library, version in file["versions"].items())
    return f"{file['cpu']}, {file['isa']}, {file['date']}, {versions}"


def microseconds(seconds: float) -> str:
    """Three digits, or whole microseconds."""
    return f"{1e6 * seconds:,.0f}" if seconds >= 1e-3 else f"{1e6 * seconds:.3g}"


def best(seconds: dict[str, float], *libraries: str) -> float:
    """The least time of these libraries, infinite without any."""
    return min((seconds[library] for library in libraries if library in seconds), default=math.inf)


def steps_table(files: list[dict[str, Any]]) -> str:
    """Whole training steps with relu: microseconds, and how many times faster than the others, by threads."""
    heads, rows = ["batch; layers", "optimiser"], {}
    for file in files:
        threads = f"{file['threads']} thread{'s' if file['threads'] > 1 else ''}"
        heads += [f"us, {threads}", "PyTorch", "JAX", "NumPy"]
        for row in file["rows"]:
            if row["activation"] == "relu":
                label = f"{row['batch']}; {'-'.join(map(str, row['layers']))}"
                kind = "inference" if row["optimizer"] == "policy" else row["optimizer"]
                own = row["seconds"]["fastact"]
                peers = (
                    best(row["seconds"], *names) / own for names in (("torch", "torch fused"), ("jax",), ("numpy",))
                )
                ratios = [f"{ratio:.2f}x" if ratio < math.inf else "" for ratio in peers]
                rows.setdefault((label, kind), [label, kind]).extend([microseconds(own), *ratios])
    legend = (
        "A training step (forward, softmax cross-entropy, backward, update) with relu, float32: microseconds, and how "
        "many times as long the best of PyTorch (eager, fused=True where that is faster), JAX (jit) and NumPy by hand "
        f"take. {conditions(files[0])}."
    )
    return f"{wrapped(legend)}\n\n{markdown(heads, list(rows.values()))}"


def dense_table(file: dict[str, Any]) -> str:
    """Dense layers: microseconds, and how many times faster than the best of the others."""
    columns = [(d, a) for d in ("forward", "backward") for a in ("relu", "gelu")]
    heads = ["rows, inputs, outputs", *(f"{direction}, {act}" for direction, act in columns)]
    rows: dict[str, list[str]] = {}
    for column in columns:
        for row in file["rows"]:
            if (row["direction"], row["activation"]) == column:
                label = ", ".join(map(str, row["shape"]))
                own = row["seconds"]["fastact"]
                rows.setdefault(label, [label]).append(f"{microseconds(own)} ({row['ratio']:.2f}x)")
    legend = (
        "A dense layer, float32, one thread: microseconds, and how many times as long the best of NumPy (relu only) "
        f"and PyTorch takes; the machine multiplies and adds at most {file['peak_gflops']:.0f} GFLOP/s a thread. "
        f"{conditions(file)}."
    )
    return f"{wrapped(legend)}\n\n{markdown(heads, list(rows.values()))}"


def measured() -> str:
    """The generated section of measured speeds."""
    parts = []
    steps = sorted(results("steps-*.json"), key=lambda file: file["threads"])
    if steps:
        parts.append(steps_table(steps))
    dense = [file for file in results("dense-*.json") if file["threads"] == 1 and file["dtype"] == "float32"]
    if dense:
        parts.append(dense_table(max(dense, key=lambda file: file["isa"])))
    return "\n\n".join(parts)


def wrapped(text: str) -> str:
    """A paragraph in lines."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


SECTIONS = {"measured": measured, "activations": table}


def readme(current: str) -> str:
    """The README with its generated sections brought up to date."""
    for name, make in SECTIONS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, found, rest = current.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise LookupError(f"README.md has no {begin} and {end}; put the two where that section belongs")
        current = f"{before}{begin}\n{make()}\n{end}{after}"
    return current


# ------------------------------------------------------------------------------------------ all of it


def derived() -> Iterator[tuple[Path, str, str]]:
    """Each derived file: where, the text it has, the text it should have."""
    path = ROOT / "fastact" / "functional" / "__init__.pyi"
    yield path, path.read_text(encoding="utf-8") if path.exists() else "", stub()
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    yield path, text, readme(text)


def differences() -> str:
    """What is out of date, as a unified diff; empty if nothing is."""
    parts = []
    for path, old, new in derived():
        name = path.relative_to(ROOT).as_posix()
        parts += difflib.unified_diff(
            old.splitlines(True), new.splitlines(True), f"{name} (as it is)", f"{name} (derived)"
        )
    return "".join(parts)


def main() -> None:
    """Rewrite, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if anything is out of date")
    try:
        if parser.parse_args().check:
            found = differences()
            sys.stdout.write(found)
            sys.exit("out of date: run python bench/regenerate.py" if found else 0)
        for path, old, new in list(derived()):
            if old != new:
                path.write_text(new, encoding="utf-8")
                print(f"rewrote {path.relative_to(ROOT)}")
    except LookupError as error:
        sys.exit(str(error.args[0]))


if __name__ == "__main__":
    main()
