"""Training: ``fit``, ``evaluate`` and ``predict``, what they train for, and what may look on."""

from .callbacks import Callback, Checkpoint, EarlyStopping, History, Run
from .loop import evaluate, fit, predict

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "History", "Run", "evaluate", "fit", "predict"]
