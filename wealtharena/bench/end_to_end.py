"""Training from end to end: stock PPO on the MultiAgentEnv face against a team of PPOs, on a game that both must learn.

A round is a whole training from a fresh seed: its first iteration warms up, the others are timed. How fast and how well
are thus told of the same runs. The bare loop takes its turn in every round.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from torch import Tensor

from wealtharena.bench.bare_loop import BareLoop, Batch
from wealtharena.bench.contest import BEST_RETURN, GUESSING, TRAIN_BATCH, Arena, stock_config, team_config
from wealtharena.bench.guessing import ANSWERS, GuessingParams
from wealtharena.bench.share import student_quantile
from wealtharena.bench.timing import Measure, Samples, in_turn, rate

TEST_COPIES, TEST_SEED = 512, 1_000_000_007


@dataclass(frozen=True)
class Setting:
    """A way to sample: copies of the environment in each of so many processes (0: in the process that learns)."""

    copies: int
    runners: int = 0

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {"copies": self.copies, "runners": self.runners}


@dataclass(frozen=True)
class TrainingPlan:
    """How trainings are measured.

    Attributes:
        stock: What stock RLlib is tried with, for an iteration each; the fastest counts.
        team: What the team samples with.
        batch: Environment steps of an iteration.
        iterations: Timed ones of a training.
        bare_seconds: Of one measurement of the bare loop.
        rounds: Trainings of each, from different seeds.
    """

    stock: Sequence[Setting] = (Setting(1), Setting(8), Setting(64), Setting(32, runners=2))
    team: Setting = Setting(200)
    batch: int = TRAIN_BATCH
    iterations: int = 12
    bare_seconds: float = 3.0
    rounds: int = 5


class Trainer:
    """Trains afresh in every round, and keeps what came of it."""

    def __init__(self, build: Callable[[int], Algorithm], agents: int, iterations: int) -> None:
        self._build, self._agents, self._iterations = build, agents, iterations
        self.returns: list[float] = []

    def measure(self) -> float:
        """Agent-steps per second of the iterations after the first."""
        algorithm = self._build(len(self.returns))
        try:
            warm = algorithm.train()[NUM_ENV_STEPS_SAMPLED_LIFETIME]
            begun = time.perf_counter()
            for _ in range(self._iterations):
                results = algorithm.train()
            seconds = time.perf_counter() - begun
            self.returns.append(mean_return(algorithm))
        finally:
            algorithm.stop()
        return float(results[NUM_ENV_STEPS_SAMPLED_LIFETIME] - warm) * self._agents / seconds


@torch.no_grad()
def mean_return(algorithm: Algorithm) -> float:
    """Of an episode of the game, all agents together, with actions drawn from the policies: the same test for both."""
    game = GUESSING.build(TEST_COPIES)
    generator, total = torch.Generator().manual_seed(TEST_SEED), 0.0
    obs = game.reset(seed=TEST_SEED)
    for _ in range(GuessingParams().horizon):
        actions = {name: _drawn(algorithm.get_module(name), seen, generator) for name, seen in obs.items()}
        transition = game.step(actions)
        total += sum(float(reward.sum()) for reward in transition.reward.values())
        obs = transition.obs
    return total / TEST_COPIES


def _drawn(module: TorchRLModule, obs_E1F: Tensor, generator: torch.Generator) -> Tensor:
    logits = module.forward_inference({Columns.OBS: obs_E1F.flatten(0, 1)})[Columns.ACTION_DIST_INPUTS]
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)


def compare_training(plan: TrainingPlan) -> dict[str, dict[str, Any]]:
    """The parts ``end_to_end`` and ``bare_loop`` of the document; rates are agent-steps per second. Ray must run."""
    arena, agents = GUESSING, len(GUESSING.groups())
    tried = {setting: Trainer(_stock(arena, setting, plan), agents, 1).measure() for setting in plan.stock}
    best = max(tried, key=tried.__getitem__)
    stock = Trainer(_stock(arena, best, plan), agents, plan.iterations)
    team = Trainer(_team(arena, plan), agents, plan.iterations)
    loops = {name: bare_loop(arena, plan, stacked=name == "stacked") for name in ("sequential", "stacked")}
    found = in_turn({"stock": stock.measure, "team": team.measure, **loops}, plan.rounds)
    return {
        "end_to_end": {
            "ratio": found["team"].median / found["stock"].median,
            "stock": {
                "setting": best.as_dict(),
                "tried": [setting.as_dict() | {"rate": value} for setting, value in tried.items()],
                **found["stock"].as_dict(),
            },
            "team": {"setting": plan.team.as_dict(), **found["team"].as_dict()},
            "learning": compare_returns(stock.returns, team.returns, best=BEST_RETURN),
        },
        "bare_loop": ceiling(found),
    }


def bare_loop(arena: Arena, plan: TrainingPlan, *, stacked: bool) -> Measure:
    """The updates of the arena's members alone, warm."""
    batch = Batch.drawn(
        modules=len(arena.groups()), rows=plan.batch, features=GuessingParams().features, actions=ANSWERS, seed=0
    )
    loop = BareLoop(batch, arena.member, actions=ANSWERS, stacked=stacked)
    loop.iterate()
    return lambda: rate(loop.iterate, plan.bare_seconds)


def ceiling(found: Mapping[str, Samples]) -> dict[str, Any]:
    """The team's speed as a share of the faster form."""
    forms = {name: found[name] for name in ("sequential", "stacked")}
    fastest = max(forms, key=lambda name: forms[name].median)
    share = found["team"].median / forms[fastest].median
    return {"share": share, "of": fastest, **{name: samples.as_dict() for name, samples in forms.items()}}


def compare_returns(stock: Sequence[float], team: Sequence[float], *, best: float) -> dict[str, Any]:
    """Mean returns per episode at the end of the trainings, and how far the team's is below stock's, over the noise.

    The noise is that of the seeds: Welch's 95% interval, with the degrees of freedom of the smaller sample.

    Args:
        stock: One for each training.
        team: As ``stock``.
        best: The optimum.
    """
    difference, noise = mean(team) - mean(stock), _noise(stock, team)
    return {
        "optimum": best,
        "stock": mean(stock),
        "team": mean(team),
        "difference": difference,
        "noise": noise,
        "deficit": max(0.0, -difference) / noise if noise else None,
        "returns": {"stock": list(stock), "team": list(team)},
    }


def _noise(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Half the width of Welch's interval; None where a single training says nothing about it."""
    least = min(len(one), len(other))
    if least < 2:
        return None
    return student_quantile(least - 1) * math.sqrt(stdev(one) ** 2 / len(one) + stdev(other) ** 2 / len(other))


def _stock(arena: Arena, setting: Setting, plan: TrainingPlan) -> Callable[[int], Algorithm]:
    def build(seed: int) -> Algorithm:
        config = stock_config(arena, copies=setting.copies, runners=setting.runners, batch=plan.batch)
        return config.debugging(seed=seed).build_algo()

    return build


def _team(arena: Arena, plan: TrainingPlan) -> Callable[[int], Algorithm]:
    fragment = plan.batch // (plan.team.copies * max(1, plan.team.runners))

    def build(seed: int) -> Algorithm:
        config = team_config(arena, copies=plan.team.copies, fragment=fragment, runners=plan.team.runners)
        return config.debugging(seed=seed).build_algo()

    return build
