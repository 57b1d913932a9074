"""What objects say of themselves."""

import inspect
import re

import numpy as np
import pytest
from tasks import fit, network, table

import fastact as fa
from fastact import cli, diagnostics, wording


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
    "Standardize(4 -> 4)": fa.Standardize(4),
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


# ------------------------------------------------------------------------------------------ errors and the way out

X, LABELS = np.ones((6, 3), np.float32), np.array([0, 1, 2, 0, 1, 2])
UNKNOWN = [  # the function, its arguments, a keyword, and what is said of that
    (fa.optim.Adam, (), "learning_rate", "pass lr=0.001"),
    (fa.optim.AdamW, (), "eta", "pass lr=0.001"),
    (fa.optim.SGD, (), "clipnorm", "pass clip_parameter_norm=1.0"),
    (fa.optim.SGD, (), "global_clipnorm", "pass clip_norm=1.0"),
    (fa.optim.SGD, (), "nestrov", "did you mean nesterov="),
    (fa.fit, (None, X, LABELS), "max_iter", "pass epochs=100"),
    (fa.fit, (None, X, LABELS), "early_stopping", "pass patience=10, with validation=0.1"),
    (fa.fit, (None, X, LABELS), "validation_data", "pass validation=(x, y)"),
    (fa.fit, (None, X, LABELS), "class_weight", "functools.partial(fastact.softmax_cross_entropy"),
    (fa.fit, (None, X, LABELS), "learning_rate", "pass optimizer=fastact.optim.Adam(lr=0.001)"),
    (fa.fit, (None, X, LABELS), "weight_decay", "pass optimizer=fastact.optim.AdamW("),
    (fa.fit, (None, X, LABELS), "epoch", "did you mean epochs="),
    (fa.fit, (None, X, LABELS), "zzz", "it takes net, x, y, loss, optimizer, epochs"),
    (fa.evaluate, (None, X, LABELS), "criterion", "pass loss="),
    (fa.predict, (None, X), "batchsize", "pass batch_size=64"),
    (fa.Dense, (3, 2), "use_bias", "pass bias=False"),
    (fa.Dense, (), "in_features", "pass inputs=64"),
    (fa.Dense, (3,), "units", "pass outputs=10"),
    (fa.Dense, (3, 2), "kernel_initializer", "pass weight_init='he_normal'"),
    (fa.Dropout, (), "p", "pass rate=0.5"),
    (fa.BatchNorm, (), "epsilon", "pass eps="),
    (fa.Sequential, (fa.Dense(3, 2),), "random_state", "pass rng=0"),
    (fa.EarlyStopping, (), "restore_best_weights", "pass restore_best=True"),
    (fa.Checkpoint, (), "filepath", "pass path="),
]


@pytest.mark.parametrize(("function", "given", "keyword", "says"), UNKNOWN)
def test_keywords_of_other_libraries(function, given, keyword, says):
    with pytest.raises(TypeError) as caught:
        function(*given, **{keyword: 1})
    assert str(caught.value).startswith(f"{function.__name__}: there is no keyword {keyword!r}; ")
    assert says in str(caught.value)


def test_what_the_table_promises_exists():
    """Each remedy's keyword is one of the functions that have remedies, and no word is its own remedy there."""
    functions = [fa.fit, fa.evaluate, fa.Sequential, fa.EarlyStopping, fa.Checkpoint, *fa.optim.OPTIMIZERS.values()]
    functions += list(fa.layers.catalogue.LAYERS.values())
    taken = [set(inspect.signature(function).parameters) for function in functions]
    for words, remedy in wording.REMEDIES:
        keyword = remedy.partition("=")[0]
        assert any(keyword in each for each in taken), remedy
        assert keyword not in words.split()
        assert any(keyword in each and not set(words.split()) <= each for each in taken)


def test_known_calls_are_left_alone():
    assert inspect.signature(fa.fit).parameters["epochs"].default == 10
    assert list(inspect.signature(fa.optim.Adam).parameters)[:2] == ["lr", "betas"]
    assert fa.fit.__doc__.startswith("Train net")

    class Mine(fa.Callback):
        def __init__(self, **anything):
            self.anything = anything

    assert Mine(learning_rate=3).anything == {"learning_rate": 3}
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        fa.fit(None)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fa.fit(network(3, 3), X, LABELS, loss="mse"), "did you mean 'squared_error'?"),
        (lambda: fa.fit(network(3, 3), X, LABELS, loss="cross-entropy"), "did you mean 'softmax_cross_entropy'?"),
        (lambda: fa.fit(network(3, 3), X, LABELS, optimizer="admw"), "did you mean 'adamw'?"),
        (lambda: fa.Dense(3, 2, "ReLU"), "did you mean 'relu'?"),
        (lambda: fa.Dense(3, 2, "LeakyReLU"), "did you mean 'leaky_relu'?"),
        (lambda: fa.Dense(3, 2, "hardswish"), "did you mean 'hard_swish'?"),
        (lambda: fa.activation("logistic"), "did you mean 'sigmoid'?"),
        (lambda: fa.Dense(3, 2, weight_init="he-normal"), "did you mean 'he_normal'?"),
        (lambda: fa.Dense(3, 2, "softmax"), "fastact.softmax(net(x)) applies it"),
        (lambda: fa.fit(network(3, 3), X, LABELS + 1), "they count from 1: subtract 1 (labels - 1)"),
        (lambda: fa.fit(network(3, 3), X, LABELS * 10), "np.unique(labels, return_inverse=True)"),
        (lambda: fa.fit(network(3, 3), X, LABELS + 0.5), "for values pass loss='squared_error'"),
        (lambda: fa.fit(network(3, 1), X, LABELS + 0.5), "for values pass loss='squared_error'"),
        (lambda: fa.fit(network(3, 1), X, LABELS * 0), "got 1 output; for values pass loss='squared_error'"),
        (lambda: fa.fit(network(3, 3), X, LABELS, sample_weight=-np.ones(6)), "\n    grad *= advantages[:, None]\n"),
        (
            lambda: fa.softmax_cross_entropy(X, LABELS, sample_weight=-np.ones(6)),
            "\n    loss, grad = fastact.softmax_cross_entropy(net.forward(x, training=True), actions)\n",
        ),
    ],
)
def test_values_that_others_would_take(call, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        call()


def test_nothing_is_guessed_where_nothing_is_close():
    with pytest.raises(ValueError, match=r"unknown activation 'qqqqq'; known: [a-z0-9_, ]*$"):
        fa.Dense(3, 2, "qqqqq")


def test_the_lines_for_advantages_run():
    """They are what the message says, and follow the policy gradient by finite differences."""
    net = fa.Sequential(fa.Dense(3, 2, "tanh"), fa.Dense(2, 3), dtype="float64", rng=0)
    x, actions = np.random.default_rng(1).normal(size=(6, 3)), LABELS
    advantages = np.array([1.0, -2, 0.5, -1, 3, -0.25])
    with pytest.raises(ValueError, match="advantages") as caught:
        fa.softmax_cross_entropy(net(x), actions, sample_weight=advantages)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    exec("\n".join(lines), {"fastact": fa, "net": net, "x": x, "actions": actions, "advantages": advantages})

    def objective():
        each = fa.log_softmax(net(x))[np.arange(6), actions]
        return -float(np.mean(advantages * each))

    for place in (0, 4, len(net.parameters) - 1):
        start, h = net.parameters[place], 1e-6
        net.parameters[place] = start + h
        above = objective()
        net.parameters[place] = start - h
        slope = (above - objective()) / (2 * h)
        net.parameters[place] = start
        np.testing.assert_allclose(net.gradients[place], slope, rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------------------ warnings


def test_a_warning_of_training_points_at_the_line_that_called_fit():
    net = fa.Sequential(fa.Dense(3, 4, "relu", bias_init=fa.init.Constant(-100.0)), fa.Dense(4, 3), rng=0)
    with pytest.warns(diagnostics.TrainingWarning, match="dead") as caught:
        fit(net, X, LABELS, epochs=1, callbacks=[fa.Monitor()])
    line = inspect.currentframe().f_lineno - 1
    assert {(one.filename, one.lineno) for one in caught} == {(__file__, line)}


# ------------------------------------------------------------------------------------------ the map


def test_the_map_names_what_there_is(python):
    """Each ``fa.name`` in the docstring of the package can be had after ``import fastact`` alone."""
    names = sorted(set(re.findall(r"\bfa\.(\w+)", fa.__doc__)))
    assert {"fit", "slope", "plot", "tables", "diagnostics", "optim"} <= set(names)
    result = python(f"import fastact as fa\nfor name in {names!r}: assert getattr(fa, name), name\nprint('all')")
    assert result.stdout.strip() == "all", result.stderr
    for loss in re.search(r"losses +(.*)", fa.__doc__)[1].replace("fa.", "").split(", "):
        assert callable(getattr(fa, loss))
    for command in re.search(r"terminal +fastact (.*)", fa.__doc__)[1].split(", "):
        assert command in cli.COMMANDS
