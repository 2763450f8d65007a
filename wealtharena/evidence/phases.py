"""What each phase of a training was worth: its team's test beside that of the phase before, over the same bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wealtharena.evidence.bootstrap import Resampled
from wealtharena.evidence.metrics import summary
from wealtharena.evidence.track import Track

TESTED: Mapping[str, str] = {
    "individual": "the traders as each was trained alone, put together under equal fixed budgets, without an allocator",
    "joint": "the whole team",
    "meta": "the whole team",
}
"""kind of a phase -> which team was tested after it."""


@dataclass(frozen=True)
class PhaseResult:
    """A phase after its test.

    Attributes:
        name: As the file has it.
        kind: ``individual``, ``joint`` or ``meta``.
        env_steps: Of all its trainings together.
        seconds: The same.
        finished: Whether its training came to its end.
        test: Its team's books; in a world without dates the mean return of its team over whole episodes.
    """

    name: str
    kind: str
    env_steps: int
    seconds: float
    finished: bool
    test: Track | float


def phase_contents(results: Sequence[PhaseResult], cash_rate: float) -> list[dict[str, Any]]:
    """The phases as ``evaluation.json`` has them.

    Args:
        results: In their order.
        cash_rate: Per year, what Sharpe ratios are measured against.

    Returns:
        For each phase what it took, how its team was tested, and ``difference``: what it gained over the phase before,
        with intervals by resampling the bars of both tests together; None of the first one, and without dates.
    """
    drawn = [Resampled.of(result.test, cash_rate) if isinstance(result.test, Track) else None for result in results]
    contents = []
    for place, (result, own) in enumerate(zip(results, drawn, strict=True)):
        before = drawn[place - 1] if place else None
        gain = None
        if own is not None and before is not None:
            gaps = {name: gap.as_dict(verdict=True) for name, gap in own.minus(before).items()}
            gain = {"against": results[place - 1].name, **gaps}
        contents.append(
            {
                "name": result.name,
                "kind": result.kind,
                "tested": TESTED[result.kind],
                "env_steps": result.env_steps,
                "seconds": result.seconds,
                "finished": result.finished,
                "team": _team(result.test, cash_rate),
                "difference": gain,
            }
        )
    return contents


def _team(test: Track | float, cash_rate: float) -> dict[str, Any]:
    return dict(summary(test, cash_rate)) if isinstance(test, Track) else {"episode_return": test}
