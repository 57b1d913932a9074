"""What is shown while a training runs."""

import io
import re
import sys

import pytest
from tasks import network, table

import fastact as fa


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, **options):
    x, labels, _ = table()
    monkeypatch.setattr(sys, "stderr", stream)
    fa.fit(network(), x, labels, epochs=3, rng=0, **options)
    return stream.getvalue()


def test_lines_where_there_is_no_terminal(monkeypatch):
    lines = shown(monkeypatch, io.StringIO(), validation=0.2).splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"epoch {number}/3: loss [\d.]+, validation_loss [\d.]+, validation_accuracy [\d.]+, rate 0\.001, "
            r"3 steps in [\d.e-]+ s",
            line,
        )


def test_a_bar_on_a_terminal(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert "12/12" in text
    assert "epoch=3/3" in text
    assert "loss=" in text
    assert "rate=0.001" in text


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silence(monkeypatch, stream):
    assert shown(monkeypatch, stream(), progress=False, patience=1) == ""


def test_early_stopping_says_why(monkeypatch):
    text = shown(monkeypatch, io.StringIO(), callbacks=[fa.EarlyStopping(1, monitor="rate")])
    assert "stopped after epoch 2: rate no longer improves (best 0.001 in epoch 1, whose weights are restored)" in text


def test_a_notebook_without_widgets_has_a_bar_of_text(python):
    """As in a notebook's kernel, which is no terminal: without ipywidgets no warning, and a bar."""
    program = """
        import sys, types, warnings
        warnings.simplefilter("always")  # tqdm swallows one that is an error
        shell = types.SimpleNamespace(config={"IPKernelApp": {}})
        sys.modules["ipykernel"] = sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel")
        sys.modules["IPython"] = types.ModuleType("IPython")
        sys.modules["IPython"].get_ipython = lambda: shell
        sys.modules["IPython.display"] = None
        sys.modules["ipywidgets"] = None
        import numpy as np
        import fastact as fa
        net = fa.Sequential(fa.Dense(3, 2), rng=0)
        fa.fit(net, np.ones((8, 3)), np.zeros(8, int), epochs=2, patience=1, validation=0.5)
        print("done")
    """
    result = python(program)
    assert result.stdout.strip() == "done", result.stderr
    assert "epoch=2/2" in result.stderr
    assert "step/s" in result.stderr
    assert "Warning" not in result.stderr
