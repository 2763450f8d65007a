"""Many agents: what one of their steps costs, in time and in memory, and whether that depends on how many there are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch

from wealtharena.bench import memory
from wealtharena.bench.contest import team_config, traders_only
from wealtharena.bench.fragments import agent_steps, stored_bytes
from wealtharena.bench.timing import Samples, in_turn
from wealtharena.team.algorithm import Team
from wealtharena.team.runner import Fragment

_MICRO = 1e6


@dataclass(frozen=True)
class PopulationPlan:
    """How it is measured.

    Attributes:
        agents: Traders in an environment, spread over five classes with a policy each.
        rows: Agents times copies: the same for every number of agents, so that each has the same work to do.
        fragment: Steps of an iteration.
        rounds: Iterations that count.
    """

    agents: Sequence[int] = (10, 30, 100, 300, 1000)
    rows: int = 3_000
    fragment: int = 16
    rounds: int = 5


class Population:
    """A team of PPOs in a market of this many traders, on one thread of a process of its own."""

    def __init__(self, agents: int, plan: PopulationPlan) -> None:
        torch.set_num_threads(1)
        copies = max(1, plan.rows // agents)
        self._team: Team = team_config(
            traders_only(agents, one_calendar=True), copies=copies, fragment=plan.fragment
        ).build_algo()
        self._agent_steps, self._sampling = 0, 0.0
        self._count(self._team.env_runner)
        before = memory.resident()
        memory.reset_peak()
        self._team.train()
        # Of the first iteration: what later ones free stays resident, and hides what they need.
        self._peak = memory.peak() - before

    def _count(self, runner: Any) -> None:
        """From now on, what the runner samples is counted and timed."""
        sample = runner.sample

        def counted(**kwargs: Any) -> Fragment:
            begun = time.perf_counter()
            fragment: Fragment = sample(**kwargs)
            self._sampling = time.perf_counter() - begun
            self._agent_steps = agent_steps(fragment)
            return fragment

        runner.sample = counted

    def iterate(self) -> tuple[float, float]:
        """Microseconds per agent-step of an iteration, and of sampling alone."""
        begun = time.perf_counter()
        self._team.train()
        seconds = time.perf_counter() - begun
        return _MICRO * seconds / self._agent_steps, _MICRO * self._sampling / self._agent_steps

    def held(self) -> dict[str, float]:
        """Bytes per agent-step: of the columns it is stored in, and of the memory that an iteration needs at most."""
        held = stored_bytes(self._team.env_runner.sample())
        return {"stored_bytes": held / self._agent_steps, "peak_bytes": self._peak / self._agent_steps}


def measure_agents(plan: PopulationPlan) -> dict[str, Any]:
    """The part ``agents`` of the document: of each number of agents, in turn. Ray must run."""
    actors = {agents: ray.remote(num_cpus=0)(Population).remote(agents, plan) for agents in plan.agents}
    try:
        asked = {agents: Asked(actor) for agents, actor in actors.items()}
        found = in_turn({str(agents): one.measure for agents, one in asked.items()}, plan.rounds)
        by_agents = {
            agents: {
                "microseconds": found[str(agents)].as_dict(),
                "sampling_microseconds": Samples(tuple(one.sampling)).as_dict(),
                **ray.get(actors[agents].held.remote()),
            }
            for agents, one in asked.items()
        }
    finally:
        for actor in actors.values():
            ray.kill(actor)
    few, many = by_agents[min(plan.agents)], by_agents[max(plan.agents)]
    return compared(few, many) | {f"agents_{agents}": figures for agents, figures in by_agents.items()}


class Asked:
    """Asks a population in another process, and keeps what sampling cost."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.sampling: list[float] = []

    def measure(self) -> float:
        """Microseconds per agent-step of an iteration."""
        whole, sampling = ray.get(self._actor.iterate.remote())
        self.sampling.append(sampling)
        return float(whole)


def compared(few: Mapping[str, Any], many: Mapping[str, Any]) -> dict[str, float]:
    """What is measured of many agents, over the same of few."""
    return {
        "cost_ratio": many["microseconds"]["median"] / few["microseconds"]["median"],
        "sampling_cost_ratio": many["sampling_microseconds"]["median"] / few["sampling_microseconds"]["median"],
        "stored_ratio": many["stored_bytes"] / few["stored_bytes"],
        "peak_ratio": many["peak_bytes"] / few["peak_bytes"],
    }
