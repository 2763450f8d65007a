"""The phases of a training in words, as the report and the terminal show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wealtharena.evidence.bootstrap import ABOVE, BELOW
from wealtharena.evidence.wording import UNDEFINED, bounds, number, signed

NO_INTERVAL = "no interval"

GAINS = {ABOVE: "a gain", BELOW: "a loss"}


@dataclass(frozen=True)
class PhaseRow:
    """One phase.

    Attributes:
        label: Its name, and its kind where that says something else; in brackets where it was interrupted.
        steps: Steps of the environment.
        time: Spent training.
        returns: The test's annual return (without dates: the mean episode return), and its Sharpe ratio.
        gap: What was gained in annual return, in percentage points, and its interval.
        sharpe_gap: What was gained in Sharpe ratio, and its interval.
        verdict: What the interval of ``sharpe_gap`` says.
    """

    label: str
    steps: str
    time: str
    returns: tuple[str, str]
    gap: tuple[str, str]
    sharpe_gap: tuple[str, str]
    verdict: str


def phase_rows(phases: Sequence[Mapping[str, Any]]) -> list[PhaseRow]:
    """Every phase as a row; ``phases`` is what ``evaluation.json`` holds under this name."""
    return [_row(phase) for phase in phases]


def phases_notes(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must be known in order to read the rows."""
    notes = [f"Tested after {phase['name']}: {phase['tested']}." for phase in phases if phase["kind"] == "individual"]
    compared = [phase for phase in phases if phase["difference"] is not None]
    verdicts = [phase["difference"]["sharpe"]["verdict"] for phase in compared]
    if compared:
        unsure = [phase["name"] for phase, found in zip(compared, verdicts, strict=True) if found not in (ABOVE, BELOW)]
        notes.append(
            "A phase's gain is its team's test minus that of the phase before, on the same bars (95% interval). "
            + (
                f"Not distinguishable from no gain: {', '.join(unsure)}."
                if unsure
                else "Every interval leaves out zero."
            )
            + " The interval covers only the luck of the bars, not that of training."
        )
    unfinished = [str(phase["name"]) for phase in phases if not phase["finished"]]
    if unfinished:
        notes.append(f"The training of {', '.join(unfinished)} was interrupted: tested as it stands.")
    return notes


def _row(phase: Mapping[str, Any]) -> PhaseRow:
    team, gain = phase["team"], phase["difference"] or {}
    label = phase["name"] if phase["name"] == phase["kind"] else f"{phase['name']} ({phase['kind']})"
    dated = "annual_return" in team
    returns = (
        (signed(team["annual_return"], "percent"), number(team["sharpe"], "ratio"))
        if dated
        else (number(team["episode_return"], "reward"), UNDEFINED)
    )
    return PhaseRow(
        label=label if phase["finished"] else f"({label})",
        steps=number(phase["env_steps"], "count"),
        time=_minutes(phase["seconds"]),
        returns=returns,
        gap=_gap(gain.get("annual_return"), "points"),
        sharpe_gap=_gap(gain.get("sharpe"), "ratio"),
        verdict=_verdict(gain.get("sharpe")),
    )


def _minutes(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"


def _gap(found: Mapping[str, Any] | None, style: str) -> tuple[str, str]:
    if found is None:
        return UNDEFINED, ""
    return signed(found["value"], style), bounds(found, style) or NO_INTERVAL


def _verdict(found: Mapping[str, Any] | None) -> str:
    return UNDEFINED if found is None else GAINS.get(found["verdict"], str(found["verdict"]))
