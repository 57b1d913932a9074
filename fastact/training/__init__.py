"""Training: ``fit``, ``evaluate`` and ``predict``, what they train for, and what may look on."""

from .callbacks import Callback, Checkpoint, EarlyStopping, Run
from .history import History
from .loop import evaluate, fit, predict

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "History", "Run", "evaluate", "fit", "predict"]
