"""PPO on CartPole in PyTorch, once with plain modules and once with those of ``fastact.torch.convert``.

python bench/ppo_torch.py [seed]: prints for both the mean return of the last episodes and the environment steps a
second of the processor's time, training included. The task, its NumPy simulation and the settings are those of
reinforcement.py; the two runs differ in the two lines marked below and in nothing else, and take turns. The heads stay
as they are: a single small ``Linear`` is one call of PyTorch already.
"""

import copy
import sys
import time

import numpy as np
import torch
from reinforcement import CLIP, ENTROPY, ENVIRONMENTS, VALUE_WEIGHT, CartPole, advantages_of
from reinforcement import PPO_EPOCHS as EPOCHS
from reinforcement import PPO_ROWS as ROWS
from reinforcement import PPO_STEPS as STEPS
from torch import nn

import fastact as fa
import fastact.torch


class Policy(nn.Module):
    """A trunk with two heads."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.pi, self.v = nn.Linear(64, 2), nn.Linear(64, 1)
        nn.init.normal_(self.pi.weight, 0, 0.01)

    def forward(self, x):
        h = self.trunk(x)
        return self.pi(h), self.v(h)[:, 0]


class Training:
    """One run: ``iterate`` collects steps and trains on them."""

    def __init__(self, policy, optimizer, seed):
        self.policy, self.optimizer, self.rng = policy, optimizer, np.random.default_rng(seed)
        self.world, self.taken, self.seconds = CartPole(ENVIRONMENTS, self.rng), 0, 0.0

    def iterate(self):
        start = time.thread_time()
        batch = self.collect()
        for _ in range(EPOCHS):
            for rows in self.rng.permutation(STEPS * ENVIRONMENTS).reshape(-1, ROWS):
                self.update(*(tensor[torch.from_numpy(rows)] for tensor in batch))
        self.taken += STEPS * ENVIRONMENTS
        self.seconds += time.thread_time() - start

    def collect(self):
        shape = STEPS, ENVIRONMENTS
        seen, reached = np.empty((*shape, 4), np.float32), np.empty((*shape, 4), np.float32)
        actions, old = np.empty(shape, int), np.empty(shape, np.float32)
        fell, late = np.empty(shape, bool), np.empty(shape, bool)
        with torch.inference_mode():
            for t in range(STEPS):
                seen[t] = self.world.state
                logits, _ = self.policy(torch.from_numpy(seen[t]))
                logs = torch.log_softmax(logits, -1).numpy()
                actions[t] = self.rng.random(ENVIRONMENTS) > np.exp(logs[:, 0])
                old[t] = logs[np.arange(ENVIRONMENTS), actions[t]]
                reached[t], fell[t], late[t] = self.world.step(actions[t])
            values, following = (
                self.policy(torch.from_numpy(x.reshape(-1, 4)))[1].numpy().reshape(shape) for x in (seen, reached)
            )
        gains = advantages_of(values, following, fell | late, fell)
        goals = (gains + values).astype(np.float32).ravel()
        gains = ((gains - gains.mean()) / (gains.std() + 1e-8)).astype(np.float32).ravel()
        return [torch.from_numpy(a) for a in (seen.reshape(-1, 4), actions.ravel(), old.ravel(), gains, goals)]

    def update(self, seen, actions, old, gains, goals):
        logits, values = self.policy(seen)
        logs = torch.log_softmax(logits, -1)
        ratio = (logs.gather(1, actions[:, None])[:, 0] - old).exp()
        surrogate = torch.minimum(ratio * gains, ratio.clamp(1 - CLIP, 1 + CLIP) * gains).mean()
        entropy = -(logs.exp() * logs).sum(-1).mean()
        loss = VALUE_WEIGHT * (values - goals).square().mean() - surrogate - ENTROPY * entropy
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), 0.5)
        self.optimizer.step()


def compare(seed=0, iterations=60, report=print):
    """(mean return, steps a second) of each."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    plain = Policy()
    converted = copy.deepcopy(plain)
    converted.trunk = fastact.torch.convert(converted.trunk)  # one
    adam = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)
    compiled_adam = fastact.torch.Adam(converted.parameters(), lr=1e-3)  # two
    runs = {"plain": Training(plain, adam, seed), "converted": Training(converted, compiled_adam, seed)}
    with fa.num_threads(1):
        for iteration in range(iterations):
            for run in runs.values():
                run.iterate()
            if iteration % 20 == 19:
                for name, run in runs.items():
                    speed = run.taken / run.seconds
                    mean = np.mean(run.world.returns[-50:])
                    report(f"{run.taken:7d} steps, {name:9s}: mean return {mean:5.1f}, {speed:.0f} steps/s")
    return {name: (float(np.mean(run.world.returns[-50:])), run.taken / run.seconds) for name, run in runs.items()}


if __name__ == "__main__":
    compare(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
