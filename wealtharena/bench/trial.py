"""One seed of a case: trained as any team is, and tried greedily on the way and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from environments.market.env import MarketEnv
from environments.market.planted.base import Actions, Observations, Reference
from wealtharena.bench.cases import Case
from wealtharena.bench.problem import Problem, Rewards, play
from wealtharena.bench.share import Point, Share
from wealtharena.evidence.episodes import FIRST_SEED
from wealtharena.evidence.track import FloatArray
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.policy import Policy


@dataclass(frozen=True)
class Plan:
    """How long a case is trained and how well it is tried.

    Attributes:
        env_steps: Of training.
        tries: How often it is tried on the way.
        copies: Episodes of a try on the way.
        final_copies: Episodes of the last one.
    """

    env_steps: int
    tries: int = 16
    copies: int = 512
    final_copies: int = 4096


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    Attributes:
        seed: Of the training.
        env_steps: Of the training.
        seconds: Of the training, without any evaluation.
        optimum: Name of the score -> the best there is.
        shares: Name of the score -> share of it at the end.
        curves: Name of the score -> shares on the way.
    """

    seed: int
    env_steps: int
    seconds: float
    optimum: Mapping[str, float]
    shares: Mapping[str, Share]
    curves: Mapping[str, tuple[Point, ...]]


class Judge:
    """Holds a policy against the best one and the base, in the same episodes each time."""

    def __init__(self, problem: Problem, *, copies: int, seed: int) -> None:
        self._problem, self._seed = problem, seed
        self._env = MarketEnv(problem.params(), num_envs=copies)
        self._known: dict[str, tuple[FloatArray, FloatArray]] = {}
        self.optimum: dict[str, float] = {}

    def shares(self, team: Reference) -> dict[str, Share]:
        """The share of each score."""

        @cache
        def played(policy: Reference) -> Rewards:
            return play(self._env, policy, seed=self._seed)

        shares = {}
        for name, yardstick in self._problem.yardsticks(self._env, team).items():
            self.optimum[name] = yardstick.optimum
            if name not in self._known or yardstick.follows_team:
                best_E = _array(yardstick.score(played(yardstick.optimal)))
                base_E = None if yardstick.base is None else _array(yardstick.score(played(yardstick.base)))
                self._known[name] = best_E, np.zeros_like(best_E) if base_E is None else base_E
            judged_E = _array(yardstick.score(played(yardstick.judged or team)))
            shares[name] = Share.of(judged_E, *self._known[name])
        return shares


def run_trial(case: Case, plan: Plan, seed: int, build: Callable[[], Team] | None = None) -> Outcome:
    """Trains a team and tries it.

    Evaluation draws other numbers than training, and at the end others than on the way.

    Args:
        case: What is learnt.
        plan: For how long.
        seed: Of the training.
        build: Makes the team; None: on the problem of the case as it is.
    """
    torch.set_num_threads(1)
    on_the_way = Judge(case.problem, copies=plan.copies, seed=FIRST_SEED - 2 * seed)
    at_the_end = Judge(case.problem, copies=plan.final_copies, seed=FIRST_SEED - 2 * seed - 1)
    team = build() if build else _build(case, plan, seed)
    try:
        curves, env_steps, seconds = _train(team, plan, on_the_way)
        shares = at_the_end.shares(greedy(team))
    finally:
        team.stop()
    return Outcome(seed, env_steps, seconds, at_the_end.optimum, shares, curves)


def _build(case: Case, plan: Plan, seed: int) -> Team:
    params = case.problem.params().model_dump()
    return team_config(case, plan.env_steps, seed).environment(env=MarketEnv, env_config=params).build_algo()


def team_config(case: Case, env_steps: int, seed: int) -> TeamConfig:
    """The members of a case and how they sample, without an environment."""
    return (
        TeamConfig()
        .team(case.team(env_steps))
        .env_runners(num_envs_per_env_runner=case.copies, rollout_fragment_length=case.fragment)
        .debugging(seed=seed)
    )


def _train(team: Team, plan: Plan, judge: Judge) -> tuple[dict[str, tuple[Point, ...]], int, float]:
    """Trains for ``plan.env_steps``: the curve of each score, the steps and the seconds."""
    curves: dict[str, list[Point]] = {}
    env_steps, seconds, tried = 0, 0.0, 0
    while env_steps < plan.env_steps:
        begun = time.perf_counter()
        env_steps = int(team.train()["num_env_steps_sampled_lifetime"])
        seconds += time.perf_counter() - begun
        if env_steps * plan.tries >= (tried + 1) * plan.env_steps:
            tried = env_steps * plan.tries // plan.env_steps
            for name, share in judge.shares(greedy(team)).items():
                curves.setdefault(name, []).append(Point(env_steps, seconds, share.value))
    return {name: tuple(curve) for name, curve in curves.items()}, env_steps, seconds


def greedy(team: Team) -> Reference:
    """The team as it is now, acting as well as it knows."""
    policies = {
        name: Policy(algorithm, team.env_runner.module[name], team.spaces[name][1])
        for name, algorithm in team.config.members.items()
    }

    def act(obs: Observations) -> Actions:
        return {name: policy(obs[name]) for name, policy in policies.items()}

    return act


def _array(score_E: Tensor) -> FloatArray:
    array: FloatArray = score_E.cpu().numpy()
    return array
