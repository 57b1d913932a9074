"""PPO on CartPole, all in NumPy and fastact: a trunk with two heads, one loss, one optimiser.

python bench/ppo.py [seed]: prints the mean return of the last episodes and the environment steps a second, training
included. The task is that of Barto, Sutton and Anderson (1983), as Gymnasium's CartPole-v1 has it: a reward of 1 a
step, at most 500 steps.
"""

import sys
import time

import numpy as np

import fastact as fa

ENVIRONMENTS, STEPS, EPOCHS, ROWS = 8, 128, 10, 64
DISCOUNT, TRACE, CLIP, ENTROPY, VALUE_WEIGHT = 0.99, 0.95, 0.2, 0.01, 0.01


class CartPole:
    """Several at once; one that ends begins again."""

    def __init__(self, count, rng):
        self.rng, self.age = rng, np.zeros(count, int)
        self.state = rng.uniform(-0.05, 0.05, (count, 4))

    def step(self, actions):
        """The states reached, which of them ended by falling, and which by time."""
        _, v, angle, spin = self.state.T
        force = np.where(actions == 1, 10.0, -10.0)
        sine, cosine = np.sin(angle), np.cos(angle)
        push = (force + 0.05 * spin**2 * sine) / 1.1
        turn = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        rates = np.stack([v, push - 0.05 * turn * cosine / 1.1, spin, turn], axis=1)
        reached = self.state + 0.02 * rates
        self.age += 1
        fell = (np.abs(reached[:, 0]) > 2.4) | (np.abs(reached[:, 2]) > 12 * np.pi / 180)
        late = ~fell & (self.age >= 500)
        ended = fell | late
        self.state = np.where(ended[:, None], self.rng.uniform(-0.05, 0.05, reached.shape), reached)
        returns = self.age[ended]
        self.age[ended] = 0
        return reached, fell, late, returns


def advantages_of(values, following, ended, fell):
    """Generalised advantages (Schulman et al. 2016) of rewards of 1, over (steps, environments)."""
    errors = 1 + DISCOUNT * np.where(fell, 0, following) - values
    result, run = np.empty_like(errors), np.zeros(errors.shape[1])
    for t in reversed(range(len(errors))):
        run = errors[t] + DISCOUNT * TRACE * np.where(ended[t], 0, run)
        result[t] = run
    return result


def train(seed=0, iterations=80, report=print):
    """Mean return of the last 50 episodes, and environment steps a second."""
    rng = np.random.default_rng(seed)
    trunk = fa.Sequential(fa.Dense(4, 64, "tanh"), fa.Dense(64, 64, "tanh"), rng=seed)
    pi = fa.Sequential(fa.Dense(64, 2, weight_init=lambda shape, rng: rng.normal(0, 0.01, shape)), rng=seed)
    v = fa.Sequential(fa.Dense(64, 1), rng=seed)
    optimizer = fa.optim.Adam(fa.optim.Cosine(1e-3, iterations * EPOCHS * ENVIRONMENTS * STEPS // ROWS), clip_norm=0.5)
    world, recent, start = CartPole(ENVIRONMENTS, rng), [], time.perf_counter()
    shape = STEPS, ENVIRONMENTS
    seen, reached = np.empty((*shape, 4), np.float32), np.empty((*shape, 4), np.float32)
    actions, old = np.empty(shape, int), np.empty(shape, np.float32)
    fell, late = np.empty(shape, bool), np.empty(shape, bool)
    for iteration in range(iterations):
        for t in range(STEPS):
            seen[t] = world.state
            logs = fa.log_softmax(pi(trunk(seen[t])))
            actions[t] = rng.random(ENVIRONMENTS) > np.exp(logs[:, 0])
            old[t] = logs[np.arange(ENVIRONMENTS), actions[t]]
            reached[t], fell[t], late[t], returns = world.step(actions[t])
            recent = [*recent, *returns][-50:]
        values, following = (v(trunk(x.reshape(-1, 4))).reshape(shape) for x in (seen, reached))
        gains = advantages_of(values, following, fell | late, fell)
        goals = (gains + values).astype(np.float32).reshape(-1, 1)
        gains = ((gains - gains.mean()) / (gains.std() + 1e-8)).ravel()
        for _ in range(EPOCHS):
            for rows in rng.permutation(goals.size).reshape(-1, ROWS):
                h = trunk.forward(seen.reshape(-1, 4)[rows], training=True)
                logits, value = pi.forward(h, training=True), v.forward(h, training=True)
                policy = fa.policy_gradient(
                    logits,
                    actions.ravel()[rows],
                    gains[rows],
                    old_log_prob=old.ravel()[rows],
                    clip=CLIP,
                    entropy=ENTROPY,
                )
                error = fa.squared_error(value, goals[rows], factor=VALUE_WEIGHT)
                grad = pi.backward(policy.grad, need_input_grad=True)
                grad += v.backward(error.grad, need_input_grad=True)
                trunk.backward(grad)
                optimizer.step(trunk, pi, v)
        if iteration % 20 == 19:
            taken = (iteration + 1) * ENVIRONMENTS * STEPS
            speed = taken / (time.perf_counter() - start)
            report(f"{taken:7d} steps: mean return {np.mean(recent):5.1f}, {speed:.0f} steps/s")
    return float(np.mean(recent)), speed


if __name__ == "__main__":
    train(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
