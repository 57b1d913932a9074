"""Many Python threads compute at once, and every result has the bits that it has alone.

    python -W ignore::DeprecationWarning tests/faults/storm.py [seconds [threads]]

One network that all share infers; kernels, losses and products of shared arrays; networks of their own train, are saved
and loaded; the number of threads changes all the time, for the process and for contexts; processes are forked.
"""

import os
import random
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import numpy as np

import fastact as fa
from fastact import runtime

LARGE = 2 * max(size for cost, size in runtime.THRESHOLDS.items() if cost != "products")


def tasks(folder):
    """name: what gives some arrays, the same each time, from whatever thread."""
    rng = np.random.default_rng(0)
    x, wide = rng.normal(size=LARGE).astype(np.float32), rng.normal(size=(1200, 70))
    weight, bias = rng.normal(size=(70, 130)), rng.normal(size=130)
    features, labels = rng.normal(size=(500, 20)).astype(np.float32), rng.integers(0, 4, 500)

    def network(seed):
        return fa.Sequential(
            fa.Dense(20, 64, "gelu"), fa.BatchNorm(), fa.Residual(fa.Dense(64, 64, "tanh"), fa.Dropout(0.3)),
            fa.LayerNorm(), fa.Dense(64, 4), rng=seed,
        )  # fmt: skip

    shared = network(0)
    dense = fa.Sequential(fa.Dense(20, 200, "silu"), fa.Dense(200, 4), rng=1)
    many = rng.normal(size=(6000, 20)).astype(np.float32)

    def trained(net, **more):
        fa.fit(
            net, features, labels, epochs=1, batch_size=125, optimizer=fa.optim.Adam(), rng=3, progress=False, **more
        )
        return net

    def saved():
        path = Path(folder, f"{threading.get_ident()}-{random.random()}.safetensors")
        trained(network(2), checkpoint=path)
        return [fa.load(path).parameters]

    def product():
        y, saved = fa.dense_forward(wide, weight, bias, activation="gelu")
        return [y, *fa.dense_backward(y, saved, wide, weight)[:3]]

    return {
        "elementwise": lambda: [fa.gelu(x), fa.sigmoid(x)],
        "rows": lambda: [fa.softmax(wide), fa.softmax(x.reshape(-1, 64))],
        "loss": lambda: [fa.softmax_cross_entropy(wide, np.arange(1200) % 70).grad],
        "product": product,
        "inference": lambda: [shared(many)],
        "inference of dense layers": lambda: [dense(many)],
        "training": lambda: [trained(network(2)).parameters],
        "training of dense layers": lambda: [
            trained(fa.Sequential(fa.Dense(20, 90, "relu"), fa.Dense(90, 4), rng=5)).parameters
        ],
        "saving": saved,
    }


def forked(task, expected):
    """The same in a child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if [a.tobytes() for a in task()] == expected else 2
        finally:
            os._exit(code)
    for _ in range(6000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"the child ended with {status}"
            return
        time.sleep(0.01)
    os.kill(pid, 9)
    raise AssertionError("the child hangs")


def main(seconds=60, threads=8):
    """How often each task was done; AssertionError where bits differ."""
    process_threads, sync, os.fsync = runtime._process_threads, os.fsync, lambda handle: None
    with tempfile.TemporaryDirectory() as folder:
        todo = tasks(folder)
        expected = {name: [a.tobytes() for a in task()] for name, task in todo.items()}
        done, errors, end = dict.fromkeys([*todo, "fork"], 0), [], time.monotonic() + seconds
        first = list(todo)

        def work(number):
            draw = random.Random(number)
            while time.monotonic() < end and not errors:
                try:
                    name = first.pop() if first else draw.choice(list(todo))
                    if draw.random() < 0.5:
                        fa.set_num_threads(draw.randint(1, 4))
                    with fa.num_threads(draw.randint(1, 3)) if draw.random() < 0.3 else fa.use_backend("native"):
                        got = [a.tobytes() for a in todo[name]()]
                    assert got == expected[name], f"{name}: other bits"
                    done[name] += 1
                    if number == 0 and hasattr(os, "fork") and runtime.config()["openmp"]:
                        kernel = draw.choice(["elementwise", "rows", "loss", "product", "inference"])
                        forked(todo[kernel], expected[kernel])
                        done["fork"] += 1
                except BaseException:
                    errors.append(traceback.format_exc())

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    os.fsync = sync
    runtime._process_threads = process_threads
    fa.backends.engine.set_threads(process_threads)
    assert not errors, errors[0]
    return done


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:])))
