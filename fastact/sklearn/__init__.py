"""scikit-learn's ``MLPClassifier`` and ``MLPRegressor`` over fastact: change the import, keep the script.

>>> from sklearn.datasets import load_digits
>>> from sklearn.model_selection import train_test_split
>>> from fastact.sklearn import MLPClassifier
>>> X, y = load_digits(return_X_y=True)
>>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
>>> classifier = MLPClassifier((64,), batch_size=32, max_iter=30, random_state=0, tol=0.01).fit(X_train, y_train)
>>> classifier.score(X_test, y_test) > 0.95
True

All parameters, attributes and rules are scikit-learn's (when training stops, what it warns, what early stopping
restores, what ``warm_start`` and ``partial_fit`` continue, which random numbers a seed gives); what a network with
``random_state=0`` becomes there, it becomes here, rounding apart. Beyond that:

- every activation of the library, one for each hidden layer where wanted, ``dropout``, ``batch_norm``, ``layer_norm``,
  ``weight_init``;
- ``class_weight``; the losses ``absolute_error``, ``huber`` and ``quantile``; ``scale_targets``;
- any ``optimizer`` of ``fastact.optim``, schedules and groups included, ``clip_norm``, ``clip_value``, ``callbacks``;
- ``fit(X, y, validation=(X_valid, y_valid))``, ``validation_loss_curve_``, ``restore_best_weights``;
- ``warm_start`` keeps the optimiser's state, as ``partial_fit`` does;
- float32 data are trained in float32, float64 data in float64, all others in float32, unless ``dtype`` says otherwise;
- sparse data become dense batch by batch; ``n_threads``; ``save`` and ``load`` without pickle; ``net_``, the network
  itself, and ``history_``.
"""

try:
    import scipy as _scipy  # noqa: F401
    import sklearn as _sklearn  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"fastact.sklearn needs scikit-learn and SciPy, and {error.name} is not installed; "
        "pip install 'fastact[sklearn]'",
        name=error.name,
    ) from error

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
