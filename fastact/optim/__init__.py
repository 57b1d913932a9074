"""Optimisers: one pass over the flat arrays a step. Names, defaults and formulas are PyTorch's.

What all of them share (``Optimizer``): the learning rate may follow a schedule, gradients may be clipped, weights decay
(biases and normalisation parameters do not, unless a group says so), groups of parameters have rates of their own,
frozen parameters stay as they are, and the state can be saved and restored exactly. Several networks of one loss (an
actor and a critic on a trunk) take a step together, ``Adam().step(trunk, pi, v)``; ``clip_grad_norm`` does by hand what
``clip_norm`` does in a step.
"""

from .optimizer import Group, Optimizer, clip_grad_norm, gradient_norm
from .rules import OPTIMIZERS, SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop, named_optimizer
from .schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseTime,
    Joined,
    OneCycle,
    Piecewise,
    Polynomial,
    StepDecay,
    WarmUp,
)

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "Group",
    "InverseTime",
    "Joined",
    "Lion",
    "NAdam",
    "OneCycle",
    "Optimizer",
    "Piecewise",
    "Polynomial",
    "RMSprop",
    "StepDecay",
    "WarmUp",
    "clip_grad_norm",
    "gradient_norm",
    "named_optimizer",
]
