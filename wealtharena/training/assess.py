"""Judging a run: which checkpoint, on which data, and where the result goes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from wealtharena.errors import UserError
from wealtharena.evidence.episodes import evaluate_episodes
from wealtharena.evidence.evaluate import evaluate_market
from wealtharena.evidence.evaluation import Evaluation
from wealtharena.experiment import Experiment, load_experiment
from wealtharena.training.assess_folds import assess_folds, fold_results
from wealtharena.training.assess_phases import with_phases
from wealtharena.training.run_dir import RunDir, open_run
from wealtharena.training.trained import policies_for


@dataclass(frozen=True)
class Subject:
    """What is to be judged.

    Attributes:
        run: The run it comes from.
        checkpoint: The team's policies; of a walk-forward run the folder of its folds.
        experiment: The world they are judged in.
        own_data: Whether that is the one of the run's own experiment.
        named: Whether the checkpoint was asked for by name.
    """

    run: RunDir
    checkpoint: Path
    experiment: Experiment
    own_data: bool
    named: bool


def find_subject(path: Path, overrides: Sequence[str] = (), data: Path | None = None) -> Subject:
    """Finds the checkpoint that ``path`` means: a checkpoint, or a run's best one.

    Args:
        path: A run's folder, or one of the folders in its ``checkpoints``.
        overrides: ``--set`` values over the run's experiment.
        data: Another price file, for the test window.

    Raises:
        UserError: There is no checkpoint, or the experiment cannot be evaluated.
    """
    named = (path / "mark.json").is_file()
    run = open_run(path.resolve().parent.parent if named else path)
    checkpoint = path.resolve() if named else _judged(run)
    if checkpoint is None:
        raise UserError(f"{path}: holds no checkpoint yet; train it further with 'wealtharena train {path} --resume'")
    for override in overrides:
        if override.strip().startswith("environment.params.window"):
            raise UserError(f"--set {override}: that is the window it was trained on; set evaluation.window")
        if override.strip().startswith("phases"):
            raise UserError(f"--set {override}: phases say how a run is trained and cannot be changed afterwards")
    changes = [*overrides, *([f"environment.params.data={{path: {json.dumps(str(data))}}}"] if data else [])]
    same_prices = all(change.strip().startswith("evaluation.") for change in changes)
    experiment = load_experiment(str(run.config), changes, for_training=same_prices)
    if bool(experiment.folds) != (checkpoint == run.folds):
        raise UserError(f"{path}: evaluation.walk_forward says how a run is trained and cannot be changed afterwards")
    return Subject(run, checkpoint, experiment, own_data=not changes, named=named)


def _judged(run: RunDir) -> Path | None:
    """What of a run is judged: its best checkpoint, or its folds."""
    best = run.best()
    if best is not None:
        return best.path
    return run.folds if run.folds.is_dir() else None


def assess(subject: Subject) -> Evaluation:
    """Evaluates deterministic policies over the test window, or over whole episodes where there are no windows."""
    experiment = subject.experiment
    if experiment.folds:
        return assess_folds(experiment, fold_results(experiment, subject.run))
    evaluation = _of_one_team(subject)
    if experiment.spec.phases and not subject.named:
        return with_phases(evaluation, experiment, subject.run)
    return evaluation


def _of_one_team(subject: Subject) -> Evaluation:
    experiment = subject.experiment
    policies = policies_for(experiment, subject.checkpoint)
    seed, params, judged = experiment.spec.seed, experiment.test_params, experiment.spec.evaluation
    if issubclass(experiment.environment, MarketEnv) and isinstance(params, MarketParams) and params.dated:
        trained = experiment.train_dates
        return evaluate_market(
            experiment.environment, params, policies, train_window=trained, seeds=(seed,), trials=judged.trials
        )
    world = experiment.environment(params, num_envs=min(judged.episodes, experiment.spec.sampling.envs_per_runner))
    return evaluate_episodes(world, policies, judged.episodes, seeds=(seed,))


def folder_for(subject: Subject, out: Path | None) -> Path:
    """Where an evaluation goes: ``out``, or else the run's own one into the run and any other under ``evaluations``.

    With anything changed, the next free number: an evaluation never replaces another one.

    Raises:
        UserError: ``out`` is a file, or the run's own folder for an evaluation that is not the run's own.
    """
    if out is not None:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out}: is a file; name a folder")
        if out.resolve() == subject.run.path.resolve() and (subject.named or not subject.own_data):
            raise UserError(f"--out {out}: holds the run's own evaluation, which stays; name another folder")
        return out
    if subject.own_data and not subject.named:
        return subject.run.path
    name = subject.run.path / "evaluations" / subject.checkpoint.name
    if subject.own_data:
        return name
    numbered = (name.with_name(f"{name.name}-{number:03d}") for number in itertools.count(1))
    return next(path for path in numbered if not path.exists())


def assess_run(run: RunDir, experiment: Experiment) -> Mapping[str, Any]:
    """Evaluates a run's best checkpoint on its test window and writes ``evaluation.json``; returns what it holds.

    Of a walk-forward run, every fold's as well.
    """
    if experiment.folds:
        results = fold_results(experiment, run)
        for result in results:
            result.evaluation.write(run.path / result.folder)
        evaluation = assess_folds(experiment, results)
    else:
        best = run.best()
        if best is None:
            raise UserError(f"{run.path}: holds no checkpoint")
        evaluation = assess(Subject(run, best.path, experiment, own_data=True, named=False))
    evaluation.write(run.path)
    return evaluation.content
