"""Figures: what is drawn."""

import pickle

import numpy as np
import pytest

import fastact as fa
from fastact import plot


def test_figures_of_activations():
    pytest.importorskip("matplotlib")
    left, right = plot.activations(["softplus", "tanh"], -2, 3).axes
    x, y = left.lines[0].get_data()
    np.testing.assert_allclose(y, np.logaddexp(0, x))
    assert (x[0], x[-1]) == (-2, 3)
    np.testing.assert_allclose(right.lines[1].get_ydata(), 1 - np.tanh(x) ** 2, atol=1e-12)


def test_many_activations_have_a_panel_each():
    pytest.importorskip("matplotlib")
    names = sorted(fa.registry.ACTIVATIONS)
    figure = plot.activations(names)
    assert [ax.get_title() for ax in figure.axes] == names
    tops = {ax.get_title(): ax.get_ylim()[1] for ax in figure.axes}
    assert tops["relu_squared"] > 30
    assert tops["sigmoid"] < 1.1


def test_one_that_grows_fast_does_not_flatten_the_others():
    pytest.importorskip("matplotlib")
    left, right = plot.activations(["tanh", "relu_squared"]).axes
    assert left.get_ylim()[1] < 7
    assert right.get_ylim()[1] < 7
    assert plot.activations(["relu_squared"]).axes[0].get_ylim()[1] > 30


@pytest.mark.parametrize(
    ("activation", "values", "slopes"),
    [
        ("relu", [], [0.0]),
        ("sigmoid", [], []),
        ("elu", [], []),
        ("relu_squared", [], []),
        ("softsign", [], []),
        (fa.activation("elu", alpha=0.5), [], [0.0]),
        ("hard_swish", [], [-3.0, 3.0]),
        (fa.activation("threshold", threshold=1.3), [1.3], [1.3]),
        (fa.activation("hard_shrink", lambd=0.7), [-0.7, 0.7], [-0.7, 0.7]),
        ("prelu", [], [0.0]),
        ("swish", [], []),
        ("maxout", [], [0.0]),
        (fa.activation("maxout", pieces=3), [], [-1.0, 1.0]),
        (fa.custom_activation("ramp", lambda x: np.floor(x / 4), lambda x: 0 * x), [-4.0, 0.0, 4.0], []),
        (fa.custom_activation("steep", lambda x: np.tanh(1e4 * x), lambda x: 0 * x), [], []),
    ],
)
def test_jumps_are_gaps(activation, values, slopes):
    """A NaN between the two ends of each jump and nowhere else."""
    pytest.importorskip("matplotlib")
    for ax, expected in zip(plot.activations([activation], -6, 5.99).axes, (values, slopes), strict=True):
        x, y = ax.lines[0].get_data()
        gaps = np.flatnonzero(np.isnan(y))
        np.testing.assert_allclose(x[gaps], expected, atol=1e-9)
        for gap in gaps:
            np.testing.assert_allclose(x[gap - 1 : gap + 2], x[gap], atol=1e-9)
            assert abs(y[gap + 1] - y[gap - 1]) > 0.1
        assert (np.diff(x) >= 0).all()


def test_what_is_drawn_of_learned_activations_and_maxout():
    pytest.importorskip("matplotlib")
    left, right = plot.activations(["prelu", "maxout"]).axes
    for line, below in zip(left.lines, (0.25, -1.0), strict=True):
        x, y = line.get_data()
        np.testing.assert_allclose(y, np.where(x > 0, x, below * x), atol=1e-12)
    x, y = right.lines[1].get_data()
    np.testing.assert_array_equal(y[~np.isnan(y)], np.sign(x[~np.isnan(y)]) + (x[~np.isnan(y)] == 0) * y[x == 0][0])
    with pytest.raises(ValueError, match="plot: unknown activation 'softmax'"):
        plot.activations(["softmax"])


def test_a_history_draws_itself():
    pytest.importorskip("matplotlib")
    history = fa.History(
        loss=[2.0, 1.0], validation_loss=[3.0, 2.5], metrics={"validation_r2": [0.1, 0.4]}, rate=[1, 1]
    )
    losses, metrics = history.plot().axes
    assert [line.get_label() for line in losses.lines] == ["loss", "validation_loss"]
    assert losses.get_yscale() == "log"
    np.testing.assert_array_equal(metrics.lines[0].get_data(), [[1, 2], [0.1, 0.4]])
    assert history.plot()._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for
    (only,) = fa.History(loss=[-2.0, -3.0], rate=[1, 1]).plot().axes
    assert only.get_yscale() == "linear"
    assert len(pickle.loads(pickle.dumps(history.plot())).axes) == 2
    fa.History().plot()


def test_a_confusion_matrix_shows_each_count():
    pytest.importorskip("matplotlib")
    ax = plot.confusion([[5, 1], [0, 7]], ["cat", "dog"])
    assert [[text.get_text() for text in ax.texts[i : i + 2]] for i in (0, 2)] == [["5", "1"], ["0", "7"]]
    assert [text.get_position() for text in ax.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[5 / 6, 1 / 6], [0, 1]])


def test_predictions_and_importance_draw_where_they_are_told():
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots(2)
    assert plot.predictions([[1.0], [4.0]], [[2.0], [3.5]], "price", axes[0]) is axes[0]
    line, points = axes[0].lines
    assert points.get_xydata().tolist() == [[1, 2], [4, 3.5]]
    assert line.get_xydata().tolist() == [[1, 1], [4, 4]]
    assert plot.importance({"area": (0.5, 0.1), "town": (0.2, 0.0)}, "R2", axes[1]) is axes[1]
    assert [bar.get_width() for bar in axes[1].patches] == [0.5, 0.2]
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["area", "town"]
    assert axes[1].yaxis_inverted()
