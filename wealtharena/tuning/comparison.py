"""What each value of some dimensions is worth: every trial on its test data, the same seeds side by side.

Dimensions: R repetitions (seeds), S strata (values of the other dimensions compared).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wealtharena.evidence.aggregate import aggregate
from wealtharena.evidence.bootstrap import Interval
from wealtharena.evidence.evaluation import Evaluation
from wealtharena.evidence.files import write_json
from wealtharena.experiment import load_experiment
from wealtharena.spec_tune import CompareSpec
from wealtharena.training.assess import Subject, assess
from wealtharena.training.resources import of_the_cluster
from wealtharena.training.run_dir import RunDir
from wealtharena.tuning.folder import SweepDir
from wealtharena.tuning.log import FAILED
from wealtharena.tuning.outcome import checkpoint_of

COMPARISON = "comparison.json"
HELPS, HURTS, UNCLEAR = "helps", "hurts", "no difference shown"
Cell = tuple[str, ...]
Scores = Mapping[Cell, Mapping[str, float]]
"""Values of all dimensions compared -> repetition -> score."""


def compare_trials(
    compare: CompareSpec, folder: SweepDir, summary: Mapping[str, Any], *, at_once: int | None
) -> Mapping[str, Any]:
    """Judges every trial on its test data, and writes comparison.json; returns what it holds.

    Args:
        compare: What is compared.
        folder: Of the sweep.
        summary: What ``summarise`` gave.
        at_once: Most trials that are judged at the same time; None: as many as there are CPUs.
    """
    judged, keys = _judged(folder, summary, at_once or int(of_the_cluster().get("CPU", 1))), compare.dimensions
    content = {
        "score": "Sharpe ratio" if any(found["kind"] == "market" for found in judged.values()) else "episode return",
        "judged": len(judged),
        "tests": sorted({_span(found) for found in judged.values()}),
        "settings": [
            {"setting": setting, "dimensions": [dimension_rows(key, place, scores) for place, key in enumerate(keys)]}
            for setting, scores in _by_setting(compare, summary, judged).items()
        ],
    }
    write_json(folder.path / COMPARISON, content)
    return content


def _span(evaluation: Mapping[str, Any]) -> str:
    """The dates of a test, and that costs are taken off; whole episodes have neither."""
    test = (evaluation.get("windows") or {}).get("test")
    return f"{test['start']} to {test['end']}, after costs" if test else "whole episodes"


def _judged(folder: SweepDir, summary: Mapping[str, Any], at_once: int) -> dict[str, Mapping[str, Any]]:
    """The evaluation of each trial that did not fail, several at a time: each of them keeps a process busy."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    where = here if folder.storage else "DEFAULT"  # behind a URI, other nodes do not see the folder
    judge = ray.remote(num_cpus=1, scheduling_strategy=where)(_judge)
    found: dict[str, Any] = {}
    for trial in summary["trials"]:
        checkpoint = checkpoint_of(folder, trial["name"])
        if trial["status"] != FAILED and checkpoint is not None:
            path = str(folder.trial(trial["name"]).path.resolve())
            if len(found) >= at_once:
                ray.wait(list(found.values()), num_returns=len(found) - at_once + 1)
            found[trial["name"]] = judge.remote(os.getcwd(), path, str(checkpoint.resolve()))
    return dict(zip(found, ray.get(list(found.values())), strict=True))


def _judge(home: str, run: str, checkpoint: str) -> Mapping[str, Any]:
    with contextlib.chdir(home):
        folder = RunDir(Path(run))
        experiment = load_experiment(str(folder.config))
        evaluation: Evaluation = assess(Subject(folder, Path(checkpoint), experiment, own_data=True, named=False))
        evaluation.write(folder.path)
    return evaluation.content


def score_of(content: Mapping[str, Any]) -> float | None:
    """What a trial is worth on its test: the Sharpe ratio of the book, or the return of an episode."""
    score: float | None = content["team"]["sharpe" if content["kind"] == "market" else "episode_return"]
    return score


def _by_setting(
    compare: CompareSpec, summary: Mapping[str, Any], judged: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[Cell, dict[str, float]]]:
    found: dict[str, dict[Cell, dict[str, float]]] = {}
    for trial in sorted(summary["trials"], key=lambda trial: trial["name"]):
        score = score_of(judged[trial["name"]]) if trial["name"] in judged else None
        if score is not None:
            values = trial["values"]
            setting = ", ".join(_text(values.get(key)) for key in compare.settings)
            cell = tuple(_text(values.get(key)) for key in compare.dimensions)
            found.setdefault(setting, {}).setdefault(cell, {})[_text(values.get(compare.repeats))] = score
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def dimension_rows(key: str, place: int, scores: Scores) -> dict[str, Any]:
    """The levels of a dimension: what each came to, and by how much it differs from the first."""
    levels = list(dict.fromkeys(cell[place] for cell in scores))
    rows = [_level(levels[0], level, place, scores) for level in levels]
    return {"dimension": key, "levels": rows}


def _level(first: str, level: str, place: int, scores: Scores) -> dict[str, Any]:
    own = _strata(level, place, scores)
    value_RS = _matrix(own.values())
    row: dict[str, Any] = {"level": level, "runs": value_RS.size}
    row["score"] = aggregate(value_RS).as_dict() if value_RS.size else None
    if level == first:
        return row | {"difference": None, "verdict": None, "pairs": 0}
    others = _strata(first, place, scores)
    gaps = [
        {repeat: score - others[rest][repeat] for repeat, score in runs.items() if repeat in others[rest]}
        for rest, runs in own.items()
        if rest in others
    ]
    gap_RS = _matrix(gaps)
    if not gap_RS.size:
        return row | {"difference": None, "verdict": UNCLEAR, "pairs": 0}
    difference = aggregate(gap_RS)
    return row | {"difference": difference.as_dict(), "verdict": verdict_of(difference), "pairs": gap_RS.size}


def verdict_of(difference: Interval) -> str:
    """What an interval of a difference says."""
    low, high = difference.low, difference.high
    if low is None or high is None:
        return UNCLEAR
    return HELPS if low > 0 else HURTS if high < 0 else UNCLEAR


def _strata(level: str, place: int, scores: Scores) -> dict[Cell, Mapping[str, float]]:
    """Values of the other dimensions -> repetition -> score, where this one has a level."""
    return {cell[:place] + cell[place + 1 :]: runs for cell, runs in scores.items() if cell[place] == level}


def _matrix(strata: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Scores (R, S), of the repetitions that every stratum has."""
    found: Sequence[Mapping[str, float]] = [runs for runs in strata if runs]
    if not found:
        return np.empty((0, 0))
    repeats = list(_common(found))
    return np.array([[runs[repeat] for runs in found] for repeat in repeats])


def _common(strata: Sequence[Mapping[str, float]]) -> Iterator[str]:
    yield from (repeat for repeat in strata[0] if all(repeat in runs for runs in strata))
