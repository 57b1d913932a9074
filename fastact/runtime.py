"""Threads, instruction set and backend: what runs, and how to choose it.

Here are the settings. How many threads a call uses is decided by ``thread_count`` in the compiled core and, by its
size, by ``threads_from`` beside it. The threads are those of ``backends/pool.h``; OpenMP gives their number.
OMP_WAIT_POLICY, read once at import, says how they wait: actively for a moment (unset), not at all (passive), or as if
there were always more to do (active).

Environment, read once at import: FASTACT_NUM_THREADS, FASTACT_ISA (baseline, avx2, avx512) and FASTACT_BACKEND
(native, numpy). A value that is unknown, or that this machine cannot serve, raises ValueError naming the valid ones.
"""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from . import backends
from ._version import __version__
from .backends import NATIVE, compiled, engine, get_backend
from .registry import ACTIVATIONS

#: Microseconds for which a thread that has nothing to do looks out for work before it sleeps, by OMP_WAIT_POLICY: more
#: than passes between the calls of a training step (30 are too few for 64; 784-128-10), less than a scheduler's turn.
PATIENCE = {"passive": 0, "": 50, "active": 200_000}

# Elements ("products": multiplications) from which work is shared between threads, per cost class: between the two
# sizes that bench/thresholds.py finds. On two AVX-512 cores a team that has just worked costs 1 to 3 us and pays from
# 32 Ki (light), 16 Ki (heavy, rows, updates) and 512 Ki (products) on; one that sleeps takes 50 us to wake and pays
# from 512 Ki (updates 256 Ki; products not up to 4 Mi). An update comes right after the products of a backward pass.
THRESHOLDS = {"light": 262_144, "heavy": 131_072, "rows": 131_072, "updates": 65_536, "products": 1_048_576}
ASLEEP = 4  # while the other threads sleep, work has to be so many times as large


def _environment(name: str, choices: tuple[str, ...]) -> str | None:
    value = os.environ.get(name)
    if value is not None and value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}; unset it for the default")
    return value


def _cgroup_cpus(membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPUs that the control group's quota amounts to; infinity without one."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return math.inf
    limit = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version_1 = "cpu" in controllers.split(",")
        if controllers and not version_1:
            continue
        base = root / "cpu" if version_1 else root
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):  # an ancestor's quota binds too
            try:
                if version_1:
                    quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
                    period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
                else:
                    quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
                if quota.strip() != "max" and float(quota) > 0:
                    limit = min(limit, float(quota) / float(period))
            except (OSError, ValueError):
                pass
            if folder == base:
                break
    return limit


def _usable_cpus() -> int:
    """CPUs this process may use: affinity and control-group quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count() or 1
    return max(1, math.ceil(min(count, _cgroup_cpus())))


def _positive_threads(source: str, n: object) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"{source}: expected a whole number of threads, got {type(n).__name__}")
    if n < 1:
        raise ValueError(f"{source}: expected at least 1 thread, got {n}")
    return min(int(n), 2**31 - 1)


_threads: ContextVar[int] = ContextVar("fastact_threads", default=0)  # 0: no choice in this context
_process_threads = 0


def _select_instruction_set() -> str | None:
    """The instruction set to use: FASTACT_ISA, else the best supported one."""
    if not compiled:
        _environment("FASTACT_ISA", ("baseline", "avx2", "avx512"))
        return None
    usable = tuple(name for name, supported in engine.instruction_sets() if supported)
    name = _environment("FASTACT_ISA", usable) or usable[-1]
    engine.use_instruction_set(name)
    return name


instruction_set = _select_instruction_set()
if "FASTACT_NUM_THREADS" in os.environ:
    try:
        _process_threads = _positive_threads("FASTACT_NUM_THREADS", int(os.environ["FASTACT_NUM_THREADS"]))
    except ValueError as error:
        raise ValueError(
            f"FASTACT_NUM_THREADS: expected a whole number >= 1, got {os.environ['FASTACT_NUM_THREADS']!r}"
        ) from error


def set_thresholds(rows: int, updates: int, products: int, activations: dict[str, int] | None = None) -> None:
    """Tell the core from which sizes on it shares work between threads; activations by cost class."""
    by_cost = activations or THRESHOLDS
    each = [by_cost[entry.cost] for entry in ACTIVATIONS.values()]
    engine.configure(backends.choice, NATIVE, _threads, _usable_cpus(), each, rows, updates, products, ASLEEP)


set_thresholds(THRESHOLDS["rows"], THRESHOLDS["updates"], THRESHOLDS["products"])
engine.set_threads(_process_threads)
#: The kernels for C and Cython, as include/fastact.h finds them; None without a compiled core.
C_API = engine.lend([(e.saves or "-", e.defaults) for e in ACTIVATIONS.values()]) if compiled else None
_patience = PATIENCE.get(os.environ.get("OMP_WAIT_POLICY", "").strip().lower(), PATIENCE[""])
engine.set_patience(1000 * _patience)


def get_num_threads() -> int:
    """Threads that a large call in this context uses (1 in a forked child, and without OpenMP)."""
    return engine.get_threads()


def _refuse_in_child(source: str, n: int) -> None:
    if n > 1 and engine.forked():
        raise RuntimeError(
            f"{source}: this process was forked after fastact was imported and computes with one thread, as no other "
            "thread survives a fork; start workers with the 'spawn' or 'forkserver' method instead"
        )


def set_num_threads(n: int) -> None:
    """Use n threads for large calls in the whole process, wherever no ``num_threads`` context says otherwise.

    Raises TypeError or ValueError unless n is a whole number >= 1, and RuntimeError for n > 1 in a forked child.
    """
    global _process_threads
    n = _positive_threads("set_num_threads", n)
    _refuse_in_child("set_num_threads", n)
    _process_threads = n
    engine.set_threads(n)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """``with num_threads(n):`` use n threads in this context (this thread or task) only."""
    n = _positive_threads("num_threads", n)
    _refuse_in_child("num_threads", n)
    token = _threads.set(n)
    try:
        yield
    finally:
        _threads.reset(token)


def _pools() -> list[str] | None:
    """Whose threads there are in this process beside ours; None where threadpoolctl is not there to say."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    return [
        f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        + f" ({Path(pool['filepath']).name}): {pool['num_threads']} threads"
        for pool in threadpool_info()
    ]


def config() -> dict[str, object]:
    """What is installed and in use, as a dictionary (``fastact info --json``)."""
    built, information = engine.instruction_sets(), engine.build_information()
    return {
        "version": __version__,
        "backend": get_backend(),
        "instruction_set": instruction_set,
        "instruction_sets_built": [name for name, _ in built],
        "instruction_sets_supported": [name for name, supported in built if supported],
        "openmp": information["openmp"],
        "threads": get_num_threads(),
        "wait_policy": f"active for {_patience} us, then asleep",
        "other_pools": _pools(),
        "compiler": information["compiler"],
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "path": str(Path(__file__).parent),
    }


def get_include() -> str:
    """The folder of ``fastact.h``, for C and Cython code that calls the kernels: ``include_dirs=[get_include()]``.

    The header says how; ``from fastact.capi cimport fastact_import, fastact_number, fastact_forward_float`` declares it
    to Cython. Nothing is linked: the kernels are found at run time, in the fastact that is installed then.
    """
    return str(Path(__file__).parent / "include")


def show_config() -> None:
    """Print what is installed and in use: backend, instruction set, threads and how they wait, compiler, versions, and
    (where threadpoolctl is installed) the other thread pools of the process.
    """
    for key, entry in config().items():
        text = ", ".join(entry) if isinstance(entry, list) else entry
        if key == "other_pools" and entry is None:
            text = "not known: threadpoolctl is not installed"
        sys.stdout.write(f"{key.replace('_', ' '):28}{text}\n")
