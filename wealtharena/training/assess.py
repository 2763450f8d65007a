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
from wealtharena.team.policy import Policy, load_policies
from wealtharena.training.run_dir import RunDir, open_run


@dataclass(frozen=True)
class Subject:
    """What is to be judged.

    Attributes:
        run: The run it comes from.
        checkpoint: The team's policies.
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
    best = run.best()
    if not named and best is None:
        raise UserError(f"{path}: holds no checkpoint yet; train it further with 'wealtharena train {path} --resume'")
    for override in overrides:
        if override.strip().startswith("environment.params.window"):
            raise UserError(f"--set {override}: that is the window it was trained on; set evaluation.window")
    changes = [*overrides, *([f"environment.params.data={{path: {json.dumps(str(data))}}}"] if data else [])]
    same_prices = all(change.strip().startswith("evaluation.") for change in changes)
    experiment = load_experiment(str(run.config), changes, for_training=same_prices)
    checkpoint = path.resolve() if named or best is None else best.path
    return Subject(run, checkpoint, experiment, own_data=not changes, named=named)


def assess(subject: Subject) -> Evaluation:
    """Evaluates deterministic policies over the test window, or over whole episodes where there are no windows."""
    experiment, policies = subject.experiment, load_policies(subject.checkpoint)
    _check_features(experiment, policies)
    seed, params = experiment.spec.seed, experiment.test_params
    if issubclass(experiment.environment, MarketEnv) and isinstance(params, MarketParams) and params.dated:
        return evaluate_market(
            experiment.environment, params, policies, train_window=experiment.train_dates, seeds=(seed,)
        )
    episodes = experiment.spec.evaluation.episodes
    world = experiment.environment(params, num_envs=min(episodes, experiment.spec.sampling.envs_per_runner))
    return evaluate_episodes(world, policies, episodes, seeds=(seed,))


def _check_features(experiment: Experiment, policies: Mapping[str, Policy]) -> None:
    for name, group in experiment.groups.items():
        trained, offered = policies[name].module.observation_space.shape, group.observation_space.shape
        if trained != offered:
            raise UserError(
                f"group {name} learned on {trained[0]} features and this data gives it {offered[0]}: "
                "bring the same classes and extra columns that it was trained on"
            )


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
    """Evaluates a run's best checkpoint on its test window and writes ``evaluation.json``; returns what it holds."""
    best = run.best()
    if best is None:
        raise UserError(f"{run.path}: holds no checkpoint")
    evaluation = assess(Subject(run, best.path, experiment, own_data=True, named=False))
    evaluation.write(run.path)
    return evaluation.content
