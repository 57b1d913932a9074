"""What ``fastact train`` saves beside a network and ``fastact predict`` reads: classes, scaling, names of columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from .options import CommandError

DTYPE = np.dtype(np.float32)
TASK = "fastact train: classification"  # marks the models that ``predict`` understands


@dataclass(frozen=True)
class Classifier:
    """The features of a table to inputs of a network, and its outputs to classes. All of it is JSON."""

    classes: list[int] | list[str]
    mean: list[float]  # of each feature, and
    scale: list[float]  # what it is divided by
    features: list[str] | None  # their names
    label: str | None  # the name of the label's column

    def metadata(self) -> dict[str, str]:
        return {"task": TASK, **{key: json.dumps(value) for key, value in asdict(self).items()}}

    @classmethod
    def read(cls, metadata: Mapping[str, str], inputs: int, outputs: int) -> Classifier:
        """From such texts and the network's widths; KeyError, ValueError or TypeError where they are something else."""
        keys = ("classes", "mean", "scale", "features", "label")
        read = cls(**{key: json.loads(metadata[key]) for key in keys})
        mean, scale = np.array(read.mean, np.float64), np.array(read.scale, np.float64)
        if metadata["task"] != TASK or {len(mean), len(scale)} != {inputs} or len(read.classes) != outputs:
            raise ValueError
        return read

    def scaled(self, source: str, features: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            x = ((features - np.array(self.mean)) / np.array(self.scale)).astype(DTYPE)
        if not np.isfinite(x).all():
            row, column = np.argwhere(~np.isfinite(x))[0]
            raise CommandError(
                f"{source}: feature {column + 1} of row {row + 1} is too far from the others for {DTYPE}"
            )
        return x
