"""Training: ``fit``, ``evaluate`` and ``predict``, what they train for, and what may look on.

>>> import numpy as np
>>> import fastact as fa
>>> rng = np.random.default_rng(0)
>>> x, labels = rng.normal(size=(400, 5)), rng.integers(0, 3, 400)
>>> net = fa.Sequential(fa.Dense(5, 16, "relu"), fa.Dense(16, 3), rng=0)
>>> history = fa.fit(
...     net, x, labels, epochs=50, batch_size=64, rng=0, validation=0.1, patience=5,
...     checkpoint="run.safetensors", progress=False,
... )
>>> len(history.loss) == len(history["validation_accuracy"]) == history.epochs
True

- **Data**: lists, NumPy arrays of any number type, pandas frames and CPU torch tensors are converted once to the
  network's dtype. NaN, infinity, text, sparse and masked data are refused with their place and a way out.
  ``standardize=True`` has the network take raw columns; a ``TrainingWarning`` names data that need it.
- **Data that are not in memory**: arrays on disk, Parquet and CSV files, and whatever makes batches (``fastact.data``)
  take the place of x and y. They are shuffled within a window of 64 MB, read ahead by another thread, and resumed bit
  for bit; ``predictions`` gives outputs batch after batch.
- **Losses**: by name; with options, ``functools.partial(fa.huber, delta=0.5)``; or any function of (outputs, targets)
  that returns the mean loss and its gradient. ``sample_weight=`` weighs rows.
- **Validation**: ``(x, y)``, or a fraction of the rows, which ``rng`` draws. **Metrics**: "accuracy", "r2" or functions
  of (outputs, targets); what suits the loss is measured unasked.
- **Callbacks**: subclass ``Callback`` and override what is needed; each method is given the run (``run.net``,
  ``run.optimizer``, ``run.history``, ``run.epoch``, ``run.step``, ``run.logs``, ``run.stop()``, ``run.save(path)``,
  ``run.write(text)``). ``EarlyStopping`` puts the best weights back, BatchNorm's statistics included;
  ``ReduceOnPlateau`` lowers the rate; ``AverageWeights`` keeps the weights' average; ``CSVLogger`` writes
  the history as it grows.
- **Resuming**: ``fit(..., resume="run.safetensors")`` with the same arguments goes on from a checkpoint, bit for bit as
  if it had never stopped: parameters, buffers, optimiser, schedule, shuffling, dropout masks, early stopping, history.
- **Ctrl-C** (and a notebook's stop button): the current step is finished, early stopping restores the best weights, and
  ``KeyboardInterrupt`` goes on to the caller, with the ``history`` so far: call ``fit`` again to go on.
- **NaN**: a loss that is not finite raises ``ValueError`` before it reaches the parameters, naming epoch, step, layer
  and parameter.
- **Penalties**: ``penalty=L2(strength)``, or any function that adds its gradient and returns its value.
- **Batches of your own**: ``fit_batches`` takes them from any object that yields them, and trains as ``fit`` does.
- **By hand**: ``net.forward(x, training=True)``, a loss, ``net.backward(grad)``, ``optimizer.step(net)``.
"""

from .callbacks import AverageWeights, Callback, Checkpoint, CSVLogger, EarlyStopping, ReduceOnPlateau, Run
from .history import History
from .loop import evaluate, fit, fit_batches, predict, predictions
from .penalties import L2

__all__ = [
    "L2",
    "AverageWeights",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "ReduceOnPlateau",
    "Run",
    "evaluate",
    "fit",
    "fit_batches",
    "predict",
    "predictions",
]
