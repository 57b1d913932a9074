"""Small tasks to train on, and training by hand."""

import functools

import numpy as np

import fastact as fa


def table(rows=103, inputs=7, outputs=3, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs)).astype(dtype)
    return x, rng.integers(0, outputs, rows), rng.normal(size=(rows, outputs)).astype(dtype)


def network(inputs=7, outputs=3, dtype="float32", activation="tanh", seed=1):
    return fa.Sequential(fa.Dense(inputs, 5, activation=activation), fa.Dense(5, outputs), dtype=dtype, rng=seed)


fit = functools.partial(fa.fit, progress=False, rng=3)


def by_hand(net, x, y, loss, optimizer, epochs, size, rng, **options):
    """The loop that fit is: shuffled batches, a short one at the end, forward, loss, backward, step.

    Rows that are one batch stay in their order.
    """
    generator, losses = np.random.default_rng(rng), []
    weights = options.pop("sample_weight", None)
    for _ in range(epochs):
        order = generator.permutation(len(x)) if size < len(x) else np.arange(len(x))
        total = 0.0
        for start in range(0, len(x), size):
            chosen = order[start : start + size]
            extra = {} if weights is None else {"sample_weight": weights[chosen]}
            value, grad = loss(net.forward(x[chosen], training=True), y[chosen], **options, **extra)
            net.backward(grad)
            optimizer.step(net)
            total += value * (len(chosen) if weights is None else weights[chosen].sum())
        losses.append(total / (len(x) if weights is None else weights.sum()))
    return losses
