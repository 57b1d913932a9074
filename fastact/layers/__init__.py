'''The layers of the library; ``Layer`` is their base, ``fastact.Sequential`` strings them together.

=============================================== ======================================================================
``Dense(inputs, outputs, activation)``          activation(x @ weight + bias), fused; "prelu", "swish", "maxout" too
``Activation(name)``                            any elementwise activation, a custom one, "softmax", "log_softmax"
``PReLU(per_channel=False)``, ``Swish(...)``    activations with a learned weight
``Maxout(pieces)``                              the largest of each ``pieces`` neighbours
``Dropout(rate)``, ``AlphaDropout(rate)``       the latter for SELU: mean 0 and variance 1 stay
``LayerNorm(eps)``, ``BatchNorm(momentum)``     normalisation of rows and of columns, with PyTorch's conventions
``Residual(*block)``                            x + block(x); its parameters are named "3.0.weight"
=============================================== ======================================================================

Layers that keep the width take it from the layer before; where they stand first, say ``inputs=``:

>>> import fastact as fa
>>> net = fa.Sequential(
...     fa.Dense(20, 64, "gelu"),
...     fa.BatchNorm(),
...     fa.Dropout(0.2),
...     fa.Residual(fa.LayerNorm(), fa.Dense(64, 64, "relu")),
...     fa.Dense(64, 10),
...     rng=0,
... )
>>> net.parameter_count
6410

The network lays all parameters, gradients and buffers (BatchNorm's running statistics) out in one flat array each,
plans once who may write over what (a layer works in place only on what no backward reads), and allocates no array after
the first epoch.

- ``net.summary()`` shows shapes, parameters and memory; ``net.freeze(0)``, ``net.freeze("*.bias")`` and
  ``net.unfreeze()`` say what is trained: backward skips the weight gradients of a frozen layer, and everything below
  the lowest layer that is trained. A frozen ``BatchNorm`` normalises with its running statistics and keeps them.
- ``net.backward(grad, accumulate=True)`` adds to the gradients; ``need_input_grad=True`` returns the gradient of x.
- ``net.state_dict()`` and ``net.load_state_dict(values)`` speak PyTorch's names and layout (weights are (out, in));
  ``load_state_dict`` takes CPU tensors and numbers layers by position, so that the state of
  ``torch.nn.Sequential(Linear, ReLU, Linear)`` fits ``Sequential(Dense(..., "relu"), Dense(...))``.
- Dropout's masks follow from a seed, the number of training passes and an element's place: the same in any backend,
  dtype and number of threads.
- ``pickle`` and ``copy.deepcopy`` take everything along: parameters, buffers, random state, what is frozen.

A custom layer
--------------
It says the shapes of its parameters, fills them, and goes forward and back. This one scales each column by a learned
number:

>>> import numpy as np
>>> class Scale(fa.Layer):
...     """y = x * weight, one weight a column."""
...
...     def __init__(self, start=1.0):
...         super().__init__()  # inputs and outputs: as wide as the layer before
...         self.start = start
...
...     def parameter_specs(self):  # names, shapes and kinds: "weight" is what weight decay applies to
...         return {"weight": fa.ParameterSpec((self.inputs,), "norm")}
...
...     def initialize(self, rng):  # parameters are views of the network's flat array: fill them
...         self.parameters["weight"][...] = self.start
...
...     def forward(self, x, training=False):
...         if training:
...             self.x = x  # stays as it is until backward
...         return x * self.parameters["weight"]
...
...     def backward(self, grad, need_input_grad=True):
...         np.sum(grad * self.x, axis=0, out=self.gradients["weight"])  # overwrite, do not add
...         return grad * self.parameters["weight"] if need_input_grad else None
...
...     def describe(self):  # JSON; the constructor gets it back as keywords
...         return {"layer": "Scale", "start": self.start}
>>> net = fa.Sequential(fa.Dense(8, 16, "gelu"), Scale(0.5), fa.Dense(16, 3), rng=0)
>>> net.layers[1].parameters["weight"][:2]
array([0.5, 0.5], dtype=float32)

``net.save("scaled.safetensors")`` writes it, ``fa.load("scaled.safetensors", custom={"Scale": Scale})`` reads it. x and
grad have shape (rows, width) and the network's dtype; leave them as they are. What ``forward`` returns must have shape
(rows, ``outputs``) and the same dtype, which the network checks, and may be a view of x. A layer that changes the
width sets ``self.outputs`` (in the constructor, or in ``connect(inputs)`` where it depends on the layer before). State
that is not trained goes into ``buffer_specs()`` and ``self.buffers``, a random generator's into ``random_state()`` and
``set_random_state(state)``. A layer whose backward reads neither x nor its own result can say ``reads_input = False``
or ``reads_output = False``, and its neighbours may then work in place. What a ``Layer`` has already (``dtype``,
``plan``, ``frozen``, ``workspaces``, ``scratch``, ``slope`` and names that begin with ``_``) is not for other uses.

A custom activation is two NumPy functions, ``fa.custom_activation``; it works in ``fa.dense``, ``Dense`` and
``Activation``, at NumPy's speed.
'''

from .activations import Activation, Maxout, PReLU, Swish
from .base import Layer
from .dropout import AlphaDropout, Dropout
from .fully_connected import Dense
from .normalization import BatchNorm, LayerNorm, Standardize
from .residual import Residual

__all__ = [
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Layer",
    "LayerNorm",
    "Maxout",
    "PReLU",
    "Residual",
    "Standardize",
    "Swish",
]
