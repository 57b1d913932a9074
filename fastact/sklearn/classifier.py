"""``MLPClassifier``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from .. import backends, checks, functional, losses
from ..data.sources import Source
from ..data.streaming import WINDOW
from ..training.metrics import largest_column
from . import solvers, streams
from .base import MultilayerPerceptron
from .documentation import documented


@documented
class MLPClassifier(ClassifierMixin, MultilayerPerceptron):  # type: ignore[misc]
    """Multilayer perceptron that classifies, trained for the log loss.

    Parameters
    ----------
    {parameters}
    class_weight : dict, "balanced" or None, default=None
        What rows of each class count: a number by class, or "balanced" for n_samples / (n_classes * rows of the class).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels; of multilabel targets the numbers of their columns.
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from fastact.sklearn import MLPClassifier
    >>> X, y = make_classification(n_samples=200, random_state=1)
    >>> classifier = MLPClassifier(activation="gelu", dropout=0.1, random_state=1, max_iter=300).fit(X, y)
    >>> classifier.predict_proba(X[:3]).shape
    (3, 2)
    >>> classifier.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **MultilayerPerceptron._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _numeric_targets = False

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        layer_norm: bool = False,
        weight_init: Any = None,
        optimizer: Any = None,
        callbacks: Any = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        restore_best_weights: bool = False,
        dtype: Any = None,
        n_threads: int | None = None,
        class_weight: Any = None,
    ) -> None:
        self._take(locals())

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, validation: Any = None, window: Any = WINDOW
    ) -> MLPClassifier:
        """Train.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features); or a source, as ``fastact.fit`` takes it, with
            ``y`` left out, but for memory maps: those as ``fastact.data.Arrays(X, y)``
        y : class labels of shape (n_samples,), or rows of 0 and 1, one column a label
        sample_weight : numbers >= 0 of shape (n_samples,)
        validation : (X, y), or a source, measured after each epoch; with ``early_stopping`` in place of a part of the
            data
        window : how much of a source is in memory at a time, as rows or bytes

        Returns self.
        """
        return self._fit(X, y, sample_weight, validation, window)

    @available_if(MultilayerPerceptron._check_solver)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Go through the data once, from where the estimator stands; ``callbacks`` are not called.

        ``classes``, all labels there will be, is needed in the first call. Returns self.
        """
        if "classes_" not in self.__dict__:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            known = y if y is not None or streams.source_of("partial_fit", X) is None else classes
            self._multilabel = type_of_target(known).startswith("multilabel")
            self.classes_ = unique_labels(classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable classes, of shape (n_samples,); of multilabel targets rows of 0 and 1."""
        chosen = self._chosen(self._outputs(X))
        if self._multilabel:
            return chosen.astype(np.int64)
        return self.classes_.take(chosen, mode="clip")

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of shape (n_samples, n_classes), in the order of ``classes_``."""
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            return functional.softmax(outputs, out=outputs)
        found = functional.sigmoid(outputs, out=outputs)
        return found if self._multilabel else np.hstack([1 - found, found])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, finite where those are rounded to 0."""
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            return functional.log_softmax(outputs, out=outputs)
        if not self._multilabel:
            return functional.log_sigmoid(np.hstack([-outputs, outputs]))
        rounded = functional.sigmoid(outputs)  # labels that are equally certain by these are so by their logarithms
        return np.log(rounded, out=functional.log_sigmoid(outputs), where=rounded > 0.5)

    # -------------------------------------------------------------------- what the base asks for

    def _units(self) -> int:
        classes = len(self.classes_)
        return classes if self._multilabel or classes > 2 else 1

    def _link(self) -> str:
        return "softmax" if not self._multilabel and len(self.classes_) > 2 else "logistic"

    def _loss(self) -> solvers.Loss:
        if self.out_activation_ == "softmax":
            return losses.softmax_cross_entropy
        return solvers.over_outputs(losses.bce_with_logits, self.n_outputs_, summed=True)

    def _chosen(self, outputs: np.ndarray) -> np.ndarray:
        """Class numbers, or which labels are on."""
        if self.out_activation_ == "softmax":
            return largest_column(outputs)
        on = functional.sigmoid(outputs) > 0.5
        return on if self._multilabel else on[:, 0]

    def _score_of(self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray | None) -> float:
        chosen = self._chosen(outputs)
        right = (chosen == targets).all(axis=1) if self._multilabel else chosen == targets.reshape(chosen.shape)
        return float(np.average(right, weights=sample_weight))

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        return targets.astype(bool) if self.n_outputs_ == 1 else None

    def _check_targets(self, y: Any, incremental: bool, first: bool) -> np.ndarray:
        y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            check_classification_targets(y)
            raise ValueError("Multioutput target data is not supported with label binarization")
        multilabel = kind == "multilabel-indicator"
        known = "classes_" in self.__dict__ and (self.warm_start or incremental)
        if not known or not incremental:
            classes = np.unique(y) if y.dtype.kind != "O" and not multilabel else unique_labels(y)
        self.__dict__.pop("_balanced", None) if not incremental else None
        if not known:
            self._multilabel, self.classes_ = multilabel, classes
        elif not incremental and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError(f"expected y to be of the same kind as in the call before, got {kind} of shape {y.shape}")
        if multilabel:
            return y.astype(np.float64)
        numbers = self._numbers(y)
        if numbers is None:
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {unique_labels(y)}."
            )
        return numbers

    def _survey(self, source: Source, y: np.ndarray) -> None:
        self.__dict__.pop("_balanced", None)
        if type_of_target(y).startswith("multilabel"):
            self._check_targets(y, False, True)
            return
        check_classification_targets(y)
        classes, counts = streams.labels(source)
        if self.warm_start and "classes_" in self.__dict__ and set(classes) != set(self.classes_):
            raise ValueError(f"warm_start can only be used with the classes of before, {self.classes_}, got {classes}")
        self._multilabel, self.classes_ = False, classes
        if self.class_weight == "balanced":
            each = counts.sum() / (len(classes) * counts)
            self._balanced = dict(zip(classes.tolist(), each.tolist(), strict=True))

    def _numbers(self, y: np.ndarray) -> np.ndarray | None:
        """Class numbers, as the loss takes them; None where there are other classes."""
        classes, numbers = self.classes_, y
        if not (
            classes.dtype.kind in "iu" and (classes[0], classes[-1]) == (0, len(classes) - 1) and _within(y, classes)
        ):
            numbers = np.searchsorted(classes, y)
            if not (classes.take(numbers, mode="clip") == y).all():
                return None
        return numbers[:, None].astype(np.float64) if self._link() == "logistic" else numbers

    def _quick_targets(self, y: Any, rows: int) -> np.ndarray | None:
        if self._multilabel or self.class_weight is not None or type(y) is not np.ndarray or y.shape != (rows,):
            return None
        if y.dtype.kind != self.classes_.dtype.kind or y.dtype.kind == "O":
            return None
        numbers = self._numbers(y)
        return None if numbers is None else self._plain_targets(numbers)

    def _row_weights(self, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool) -> np.ndarray | None:
        if self.class_weight is None:
            return sample_weight
        class_weight = self.__dict__.get("_balanced", self.class_weight)
        if incremental and class_weight == "balanced":
            raise ValueError("class_weight='balanced' is not supported by partial_fit; pass a dict of weights")
        labels = y if self._multilabel else self.classes_[y.astype(np.int64).ravel()]
        weights = compute_sample_weight(class_weight, labels)
        return weights if sample_weight is None else weights * sample_weight

    def __sklearn_tags__(self) -> Any:
        """Multilabel targets too."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _within(y: np.ndarray, classes: np.ndarray) -> bool:
    """Whether y is class numbers as they are, seen at a glance."""
    if y.dtype != np.int64 or not checks.is_plain(y):
        return False
    counted, low, high = backends.current().label_range(y, -1)
    return counted == len(y) and low >= 0 and high < len(classes)
