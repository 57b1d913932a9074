"""Ctrl-C: whole steps, and what is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import support
from tasks import network, table

import fastact as fa

X, LABELS, _ = table(rows=70)


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A shell's background jobs, and what they start, ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


PROGRAM = """
    import signal, sys, time
    import numpy as np
    import fastact as fa

    x = np.random.default_rng(0).normal(size=(20000, 40)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 5, 20000)

    def network():
        return fa.Sequential(fa.Dense(40, 64, "gelu"), fa.Dense(64, 64, "gelu"), fa.Dense(64, 5), rng=0)

    class Note(fa.Callback):
        ended = None
        def on_batch_end(self, run):
            if run.step == 3:
                print("training", flush=True)
        def on_train_end(self, run):
            self.ended = run.step

    net, optimizer, note = network(), fa.optim.Adam(1e-3), Note()
    try:
        fa.fit(net, x, y, optimizer=optimizer, epochs=10**6, rng=3, progress=False, callbacks=[note], {options})
    except KeyboardInterrupt as stop:
        history = stop.history
    assert history.interrupted and history.steps == optimizer.steps == note.ended > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    # the same number of steps again, without Ctrl-C
    again, twin, left = network(), fa.optim.Adam(1e-3), history.steps
    class Stop(Exception):
        pass
    class Count(fa.Callback):
        def on_batch_end(self, run):
            if run.step == left:
                raise Stop
    try:
        fa.fit(again, x, y, optimizer=twin, epochs=10**6, rng=3, progress=False, callbacks=[Count()], {options})
    except Stop:
        pass
    assert again.parameters.tobytes() == net.parameters.tobytes()
    for name, state in optimizer.state_dict()["state"].items():
        assert state.tobytes() == twin.state_dict()["state"][name].tobytes()
    print("consistent", history.steps, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("options", ["", "validation=(x, y)"])
def test_ctrl_c_leaves_whole_steps(tmp_path, options):
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(PROGRAM.replace("{options}", options)))
    environment = {**os.environ, "PYTHONPATH": str(Path(fa.__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout.readline() == "training\n"
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out.startswith("consistent")
    assert time.monotonic() - began < 30


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_comes_through_within_a_step():
    """The signal is held back to the end of the step, and not longer; a second one goes through at once."""
    seen = []

    class Interrupt(fa.Callback):
        def __init__(self, times):
            self.times = times

        def on_batch_end(self, run):
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
                seen.append(run.step)

    for times, expected in ((1, [1]), (2, [1])):
        seen.clear()
        optimizer = fa.optim.SGD(0.1)
        with pytest.raises(KeyboardInterrupt) as stop:
            fa.fit(network(), X, LABELS, callbacks=[Interrupt(times)], optimizer=optimizer, progress=False)
        assert seen == expected
        assert stop.value.history.steps == 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_at_the_very_end_has_its_history_too():
    class Interrupt(fa.Callback):
        def on_train_end(self, run):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        fa.fit(network(), X, LABELS, epochs=2, callbacks=[Interrupt()], progress=False)
    assert stop.value.history.epochs == 2
    assert stop.value.history.interrupted


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_restores_the_best_weights_too():
    kept = []

    class Interrupt(fa.Callback):
        def on_epoch_end(self, run):
            kept.append(run.net.parameters.copy())
            if run.epoch == 3:
                signal.raise_signal(signal.SIGINT)

    net, numbers = network(), iter([3.0, 1.0, 2.0])
    with pytest.raises(KeyboardInterrupt):
        fa.fit(
            net, X, LABELS, metrics={"number": lambda outputs, y: next(numbers)}, progress=False,
            callbacks=[fa.EarlyStopping(5, monitor="number"), Interrupt()],
        )  # fmt: skip
    support.assert_same_bits(net.parameters, kept[1])


def test_other_threads_train_too():
    nets = [network() for _ in range(2)]
    worker = threading.Thread(target=fa.fit, args=(nets[0], X, LABELS), kwargs={"rng": 0, "progress": False})
    worker.start()
    worker.join()
    fa.fit(nets[1], X, LABELS, rng=0, progress=False)
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)


def test_other_handlers_are_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        fa.fit(network(), X, LABELS, epochs=1, progress=False)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
