"""A race to a share of the optimum: a team is trained until it has it, and no longer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from environments.market.env import MarketEnv
from policies.algorithm import Algorithm
from wealtharena.bench.problem import Problem
from wealtharena.bench.share import Point
from wealtharena.bench.trial import Judge, greedy
from wealtharena.evidence.episodes import FIRST_SEED
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig

GOAL = 0.9
SPACING = 1.1  # each try stands at least a tenth further on than the one before: one resolution at all distances
EVERYBODY = "every member"


@dataclass(frozen=True)
class Race:
    """What is learnt.

    Attributes:
        name: As the user calls it.
        problem: What is traded, and what the result is held against.
        algorithms: Group -> what learns it, where a contender does not bring its own.
        env_steps: After which a training is given up.
        quick_steps: The same with ``--quick``.
        copies: Episodes of a try.
    """

    name: str
    problem: Problem
    algorithms: Mapping[str, type[Algorithm]]
    env_steps: int
    quick_steps: int
    copies: int = 512


@dataclass(frozen=True)
class Contender:
    """Who learns it.

    Attributes:
        name: As the table calls it.
        copies: Of the market.
        fragment: Steps of each between two updates.
        algorithm: What every group learns with; None: the race's algorithms, all hyperparameters at their defaults.
    """

    name: str
    copies: int
    fragment: int
    algorithm: Algorithm | None = None

    def team(self, race: Race) -> dict[str, Algorithm]:
        """Group -> its algorithm with its hyperparameters."""
        return {name: self.algorithm or algorithm() for name, algorithm in race.algorithms.items()}


@dataclass(frozen=True)
class Attempt:
    """A training from one seed.

    Attributes:
        seed: Of the training.
        env_steps: When it ended.
        seconds: Of training, without any evaluation.
        curves: Name of the score -> shares on the way; ``EVERYBODY``: the least of them, where there are several.
    """

    seed: int
    env_steps: int
    seconds: float
    curves: Mapping[str, tuple[Point, ...]]


def confirmed(curve: Sequence[Point], share: float = GOAL) -> Point | None:
    """The first point at or above ``share`` whose successor is too; None if there is none."""
    pairs = itertools.pairwise(curve)
    return next((point for point, after in pairs if min(point.share, after.share) >= share), None)


def run_race(race: Race, contender: Contender, seed: int, *, budget: int, copies: int) -> Attempt:
    """Trains until every score is confirmed, or for ``budget`` steps; tries the greedy policies on the way.

    All contenders are tried in the same episodes, on numbers that no training draws.

    Args:
        race: What is learnt.
        contender: Who learns it.
        seed: Of the training.
        budget: Steps after which it is given up.
        copies: Episodes of a try.
    """
    torch.set_num_threads(1)
    judge = Judge(race.problem, copies=copies, seed=FIRST_SEED - 2 * seed)
    team = _build(race, contender, seed)
    curves: dict[str, tuple[Point, ...]] = {}
    env_steps, seconds, due = 0, 0.0, 0.0
    try:
        while env_steps < budget and not _over(curves):
            begun = time.perf_counter()
            env_steps = int(team.train()["num_env_steps_sampled_lifetime"])
            seconds += time.perf_counter() - begun
            if env_steps >= due:
                due = env_steps * SPACING
                for name, share in _shares(judge, team).items():
                    curves[name] = (*curves.get(name, ()), Point(env_steps, seconds, share))
    finally:
        team.stop()
    return Attempt(seed, env_steps, seconds, curves)


def _over(curves: Mapping[str, Sequence[Point]]) -> bool:
    return bool(curves) and all(confirmed(curve) for curve in curves.values())


def _shares(judge: Judge, team: Team) -> dict[str, float]:
    """The share of each score, and the least of several; nothing as long as there is nothing to have a share of."""
    try:
        found = {name: share.value for name, share in judge.shares(greedy(team)).items()}
    except ValueError:  # Share.of: while no trader earns anything, the best that an allocator can do is nothing
        return {}
    return found | {EVERYBODY: min(found.values())} if len(found) > 1 else found


def _build(race: Race, contender: Contender, seed: int) -> Team:
    config = (
        TeamConfig()
        .environment(env=MarketEnv, env_config=race.problem.params().model_dump())
        .team(contender.team(race))
        .env_runners(num_envs_per_env_runner=contender.copies, rollout_fragment_length=contender.fragment)
        .debugging(seed=seed)
    )
    return config.build_algo()
