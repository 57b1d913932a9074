"""Losses of policies against formulas of single rows, finite differences, PyTorch's numbers for PPO, and errors."""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support import assert_same_bits

import fastact as fa

ROWS, COLUMNS = 40, 5
OPTIONS = [
    {},
    {"entropy": 0.3},
    {"old": True},
    {"old": True, "entropy": 0.01},
    {"old": True, "clip": 0.2},
    {"old": True, "clip": 0.2, "entropy": 0.5},
]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def surrogate(log_prob, advantage, old, clip):
    """Of one row, as the papers write it; and whether it is clipped."""
    if old is None:
        return advantage * log_prob, False
    ratio = math.exp(log_prob - old)
    if clip is None or 1 - clip <= ratio <= 1 + clip:
        return ratio * advantage, False
    bound = 1 + clip if ratio > 1 else 1 - clip
    return min(ratio * advantage, bound * advantage), (ratio > 1) == (advantage > 0)


def expected(log_prob, entropies, advantages, old_log_prob=None, clip=None, entropy=0.0):
    """The loss, row by row in double."""
    old = [None] * len(log_prob) if old_log_prob is None else old_log_prob
    rows = [surrogate(p, a, o, clip) for p, a, o in zip(log_prob, advantages, old, strict=True)]
    return -np.mean([value for value, _ in rows]) - entropy * np.mean(entropies), [cut for _, cut in rows]


def distributions(logits):
    e = np.exp(logits.astype(np.float64))
    p = e / e.sum(axis=1, keepdims=True)
    return np.log(p), -(p * np.log(p)).sum(axis=1)


def given(options, log_prob, rng):
    """Keywords, with old log-probabilities that put rows on both sides of the clip."""
    keywords = {key: value for key, value in options.items() if key != "old"}
    if options.get("old"):
        keywords["old_log_prob"] = log_prob + rng.normal(0, 0.4, len(log_prob))
    return keywords


def discrete(dtype, rng):
    return rng.normal(0, 1.5, (ROWS, COLUMNS)).astype(dtype), rng.integers(0, COLUMNS, ROWS), rng.normal(0, 2, ROWS)


@pytest.mark.parametrize("options", OPTIONS)
def test_policy_gradient_against_formula(engine, dtype, rng, options):
    logits, actions, advantages = discrete(dtype, rng)
    logs, entropies = distributions(logits)
    log_prob = logs[np.arange(ROWS), actions]
    keywords = given(options, log_prob, rng)
    result = fa.policy_gradient(logits, actions, advantages, **keywords)
    loss, cut = expected(log_prob, entropies, advantages, **keywords)
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(result.loss, loss, **close)
    np.testing.assert_allclose(result.log_prob, log_prob, **close)
    np.testing.assert_allclose(result.entropy, entropies, **close)
    assert isinstance(result.loss, float)
    assert {result.grad.dtype, result.log_prob.dtype, result.entropy.dtype} == {np.dtype(dtype)}
    if "clip" in options:
        assert 5 < sum(cut) < ROWS - 5
        if not options.get("entropy"):
            np.testing.assert_array_equal((result.grad == 0).all(axis=1), cut)
    np.testing.assert_allclose(result.grad.sum(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (17, 1), (65, 2), (130, 31), (3, 32), (67, 33), (2, 64), (5, 157)])
def test_any_shape(engine, dtype, rng, shape):
    """Short rows and long ones, whole vectors and tails; each row as it is alone."""
    rows, columns = shape
    logits, actions = rng.normal(0, 2, shape).astype(dtype), rng.integers(0, columns, rows)
    advantages, old = rng.normal(0, 2, rows), rng.normal(-1, 0.3, rows)
    options = {"clip": 0.3, "entropy": 0.2}
    result = fa.policy_gradient(logits, actions, advantages, old_log_prob=old, **options)
    logs, entropies = distributions(logits)
    log_prob, p = logs[np.arange(rows), actions], np.exp(logs)
    close = {"rtol": 3e-5, "atol": 3e-6} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    loss, cut = expected(log_prob, entropies, advantages, old, **options)
    np.testing.assert_allclose(result.loss, loss, **close)
    np.testing.assert_allclose(result.log_prob, log_prob, **close)
    np.testing.assert_allclose(result.entropy, entropies, **close)
    by = np.where(cut, 0, advantages * np.exp(log_prob - old))[:, None]
    grad = by * (p - np.eye(columns)[actions]) + 0.2 * p * (logs + entropies[:, None])
    np.testing.assert_allclose(result.grad * rows, grad, rtol=close["rtol"], atol=20 * close["atol"])
    if engine != "numpy":  # NumPy's sums depend on the shape
        for row in {0, rows // 2, rows - 1}:
            one = slice(row, row + 1)
            alone = fa.policy_gradient(logits[one], actions[one], advantages[one], old_log_prob=old[one], **options)
            assert_same_bits(result.log_prob[one], alone.log_prob)
            assert_same_bits(result.entropy[one], alone.entropy)


@pytest.mark.parametrize("columns", [2, 40])
def test_threads_and_kinds_of_arrays_change_no_bit(dtype, rng, columns, everything_shared):
    rows = 200_001 // columns
    logits, actions = rng.normal(0, 2, (rows, columns)).astype(dtype), rng.integers(0, columns, rows)
    advantages, old = rng.normal(0, 2, rows).astype("float32"), rng.normal(-1, 0.3, rows).astype("float32")
    log_std = np.linspace(-1, 1, columns).astype(dtype)
    found = []
    for threads in (1, 2):
        with fa.num_threads(threads):
            found.append(
                (
                    *fa.policy_gradient(logits, actions, advantages, old_log_prob=old, clip=0.2, entropy=0.1),
                    *fa.gaussian_policy_gradient(logits, log_std, logits * 2, advantages, old_log_prob=old),
                )
            )
    wide, slow = advantages.astype("float64"), (actions.astype("int32"), old.tolist())
    found.append(
        (
            *fa.policy_gradient(logits, slow[0], wide, old_log_prob=slow[1], clip=0.2, entropy=0.1),
            *fa.gaussian_policy_gradient(np.asfortranarray(logits), log_std, logits * 2, wide, old_log_prob=slow[1]),
        )
    )
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert_same_bits(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("shape", [(1, 1), (65, 3), (130, 8), (17, 16), (70, 33)])
def test_gaussian_of_any_shape(engine, dtype, rng, shape):
    mean, actions = rng.normal(0, 1, shape).astype(dtype), rng.normal(0, 1, shape)
    log_std, advantages = rng.normal(0, 0.5, shape).astype(dtype), rng.normal(0, 1, shape[0])
    d = (actions - mean) / np.exp(log_std.astype(np.float64))
    each = fa.gaussian_policy_gradient(mean, log_std, actions, advantages, entropy=0.1)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(each.grad_mean * shape[0], -advantages[:, None] * d / np.exp(log_std), **close)
    np.testing.assert_allclose(each.grad_log_std * shape[0], advantages[:, None] * (1 - d**2) - 0.1, **close)
    shared = fa.gaussian_policy_gradient(mean, log_std[0], actions, advantages, entropy=0.1)
    spread = np.repeat(log_std[:1], shape[0], axis=0)
    same = fa.gaussian_policy_gradient(mean, spread, actions, advantages, entropy=0.1)
    np.testing.assert_allclose(shared.grad_log_std, same.grad_log_std.sum(axis=0, dtype=np.float64), **close)
    np.testing.assert_array_equal(shared.grad_mean, same.grad_mean)
    assert shared.loss == pytest.approx(same.loss, rel=1e-12)


@pytest.mark.parametrize("where", ["mean", "log_std", "actions", "advantages", "old_log_prob"])
def test_nan_gives_nan_in_gaussian(engine, dtype, rng, where):
    mean, log_std, actions, advantages = continuous(dtype, rng, False)
    arrays = {"mean": mean, "log_std": log_std, "actions": actions, "advantages": advantages,
              "old_log_prob": np.full(ROWS, -3.0)}  # fmt: skip
    arrays[where][3] = np.nan
    result = fa.gaussian_policy_gradient(**arrays, clip=0.2, entropy=0.1)
    assert math.isnan(result.loss)
    for grad in (result.grad_mean, result.grad_log_std):
        assert np.isnan(grad[3]).all()
        assert np.isfinite(np.delete(grad, 3, axis=0)).all()


def test_far_out(engine, dtype):
    """Ratios that overflow, rows that are certain."""
    logits = np.array([[0, 200, -200], [200, 0, 0]], dtype)
    result = fa.policy_gradient(logits, [1, 1], [1.0, 1.0], entropy=0.5)
    np.testing.assert_allclose(result.log_prob, [0, -200])
    np.testing.assert_allclose(result.entropy, 0, atol=1e-30)
    np.testing.assert_allclose(result.grad, [[0, 0, 0], [0.5, -0.5, 0]], atol=1e-30)
    for advantage, loss in ((1.0, -1.2), (-1.0, np.inf)):
        clipped = fa.policy_gradient(np.zeros((1, 2), dtype), [0], [advantage], old_log_prob=[-2000.0], clip=0.2)
        assert clipped.loss == pytest.approx(loss)


@pytest.mark.parametrize("options", OPTIONS)
def test_policy_gradient_finite_differences(engine, rng, options):
    logits, actions, advantages = discrete("float64", rng)
    log_prob = fa.policy_gradient(logits, actions, advantages).log_prob
    keywords = given(options, log_prob, rng)
    grad = fa.policy_gradient(logits, actions, advantages, **keywords).grad
    for place in np.ndindex(logits.shape):
        pair = []
        for step in (1e-5, -1e-5):
            moved = logits.copy()
            moved[place] += step
            pair.append(fa.policy_gradient(moved, actions, advantages, **keywords).loss)
        np.testing.assert_allclose(grad[place], (pair[0] - pair[1]) / 2e-5, rtol=1e-5, atol=1e-9)


def continuous(dtype, rng, shared):
    mean = rng.normal(0, 1, (ROWS, 3)).astype(dtype)
    log_std = rng.normal(-0.3, 0.5, (3,) if shared else (ROWS, 3)).astype(dtype)
    return mean, log_std, rng.normal(0, 1.5, (ROWS, 3)), rng.normal(0, 2, ROWS)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_gaussian_against_scipy(engine, dtype, rng, options, shared):
    mean, log_std, actions, advantages = continuous(dtype, rng, shared)
    normal = stats.norm(mean.astype(np.float64), np.broadcast_to(np.exp(log_std.astype(np.float64)), mean.shape))
    log_prob, entropies = normal.logpdf(actions).sum(axis=1), normal.entropy().sum(axis=1)
    keywords = given(options, log_prob, rng)
    result = fa.gaussian_policy_gradient(mean, log_std, actions, advantages, **keywords)
    loss, cut = expected(log_prob, entropies, advantages, **keywords)
    close = {"rtol": 2e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(result.loss, loss, **close)
    np.testing.assert_allclose(result.log_prob, log_prob, **close)
    np.testing.assert_allclose(result.entropy, entropies, **close)
    assert {array.dtype for array in result[1:]} == {np.dtype(dtype)}
    assert (result.grad_mean.shape, result.grad_log_std.shape) == (mean.shape, log_std.shape)
    if "clip" in options:
        assert 5 < sum(cut) < ROWS - 5
        np.testing.assert_array_equal((result.grad_mean == 0).all(axis=1), cut)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_gaussian_finite_differences(engine, rng, options, shared):
    mean, log_std, actions, advantages = continuous("float64", rng, shared)
    log_prob = fa.gaussian_policy_gradient(mean, log_std, actions, advantages).log_prob
    keywords = given(options, log_prob, rng)
    result = fa.gaussian_policy_gradient(mean, log_std, actions, advantages, **keywords)
    for number, grad in enumerate((result.grad_mean, result.grad_log_std)):
        for place in np.ndindex(grad.shape):
            pair = []
            for step in (1e-5, -1e-5):
                moved = [mean.copy(), log_std.copy()]
                moved[number][place] += step
                pair.append(fa.gaussian_policy_gradient(*moved, actions, advantages, **keywords).loss)
            np.testing.assert_allclose(grad[place], (pair[0] - pair[1]) / 2e-5, rtol=1e-5, atol=1e-8)


def test_the_policy_that_acted_has_a_ratio_of_one(engine, dtype, rng):
    """Its gradient is that without a ratio, in the same bits; none of its rows is clipped."""
    logits, actions, advantages = discrete(dtype, rng)
    first = fa.policy_gradient(logits, actions, advantages)
    again = fa.policy_gradient(logits, actions, advantages, old_log_prob=first.log_prob, clip=1e-6)
    np.testing.assert_array_equal(again.grad, first.grad)
    assert again.loss == pytest.approx(-advantages.mean(), rel=1e-12)
    mean, log_std, done, advantages = continuous(dtype, rng, True)
    one = fa.gaussian_policy_gradient(mean, log_std, done, advantages)
    two = fa.gaussian_policy_gradient(mean, log_std, done, advantages, old_log_prob=one.log_prob, clip=1e-6)
    np.testing.assert_array_equal(two.grad_mean, one.grad_mean)
    np.testing.assert_array_equal(two.grad_log_std, one.grad_log_std)


def test_the_gradient_is_that_of_weighted_cross_entropy(engine, dtype, rng):
    logits, actions, advantages = discrete(dtype, rng)
    grad = fa.policy_gradient(logits, actions, np.abs(advantages)).grad
    other = fa.softmax_cross_entropy(logits, actions, sample_weight=np.abs(advantages), reduction="sum").grad / ROWS
    np.testing.assert_allclose(grad, other, rtol=1e-5, atol=1e-7)


def test_actions_that_are_not_allowed(engine, dtype, rng):
    """-inf: no probability, no gradient, no part of the entropy; as if the column were not there."""
    logits, _, advantages = discrete(dtype, rng)
    actions = rng.integers(0, 4, ROWS)
    masked = logits.copy()
    masked[:, 4] = -np.inf
    result = fa.policy_gradient(masked, actions, advantages, entropy=0.5)
    without = fa.policy_gradient(np.ascontiguousarray(logits[:, :4]), actions, advantages, entropy=0.5)
    np.testing.assert_array_equal(result.grad[:, 4], 0)
    np.testing.assert_allclose(result.grad[:, :4], without.grad, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(result.entropy, without.entropy, rtol=1e-5)
    assert result.loss == pytest.approx(without.loss, rel=1e-5)


@pytest.mark.parametrize("where", ["logits", "advantages", "old_log_prob"])
def test_nan_gives_nan(engine, dtype, rng, where):
    logits, actions, advantages = discrete(dtype, rng)
    arrays = {"logits": logits, "advantages": advantages, "old_log_prob": np.full(ROWS, -1.0)}
    arrays[where][3] = np.nan
    result = fa.policy_gradient(actions=actions, **arrays, clip=0.2, entropy=0.1)
    assert math.isnan(result.loss)
    assert np.isnan(result.grad[3]).all()
    assert np.isfinite(np.delete(result.grad, 3, axis=0)).all()


def test_no_rows(engine, dtype):
    result = fa.policy_gradient(np.zeros((0, 3), dtype), [], [], entropy=0.1)
    assert math.isnan(result.loss)
    assert (result.grad.shape, result.log_prob.shape) == ((0, 3), (0,))
    gaussian = fa.gaussian_policy_gradient(np.zeros((0, 2), dtype), np.zeros(2, dtype), np.zeros((0, 2)), [])
    assert math.isnan(gaussian.loss)
    np.testing.assert_array_equal(gaussian.grad_log_std, 0)


def test_out_and_layouts(engine, dtype, rng):
    logits, actions, advantages = discrete(dtype, rng)
    wanted = fa.policy_gradient(logits, actions, advantages, entropy=0.1)
    before = [array.copy() for array in (logits, actions, advantages)]
    strided = np.zeros((ROWS, 2 * COLUMNS), dtype)[:, ::2]
    for out in (np.empty_like(logits), strided, np.empty((COLUMNS, ROWS), dtype).T):
        result = fa.policy_gradient(
            np.asfortranarray(logits), actions.astype(np.int8), advantages, entropy=0.1, out=out
        )
        assert result.grad is out
        np.testing.assert_array_equal(out, wanted.grad)
    for array, old in zip((logits, actions, advantages), before, strict=True):
        np.testing.assert_array_equal(array, old)
    inplace = logits.copy()
    assert fa.policy_gradient(inplace, actions, advantages, entropy=0.1, out=inplace).grad is inplace
    np.testing.assert_array_equal(inplace, wanted.grad)

    mean, log_std, done, advantages = continuous(dtype, rng, True)
    expected_ = fa.gaussian_policy_gradient(mean, log_std, done, advantages)
    p = fa.Parameter(3, log_std, dtype)
    result = fa.gaussian_policy_gradient(mean, p.value, done, advantages, out_mean=mean, out_log_std=p.gradient)
    assert result.grad_mean is mean
    np.testing.assert_array_equal(mean, expected_.grad_mean)
    np.testing.assert_array_equal(p.gradient, expected_.grad_log_std)


def test_errors_write_nothing(rng):
    z, a, w = discrete("float32", rng)
    out = np.full_like(z, 7)
    call = lambda *given_, **keywords: fa.policy_gradient(*given_, **{"out": out, **keywords})  # noqa: E731
    for kind, function, text in (
        (TypeError, lambda: call(z.astype(int), a, w), "float32 or float64"),
        (ValueError, lambda: call(z[0], a, w), "2 dimensions"),
        (TypeError, lambda: call(z, a.astype(float), w), "actions to be whole numbers"),
        (ValueError, lambda: call(z, a[:-1], w), r"actions of shape \(40,\)"),
        (ValueError, lambda: call(z, a + 3, w), "actions from 0 to 4"),
        (ValueError, lambda: call(z, a - 9, w), "actions from 0 to 4"),
        (ValueError, lambda: call(z, a, w[:, None]), r"advantages to have shape .*pass advantages\[:, 0\]"),
        (TypeError, lambda: call(z, a, None), "advantages to be an array of numbers"),
        (ValueError, lambda: call(z, a, w, old_log_prob=w[1:]), "old_log_prob to have shape"),
        (ValueError, lambda: call(z, a, w, clip=0.2), "clip needs old_log_prob"),
        (ValueError, lambda: call(z, a, w, old_log_prob=w, clip=0), "clip to be a finite number > 0"),
        (ValueError, lambda: call(z, a, w, entropy=-0.1), "entropy to be a finite number >= 0"),
        (ValueError, lambda: call(np.zeros((4, 0)), a[:4], w[:4], out=None), "at least one column"),
        (ValueError, lambda: call(z, a, w, out=out[:-1]), "out to have shape"),
        (TypeError, lambda: call(z, a, w, out=out.astype(np.float64)), "out to be float32"),
        (ValueError, lambda: call(out[1:], a[1:], w[1:], out=out[:-1]), "out overlaps logits"),
        (ValueError, lambda: call(z[:, :1], a * 0, out[:, 0], out=out[:, :1]), "out overlaps advantages"),
    ):
        with pytest.raises(kind, match=f"^policy_gradient: .*{text}"):
            function()
    assert (out == 7).all()

    m, s, done, w = continuous("float32", rng, True)
    first, second = np.full_like(m, 7), np.full_like(s, 7)

    def gaussian(*given_, **keywords):
        fa.gaussian_policy_gradient(*given_, **{"out_mean": first, "out_log_std": second, **keywords})

    for kind, function, text in (
        (TypeError, lambda: gaussian(m, s.astype(np.float64), done, w), "mean and log_std to have one dtype"),
        (ValueError, lambda: gaussian(m, s[:2], done, w), r"log_std to have shape \(3,\) or mean's \(40, 3\)"),
        (ValueError, lambda: gaussian(m, s, done[:, 0], w), "actions to have shape"),
        (ValueError, lambda: gaussian(m, s, done, w, clip=0.2), "clip needs old_log_prob"),
        (ValueError, lambda: gaussian(m, s, done, w, out_mean=first[:, :2]), "out_mean to have shape"),
        (ValueError, lambda: gaussian(m, s, done, w, out_log_std=first[0]), "out_mean overlaps out_log_std"),
        (ValueError, lambda: gaussian(first, s, done, w, out_mean=first[::-1]), "out_mean overlaps mean"),
        (ValueError, lambda: gaussian(m, s, first, w), "out_mean overlaps actions"),
        (ValueError, lambda: gaussian(m, s, done, w, out_log_std=m[0]), "out_log_std overlaps mean"),
    ):
        with pytest.raises(kind, match=f"^gaussian_policy_gradient: .*{text}"):
            function()
    assert (first == 7).all()
    assert (second == 7).all()


def test_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    z, a, w = discrete("float64", rng)
    old = fa.policy_gradient(z, a, w).log_prob + rng.normal(0, 0.4, ROWS)
    result = fa.policy_gradient(z, a, w, old_log_prob=old, clip=0.2, entropy=0.01)
    logits = torch.tensor(z, requires_grad=True)
    d = torch.distributions.Categorical(logits=logits)
    ratio = (d.log_prob(torch.tensor(a)) - torch.tensor(old)).exp()
    gain = torch.min(ratio * torch.tensor(w), ratio.clamp(0.8, 1.2) * torch.tensor(w))
    loss = -gain.mean() - 0.01 * d.entropy().mean()
    loss.backward()
    np.testing.assert_allclose(result.loss, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(result.grad, logits.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("algorithm", "least"), [("ppo", 60), ("dqn", 40)])
def test_the_examples_learn(algorithm, least):
    """CartPole, from 20 steps an episode on."""
    script = Path(__file__).parents[1] / "bench" / "reinforcement.py"
    if not script.exists():
        pytest.skip("without bench/")
    mean_return, speed = runpy.run_path(str(script))["train"](algorithm, "fastact", 0, 12_288)
    assert mean_return > least
    assert speed > 0
