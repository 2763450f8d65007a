"""The folds of a walk-forward evaluation in words, as the report and the terminal show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wealtharena.evidence.bootstrap import ABOVE, BELOW
from wealtharena.evidence.wording import bounds, signed

COMPARED = ("equal_weight", "buy_and_hold")
"""Baselines whose returns stand beside the team's in every fold."""

NO_INTERVAL = "no interval"


@dataclass(frozen=True)
class FoldRow:
    """One fold: its windows, the returns in its test, and how it compares with equal weight.

    Attributes:
        label: Its number; in brackets where its training was interrupted.
        train: First and last day of its training.
        test: First and last day of its test.
        returns: Over the whole test, of the team and of each of ``COMPARED``.
        gap: Difference in annual return, in percentage points, and its interval.
        sharpe_gap: Difference in Sharpe ratio, and its interval.
        verdict: What the interval of ``sharpe_gap`` says.
    """

    label: str
    train: tuple[str, str]
    test: tuple[str, str]
    returns: tuple[str, ...]
    gap: tuple[str, str]
    sharpe_gap: tuple[str, str]
    verdict: str


def fold_rows(walk: Mapping[str, Any]) -> list[FoldRow]:
    """Every fold as a row; ``walk`` is what ``evaluation.json`` holds as ``walk_forward``."""
    return [_row(fold) for fold in walk["folds"]]


def folds_title(walk: Mapping[str, Any]) -> str:
    """What kind of walk it was, and how much of it is done."""
    done, planned = len(walk["folds"]), walk["planned"]
    return f"Walk-forward, {walk['scheme']}, {planned if done == planned else f'{done} of {planned}'} folds"


def folds_notes(walk: Mapping[str, Any]) -> list[str]:
    """What must be known in order to read the rows: how often the team won, and what a fold is."""
    verdicts = [fold["difference"]["sharpe"]["verdict"] for fold in walk["folds"]]
    above, below = verdicts.count(ABOVE), verdicts.count(BELOW)
    notes = [
        f"By Sharpe ratio, the team is above equal weight in {above} of {len(verdicts)} folds, below it in {below}, "
        f"and not distinguishable from it in {len(verdicts) - above - below}.",
        "Each fold has a fresh team, trained on its own training window alone. Team and baselines begin every test "
        "flat, in cash. Returns are those over the whole test, after costs.",
    ]
    unfinished = [str(fold["fold"]) for fold in walk["folds"] if not fold["finished"]]
    if unfinished:
        notes.append(f"The training of fold {', '.join(unfinished)} was interrupted: tested as it stands.")
    return notes


def _row(fold: Mapping[str, Any]) -> FoldRow:
    found = [fold["team"], *(fold["baselines"][name] for name in COMPARED)]
    gap, risk = (fold["difference"][name] for name in ("annual_return", "sharpe"))
    return FoldRow(
        label=str(fold["fold"]) if fold["finished"] else f"({fold['fold']})",
        train=_ends(fold["train"]),
        test=_ends(fold["test"]),
        returns=tuple(signed(one["total_return"], "percent") for one in found),
        gap=(signed(gap["value"], "points"), bounds(gap, "points") or NO_INTERVAL),
        sharpe_gap=(signed(risk["value"], "ratio"), bounds(risk, "ratio") or NO_INTERVAL),
        verdict=risk["verdict"],
    )


def _ends(window: Mapping[str, str]) -> tuple[str, str]:
    return window["start"], window["end"]
