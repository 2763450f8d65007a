"""What is required of the measured figures, and where these stand in the documents.

A path names a figure: ``market.assets_30.copies_1024`` is ``document["market"]["assets_30"]["copies_1024"]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Requirement:
    """One figure and its bound.

    Attributes:
        what: In words.
        path: Where the figure is.
        bound: What it must be.
        at_least: Whether ``bound`` is the least it may be; else it is the most.
        unit: After the number: ``x``, ``%`` (the figure is a share), or nothing for a rate.
    """

    what: str
    path: str
    bound: float
    at_least: bool = True
    unit: str = ""

    def met(self, value: float) -> bool:
        """Whether the figure is within its bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def told(self, value: float) -> str:
        """The figure with its unit."""
        return f"{value:.0%}" if self.unit == "%" else f"{figures(value)}{' ' * bool(self.unit)}{self.unit}"

    @property
    def bound_told(self) -> str:
        """The bound, with its direction."""
        return f"{'>=' if self.at_least else '<='} {self.told(self.bound)}"


THROUGHPUT = (
    Requirement("sampling the market, against stock RLlib", "sampling.market.ratio", 80, unit="x"),
    Requirement("sampling a no-op, against stock RLlib", "sampling.no_op.ratio", 80, unit="x"),
    Requirement("PPO end to end, against stock RLlib", "end_to_end.ratio", 8, unit="x"),
    Requirement("its return below stock's, of the noise", "end_to_end.learning.deficit", 1.0, at_least=False, unit="%"),
    Requirement("PPO end to end, of the bare loop", "bare_loop.share", 0.8, unit="%"),
    Requirement("market, 30 assets, E = 1,024: steps/s", "market.assets_30.copies_1024", 250_000),
    Requirement("market, 1 asset, E = 1,024: steps/s", "market.assets_1.copies_1024", 1_000_000),
    Requirement("market, 30 assets, the face: steps/s", "market.assets_30.face", 2_000),
    Requirement(
        "a step after 6,000 bars, against 500", "market.history.apart.cost_ratio", 1.1, at_least=False, unit="x"
    ),
    Requirement("tensors left behind by 2,000 steps", "market.memory.tensors", 0, at_least=False),
)
CUDA = (Requirement("sampling on the device: agent-steps/s", "sampling.market.team.median", 10_000_000),)
SCALING = (
    Requirement("an agent-step's cost, 1,000 agents against 10", "agents.cost_ratio", 1.1, at_least=False, unit="x"),
    Requirement("the same of sampling alone", "agents.sampling_cost_ratio", 1.1, at_least=False, unit="x"),
    Requirement("bytes stored per agent-step, the same", "agents.stored_ratio", 1.1, at_least=False, unit="x"),
    Requirement("peak memory per agent-step, the same", "agents.peak_ratio", 1.1, at_least=False, unit="x"),
    Requirement("sampling with two runners, against one", "runners.ratio", 1.8, unit="x"),
    Requirement("the same in step, without overlap", "runners.in_step_ratio", 1.8, unit="x"),
    Requirement("bytes of fragments copied, not mapped", "runners.copied_bytes", 0, at_least=False),
    Requirement("weights sent out per iteration", "runners.weight_syncs", 1, at_least=False),
)


def find(document: Mapping[str, Any], path: str) -> Any:
    """What stands at a path; None if there is nothing."""
    part: Any = document
    for key in path.split("."):
        part = part.get(key) if part else None
    return part


def measured(document: Mapping[str, Any], requirements: Sequence[Requirement]) -> list[tuple[Requirement, float]]:
    """The requirements whose figures were measured."""
    found = [(requirement, find(document, requirement.path)) for requirement in requirements]
    return [(requirement, value) for requirement, value in found if value is not None]


def figures(value: float) -> str:
    """Three figures, or whole numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
