"""PyTorch networks, plain and converted by ``fastact.torch.convert``, side by side: the table in README.md.

python bench/torch_networks.py [seconds a row]: one process, one thread; all take turns, and the least time of each
counts. A step is forward, ``mse_loss``, ``zero_grad``, backward and Adam: PyTorch's, the better of its default and its
fused form for each network, and ``fastact.torch.Adam`` with the converted one. Inference is that under
``torch.inference_mode()``.
"""

import functools
import itertools
import sys
import time

import torch
from torch import nn

import fastact as fa
import fastact.torch
from fastact.measure.processes import processor

STEPS = (64, 4, 64, 64, 2), (256, 17, 64, 64, 6), (64, 24, 256, 256, 4)
INFERENCE = (64, 4, 64, 64, 2), (1, 4, 64, 64, 2)
CALLS = 5  # in a row


def network(widths):
    pairs = list(itertools.pairwise(widths))
    layers = [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def step(net, x, y, adam):
    optimizer = adam(net.parameters(), lr=1e-4)

    def call():
        loss = nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call


def inference(net, x, y, adam):
    def call():
        with torch.inference_mode():
            net(x)

    return call


def least(calls, seconds):
    """Microseconds of the processor's time of each, taking turns; all of it is in this thread."""
    best = dict.fromkeys(calls, float("inf"))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in calls.items():
            start = time.thread_time()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], (time.thread_time() - start) / CALLS * 1e6)
    return best


def row(kind, batch, *widths, seconds):
    """Microseconds of plain, converted, and converted with our Adam (None: there is none)."""
    plain = network(widths)
    nets = {"plain": plain, "converted": fastact.torch.convert(plain)}
    x, y = torch.randn(batch, widths[0]), torch.randn(batch, widths[-1])
    theirs = [torch.optim.Adam, functools.partial(torch.optim.Adam, fused=True)] if kind is step else [None]
    calls = {(name, i): kind(net, x, y, adam) for name, net in nets.items() for i, adam in enumerate(theirs)}
    if kind is step:
        calls["ours", 0] = step(nets["converted"], x, y, fastact.torch.Adam)
    best = least(calls, seconds)
    return [
        min((time for (name, _), time in best.items() if name == wanted), default=None) for wanted in (*nets, "ours")
    ]


def main(seconds=8.0):
    torch.set_num_threads(1)
    print("| one thread; batch; layers | PyTorch | converted | and `fastact.torch.Adam` |\n| --- | --- | --- | --- |")
    with fa.num_threads(1):
        for kind, shapes in ((step, STEPS), (inference, INFERENCE)):
            for batch, *widths in shapes:
                plain, *others = row(kind, batch, *widths, seconds=seconds)
                cells = ["" if time is None else f"{time:.1f} ({plain / time:.2f}x)" for time in others]
                name = f"{kind.__name__}: {batch}; {'-'.join(map(str, widths))}"
                print(f"| {name} | {plain:.1f} | {' | '.join(cells)} |", flush=True)
    print(f"\n{processor()}, torch {torch.__version__}, fastact {fa.__version__}.")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
