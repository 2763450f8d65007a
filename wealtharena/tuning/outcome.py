"""What came out of a sweep: its trials in order, the best of them as a run of its own, and how that one is judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wealtharena.errors import UserError
from wealtharena.evidence.files import write_json, write_whole
from wealtharena.evidence.report import write_report
from wealtharena.experiment import Experiment, load_experiment
from wealtharena.spec_tune import AshaSpec
from wealtharena.training.assess import assess_run
from wealtharena.training.run_dir import Mark, RunDir
from wealtharena.tuning.check import Sweep
from wealtharena.tuning.folder import TRIAL, SweepDir
from wealtharena.tuning.log import FAILED, RUNNING
from wealtharena.tuning.strategies import last_rung, rungs


@dataclass(frozen=True)
class Standing:
    """One trial, as it stands at the end.

    Attributes:
        name: Of its folder.
        record: What its ``trial.json`` says.
    """

    name: str
    record: Mapping[str, Any]

    @property
    def score(self) -> float | None:
        """The last known value of the metric."""
        score: float | None = self.record["score"]
        return score

    @property
    def eligible(self) -> bool:
        """Whether it may be called the best."""
        return self.score is not None and self.record["status"] != FAILED


def standings(folder: SweepDir, sign: int) -> list[Standing]:
    """All trials that have begun, the best first; those without a score, and those that failed, last."""
    found = [Standing(name, record) for name, record in folder.trials()]
    return sorted(found, key=lambda one: (not one.eligible, -sign * one.score if one.score is not None else 0.0))


def summarise(sweep: Sweep, folder: SweepDir) -> dict[str, Any]:
    """Writes sweep.json; returns what it holds."""
    ranked = standings(folder, sweep.tune.sign)
    best = next((one for one in ranked if one.eligible and checkpoint_of(folder, one.name)), None)
    rules, stop = sweep.tune.scheduler, sweep.experiment.spec.stop
    content = {
        "name": sweep.name,
        "metric": sweep.metric,
        "mode": sweep.tune.mode,
        "searcher": sweep.tune.searcher.kind,
        "scheduler": rules.kind,
        "clock": getattr(rules, "clock", "iteration"),
        "rungs": rungs(rules, last_rung(rules, stop)) if isinstance(rules, AshaSpec) else [],
        "planned": sweep.count,
        "ran": sum(1 for one in ranked if one.record["iteration"]),
        "unfinished": sweep.count - sum(1 for one in ranked if one.record["status"] != RUNNING),
        "best": best.name if best else None,
        "space": {
            key: {"kind": dimension.kind, "values": list(dimension.ends or dimension.options)}
            for key, dimension in sweep.tune.space.items()
        },
        "trials": [{"name": one.name, **one.record} for one in ranked],
    }
    write_json(folder.summary, json.loads(json.dumps(content, default=str)))
    return content


def checkpoint_of(folder: SweepDir, name: str) -> Path | None:
    """The newest complete checkpoint of a trial."""
    found = [file.parent for file in (folder.state / name).glob(f"checkpoint_*/{TRIAL}")]
    return max(found, key=lambda path: mark_of(path).iteration, default=None)


def mark_of(checkpoint: Path) -> Mark:
    """How far a trial had come at a checkpoint."""
    return Mark.model_validate_json((checkpoint / "mark.json").read_bytes())


def best_run(folder: SweepDir, summary: Mapping[str, Any]) -> tuple[RunDir, Experiment]:
    """Writes best.yaml, and ``best/`` with the best trial's checkpoint and metrics; its deflated Sharpe counts all.

    Raises:
        UserError: No trial has come to a score and a checkpoint.
    """
    name = summary["best"]
    if name is None:
        raise UserError(f"{folder.path}: no trial has come to a score and a checkpoint yet")
    trial = folder.trial(name)
    resolved = yaml.safe_load(trial.config.read_text(encoding="utf-8"))
    resolved.pop("tune", None)
    resolved["evaluation"]["trials"] = summary["ran"]
    _write_best(folder, resolved, summary)
    shutil.rmtree(folder.best.path, ignore_errors=True)
    folder.best.path.mkdir()
    folder.best.write_config(resolved)
    shutil.copytree(trial.metrics, folder.best.metrics)
    checkpoint = checkpoint_of(folder, name)
    assert checkpoint is not None  # the best one has a checkpoint
    folder.best.save(mark_of(checkpoint), lambda path: shutil.copytree(checkpoint, path, dirs_exist_ok=True), keep=1)
    return folder.best, load_experiment(str(folder.best.config))


def _write_best(folder: SweepDir, resolved: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    best = next(trial for trial in summary["trials"] if trial["name"] == summary["best"])
    head = f"# {best['name']}, the best of {summary['ran']} trials by {summary['metric']}: {best['score']:.6g}\n"
    if best["changes"]:
        head += "# Its values changed while it learnt (sweep.html has when); these are the last ones.\n"
    text = head + yaml.safe_dump(dict(resolved), sort_keys=False)
    write_whole(folder.best_config, lambda path: _write(path, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def judge_best(folder: SweepDir, summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Judges the best trial on its test data; writes its evaluation.json and report.html."""
    run, experiment = best_run(folder, summary)
    content = assess_run(run, experiment)
    write_report(run.path)
    return content
