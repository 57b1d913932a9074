"""What ``fastact train`` saves beside a network and the other commands read: what goes into it, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import functional, training
from ..data.columns import Plan
from ..data.tables import Table
from ..data.targets import Target
from ..files import parse_json, to_json
from ..network import Sequential
from ..persistence import load
from .options import CommandError, user_errors

DTYPE = np.dtype(np.float32)
TASK = "fastact train: table"  # marks the models that the commands understand


@dataclass(frozen=True)
class Model:
    """A network, what it is given and what it says."""

    net: Sequential
    plan: Plan
    target: Target

    def metadata(self) -> dict[str, str]:
        """Texts for the network's file."""
        return {"task": TASK, "plan": to_json(self.plan.to_json()), "target": to_json(self.target.to_json())}

    @classmethod
    def load(cls, path: Path) -> Model:
        """From a file; CommandError for one that is no such model."""
        with user_errors():
            net = load(path)
            if not isinstance(net, Sequential):
                raise CommandError(f"{path} holds the networks {', '.join(net)}; save one by itself")
        return cls.of(path, net)

    @classmethod
    def of(cls, path: Path, net: Sequential) -> Model:
        """A network that was read there; CommandError where it is not of ``fastact train``."""
        try:
            return cls._read(net, net.metadata)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise CommandError(f"{path}: expected a model saved by fastact train, got another network") from error

    @classmethod
    def _read(cls, net: Sequential, metadata: Mapping[str, str]) -> Model:
        plan, target = Plan.from_json(parse_json(metadata["plan"])), Target.from_json(parse_json(metadata["target"]))
        if metadata["task"] != TASK or len(plan.features) != net.inputs or target.outputs != net.outputs:
            raise ValueError
        return cls(net, plan, target)

    def outputs(self, table: Table) -> np.ndarray:
        """The network's raw outputs for a table's rows."""
        return training.predict(self.net, self.plan.apply(table, DTYPE))

    def shown(self, predicted: np.ndarray) -> list[list[Any]]:
        """What was predicted, as it is shown: class names, or numbers; one list a row."""
        if self.target.task == "classification":
            return [[self.target.classes[i]] for i in predicted.tolist()]
        rows: list[list[Any]] = predicted.tolist()
        return rows


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Of the classes, from a classifier's raw outputs, in double."""
    return functional.softmax(outputs.astype(np.float64))


def groups(plan: Plan) -> dict[str, slice]:
    """Which of the network's inputs come from which column."""
    found, start = {}, 0
    for entry in plan.entries:
        width = len(entry.features)
        if width:
            found[entry.name] = slice(start, start + width)
        start += width
    return found
