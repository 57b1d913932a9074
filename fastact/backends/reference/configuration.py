"""What the compiled core says of itself: here, one thread and no instruction sets."""

from __future__ import annotations

from typing import Any

from ...registry import ACTIVATIONS, LEARNED


def instruction_sets() -> list[tuple[str, bool]]:
    return []


def use_instruction_set(name: str) -> None:
    raise ValueError(name)


def activation_names() -> list[str]:
    return list(ACTIVATIONS)


def learned_names() -> list[str]:
    return list(LEARNED)


def build_information() -> dict[str, Any]:
    return {"openmp": False, "compiler": None}


def configure(
    choice: Any, native: Any, threads: Any, limit: int, activation_thresholds: list[int], rows: int, updates: int,
    products: int,
) -> None:  # fmt: skip
    pass


def allocations() -> int:
    return 0


def set_threads(n: int) -> None:
    pass


def get_threads() -> int:
    return 1


def forked() -> bool:
    return False
