"""Rows held out of the training."""

from __future__ import annotations

import numpy as np


def held_out(
    rows: int, count: int, generator: np.random.Generator, strata: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of ``count`` random rows, and of those that are left, in order.

    strata : what each row belongs to, of shape (rows,), a class say: each gives its share, rounded so that the shares
        add up to count (Hamilton's method: the largest remainders are rounded up), and keeps at least a row. Where
        that cannot be, as with a class for each row, they are passed over.
    """
    order = generator.permutation(rows)
    chosen = np.zeros(rows, bool)
    shares = None if strata is None else _shares(strata, count)
    if strata is None or shares is None:
        chosen[order[:count]] = True
    else:
        numbers = np.unique(strata, return_inverse=True)[1].reshape(-1)[order]
        by_stratum = np.argsort(numbers, kind="stable")  # of each stratum its rows in their random order
        begin = 0
        for size, share in zip(np.bincount(numbers), shares, strict=True):
            chosen[order[by_stratum[begin : begin + share]]] = True
            begin += size
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _shares(strata: np.ndarray, count: int) -> np.ndarray | None:
    """How many of each stratum; None where some would be left without a row."""
    sizes = np.unique(strata, return_counts=True)[1]
    most = sizes - 1
    exact = sizes * (count / sizes.sum())
    shares = np.minimum(np.floor(exact).astype(np.int64), most)
    missing = count - shares.sum()
    room = np.flatnonzero(shares < most)
    if missing > len(room):
        return None
    shares[room[np.argsort(-(exact - shares)[room], kind="stable")[:missing]]] += 1
    return shares


def split_rows(labels: np.ndarray | int, seed: int = 0, fraction: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers that stay, and a random fraction that is held out.

    Of class labels, that fraction of each class, and at least one row of a class that has two; of a number of rows, at
    least one of two.
    """
    alike = np.zeros(labels, np.int8) if isinstance(labels, int) else labels
    _, numbers, counts = np.unique(alike, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    out = np.zeros(len(alike), bool)
    for number, count in enumerate(counts):
        rows = np.flatnonzero(numbers == number)
        if count > 1:
            out[rng.permutation(rows)[: max(1, round(count * fraction))]] = True
    return np.flatnonzero(~out), np.flatnonzero(out)
