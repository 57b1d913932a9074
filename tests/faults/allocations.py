"""The k-th allocation fails, for every k of a task: MemoryError, and all goes on as if nothing had been.

    python tests/faults/allocations.py [every]

Compiles ``failing.c`` and puts it before the system's malloc; with ``every`` 1 (the default) each k is tried. Requests
of less than 1 KB are left alone: those are Python's own.
"""

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FLAG = "FASTACT_FAILING"
LEAST = 1024


def tasks(fa, np, folder):
    """name: a task that gives what it came to, the same each time, on networks of its own."""
    x = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    labels = np.arange(300) % 3

    def network(seed=0):
        return fa.Sequential(
            fa.Dense(40, 64, "gelu"), fa.BatchNorm(), fa.Residual(fa.Dense(64, 64, "swish"), fa.Dropout(0.2)),
            fa.LayerNorm(), fa.Dense(64, 60, "tanh"), fa.Maxout(3), fa.Dense(20, 3), rng=seed,
        )  # fmt: skip

    def trained(net, **more):
        fa.fit(net, x, labels, epochs=2, batch_size=100, optimizer=fa.optim.AdamW(), rng=1, progress=False, **more)
        return net

    plain = fa.Sequential(fa.Dense(40, 100, "gelu"), fa.Dense(100, 3), rng=1)
    known, file = network(), folder / "known.safetensors"
    trained(known)
    for ending in (".safetensors", ".npz"):
        known.save(file.with_suffix(ending))
    old = file.read_bytes()

    def step(net):
        z = net.forward(x, training=True)
        loss, grad = fa.softmax_cross_entropy(z, labels)
        net.backward(grad)
        return loss, net.gradients.tobytes()

    def save(ending):
        net, target = network(5), folder / f"target{ending}"
        target.write_bytes(old)

        def saved():
            """What there is now, without what fails; the old file again for the next save."""
            content = target.read_bytes()
            left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            assert not left, f"{left} are left"
            target.write_bytes(old)
            return content

        return (lambda: net.save(target) or True), saved

    return {
        "functions": lambda: [fa.gelu(x).tobytes(), fa.softmax(x).tobytes(), fa.dense(x, x.T.copy()).tobytes()],
        "inference": lambda: bytes(known(x)),
        "inference of dense layers": lambda: bytes(plain(x)),
        "a step of dense layers": lambda: step(plain),
        "a first step": lambda: step(network()),
        "fit": lambda: bytes(trained(network()).parameters),
        "fit with checkpoints": lambda: bytes(trained(network(), checkpoint=folder / "c.npz").parameters),
        "save": save(".safetensors"),
        "save npz": save(".npz"),
        "load": lambda: bytes(fa.load(file).parameters),
        "load npz": lambda: bytes(fa.load(file.with_suffix(".npz")).parameters),
    }


def run(every):
    """All tasks, in a process that has the failing malloc."""
    import numpy as np

    import fastact as fa

    malloc = ctypes.CDLL(None)
    malloc.fail_at.argtypes = (ctypes.c_long, ctypes.c_size_t)
    malloc.fail_no_more.restype = ctypes.c_long
    fa.set_num_threads(1)
    os.fsync = lambda handle: None
    with tempfile.TemporaryDirectory() as folder:
        for name, given in tasks(fa, np, Path(folder)).items():
            task, saved = given if isinstance(given, tuple) else (given, None)

            def done(task=task, saved=saved, k=None):
                """The result, None where memory was short, and how many allocations there were."""
                try:
                    if k is not None:
                        malloc.fail_at(k, LEAST)
                    result = task()
                except MemoryError:
                    return None, saved and saved(), 0
                finally:
                    count = malloc.fail_no_more()
                return result, saved and saved(), count

            old = saved and saved()
            done()
            *expected, _ = done()
            *again, count = done(k=1 << 40)
            assert again == expected, f"{name}: not the same each time"
            failed = 0
            for k in range(0, count, every):
                *got, _ = done(k=k)
                failed += got == [None, old]
                assert got in ([None, old], expected), f"{name}: allocation {k} failed, and the result is another"
                *got, _ = done()
                assert got == expected, f"{name}: after allocation {k} failed, the next result is another"
            tried = len(range(0, count, every))
            print(f"{name}: {failed} of {tried} allocations that failed gave MemoryError", flush=True)
            assert failed or not count, name
        growing(fa, np, malloc)


def growing(fa, np, malloc):
    """Sizes never seen before: the core keeps its workspaces, and asks for memory only where they are too small."""
    failed, rng = 0, np.random.default_rng(0)
    for number in range(1, 13):
        width = 200 + 40 * number
        x, weight = rng.normal(size=(width, 32)).astype(np.float32), rng.normal(size=(32, width)).astype(np.float32)
        net = fa.Sequential(fa.Dense(32, width, "relu"), fa.LayerNorm(), fa.Dense(width, 5), rng=0)
        dense = fa.Sequential(fa.Dense(32, width, "relu"), fa.Dense(width, 5), rng=0)

        def task(x=x, weight=weight, net=net, dense=dense):
            y, saved = fa.dense_forward(x, weight, activation="relu")
            gradients = fa.dense_backward(y, saved, x, weight)
            loss = fa.softmax_cross_entropy(y, np.arange(len(y))).loss
            net.backward(net.forward(x, training=True))
            return [y.tobytes(), *(bytes(g) for g in gradients[:2]), loss, bytes(net.gradients), bytes(dense(x))]

        for k in range(number % 5, 40, 5):
            malloc.fail_at(k, LEAST)
            try:
                task()
            except MemoryError:
                failed += 1
            finally:
                malloc.fail_no_more()
        result = task()
        assert result == task(), f"width {width}: not the same each time"
        np.testing.assert_allclose(
            np.frombuffer(result[0], np.float32).reshape(width, -1), np.maximum(x @ weight, 0), 1e-4, 1e-4
        )
    print(f"growing sizes: {failed} allocations that failed gave MemoryError", flush=True)


def main(every=1, timeout=None):
    """Compile what fails, and run with it."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "failing.so")
        source = Path(__file__).with_name("failing.c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-fno-builtin", "-o", library, source], check=True)
        environment = {
            **os.environ,
            FLAG: str(every),
            "LD_PRELOAD": str(library),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        return subprocess.run(
            [sys.executable, "-P", __file__],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


if __name__ == "__main__":
    if FLAG in os.environ:
        run(int(os.environ[FLAG]))
    else:
        result = main(*map(int, sys.argv[1:]))
        sys.stdout.write(result.stdout + result.stderr)
        sys.exit(result.returncode)
