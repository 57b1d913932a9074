"""What goes on inside a network: dead and saturated units, zeros, means, gradients and updates; and gradient checks.

``Monitor`` watches a training and warns in words; ``observe`` does the same around a loop written by hand;
``check_gradients`` compares a network's gradients with differences of its loss::

    import fastact as fa
    import numpy as np
    from fastact.diagnostics import observe

    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(512, 20)).astype("float32"), rng.integers(0, 3, 512)
    net = fa.Sequential(fa.Dense(20, 64, activation="relu"), fa.Dense(64, 3), rng=0)

    monitor = fa.Monitor(warn=False)  # else a TrainingWarning: "layer 0: 61 % of units dead; lower the learning ..."
    fa.fit(net, x, labels, epochs=3, callbacks=[monitor], progress=False)
    print(monitor.report())

    with observe(net) as stats:
        _, grad = fa.softmax_cross_entropy(net.forward(x, training=True), labels)
        net.backward(grad)
    print(stats.report(), stats.dead_units(0))

    print(fa.check_gradients(net, "softmax_cross_entropy", x[:8], labels[:8]))

For each layer: dead and saturated units, zeros among the outputs, their mean and variance, norms of the gradients, the
change of the weights by a step relative to their size, and how far the gradients of a unit's weights share one sign
(``LayerStatistics``). All counts of a matrix come from one pass over it, ``column_statistics``.

A unit is *dead* where its slope is exactly 0 for every sample looked at: no gradient reaches its weights, so nothing
brings it back. It is *saturated* where it is not dead, yet |slope| stays below a threshold, 0.01. A smooth activation
never has the slope 0; where the slope merely rounds to it (elu below about -17 in float32), the unit is called
saturated.

``Monitor(every=25)`` looks at one batch in 25, which adds 2 to 4 % to a step of 0.2 ms and more, and a fifth to one of
15 us (take ``every=200`` there). What happens in the batches between is not seen, and a ``Residual`` is seen as one
layer.

``check_gradients`` compares a float64 copy of the network with centred differences of its loss. It knows kinks: where
the one-sided differences disagree by as much as the error, the element is skipped and counted.

``fastact examples`` computes worked examples of lectures on activation functions and backpropagation with the public
functions, and ``fastact compare`` trains one network with each activation; both use what is here.
"""

from ..wording import TrainingWarning
from .gradient_check import GradientCheck, check_gradients
from .monitor import Monitor
from .observer import Observer, observe
from .statistics import ColumnStatistics, LayerStatistics, column_statistics

__all__ = [
    "ColumnStatistics",
    "GradientCheck",
    "LayerStatistics",
    "Monitor",
    "Observer",
    "TrainingWarning",
    "check_gradients",
    "column_statistics",
    "observe",
]
