"""What it brings to sample while the team learns: trainings with one sampling process, by turns and at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wealtharena.bench.contest import team_config, traders_only
from wealtharena.bench.timing import Measure, in_turn, rate
from wealtharena.team.algorithm import Team

FORMS = {"in_step": False, "overlapped": True}


@dataclass(frozen=True)
class OverlapPlan:
    """How it is measured.

    Attributes:
        assets: Traders of the market.
        copies: Of the market.
        fragment: Steps of each between two updates.
        seconds: Of one measurement.
        rounds: Measurements that count.
    """

    assets: int = 30
    copies: int = 64
    fragment: int = 64
    seconds: float = 8.0
    rounds: int = 5


def measure_overlap(plan: OverlapPlan) -> dict[str, Any]:
    """The part ``overlap`` of the document: environment steps per second of whole trainings. Ray must run."""
    config = team_config(traders_only(plan.assets), copies=plan.copies, fragment=plan.fragment, runners=1)
    config.env_runners(num_cpus_per_env_runner=0)
    teams: dict[str, Team] = {}
    try:
        for name, overlap in FORMS.items():
            teams[name] = config.copy(copy_frozen=False).sampling(overlap=overlap).build_algo()
        found = in_turn({name: _training(team, plan) for name, team in teams.items()}, plan.rounds)
    finally:
        for team in teams.values():
            team.stop()
    ratio = found["overlapped"].median / found["in_step"].median
    return {"ratio": ratio, **{name: samples.as_dict() for name, samples in found.items()}}


def _training(team: Team, plan: OverlapPlan) -> Measure:
    """Its first iteration does not count: what another team samples ahead may still be under way."""

    def iteration() -> int:
        team.train()
        return plan.copies * plan.fragment

    def measure() -> float:
        iteration()
        return rate(iteration, plan.seconds)

    return measure
