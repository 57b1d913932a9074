"""What objects say of themselves."""

import numpy as np
import pytest
from tasks import fit, network, table

import fastact as fa
from fastact import diagnostics


class Scale(fa.Layer):
    def __init__(self, start=1.0, *, slow=False):
        super().__init__()
        self.start, self.slow = start, slow


class Late(fa.Layer):
    """Its constructor's argument is nowhere to be found."""

    def __init__(self, size):
        super().__init__()


LAYERS = {
    "Dense(50 -> 32, gelu)": fa.Dense(50, 32, "gelu"),
    "Dense(3 -> 2)": fa.Dense(3, 2),
    "Dense(3 -> 2, bias=False)": fa.Dense(3, 2, bias=False, weight_init="zeros"),
    "Dense(3 -> 2, elu(alpha=0.5))": fa.Dense(3, 2, fa.activation("elu", alpha=0.5)),
    "Dense(3 -> 2, prelu(weight=0.25))": fa.Dense(3, 2, "prelu"),
    "Dense(3 -> 2, maxout(pieces=4))": fa.Dense(3, 2, fa.activation("maxout", pieces=4)),
    "Activation(7 -> 7, leaky_relu(negative_slope=0.2))": fa.Activation(
        fa.activation("leaky_relu", negative_slope=0.2), 7
    ),
    "Activation(softmax)": fa.Activation("softmax"),
    "PReLU(5 -> 5, init=0.1)": fa.PReLU(init=0.1, inputs=5),
    "Swish(per_channel=True, init=1.0)": fa.Swish(per_channel=True),
    "Maxout(8 -> 4, pieces=2)": fa.Maxout(2, 8),
    "Dropout(rate=0.2)": fa.Dropout(0.2, seed=3),
    "AlphaDropout(6 -> 6, rate=0.5)": fa.AlphaDropout(inputs=6),
    "LayerNorm(eps=1e-05, bias=False)": fa.LayerNorm(bias=False),
    "Residual(4 -> 4, LayerNorm(4 -> 4, eps=1e-05), Dense(4 -> 4, relu))": fa.Residual(
        fa.LayerNorm(inputs=4), fa.Dense(4, 4, "relu")
    ),
    "Scale(start=0.5)": Scale(0.5),
    "Scale(start=1.0, slow=True)": Scale(slow=True),
    "Late()": Late(3),
}


@pytest.mark.parametrize("text", LAYERS)
def test_layers(text):
    assert repr(LAYERS[text]) == str(LAYERS[text]) == text


def test_networks_and_their_summaries():
    net = fa.Sequential(fa.Dense(50, 32, "gelu"), fa.BatchNorm(), fa.Dense(32, 3))
    assert repr(net).splitlines() == [
        "Sequential(",
        "    Dense(50 -> 32, gelu),",
        "    BatchNorm(32 -> 32, momentum=0.1, eps=1e-05),",
        "    Dense(32 -> 3),",
        "    float32, 1795 parameters",
        ")",
    ]
    assert repr(fa.Sequential(fa.Dense(3, 2, "relu"))) == "Sequential(Dense(3 -> 2, relu), float32, 8 parameters)"
    summary = net.summary()
    assert isinstance(summary, str)
    assert repr(summary) == str(summary)  # as a notebook shows what its last line gives
    assert "0 Dense(50 -> 32, gelu)" in summary.splitlines()[2]


ACTIVATIONS = {
    "activation('leaky_relu', negative_slope=0.01)": fa.activation("leaky_relu"),
    "activation('hard_tanh', min_val=-2.0, max_val=1.0)": fa.activation("hard_tanh", min_val=-2),
    "activation('relu')": fa.activation("relu"),
    "activation('gelu_tanh')": fa.activation("gelu", approximate="tanh"),
    "activation('prelu', weight=0.25)": fa.activation("prelu"),
    "activation('swish', beta=<900 numbers>)": fa.activation("swish", beta=np.ones(900)),
    "activation('maxout', pieces=3)": fa.activation("maxout", pieces=3),
    "custom_activation('square', ...)": fa.custom_activation("square", np.square, lambda x: 2 * x),
}


@pytest.mark.parametrize("text", ACTIVATIONS)
def test_activations(text):
    found = ACTIVATIONS[text]
    assert repr(found) == text
    if "<" not in text and "..." not in text:
        again = eval(text, {"activation": fa.activation})
        assert (again.name, dict(again.parameters)) == (found.name, dict(found.parameters))


def test_what_takes_part_in_a_training():
    seen = []

    class Watch(fa.Callback):
        def on_epoch_end(self, run):
            seen.append(repr(run))

    x, labels, _ = table()
    history = fit(network(), x, labels, epochs=2, validation=0.3, callbacks=[Watch()])
    assert seen[0].startswith(f"Run(epoch 1 of 2, step {history.steps // 2}, loss {history.loss[0]:.4g}, validation_")
    assert repr(history).startswith(f"History(2 epochs, {history.steps} steps, ")
    assert f"validation_accuracy {history['validation_accuracy'][-1]:.4g}" in repr(history)
    assert repr(fa.History()) == "History(0 epochs, 0 steps, 0 s)"
    assert repr(fa.EarlyStopping(5)).startswith("EarlyStopping(patience=5, monitor='validation_loss', min_delta=0.0")
    assert repr(Watch()) == "Watch()"
    assert repr(fa.Monitor(every=7)).startswith("Monitor(every=7, saturation=")


def test_reports_can_be_read_at_a_prompt():
    net, x = fa.Sequential(fa.Dense(3, 2, "tanh"), rng=0), np.ones((4, 3), np.float32)
    with diagnostics.observe(net) as stats:
        net.forward(x, training=True)
    assert repr(stats.report()) == str(stats.report())
    check = fa.check_gradients(net, "squared_error", x, np.zeros((4, 2), np.float32))
    assert repr(check) == str(check)
    assert "0.weight" in repr(check)
