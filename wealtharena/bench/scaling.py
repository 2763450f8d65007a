"""``wealtharena bench scaling``: what an agent-step costs as agents become many, and what more samplers bring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wealtharena.bench.overlap import OverlapPlan, measure_overlap
from wealtharena.bench.population import PopulationPlan, measure_agents
from wealtharena.bench.samplers import SamplersPlan, measure_runners
from wealtharena.bench.timing import machine, one_thread


@dataclass(frozen=True)
class ScalingPlan:
    """How everything is measured."""

    population: PopulationPlan = field(default_factory=PopulationPlan)
    samplers: SamplersPlan = field(default_factory=SamplersPlan)
    overlap: OverlapPlan = field(default_factory=OverlapPlan)


QUICK = ScalingPlan(
    PopulationPlan(agents=(10, 100, 1000), rounds=2),
    SamplersPlan(seconds=1.0, rounds=3),
    OverlapPlan(seconds=2.0, rounds=3),
)


def run(plan: ScalingPlan) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measures part after part, in every process on one thread; Ray must be running.

    Args:
        plan: How.

    Yields:
        What a part is, in words, and what it adds to the document.
    """
    with one_thread():
        yield "the machine", {"device": "cpu", "machine": machine()}
        yield "many agents", {"agents": measure_agents(plan.population)}
        yield "many samplers", {"runners": measure_runners(plan.samplers)}
        yield "sampling while learning", {"overlap": measure_overlap(plan.overlap)}
