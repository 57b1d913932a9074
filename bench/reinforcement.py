"""Reinforcement learning in NumPy and fastact, and the same with PyTorch: PPO and DQN on CartPole.

    python bench/reinforcement.py             both, with both libraries, the table in Markdown (needs torch)
    python bench/reinforcement.py --algorithms dqn --libraries fastact --seeds 1

The algorithms are written once; what a library does of them is an agent (``Ours``, ``Theirs``): networks that act and
learn. Each training is a process of its own with one thread, libraries take turns, and time is the processor's own. The
table has the environment steps a second of the fastest seed, training included, and the mean return of the last 50
episodes, with its standard error over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

import fastact as fa

DISCOUNT, WIDTH, ENVIRONMENTS = 0.99, 64, 8
ACTIONS, STATE = 2, 4


class CartPole:
    """The pole of Barto, Sutton and Anderson (1983), as Gymnasium's CartPole-v1 has it: a reward of 1 a step, at most
    500 steps. Several at once; one that ends begins again.
    """  # fmt: skip

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.rng, self.age, self.returns = rng, np.zeros(count, int), []
        self.state = rng.uniform(-0.05, 0.05, (count, STATE))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        self.state = reached
        if ended.any():
            self.state = np.where(ended[:, None], self.rng.uniform(-0.05, 0.05, reached.shape), reached)
            self.returns += self.age[ended].tolist()
            self.age[ended] = 0
        return reached, fell, late


# ------------------------------------------------------------------------------------------------ PPO

PPO_STEPS, PPO_EPOCHS, PPO_ROWS = 128, 10, 64  # steps of each environment, and what is learned from them
TRACE, CLIP, ENTROPY, VALUE_WEIGHT = 0.95, 0.2, 0.01, 0.01


def nearly_zero(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights with which all actions are as likely."""
    return rng.normal(0, 0.01, shape)


class OurActorCritic:
    """A trunk with two heads, one loss, one optimiser."""

    def __init__(self, seed: int, updates: int) -> None:
        self.trunk = fa.Sequential(
            fa.Dense(STATE, WIDTH, "tanh"), fa.Dense(WIDTH, WIDTH, "tanh"), rng=seed, weight_init="torch"
        )
        self.pi = fa.Sequential(fa.Dense(WIDTH, ACTIONS, weight_init=nearly_zero), rng=seed)
        self.v = fa.Sequential(fa.Dense(WIDTH, 1), rng=seed, weight_init="torch")
        self.optimizer = fa.optim.Adam(fa.optim.Cosine(1e-3, updates), clip_norm=0.5)

    def log_policy(self, states: np.ndarray) -> np.ndarray:
        return fa.log_softmax(self.pi(self.trunk(states)))

    def values(self, states: np.ndarray) -> np.ndarray:
        return self.v(self.trunk(states))[:, 0]

    def learn(
        self, states: np.ndarray, actions: np.ndarray, old: np.ndarray, gains: np.ndarray, goals: np.ndarray
    ) -> None:
        h = self.trunk.forward(states, training=True)
        logits, value = self.pi.forward(h, training=True), self.v.forward(h, training=True)
        policy = fa.policy_gradient(logits, actions, gains, old_log_prob=old, clip=CLIP, entropy=ENTROPY)
        error = fa.squared_error(value, goals[:, None], factor=VALUE_WEIGHT)
        grad = self.pi.backward(policy.grad, need_input_grad=True)
        grad += self.v.backward(error.grad, need_input_grad=True)
        self.trunk.backward(grad)
        self.optimizer.step(self.trunk, self.pi, self.v)


class TheirActorCritic:
    """The same in PyTorch."""

    def __init__(self, seed: int, updates: int) -> None:
        import torch
        from torch import nn

        torch.manual_seed(seed)
        torch.set_num_threads(1)
        self.torch = torch
        self.trunk = nn.Sequential(nn.Linear(STATE, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.pi, self.v = nn.Linear(WIDTH, ACTIONS), nn.Linear(WIDTH, 1)
        nn.init.normal_(self.pi.weight, 0, 0.01)
        nn.init.zeros_(self.pi.bias)
        self.parameters = [*self.trunk.parameters(), *self.pi.parameters(), *self.v.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, fused=True)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, updates)

    def log_policy(self, states: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            return self.torch.log_softmax(self.pi(self.trunk(self.torch.from_numpy(states))), 1).numpy()

    def values(self, states: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            return self.v(self.trunk(self.torch.from_numpy(states)))[:, 0].numpy()

    def learn(
        self, states: np.ndarray, actions: np.ndarray, old: np.ndarray, gains: np.ndarray, goals: np.ndarray
    ) -> None:
        torch = self.torch
        states, actions, old, gains, goals = map(torch.from_numpy, (states, actions, old, gains, goals))
        h = self.trunk(states)
        logs = torch.log_softmax(self.pi(h), 1)
        ratio = (logs.gather(1, actions[:, None])[:, 0] - old).exp()
        policy = -torch.min(ratio * gains, ratio.clamp(1 - CLIP, 1 + CLIP) * gains).mean()
        entropy = -(logs.exp() * logs).sum(1).mean()
        value = (self.v(h)[:, 0] - goals).square().mean()
        self.optimizer.zero_grad()
        (policy - ENTROPY * entropy + VALUE_WEIGHT * value).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 0.5)
        self.optimizer.step()
        self.schedule.step()


def advantages_of(values: np.ndarray, following: np.ndarray, ended: np.ndarray, fell: np.ndarray) -> np.ndarray:
    """Generalised advantages (Schulman et al. 2016) of rewards of 1, over (steps, environments)."""
    errors = 1 + DISCOUNT * np.where(fell, 0, following) - values
    result, run = np.empty_like(errors), np.zeros(errors.shape[1], errors.dtype)
    for t in reversed(range(len(errors))):
        run = errors[t] + DISCOUNT * TRACE * np.where(ended[t], 0, run)
        result[t] = run
    return result


def ppo(make: Any, seed: int, steps: int) -> list[int]:
    """Proximal policy optimisation (Schulman et al. 2017): the returns of all episodes."""
    rng = np.random.default_rng(seed)
    shape = PPO_STEPS, ENVIRONMENTS
    rows = PPO_STEPS * ENVIRONMENTS
    iterations = -(-steps // rows)
    agent, world = make(seed, iterations * PPO_EPOCHS * rows // PPO_ROWS), CartPole(ENVIRONMENTS, rng)
    seen, reached = np.empty((*shape, STATE), np.float32), np.empty((*shape, STATE), np.float32)
    actions, old = np.empty(shape, np.int64), np.empty(shape, np.float32)
    fell, late = np.empty(shape, bool), np.empty(shape, bool)
    for _ in range(iterations):
        for t in range(PPO_STEPS):
            seen[t] = world.state
            logs = agent.log_policy(seen[t])
            actions[t] = rng.random(ENVIRONMENTS) > np.exp(logs[:, 0])
            old[t] = logs[np.arange(ENVIRONMENTS), actions[t]]
            reached[t], fell[t], late[t] = world.step(actions[t])
        values, following = (agent.values(x.reshape(-1, STATE)).reshape(shape) for x in (seen, reached))
        gains = advantages_of(values, following, fell | late, fell)
        goals = (gains + values).ravel()
        gains = ((gains - gains.mean()) / (gains.std() + 1e-8)).ravel()
        data = seen.reshape(-1, STATE), actions.ravel(), old.ravel(), gains, goals
        for _ in range(PPO_EPOCHS):
            for chosen in rng.permutation(rows).reshape(-1, PPO_ROWS):
                agent.learn(*(array[chosen] for array in data))
    return world.returns


# ------------------------------------------------------------------------------------------------ DQN

MEMORY, DQN_ROWS, FIRST, UPDATES = 20_000, 64, 512, 2  # UPDATES: for each step of all environments
EXPLORING, TAU = 20_000, 0.01  # steps over which exploring becomes rare; how fast the target network follows


class OurValues:
    """Values of actions, and a target network that follows them."""

    def __init__(self, seed: int, weight_init: Any = "torch") -> None:
        self.q, self.target = (
            fa.Sequential(
                fa.Dense(STATE, WIDTH, "relu"), fa.Dense(WIDTH, WIDTH, "relu"), fa.Dense(WIDTH, ACTIONS), rng=seed,
                weight_init=weight_init,
            )
            for _ in range(2)
        )  # fmt: skip
        self.optimizer = fa.optim.Adam(1e-3, clip_norm=10.0)

    def values(self, states: np.ndarray) -> np.ndarray:
        return self.q(states)

    def learn(self, states: np.ndarray, actions: np.ndarray, reached: np.ndarray, going_on: np.ndarray) -> None:
        goals = 1 + DISCOUNT * going_on * self.target(reached).max(axis=1)
        values, rows = self.q.forward(states, training=True), np.arange(len(states))
        grad = np.zeros_like(values)
        grad[rows, actions] = fa.huber(values[rows, actions], goals).grad
        self.q.backward(grad)
        self.optimizer.step(self.q)
        fa.soft_update(self.target, self.q, TAU)


class TheirValues:
    """The same in PyTorch."""

    def __init__(self, seed: int) -> None:
        import torch
        from torch import nn

        torch.manual_seed(seed)
        torch.set_num_threads(1)
        self.torch = torch
        self.q, self.target = (
            nn.Sequential(
                nn.Linear(STATE, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, ACTIONS)
            )
            for _ in range(2)
        )
        self.target.load_state_dict(self.q.state_dict())
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=1e-3, fused=True)

    def values(self, states: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            return self.q(self.torch.from_numpy(states)).numpy()

    def learn(self, states: np.ndarray, actions: np.ndarray, reached: np.ndarray, going_on: np.ndarray) -> None:
        torch = self.torch
        states, actions, reached, going_on = map(torch.from_numpy, (states, actions, reached, going_on))
        with torch.no_grad():
            goals = 1 + DISCOUNT * going_on * self.target(reached).max(1).values
        chosen = self.q(states).gather(1, actions[:, None])[:, 0]
        self.optimizer.zero_grad()
        torch.nn.functional.huber_loss(chosen, goals).backward()
        torch.nn.utils.clip_grad_norm_(self.q.parameters(), 10.0)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.q.parameters()), TAU)


def dqn(make: Any, seed: int, steps: int) -> list[int]:
    """Q-learning with a replay memory and a target network (Mnih et al. 2015): the returns of all episodes."""
    rng = np.random.default_rng(seed)
    agent, world = make(seed), CartPole(ENVIRONMENTS, rng)
    states, reached = np.empty((MEMORY, STATE), np.float32), np.empty((MEMORY, STATE), np.float32)
    actions, going_on = np.empty(MEMORY, np.int64), np.empty(MEMORY, np.float32)
    for step in range(0, steps, ENVIRONMENTS):
        places = np.arange(step, step + ENVIRONMENTS) % MEMORY
        states[places] = world.state
        chosen = agent.values(states[places]).argmax(axis=1)
        curious = rng.random(ENVIRONMENTS) < max(0.02, 1 - step / EXPLORING)
        actions[places] = np.where(curious, rng.integers(ACTIONS, size=ENVIRONMENTS), chosen)
        reached[places], fell, _ = world.step(actions[places])
        going_on[places] = ~fell
        if step >= FIRST:
            for _ in range(UPDATES):
                rows = rng.integers(min(step + ENVIRONMENTS, MEMORY), size=DQN_ROWS)
                agent.learn(states[rows], actions[rows], reached[rows], going_on[rows])
    return world.returns


# ------------------------------------------------------------------------------------------------ the table

ALGORITHMS: dict[str, Any] = {"ppo": ppo, "dqn": dqn}
AGENTS: dict[str, dict[str, Any]] = {
    "fastact": {"ppo": OurActorCritic, "dqn": OurValues},
    "PyTorch": {"ppo": TheirActorCritic, "dqn": TheirValues},
}
STEPS, WARM_UP, EPISODES, SEEDS = 40_960, 1024, 50, 5


def train(algorithm: str, library: str, seed: int, steps: int = STEPS) -> tuple[float, float]:
    """Mean return of the last episodes, and environment steps a second."""
    make = AGENTS[library][algorithm]
    ALGORITHMS[algorithm](make, seed, WARM_UP)  # PyTorch imports most of itself in the first step
    start = time.process_time()
    returns = ALGORITHMS[algorithm](make, seed, steps)
    return float(np.mean(returns[-EPISODES:])), steps / (time.process_time() - start)


def main() -> int:
    """Print the table, or with --one the result of one training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithms", nargs="*", default=list(ALGORITHMS), choices=list(ALGORITHMS))
    parser.add_argument("--libraries", nargs="*", default=list(AGENTS), choices=list(AGENTS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--one", nargs=3, metavar=("ALGORITHM", "LIBRARY", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        algorithm, library, seed = options.one
        print(json.dumps(train(algorithm, library, int(seed), options.steps)))
        return 0
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTACT_NUM_THREADS"), "1")
    print(f"| algorithm | library | steps a second | return of {options.seeds} seeds |\n| --- | --- | --- | --- |")
    for algorithm in options.algorithms:
        found: dict[str, list[tuple[float, float]]] = {library: [] for library in options.libraries}
        for seed in range(options.seeds):
            for library, results in found.items():
                command = [sys.executable, "-P", __file__, "--steps", str(options.steps), "--one", algorithm, library]
                done = subprocess.run(
                    [*command, str(seed)], env={**os.environ, **one_thread}, check=True, capture_output=True, text=True
                )
                results.append(tuple(json.loads(done.stdout)))
        for library, results in found.items():
            returns, speeds = np.array(results).T
            error = returns.std() / len(returns) ** 0.5
            print(f"| {algorithm} | {library} | {max(speeds):,.0f} | {returns.mean():.0f} ± {error:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
