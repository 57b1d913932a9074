"""Rewrite what follows from the registry, the one command after adding an activation: python bench/regenerate.py

- fastact/functional/elementwise.py: the functions, as source;
- README.md and bench/README.md, between <!-- NAME:begin --> and <!-- NAME:end -->: the tables of activations, steps,
  dense layers and estimators. Measured figures come from bench/results: what ``python -m fastact.measure``, ``fastact
  accuracy --json FILE`` and ``bench/estimators.py`` write there. Without such files the tables lack those columns.

--check writes nothing: it prints the differences, if there are any, and exits with status 1.

Only the registry is imported, not the package: this works whatever state elementwise.py is in.
"""

from __future__ import annotations

import argparse
import difflib
import json
import math
import re
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if "fastact" not in sys.modules:
    package = types.ModuleType("fastact")
    package.__path__ = [str(ROOT / "fastact")]
    sys.modules["fastact"] = package

from fastact.registry import ACTIVATIONS, Entry, Parameter  # noqa: E402

RESULTS = ROOT / "bench" / "results"
DTYPES = ("float32", "float64")
WIDTH = 120

# ------------------------------------------------------------------------------------------ elementwise.py

HEADER = '''"""The elementwise functions; made by bench/regenerate.py from the registry: edit there.

A plain call goes straight to the compiled core, which answers None for every other; then the slow path does it. A
parameter's default is recognised by identity and needs no check. A kernel's number is its place in the registry.
"""

from __future__ import annotations

from math import inf
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..backends import engine, reference
from ..epilogues import FixedActivation, approximation, order, parameter
from ..registry import ACTIVATIONS

__all__ = [
{names}]

Real = TypeVar("Real", np.float32, np.float64)

#: The order from which the numbers below come. Where the registry's is another, this file is out of date, and its
#: functions take the slow path, which looks the number up: run python bench/regenerate.py.
ORDER = [
{order}]
doors = engine if list(ACTIVATIONS) == ORDER else reference
try_forward, try_backward = doors.try_forward, doors.try_backward

{entries}
'''

FORWARD = """{name}: y = {formula}, elementwise.

Parameters
----------
x : ndarray of float32 or float64, any shape (a Python number or list is float64, or what out is)
{parameters}out : ndarray, optional
    Where to put y: exactly x (in place) or memory that does not touch it; same shape and dtype.

Returns
-------
y : ndarray of x's shape and dtype (out itself when given; a scalar for a number)

Raises
------
TypeError : x or out is not a float32 or float64 array, or their dtypes differ
ValueError : wrong shape, read-only or overlapping out{range_error}

Limits: {limits[0]} at -inf, {limits[1]} at inf; NaN stays NaN.
"""

BACKWARD = """Gradient through {name}: dx = grad * f', with f' = {slope}.

Parameters
----------
grad : ndarray of float32 or float64, the gradient with respect to y
{saved} : ndarray like grad, {saved_words}
{parameters}out : ndarray, optional
    Where to put dx: exactly grad, exactly {saved}, or memory that touches neither.

Returns
-------
dx : ndarray of grad's shape and dtype (out itself when given)

Raises
------
TypeError : not float32 or float64 arrays of one dtype
ValueError : shapes differ, read-only or overlapping out{range_error}
{kink}"""

SAVED = {"y": "what forward returned", "x": "what forward was given", None: "what forward returned (not read)"}


def split(text: str, indent: str = "") -> str:
    """A line that is too long in the formatter's layout: what is in its last parentheses on a line of its own."""
    line = indent + text
    if len(line) <= WIDTH:
        return line
    start = text.index("(") if text.startswith("def ") else text.rindex("not (") + 4
    end = text.rindex(")")
    head, inside, tail = text[: start + 1], text[start + 1 : end], text[end:]
    if len(indent) + 4 + len(inside) <= WIDTH:
        return f"{indent}{head}\n{indent}    {inside}\n{indent}{tail}"
    return f"{indent}{head}\n" + "".join(f"{indent}    {part},\n" for part in inside.split(", ")) + f"{indent}{tail}"


def constant(entry: Entry, parameter: Parameter | None = None) -> str:
    return "_".join(["", entry.name, *([parameter.name] if parameter else [])]).upper()


def docstring(entry: Entry, is_forward: bool) -> str:
    parameters = "".join(
        f"{p.name} : float, default {p.default:g}\n    {p.range}; rounded to the array's dtype\n"
        for p in entry.parameters
    )
    for approximate, name in entry.approximations.items():
        parameters += f'approximate : "none", or "{approximate}" for ``{name}``\n'
    text = (FORWARD if is_forward else BACKWARD).format(
        name=entry.name,
        formula=entry.formula,
        slope=entry.slope_formula,
        parameters=parameters,
        range_error=", or a parameter out of range" if parameters else "",
        limits=entry.limits,
        saved=entry.saved_name,
        saved_words=SAVED[entry.saves],
        kink=f"\nAt the kink (x = {', '.join(entry.kinks)}) the slope is {entry.at_kink}.\n" if entry.kinks else "",
    )
    indented = textwrap.indent(f'"""{text}"""', "    ")
    return indented + ("  # noqa: E501" if max(map(len, indented.splitlines())) > WIDTH else "")


def checks(entry: Entry, function: str, arguments: str, suffix: str) -> Iterator[str]:
    """Lines that bring the parameters into order."""
    for i, p in enumerate(entry.parameters):
        low = f"{p.low!r} {'<=' if p.low_included and p.low > -math.inf else '<'} "
        accepted = f"type({p.name}) is float and {low}{p.name} < inf"
        yield split(f"if {p.name} is not {constant(entry, p)} and not ({accepted}):", "    ")
        yield f'        {p.name} = parameter("{function}", {constant(entry)}.parameters[{i}], {p.name})'
    if entry.approximations:
        others = ", ".join(f'"{name}": {name}{suffix}' for name in entry.approximations.values())
        yield '    if approximate != "none":'
        yield f'        chosen = approximation("{function}", {constant(entry)}, approximate).name'
        yield f"        return {{{others}}}[chosen]({arguments}, out=out)"
    if entry.ordered:
        yield f"    if not {' < '.join(p.name for p in entry.parameters)}:"
        yield f'        order("{function}", {constant(entry)}, ({", ".join(p.name for p in entry.parameters)}))'


def function(number: int, entry: Entry, is_forward: bool) -> str:
    """The source of forward or backward."""
    suffix, kind, result = ("", "forward", "y") if is_forward else ("_backward", "backward", "dx")
    name, arrays = entry.name + suffix, ["x"] if is_forward else ["grad", entry.saved_name]
    signature = [f"{array}: NDArray[Real]" for array in arrays]
    signature += [f"{p.name}: float = {p.default!r}" for p in entry.parameters]
    signature += ["*", *(['approximate: str = "none"'] if entry.approximations else [])]
    signature += ["out: NDArray[Real] | None = None"]
    names, given = [p.name for p in entry.parameters], ", ".join(arrays)
    values = f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"
    values = "()" if not names else values
    slow = f"FixedActivation({constant(entry)}, {values}){'' if is_forward else '.backward'}({given}, out=out)"
    lines = [
        split(f"def {name}({', '.join(signature)}) -> NDArray[Real]:"),
        docstring(entry, is_forward),
        *checks(entry, name, given, suffix),
        f"    {result} = try_{kind}({number}, {given}, out, {', '.join([*names, '0.0', '0.0'][:2])})",
        f"    return {result} if {result} is not None else {slow}",
    ]
    return "\n".join(lines)


def elementwise(_: str = "") -> str:
    """The text of functional/elementwise.py."""
    pairs = [name + suffix for name in ACTIVATIONS for suffix in ("", "_backward")]
    entries = []
    for name, entry in ACTIVATIONS.items():
        entries.append(f'{constant(entry)} = ACTIVATIONS["{name}"]')
        entries += [f"{constant(entry, p)} = {p.default!r}" for p in entry.parameters]
    names, order = ("".join(f'    "{name}",\n' for name in each) for each in (sorted(pairs), ACTIVATIONS))
    header = HEADER.format(names=names, order=order, entries="\n".join(entries))
    functions = [
        function(number, entry, is_forward)
        for number, entry in enumerate(ACTIVATIONS.values())
        for is_forward in (True, False)
    ]
    return "\n\n".join([header, *(f"{text}\n" for text in functions)])


# ------------------------------------------------------------------------------------------ tables of activations

Result = dict[str, Any]


def results(pattern: str) -> list[Result]:
    """The contents of the results files of that name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))]


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


def bound(entry: Entry) -> str:
    each = dict.fromkeys(f"{entry.ulp_bound(dtype):g}" for dtype in DTYPES)
    return f"{' / '.join(each)} ULP"


def errors(files: list[Result], name: str) -> list[str]:
    """The largest errors over all files, forward, backward and derivative, each for float32 / float64."""

    def largest(column: str, dtype: str) -> str:
        found = [row[column]["ulp"] for row in measured(files, name, dtype) if row["instruction_set"] != "baseline"]
        return f"{max(found):.3g}" if found else "-"

    return [" / ".join(largest(column, dtype) for dtype in DTYPES) for column in ("forward", "backward", "derivative")]


def measured(files: list[Result], name: str, dtype: str) -> list[Result]:
    return [file[name][dtype] for file in files if dtype in file.get(name, {})]


def worst_inputs(files: list[Result]) -> str:
    """Where a guided search found float64 furthest off, with FMA and without."""
    rows = []
    for name in ACTIVATIONS:
        cells = [code(name)]
        for without in (False, True):
            found = [r for r in measured(files, name, "float64") if (r["instruction_set"] == "baseline") == without]
            for column in ("forward", "backward"):
                most = max((r[column] for r in found), key=lambda c: c["ulp"], default={"ulp": 0})
                there = [f"{most[key]!r}" for key in ("at", "grad") if most.get(key) is not None]
                cells += [f"{most['ulp']:.3f}" if most["ulp"] else "0", ", ".join(there)]
        if any(cell not in ("", "0") for cell in cells[1:]):
            rows.append(cells)
    heads = [f"{column}{fma}" for fma in ("", ", no FMA") for column in ("forward", "backward")]
    points = min(
        (r["searched"] for f in files for r in measured([f], "tanh", "float64") if r.get("searched")), default=0
    )
    text = (
        f"float64 is where a guided search of {points:,} points for each column and function found it furthest off, "
        "confirmed in 50 digits: in ULP, at x, and at x and grad. Without FMA: x86-64's baseline, "
        "`FASTACT_ISA=baseline`."
    )
    each = [head for column in heads for head in (column, "at")]
    return f"{wrapped(text)}\n\n{markdown(['function', *each], rows)}"


def exhaustive(files: list[Result]) -> str:
    """For which functions float32 was measured on all numbers."""
    whole = [n for n in ACTIVATIONS if any(f.get(n, {}).get("float32", {}).get("exhaustive") for f in files)]
    if len(whole) == len(ACTIVATIONS):
        return "all 2^32 numbers"
    some = f", for {', '.join(map(code, whole))} all 2^32" if whole else ""
    return f"every 4099th number and the surroundings of special ones{some}"


def typical_size(file: Result) -> int:
    """The measured size nearest to 65 536 elements: in the caches, and too large for calls to cost."""
    return min({row["size"] for row in file["rows"]}, key=lambda n: abs(n - 65_536))


def speeds() -> tuple[dict[str, str], str]:
    """By function, nanoseconds an element forward and backward and the ratio to PyTorch; on what that was measured."""
    files = [file for file in results("activations-*.json") if file["threads"] == 1]
    if not files:
        return {}, ""
    newest = max(files, key=lambda file: file["date"])
    size = typical_size(newest)
    cells: dict[str, dict[str, str]] = {}
    for row in newest["rows"]:
        if row["dtype"] == "float32" and row["size"] == size:
            ns = row["ns"]
            ratio = f" ({ns['torch'] / ns['fastact']:.1f}x)" if "torch" in ns else ""
            cells.setdefault(row["name"], {})[row["direction"]] = f"{ns['fastact'] / size:.2f}{ratio}"
    each = {name: ", ".join(c.get(d, "-") for d in ("forward", "backward")) for name, c in cells.items()}
    return each, f"{size:,} float32 elements, one thread, {conditions(newest)}"


SAVES = (
    '"saves" is what backward reads: the output y or the input x. The error bound of forward is in units in the last '
    "place (ULP), float32 / float64 where they differ, for default parameters. `s` is the logistic function, `Phi` and "
    "`phi` are the normal distribution and its density."
)
SPEED = "Speed: nanoseconds an element forward, backward, in place, and how many times as long PyTorch's kernel takes; "
OTHERS = (
    "Likewise rows of 64 for softmax and log_softmax, one weight a column for prelu and swish (backward gives both "
    "gradients), pairs for maxout, which also writes which of the two won, and a bit an element for relu_masked."
)


def activations() -> str:
    """For README.md: five columns."""
    speed, where = speeds()
    rows = []
    for name, entry in ACTIVATIONS.items():
        keywords = ", ".join(f"{p.name}={p.default:g}" for p in entry.parameters)
        shown = code(f"{name}({keywords})" if keywords else name)
        rows.append([shown, code(entry.formula), entry.saves or "-", bound(entry), speed.get(name, "")])
    heads = ["function", "f(x)", "saves", "error bound", "speed"]
    return f"{markdown(heads, rows)}\n\n{wrapped(SAVES + (f' {SPEED}{where}.' if where else ''))}"


def all_activations() -> str:
    """For bench/README.md: all that is known and measured."""
    heads = ["function", "parameters", "f(x)", "saves", "slope", "at the kink", "f(-inf), f(inf)", "error bound"]
    rows = {
        name: [
            code(name), ", ".join(map(parameter, entry.parameters)), code(entry.formula), entry.saves or "-",
            code(entry.slope_formula), at_kinks(entry), ", ".join(entry.limits), bound(entry),
        ]
        for name, entry in ACTIVATIONS.items()
    }  # fmt: skip
    legend = SAVES
    accuracy = results("accuracy-*.json")
    if accuracy:
        heads += ["measured error: forward", "backward", "derivative"]
        legend += (
            " Measured errors are the largest found in ULP, float32 / float64: of forward, of backward against the "
            "slope at what it was given, and against the true derivative at x, of which a rounded y cannot know more. "
            f"float32: {exhaustive(accuracy)}; float64: a guided search (below)."
        )
    speed, where = speeds()
    if speed:
        heads.append("speed")
        legend += f" {SPEED}{where}."
    for name in rows:
        rows[name] += (errors(accuracy, name) if accuracy else []) + ([speed.get(name, "")] if speed else [])
    text = f"{markdown(heads, list(rows.values()))}\n\n{wrapped(legend)}"
    if accuracy:
        text += f"\n\n{worst_inputs(accuracy)}"
    if speed:
        others = [[code(name), cell] for name, cell in speed.items() if name not in ACTIVATIONS]
        text += f"\n\n{markdown(['function', 'speed'], others)}\n\n{wrapped(OTHERS)}"
    return text


# ------------------------------------------------------------------------------------------ steps and dense layers


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = (f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *rows])
    return "\n".join(re.sub(r" {2,}", " ", line) for line in lines)


def wrapped(text: str) -> str:
    """A paragraph in lines."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def conditions(file: Result) -> str:
    """On what and with what a results file was measured."""
    libraries = {name: about for name, about in file["libraries"].items() if name not in ("torch fused", "memory")}
    versions = ", ".join(f"{name} {about['version']}" for name, about in libraries.items())
    return f"{file['processor']}, {file['isa']}, {file['date']}, {versions}"


def microseconds(ns: float) -> str:
    """Three digits, or whole microseconds."""
    return f"{ns / 1000:,.0f}" if ns >= 1e6 else f"{ns / 1000:.3g}"


def ratios(ns: dict[str, float], *groups: tuple[str, ...]) -> list[str]:
    """How many times as long as fastact the best of each group of libraries takes."""
    best = (min((ns[library] for library in group if library in ns), default=math.inf) for group in groups)
    return [f"{least / ns['fastact']:.2f}x" if least < math.inf else "" for least in best]


def step_rows(file: Result) -> dict[tuple[str, str], list[str]]:
    """By "batch; layers" and optimiser: microseconds, and the ratios to PyTorch, JAX and NumPy."""
    found = {}
    for row in file["rows"]:
        if row["activation"] == "relu":
            batch, *layers = row["shape"]
            kind = "inference" if row["optimizer"] == "policy" else row["optimizer"]
            cells = ratios(row["ns"], ("torch", "torch fused"), ("jax",), ("numpy",))
            found[f"{batch}; {'-'.join(map(str, layers))}", kind] = [microseconds(row["ns"]["fastact"]), *cells]
    return found


STEPS = (
    "A training step (forward, softmax cross-entropy, backward, update) with relu, float32: microseconds, and how many "
    "times as long the best of PyTorch (eager, fused=True where that is faster), JAX (jit) and NumPy by hand take. "
)


def by_machine(pattern: str) -> list[list[Result]]:
    """The files of that name, those of one processor and instruction set together."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for file in sorted(results(pattern), key=lambda file: (file["rows"][0].get("dtype", ""), file["threads"])):
        groups.setdefault((file["processor"], file["isa"]), []).append(file)
    return list(groups.values())


def steps() -> str:
    """For README.md: SGD on one thread, of the newest measurement."""
    files = [file for file in results("steps-*.json") if file["threads"] == 1]
    if not files:
        return ""
    newest = max(files, key=lambda file: file["date"])
    rows = [[shape, *cells] for (shape, kind), cells in step_rows(newest).items() if kind == "sgd"]
    table = markdown(["batch; layers", "microseconds", "PyTorch", "JAX", "NumPy"], rows)
    return f"{table}\n\n{wrapped(f'{conditions(newest)}.')}"


def all_steps() -> str:
    """For bench/README.md: all optimisers and threads, a table a machine."""
    parts = []
    for files in by_machine("steps-*.json"):
        heads, rows = ["batch; layers", "optimiser"], {}
        for file in files:
            heads += [f"us, {file['threads']} thread{'s' * (file['threads'] > 1)}", "PyTorch", "JAX", "NumPy"]
            for key, cells in step_rows(file).items():
                rows.setdefault(key, list(key)).extend(cells)
        parts.append(f"{wrapped(f'{STEPS}{conditions(files[0])}.')}\n\n{markdown(heads, list(rows.values()))}")
    return "\n\n".join(parts)


def all_dense() -> str:
    """For bench/README.md: microseconds, and how many times as long the best of the others takes."""
    columns = [(direction, act) for direction in ("forward", "backward") for act in ("relu", "gelu")]
    heads = ["rows, inputs, outputs", *(f"{direction}, {act}" for direction, act in columns)]
    parts = []
    for file in [file for files in by_machine("dense-*.json") for file in files]:
        rows: dict[str, list[str]] = {}
        for column in columns:
            for row in file["rows"]:
                if (row["direction"], row["activation"]) == column:
                    label, others = ", ".join(map(str, row["shape"])), tuple(n for n in row["ns"] if n != "fastact")
                    cell = f"{microseconds(row['ns']['fastact'])} ({ratios(row['ns'], others)[0]})"
                    rows.setdefault(label, [label]).append(cell)
        peak = (
            f"; the machine multiplies and adds at most {file['peak_gflops']:.0f} GFLOP/s a thread"
            if "peak_gflops" in file
            else ""
        )
        legend = (
            f"A dense layer, {file['rows'][0]['dtype']}, {file['threads']} thread{'s' * (file['threads'] > 1)}: "
            "microseconds, and how many times as long the best of NumPy (relu only) and PyTorch takes"
            f"{peak}. {conditions(file)}."
        )
        parts.append(f"{wrapped(legend)}\n\n{markdown(heads, list(rows.values()))}")
    return "\n\n".join(parts)


def estimators() -> str:
    """For README.md: scikit-learn's perceptrons beside ours, how fast and how accurate."""
    parts = []
    for files in by_machine("estimators-*t.json"):
        heads, rows = ["data; batch; layers"], {}
        for file in files:
            heads += [f"ms, {file['threads']} thread{'s' * (file['threads'] > 1)}", "scikit-learn"]
            for row in file["rows"]:
                if "scikit-learn" in row["ns"]:
                    cells = [f"{row['ns']['fastact'] / 1e6:.3g}", *ratios(row["ns"], ("scikit-learn",))]
                    rows.setdefault(estimator_label(row), [estimator_label(row)]).extend(cells)
        parts.append(f"{markdown(heads, list(rows.values()))}\n\n{wrapped(f'{FITS}{conditions(files[0])}.')}")
    for file in results("estimators-accuracy.json"):
        rows = {
            row["data"]: [row["data"], *(f"{row[label]:.4f}" for label in ("scikit-learn", "float64", "float32"))]
            + [f"{row[f'{label} in standard errors']:+.2f}" for label in ("float64", "float32")]
            for row in file["rows"]
        }
        heads = ["data", "scikit-learn", "float64 data", "float32 data", "difference in standard errors", "float32"]
        legend = (
            f"Accuracy (R2 for diabetes) with equal settings: the mean of {file['seeds']} seeds of {file['folds']} "
            f"folds each. {file['date']}, fastact {file['fastact']}, scikit-learn {file['scikit-learn']}."
        )
        parts.append(f"{markdown(heads, list(rows.values()))}\n\n{wrapped(legend)}")
    return "\n\n".join(parts)


FITS = (
    "Milliseconds, and how many times as long scikit-learn's class takes: fits of a few epochs with Adam on float32 "
    "data, 20 iterations of L-BFGS, one `partial_fit` of 32 rows, predictions. "
)


def estimator_label(row: Result) -> str:
    """What a row measures, in words."""
    if row["task"] == "predict":
        return f"predict, {int(row['data']):,} row{'s' * (row['data'] != '1')}"
    layers = ", ".join(map(str, row["layers"]))
    words = {"fit": "", "lbfgs": "lbfgs: ", "partial_fit": "partial_fit: "}[row["task"]]
    return f"{words}{row['data']}; {row['batch']}; {layers}"


# ------------------------------------------------------------------------------------------ all of it


def sections(path: str, current: str, **made: str) -> str:
    """The page with its generated sections brought up to date."""
    for name, text in made.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, found, rest = current.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise LookupError(f"{path} has no {begin} and {end}; put the two where that section belongs")
        current = f"{before}{begin}\n{text}\n{end}{after}"
    return current


def derived() -> Iterator[tuple[str, str, str]]:
    """Each derived file: its path, the text it has, the text it should have."""
    path = "fastact/functional/elementwise.py"
    yield path, (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else "", elementwise()
    pages: dict[str, dict[str, str]] = {
        "README.md": {"steps": steps(), "estimators": estimators(), "activations": activations()},
        "bench/README.md": {"activations": all_activations(), "steps": all_steps(), "dense": all_dense()},
    }
    for path, made in pages.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        yield path, text, sections(path, text, **made)


def differences() -> str:
    """What is out of date, as a unified diff; empty if nothing is."""
    parts: list[str] = []
    for path, old, new in derived():
        parts += difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"{path} (as it is)", "(derived)")
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
                (ROOT / path).write_text(new, encoding="utf-8")
                print(f"rewrote {path}")
    except LookupError as error:
        sys.exit(str(error.args[0]))


if __name__ == "__main__":
    main()
