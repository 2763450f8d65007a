"""Where the time of the quickstart's mixed team goes: a stopwatch around what its iterations call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wealtharena.bench.timing import Samples, Stopwatch
from wealtharena.experiment import load_experiment
from wealtharena.team.algorithm import Team
from wealtharena.training.train import team_config

QUICKSTART = "quickstart"


@dataclass(frozen=True)
class SharesPlan:
    """How the team is measured.

    Attributes:
        changes: ``--set`` values for the quickstart.
        warm: Iterations before the first that counts: replay must be filled for members to learn from it.
        rounds: Iterations that count.
    """

    changes: tuple[str, ...] = ()
    warm: int = 3
    rounds: int = 5


def measure_shares(plan: SharesPlan) -> dict[str, Any]:
    """The part ``mixed`` of the document: agent-steps per second, and shares of the time. Ray must run."""
    team: Team = team_config(load_experiment(QUICKSTART, plan.changes)).build_algo()
    try:
        return _measured(team, plan)
    finally:
        team.stop()


def _measured(team: Team, plan: SharesPlan) -> dict[str, Any]:
    watch = watched(team)
    agents = sum(len(group.agent_ids) for group in team.env_runner.env.groups.values())
    for _ in range(plan.warm):
        before = team.train()["num_env_steps_sampled_lifetime"]
    watch.clear()
    rates, total = [], 0.0
    for _ in range(plan.rounds):
        begun = time.perf_counter()
        steps = team.train()["num_env_steps_sampled_lifetime"]
        seconds = time.perf_counter() - begun
        rates.append((steps - before) * agents / seconds)
        before, total = steps, total + seconds
    return {**Samples(tuple(rates)).as_dict(), "agents": agents, "shares": shares(watch, total)}


def watched(team: Team) -> Stopwatch:
    """A stopwatch around a team that samples in its own process."""
    watch, runner = Stopwatch(), team.env_runner
    watch.watch("environment", runner.env, "step")
    for crew in runner.crews:
        watch.watch("inference", crew, "explore")
    for name, algorithm in runner.members.items():
        if algorithm.on_policy:
            watch.watch("inference", runner.module[name], "compute_values")
    for family, learners in team.learner_group.children.items():
        watch.watch(f"update_{family}", learners, "update")
    watch.watch("sync_weights", team.env_runner_group, "sync_weights")
    return watch


def shares(watch: Stopwatch, total: float) -> Mapping[str, float]:
    """What was watched as shares of ``total`` seconds, and the rest."""
    found = {name: seconds / total for name, seconds in watch.seconds.items()}
    return found | {"rest": 1.0 - sum(found.values())}
