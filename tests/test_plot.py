"""Figures: what is drawn."""

import numpy as np
import pytest

import fastact as fa
from fastact import plot


def test_figures_of_activations():
    pytest.importorskip("matplotlib")
    left, right = plot.activations(["relu", "tanh"], -2, 3).axes
    x, y = left.lines[0].get_data()
    np.testing.assert_array_equal(y, np.maximum(0, x))
    assert (x[0], x[-1]) == (-2, 3)
    np.testing.assert_allclose(right.lines[1].get_ydata(), 1 - np.tanh(x) ** 2, atol=1e-12)
    assert len(plot.activations(sorted(fa.registry.ACTIVATIONS)).axes[0].lines) == len(fa.registry.ACTIVATIONS)
