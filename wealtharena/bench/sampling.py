"""Sampling alone: RLlib's MultiAgentEnvRunner on the MultiAgentEnv face against ArrayEnvRunner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from wealtharena.bench.contest import Arena, stock_config, team_config
from wealtharena.bench.fragments import agent_steps
from wealtharena.bench.timing import Samples, in_turn, rate
from wealtharena.team.runner import ArrayEnvRunner

STEPS_PER_CALL = 16  # of each copy, in a call of either sampler


@dataclass(frozen=True)
class SamplingPlan:
    """How samplers are measured.

    Attributes:
        stock_copies: Numbers of copies that RLlib's sampler is tried with; the fastest counts.
        team_copies: Those of ours.
        seconds: Of one measurement.
        rounds: Measurements that count.
    """

    stock_copies: Sequence[int] = (1, 8, 64)
    team_copies: Sequence[int] = (64, 256, 1024)
    seconds: float = 2.0
    rounds: int = 5


def compare_sampling(arena: Arena, plan: SamplingPlan) -> dict[str, Any]:
    """Agent-steps per second of both, each at its best number of copies."""
    stock = _best(lambda copies: stock_sampler(arena, copies), plan.stock_copies, plan)
    team = _best(lambda copies: team_sampler(arena, copies), plan.team_copies, plan)
    found = in_turn({"stock": stock.measure, "team": team.measure}, plan.rounds)
    return {
        "ratio": found["team"].median / found["stock"].median,
        "stock": stock.report(found["stock"]),
        "team": team.report(found["team"]),
    }


def measure_sampling(arena: Arena, plan: SamplingPlan, device: str) -> dict[str, Any]:
    """Agent-steps per second of ours alone, environment and policies on ``device``."""
    team = _best(lambda copies: team_sampler(arena, copies, device), plan.team_copies, plan)
    return team.report(in_turn({"team": team.measure}, plan.rounds)["team"])


def stock_sampler(arena: Arena, copies: int) -> Callable[[], int]:
    """A call samples with RLlib and says how many agent-steps it were."""
    runner = MultiAgentEnvRunner(config=stock_config(arena, copies=copies))

    def sample() -> int:
        episodes = runner.sample(num_timesteps=STEPS_PER_CALL * copies, random_actions=False)
        return sum(episode.agent_steps() for episode in episodes)

    return sample


def team_sampler(arena: Arena, copies: int, device: str = "cpu") -> Callable[[], int]:
    """A call samples columns and says how many agent-steps it were."""
    runner = ArrayEnvRunner(config=team_config(arena, copies=copies, fragment=STEPS_PER_CALL, device=device))

    def sample() -> int:
        return agent_steps(runner.sample())

    return sample


@dataclass(frozen=True)
class _Contender:
    """A sampler at its best number of copies."""

    copies: int
    tried: Mapping[int, float]
    measure: Callable[[], float]

    def report(self, samples: Samples) -> dict[str, Any]:
        """For JSON."""
        return {"copies": self.copies, "tried": {str(n): value for n, value in self.tried.items()}, **samples.as_dict()}


def _best(build: Callable[[int], Callable[[], int]], copies: Sequence[int], plan: SamplingPlan) -> _Contender:
    """Tries each number of copies once, after a call to warm up."""
    tried, measures = {}, {}
    for count in copies:
        sample = build(count)
        sample()
        measures[count] = _timed(sample, plan.seconds)
        tried[count] = measures[count]()
    fastest = max(tried, key=tried.__getitem__)
    return _Contender(fastest, tried, measures[fastest])


def _timed(work: Callable[[], int], seconds: float) -> Callable[[], float]:
    return lambda: rate(work, seconds)
