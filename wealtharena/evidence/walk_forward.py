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
        folder: Of the fold's run, within that of the whole.
        checkpoint: What was tested.
        finished: Whether its training came to its end.
        played: What happened in its test.
        evaluation: What that was worth.
    """

    number: int
    folder: str
    checkpoint: str
    finished: bool
    played: Played
    evaluation: Evaluation


def evaluate_folds(
    results: Sequence[FoldResult], rule: WalkForwardSpec, *, planned: int, seed: int, trials: int | None
) -> Evaluation:
    """Judges the tests of all folds as one.

    Args:
        results: At least one, in the order of time.
        rule: How the folds were cut.
        planned: How many there are to be.
        seed: The experiment's. Folds are no trials: none of them was chosen for its result.
        trials: As in ``evaluate_market``.

    Returns:
        As ``evaluate_market`` does, of the chained tracks; ``windows.folds`` and ``walk_forward`` have the folds.
    """
    rows = [_row(result) for result in results]
    span = rows[0]["train"]["start"], rows[-1]["train"]["end"]
    whole = judge(chain([result.played for result in results]), train_window=span, seeds=(seed,), trials=trials)
    windows = {"folds": [{"train": row["train"], "test": row["test"]} for row in rows]}
    walk = {
        **rule.model_dump(include={"scheme", "purge_days", "embargo_days"}),
        "planned": planned,
        "chained": "the returns of the folds' tests, one after the other; each fold begins flat, in cash",
        "folds": rows,
    }
    content = {**whole.content, "windows": {**whole.content["windows"], **windows}, "walk_forward": walk}
    return Evaluation(content, whole.tracks)


def _row(result: FoldResult) -> dict[str, Any]:
    found = result.evaluation.content
    return {
        "fold": result.number,
        **found["windows"],
        "seed": found["seeds"][0],
        "finished": result.finished,
        "checkpoint": f"{result.folder}/checkpoints/{result.checkpoint}",
        **{part: found[part] for part in PARTS},
    }


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
    nothing = np.zeros(len(first.symbols) + 1)
    steps = np.cumsum([len(track.returns_T) for track in tracks])
    return replace(
        first,
        dates=np.concatenate([first.dates[:1], *(track.dates[1:] for track in tracks)]),
        nav=np.concatenate([first.nav[:1], *(track.nav[1:] for track in scaled)]),
        budget_TK=_joined([track.budget_TK for track in tracks]),
        objectives={name: sum((track.objectives[name] for track in tracks), nothing) for name in first.objectives},
        behaviour={key: sum(track.behaviour[key] for track in tracks) for key in first.behaviour},
        voices={name: sum(track.voices[name] for track in tracks) for name in first.voices},
        bound={name: np.concatenate([track.bound[name] for track in tracks]) for name in first.bound},
        restarts={int(step): track.dates[0] for step, track in zip(steps, tracks[1:], strict=False)},
        **amounts,
    )


def _scaled(track: Track, by: float) -> Track:
    """The same trader with another amount of capital."""
    return replace(track, **{name: by * getattr(track, name) for name in ("nav", *AMOUNTS)})


def _joined(budgets: Sequence[FloatArray | None]) -> FloatArray | None:
    known = [budget_TK for budget_TK in budgets if budget_TK is not None]
    return np.concatenate(known) if known else None
