"""Estimators in files: the network as ``fastact.save`` writes it, and beside it what makes it an estimator, as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .. import epilogues, persistence
from ..network import Sequential

KEY = "fastact.sklearn"
#: What fitting leaves beside the network.
FITTED = (
    "classes_", "_multilabel", "target_mean_", "target_scale_", "_columns", "n_features_in_", "feature_names_in_",
    "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "validation_loss_curve_",
    "best_validation_score_", "_no_improvement_count", "n_outputs_", "n_layers_", "out_activation_",
)  # fmt: skip


def save(estimator: Any, path: Any) -> None:
    """Write an estimator."""
    parameters = {name: _encoded(value) for name, value in estimator.get_params(deep=False).items()}
    default = {name: _encoded(value) for name, value in type(estimator)().get_params(deep=False).items()}
    content = {
        "class": type(estimator).__name__,
        "parameters": {name: code for name, code in parameters.items() if code is not None and code != default[name]},
        "fitted": {name: _encoded(vars(estimator)[name]) for name in FITTED if name in vars(estimator)},
    }
    estimator.net_.save(path, metadata={KEY: json.dumps(content)})


def load(cls: Any, path: Any, custom: Any) -> Any:
    """Read an estimator of that class; ValueError for what ``save`` has not written."""
    net = persistence.load(path, custom)
    try:
        return _restored(cls, net, json.loads(net.metadata.pop(KEY)), custom)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{cls.__name__}.load: {path} does not hold such an estimator: {said}") from error


def _restored(cls: Any, net: Sequential, content: Any, custom: Any) -> Any:
    if content["class"] != cls.__name__:
        raise ValueError(f"it is of the class {content['class']!r}")
    estimator = cls(**{name: _decoded(code, custom) for name, code in content["parameters"].items()})
    estimator._validate_params()
    fitted = {name: _decoded(code, custom) for name, code in content["fitted"].items()}
    if not fitted.keys() <= set(FITTED):
        raise ValueError("it sets unknown attributes")
    vars(estimator).update(fitted, net_=net)
    labels = len(estimator.classes_) if "classes_" in fitted else estimator._columns
    if (estimator.n_features_in_, estimator.n_outputs_) != (net.inputs, net.outputs) or labels < 1:
        raise ValueError("its network is another")
    if estimator._units() != net.outputs or estimator._link() != estimator.out_activation_:
        raise ValueError("its targets are not those of its network")
    for name in ("target_mean_", "target_scale_"):
        if name in fitted and fitted[name].shape != (net.outputs,):
            raise ValueError(f"{name} is not one number an output")
    return estimator


def _encoded(value: Any) -> Any:
    """A value as {kind: JSON}; None for an object that is no data."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"plain": value}
    if isinstance(value, np.ndarray):
        plain = value.ndim == 1 and value.dtype.kind in "biufUO"
        return {"array": [value.dtype.str, value.tolist()]} if plain else None
    if isinstance(value, (list, tuple, range)):
        items = [_encoded(item) for item in value]
        return None if None in items else {"tuple" if isinstance(value, tuple) else "list": items}
    if isinstance(value, dict):
        pairs = [[_encoded(key), _encoded(item)] for key, item in value.items()]
        return None if any(None in pair for pair in pairs) else {"dict": pairs}
    if isinstance(value, epilogues.Epilogue):
        return {"activation": [value.name, value.parameters]}
    return {"dtype": np.dtype(value).name} if isinstance(value, (type, np.dtype)) else None


def _decoded(code: Any, custom: Any) -> Any:
    ((kind, content),) = code.items()
    if kind == "plain" and (content is None or isinstance(content, (bool, int, float, str))):
        return content
    if kind == "array":
        dtype = np.dtype(content[0])
        if dtype.kind == "O" and not all(isinstance(item, (str, int, float)) for item in content[1]):
            raise ValueError("a label is no text and no number")
        return np.array(content[1], dtype)
    if kind in ("tuple", "list"):
        items = [_decoded(item, custom) for item in content]
        return tuple(items) if kind == "tuple" else items
    if kind == "dict":
        return {_decoded(key, custom): _decoded(item, custom) for key, item in content}
    if kind == "activation":
        return epilogues.described(content[0], content[1], custom)
    if kind == "dtype":
        return np.dtype(content)
    raise ValueError(f"a value of the unknown kind {kind!r}")
