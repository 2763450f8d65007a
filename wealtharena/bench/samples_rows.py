"""What ``bench samples`` found, as rows and as a sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from wealtharena.bench.race import EVERYBODY, GOAL, Attempt, Contender, Race, confirmed
from wealtharena.bench.samples import DEFAULTS, ZOO, Ended
from wealtharena.bench.sheets import MISSED, Document, Row, Sheet
from wealtharena.errors import UserError
from wealtharena.evidence.aggregate import aggregate, interquartile_mean

REQUIRED = 0.5
"""Of the other side's samples, at most."""

_SIDES = {"defaults": DEFAULTS, "rl_zoo": ZOO}
_ATTEMPT = TypeAdapter(Attempt)


def document(ended: Sequence[Ended], *, quick: bool, machine: Mapping[str, Any]) -> dict[str, Any]:
    """What ``--json`` writes: rows of the seeds that both sides have trained, and every training.

    See README, "How few samples?".

    Args:
        ended: The trainings.
        quick: They were short ones.
        machine: See ``timing.machine``.
    """
    races = {one.race.name: one.race for one in ended}
    ordered = sorted(ended, key=lambda one: (list(races).index(one.race.name), one.attempt.seed, one.contender.name))
    return {
        "quick": quick,
        "goal": GOAL,
        "rows": [row for race in races.values() for row in _rows(race, ended)],
        "settings": {name: _settings(race) for name, race in races.items()},
        "machine": machine,
        "trainings": [{"case": one.race.name, "side": one.contender.name, **asdict(one.attempt)} for one in ordered],
    }


def known_of(content: Document, races: Sequence[Race], *, quick: bool) -> list[Ended]:
    """The trainings in these races that a file of ``--json`` holds, with the budgets and hyperparameters of today.

    Raises:
        UserError: They are short ones and these are not, or the other way round.
    """
    if content.get("quick", quick) != quick:
        was = "with" if content["quick"] else "without"
        raise UserError(f"--json: the file's trainings were run {was} --quick; run these so too, or name another file")
    by_name = {race.name: race for race in races}
    by_side = {contender.name: (key, contender) for key, contender in _SIDES.items()}
    found = []
    for row in content.get("trainings", ()):
        race, (key, contender) = by_name.get(row["case"]), by_side[row["side"]]
        if race is None or content["settings"][race.name][key] != _setting(race, contender):
            continue
        attempt = _ATTEMPT.validate_python({name: row[name] for name in ("seed", "env_steps", "seconds", "curves")})
        found.append(Ended(race, contender, attempt))
    return found


def of_races(content: Document, races: Sequence[Race]) -> Document:
    """The same without the rows of other races."""
    names = [race.name for race in races]
    return {**content, "rows": [row for row in content["rows"] if row["case"].split("/")[0] in names]}


def samples_sheets(content: Document) -> tuple[Sheet, Sheet]:
    """The ratios of what is required, then the samples of each score."""
    verdicts = tuple(_verdict(row) for row in content["rows"] if row["required"] is not None)
    counts = tuple(_counts(row) for row in content["rows"])
    title = f"samples to {content['goal']:.0%}"
    return (
        Sheet(("samples, as a share of rl-zoo's", "measured", "95%", "required", ""), verdicts),
        Sheet((title, DEFAULTS.name, "reached", ZOO.name, "reached"), counts),
    )


def progress(ended: Ended) -> str:
    """A line about a training that has come to its end."""
    attempt = ended.attempt
    last = ", ".join(
        f"{curve[-1].share:.1%}" if len(attempt.curves) == 1 else f"{name} {curve[-1].share:.1%}"
        for name, curve in attempt.curves.items()
        if name != EVERYBODY
    )
    return (
        f"{ended.race.name}, {ended.contender.name}, seed {attempt.seed}: {last or 'nothing'} of the optimum after "
        f"{attempt.env_steps:,} samples, {attempt.seconds:.0f} s"
    )


def _rows(race: Race, ended: Sequence[Ended]) -> list[dict[str, Any]]:
    ours, theirs = (
        {
            one.attempt.seed: one.attempt
            for one in ended
            if (one.race.name, one.contender.name) == (race.name, side.name)
        }
        for side in (DEFAULTS, ZOO)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return []
    pairs = [(ours[seed], theirs[seed]) for seed in seeds]
    if len(race.algorithms) == 1:
        return [_row(race.name, score, pairs, required=REQUIRED) for score in race.algorithms]
    members = [_row(f"{race.name}/{score}", score, pairs, required=None) for score in race.algorithms]
    return [_row(race.name, EVERYBODY, pairs, required=REQUIRED), *members]


def _row(case: str, score: str, pairs: Sequence[tuple[Attempt, Attempt]], *, required: float | None) -> dict[str, Any]:
    """The ratio of each seed's samples, which both sides were tried in the same episodes for; and their IQM."""
    ours, theirs = (_side(score, attempts) for attempts in zip(*pairs, strict=True))
    ratios = np.array(ours["counted"]) / np.array(theirs["counted"])
    ratio = aggregate(ratios[:, None])
    return {
        "case": case,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "ratios": ratios.tolist(),
        "required": required,
        "passed": None
        if required is None
        else ours["reached"] == len(pairs) and bool(interquartile_mean(ratios) <= required),
        "seeds": [attempt.seed for attempt, _ in pairs],
        "defaults": ours,
        "rl_zoo": theirs,
    }


def _side(score: str, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """A training that never got there counts as if it had at its end."""
    curves = [attempt.curves.get(score, ()) for attempt in attempts]
    points = [confirmed(curve) for curve in curves]
    counted = [
        attempt.env_steps if point is None else point.env_steps for attempt, point in zip(attempts, points, strict=True)
    ]
    return {
        "samples": aggregate(np.array(counted, dtype=np.float64)[:, None]).as_dict(),
        "reached": sum(point is not None for point in points),
        "counted": counted,
        "seconds": median(attempt.seconds for attempt in attempts),
    }


def _settings(race: Race) -> dict[str, Any]:
    return {side: _setting(race, contender) for side, contender in _SIDES.items()}


def _setting(race: Race, contender: Contender) -> dict[str, Any]:
    members = {
        name: {"algorithm": type(algorithm).__name__, "params": algorithm.params.model_dump(mode="json")}
        for name, algorithm in contender.team(race).items()
    }
    return {
        "copies": contender.copies, "fragment": contender.fragment, "env_steps": race.env_steps, "members": members
    }  # fmt: skip


def _verdict(row: Mapping[str, Any]) -> Row:
    low, high = row["ratio_low"], row["ratio_high"]
    interval = "" if low is None else f"{low:.2f} to {high:.2f}"
    return (
        row["case"],
        f"{row['ratio']:.2f}",
        interval,
        f"<= {row['required']:.2f}",
        "met" if row["passed"] else MISSED,
    )


def _counts(row: Mapping[str, Any]) -> Row:
    seeds = len(row["seeds"])
    return row["case"], *(cell for side in ("defaults", "rl_zoo") for cell in _side_cells(row[side], seeds))


def _side_cells(side: Mapping[str, Any], seeds: int) -> Row:
    more = "" if side["reached"] == seeds else "> "
    return f"{more}{side['samples']['value']:,.0f}", f"{side['reached']} of {seeds}"
