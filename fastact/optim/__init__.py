"""Optimisers: one pass over the flat arrays a step. Names, defaults and formulas are PyTorch's.

What all of them share (``Optimizer``): the learning rate may follow a schedule, gradients may be clipped, weights decay
(biases and normalisation parameters do not, unless a group says so), groups of parameters have rates of their own,
frozen parameters stay as they are, and the state can be saved and restored exactly.
"""

from .optimizer import Group, Optimizer, gradient_norm
from .rules import OPTIMIZERS, SGD, Adagrad, Adam, AdamW, RMSprop, named_optimizer
from .schedules import Constant, Cosine, OneCycle, StepDecay, WarmUp

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Group",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "StepDecay",
    "WarmUp",
    "gradient_norm",
    "named_optimizer",
]
