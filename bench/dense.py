"""Dense layers against other libraries: python bench/dense.py [--threads N] [--clock cpu] [--isa avx2|avx512]

Forward y = act(x @ w + b), and backward (dz, db, dw, dx), in float32 or, with --dtype, float64. Every library has a
process of its own that sleeps on its pipe while another is measured; the rounds go through all of them, and the
minimum of all samples counts. NumPy runs matmul(out=), add and the activation in place; PyTorch linear and the
activation in inference mode, and its autograd for backward; JAX jit. fastact writes to given arrays as in a training
step.

--clock cpu takes the processor time of the process: on a machine that others use too, one thread can be measured so.
--isa avx2 holds everybody to AVX2 (environment variables of OpenBLAS, MKL, oneDNN and PyTorch) but JAX, whose products
take no notice: it is a peer with --isa avx512 --libraries fastact,numpy,torch,jax.
--save writes the table to bench/results/dense-ISA-DTYPE-Nt.json too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import rounds

SHAPES = [
    (1, 64, 64), (1, 784, 512), (8, 16, 64), (32, 16, 64), (32, 64, 64), (64, 784, 128), (64, 128, 10),
    (128, 256, 256), (128, 256, 10), (256, 784, 512), (256, 512, 512), (1024, 784, 1024), (1024, 1024, 1024),
    (1024, 1024, 10), (4096, 512, 512),
]  # fmt: skip


def arrays(shape: tuple[int, int, int], dtype: str) -> list[np.ndarray]:
    """x, weight, bias, grad."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    sizes = ((m, k), (k, n), (n,), (m, n))
    x, weight, bias, grad = (rng.standard_normal(size).astype(dtype) for size in sizes)
    return [x, weight / weight.dtype.type(k**0.5), bias, grad]


def use_fastact(threads: int) -> Callable[..., rounds.Call]:
    import fastact as fa

    fa.set_num_threads(threads)

    def make(direction: str, act: str, shape: tuple[int, int, int], dtype: str) -> rounds.Call:
        x, weight, bias, grad = arrays(shape, dtype)
        y = np.empty_like(grad)
        if direction == "forward":
            return lambda: fa.dense(x, weight, bias, act, out=y)
        saved = fa.dense_forward(x, weight, bias, act)[1]
        dx, dw, db = np.empty_like(x), np.empty_like(weight), np.empty_like(bias)
        return lambda: fa.dense_backward(grad, saved, x, weight, out_input=dx, out_weight=dw, out_bias=db)

    return make


def use_numpy(threads: int) -> Callable[..., rounds.Call]:
    def make(direction: str, act: str, shape: tuple[int, int, int], dtype: str) -> rounds.Call:
        if act != "relu":
            raise NotImplementedError(act)
        x, weight, bias, grad = arrays(shape, dtype)
        y, dz, dx, dw, db = (np.empty_like(a) for a in (grad, grad, x, weight, bias))

        def forward() -> None:
            np.matmul(x, weight, out=y)
            np.add(y, bias, out=y)
            np.maximum(y, 0, out=y)

        def backward() -> None:
            np.multiply(grad, y > 0, out=dz)
            np.sum(dz, axis=0, out=db)
            np.matmul(x.T, dz, out=dw)
            np.matmul(dz, weight.T, out=dx)

        forward()
        return forward if direction == "forward" else backward

    return make


def use_torch(threads: int) -> Callable[..., rounds.Call]:
    import torch
    from torch.nn import functional as f

    torch.set_num_threads(threads)

    def make(direction: str, act: str, shape: tuple[int, int, int], dtype: str) -> rounds.Call:
        x, weight, bias, grad = (torch.from_numpy(a) for a in arrays(shape, dtype))
        weight = weight.T.contiguous()
        if direction == "forward":

            def forward() -> None:
                with torch.inference_mode():
                    y = f.linear(x, weight, bias)
                    torch.relu_(y) if act == "relu" else f.gelu(y)

            return forward
        leaves = [a.requires_grad_() for a in (x, weight, bias)]
        y = f.linear(*leaves)
        y = torch.relu(y) if act == "relu" else f.gelu(y)
        return lambda: torch.autograd.grad(y, leaves, grad, retain_graph=True)

    return make


def use_jax(threads: int) -> Callable[..., rounds.Call]:
    import jax

    jax.config.update("jax_enable_x64", True)

    def make(direction: str, act: str, shape: tuple[int, int, int], dtype: str) -> rounds.Call:
        x, weight, bias, grad = (jax.numpy.asarray(a) for a in arrays(shape, dtype))
        function = jax.nn.relu if act == "relu" else lambda z: jax.nn.gelu(z, approximate=False)

        def layer(x, weight, bias):
            return function(x @ weight + bias)

        if direction == "forward":
            call = jax.jit(layer)
            return lambda: call(x, weight, bias).block_until_ready()
        backward = jax.jit(jax.vjp(layer, x, weight, bias)[1])
        return lambda: jax.block_until_ready(backward(grad))

    return make


LIBRARIES: dict[str, Callable[[int], Callable[..., rounds.Call]]] = {
    "fastact": use_fastact,
    "numpy": use_numpy,
    "torch": use_torch,
    "jax": use_jax,
}


def main() -> None:
    """Measure and print a table of microseconds and of ratios to the best peer."""
    parser = rounds.parser(__doc__)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--libraries", default="fastact,numpy,torch")
    parser.add_argument("--directions", default="forward,backward")
    parser.add_argument("--activations", default="relu,gelu")
    options = parser.parse_args()
    if options.serve:
        rounds.serve(LIBRARIES, options)
        return
    if "jax" in options.libraries and options.isa == "avx2":
        parser.error("JAX cannot be held to AVX2; leave it out or measure with --isa avx512")
    names = options.libraries.split(",")
    limit = rounds.fma_peak(options.isa) / (2 if options.dtype == "float64" else 1)  # half as many lanes
    print(f"{options.threads} thread(s), {options.isa}, {options.dtype}, {options.clock} clock; ", end="")
    print(f"FMA peak {limit:.1f} GFLOP/s a thread")
    rows: list[dict[str, object]] = []
    with rounds.Rounds(__file__, names, options) as bench:
        for direction in options.directions.split(","):
            for act in options.activations.split(","):
                print(f"\n{direction}, {act}: microseconds\n{'shape (M, K, N)':20}", end="")
                print("".join(f"{n:>12}" for n in names) + f"{'best peer /':>13}{'of peak':>9}")
                ratios = []
                for shape in SHAPES:
                    best = bench.measure(direction, act, shape, options.dtype)
                    ratio = min(t for n, t in best.items() if n != "fastact") / best["fastact"]
                    ratios.append(ratio)
                    work = 2e-9 * math.prod(shape) * (2 if direction == "backward" else 1)
                    share = work / best["fastact"] / limit / options.threads
                    print(f"{shape!s:20}" + "".join(f"{1e6 * best.get(n, math.nan):12.2f}" for n in names), end="")
                    print(f"{ratio:13.2f}{100 * share:8.0f}%", flush=True)
                    row = {"direction": direction, "activation": act, "shape": shape, "seconds": best}
                    rows.append(row | {"ratio": ratio, "share_of_peak": share})
                print(f"geometric mean {rounds.geometric_mean(ratios):.2f}")
    if options.save:
        name = f"dense-{options.isa}-{options.dtype}-{options.threads}t"
        rounds.save(name, options, names, {"dtype": options.dtype, "peak_gflops": limit, "rows": rows})


if __name__ == "__main__":
    main()
