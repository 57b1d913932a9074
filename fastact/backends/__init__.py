"""Where arithmetic happens: the compiled core, and its twin in NumPy; one interface, and the choice between the two.

``current()`` is the backend of this context: a module with one function for each kernel, the same in both
(``_core``, compiled, and ``reference``). Arrays are plain, of one dtype and of shapes that fit: who calls has checked
them. ``engine`` is the compiled core where there is one, whatever the choice, else the reference. Its ``try_``
functions are the fast paths of the public functions: they look at their arguments and at the choice themselves, and
return None, with nothing written, for everything but the plain case of the native backend.

Kernels are called by number: a name's position in its list.

Environment, read once at import: FASTACT_BACKEND (native, numpy).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any

from .. import wording
from . import reference

__all__ = ["BACKENDS", "NATIVE", "NUMPY", "compiled", "current", "engine", "get_backend", "use_backend"]

#: The two values of the choice; compared by identity.
BACKENDS = NATIVE, NUMPY = ("native", "numpy")

_LISTS = ("activation_names", "learned_names", "row_function_names", "loss_names", "optimizer_names")


def _load() -> tuple[Any, ImportError | None]:
    """The compiled core, or why there is none; one that numbers its kernels otherwise than we do is none."""
    try:
        _core = import_module("._core", __name__)  # where it is missing, "from . import" would blame a circle
    except ImportError as error:
        return None, error
    for function in _LISTS:
        if getattr(_core, function)() != getattr(reference, function)():
            return None, ImportError(f"{function}() is not what the NumPy twins' is: compile the core again")
    return _core, None


def _remedy(missing: ImportError | None) -> str:
    """What to do about a core that is missing."""
    here = Path(__file__).resolve().parent
    if isinstance(missing, ModuleNotFoundError) and (here / "kernels").is_dir():
        return (
            f"these are the sources of fastact in {here.parents[1]}, not compiled: run pip install -e . there, or "
            "start Python in another folder, or as python -P, for the fastact that is installed"
        )
    return "reinstall fastact with a C compiler"


_core, _missing = _load()
#: Whether there is a compiled core.
compiled: bool = _core is not None
engine: Any = _core if compiled else reference


def _default() -> str:
    """The backend that the environment asks for, else the compiled one where there is one."""
    requested = os.environ.get("FASTACT_BACKEND")
    if requested is not None and requested not in BACKENDS:
        raise ValueError(
            f"FASTACT_BACKEND: expected one of {', '.join(BACKENDS)}, got {requested!r}; unset it for the default"
        )
    if compiled:
        return NUMPY if requested == NUMPY else NATIVE
    if requested == NATIVE:
        raise ImportError(
            f"FASTACT_BACKEND=native: the compiled core is missing ({_missing}); {_remedy(_missing)}; or set "
            "FASTACT_BACKEND=numpy"
        ) from _missing
    if requested is None:
        wording.warn(
            f"fastact: the compiled core is missing ({_missing}), and the numpy backend computes; "
            f"{_remedy(_missing)}; or set FASTACT_BACKEND=numpy to accept this",
            RuntimeWarning,
        )
    return NUMPY


#: The choice in this context; the compiled core reads it too.
_chosen = _default()
choice: ContextVar[str] = ContextVar("fastact_backend", default=_chosen)


def current() -> Any:
    """The backend of this context, a module."""
    return engine if choice.get() is NATIVE else reference


def get_backend() -> str:
    """The backend in this context: "native" or "numpy"."""
    return choice.get()


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """``with use_backend("numpy"):`` compute with the NumPy twin of every kernel in this context.

    Raises ValueError for another name, ImportError for "native" where the compiled core is missing.
    """
    if name not in BACKENDS:
        raise ValueError(f"use_backend: expected one of {', '.join(BACKENDS)}, got {name!r}")
    if name == NATIVE and not compiled:
        raise ImportError(f"use_backend: the compiled core is missing; {_remedy(_missing)}")
    token = choice.set(NATIVE if name == NATIVE else NUMPY)
    try:
        yield
    finally:
        choice.reset(token)
