"""Walk-forward evaluation: the tests of all folds one after the other, as one result.

Each fold's test begins flat, in cash, at the close of its first bar, and its returns are those of the bars after it;
positions that are open at its end are valued there and not carried over. The returns of all folds are put one after
the other: of the team and, over the same bars and with the same restarts, of every baseline. The time between two
tests counts neither as return nor as time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from wealtharena.evidence.evaluate import Played, judge
from wealtharena.evidence.evaluation import Evaluation
from wealtharena.evidence.track import FloatArray, Track
from wealtharena.spec import WalkForwardSpec

PARTS = ("bars", "years", "team", "baselines", "intervals", "difference", "differences")
"""What a fold tells of its own test."""

AMOUNTS = ("value_TN", "traded_TN", "cost_TN", "carry_TN", "pnl_TN", "interest_T")


@dataclass(frozen=True)
class FoldResult:
    """One fold after its test.

    Attributes:
        number: Counted from 1.
        seed: Of its team.
        finished: Whether its training came to its end.
        checkpoint: What was tested, within the run's folder.
        train_window: First and last date of its training.
        played: What happened in its test.
    """

    number: int
    seed: int
    finished: bool
    checkpoint: str
    train_window: tuple[str, str]
    played: Played


def evaluate_folds(
    folds: Sequence[FoldResult], rule: WalkForwardSpec, *, planned: int, seed: int, trials: int | None
) -> Evaluation:
    """Judges the folds' tests, each alone and all of them chained.

    Args:
        folds: At least one, in the order of time.
        rule: How they were cut.
        planned: How many there are to be.
        seed: The experiment's. Folds are no trials: none of them was chosen for its result.
        trials: As in ``evaluate_market``.

    Returns:
        As ``evaluate_market`` does, of the chained tracks; ``windows.folds`` and ``walk_forward`` have the folds.
    """
    span = folds[0].train_window[0], folds[-1].train_window[1]
    whole = judge(chain([fold.played for fold in folds]), train_window=span, seeds=(seed,), trials=trials)
    rows = [_row(fold) for fold in folds]
    windows = {"folds": [{"train": row["train"], "test": row["test"]} for row in rows]}
    walk = rule.model_dump(include={"scheme", "purge_days", "embargo_days"}) | {
        "planned": planned,
        "chained": "returns of the folds' tests one after the other; each fold begins flat, in cash",
        "folds": rows,
    }
    content = {**whole.content, "windows": {**whole.content["windows"], **windows}, "walk_forward": walk}
    return Evaluation(content, whole.tracks)


def chain(tests: Sequence[Played]) -> Played:
    """Several tests of one market as one: every fold goes on with the money that the one before it ended with.

    Raises:
        ValueError: They are not of the same symbols and baselines, or not in the order of time.
    """
    columns = [(test.team, *test.others) for test in tests]
    team, *others = (_chained(tracks) for tracks in zip(*columns, strict=True))
    tallies = dict(tests[0].tallies)
    for test in tests[1:]:
        tallies = {name: tally + test.tallies[name] for name, tally in tallies.items()}
    return Played(tests[-1].env, team, tuple(others), tallies)


def _row(fold: FoldResult) -> dict[str, Any]:
    found = judge(fold.played, train_window=fold.train_window, seeds=(fold.seed,), trials=None).content
    return {
        "fold": fold.number,
        **found["windows"],
        "seed": fold.seed,
        "finished": fold.finished,
        "checkpoint": fold.checkpoint,
        **{part: found[part] for part in PARTS},
    }


def _chained(tracks: Sequence[Track]) -> Track:
    """Several tracks of one trader as one."""
    first = tracks[0]
    if any((track.name, track.symbols) != (first.name, first.symbols) for track in tracks):
        raise ValueError(f"{first.name}: tracks of different traders or symbols cannot be chained")
    if any(after.dates[0] <= before.dates[-1] for before, after in pairwise(tracks)):
        raise ValueError(f"{first.name}: tracks that overlap in time cannot be chained")
    grown = np.cumprod([1.0, *(track.nav[-1] / track.nav[0] for track in tracks)])
    scaled = [_scaled(track, first.nav[0] * by / track.nav[0]) for by, track in zip(grown, tracks, strict=False)]
    amounts: dict[str, Any] = {name: np.concatenate([getattr(track, name) for track in scaled]) for name in AMOUNTS}
    steps = np.cumsum([len(track.returns_T) for track in tracks])
    return replace(
        first,
        dates=np.concatenate([first.dates[:1], *(track.dates[1:] for track in tracks)]),
        nav=np.concatenate([first.nav[:1], *(track.nav[1:] for track in scaled)]),
        budget_TK=_joined([track.budget_TK for track in tracks]),
        restarts={int(step): track.dates[0] for step, track in zip(steps, tracks[1:], strict=False)},
        **amounts,
    )


def _scaled(track: Track, by: float) -> Track:
    """The same trader with another amount of capital."""
    return replace(track, **{name: by * getattr(track, name) for name in ("nav", *AMOUNTS)})


def _joined(budgets: Sequence[FloatArray | None]) -> FloatArray | None:
    known = [budget_TK for budget_TK in budgets if budget_TK is not None]
    return np.concatenate(known) if known else None
