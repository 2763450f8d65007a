"""Judging a walk-forward run: every fold's team in its own test window, and all of them chained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from wealtharena.errors import UserError
from wealtharena.evidence.evaluate import judge, play
from wealtharena.evidence.evaluation import Evaluation
from wealtharena.evidence.walk_forward import FoldResult, evaluate_folds
from wealtharena.experiment import Experiment
from wealtharena.folds import Fold
from wealtharena.spec import WindowSpec
from wealtharena.training.run_dir import Checkpoint, RunDir
from wealtharena.training.trained import policies_for
from wealtharena.training.walk_forward import fold_dir, is_finished


def fold_results(experiment: Experiment, run: RunDir) -> tuple[FoldResult, ...]:
    """The test of every fold that has a checkpoint: its best one, whether its training is finished or not.

    Raises:
        UserError: No fold has one, or the folds were trained with other windows than the experiment's.
    """
    found = tuple(_result(experiment, run, fold, best) for fold, best in _checkpoints(experiment, run))
    if not found:
        raise UserError(
            f"{run.path}: no fold holds a checkpoint yet; go on with 'wealtharena train {run.path} --resume'"
        )
    return found


def assess_folds(experiment: Experiment, results: Sequence[FoldResult]) -> Evaluation:
    """The folds' results as one."""
    spec = experiment.spec
    assert spec.evaluation.walk_forward is not None  # there are folds
    planned, trials = len(experiment.folds), spec.evaluation.trials
    return evaluate_folds(results, spec.evaluation.walk_forward, planned=planned, seed=spec.seed, trials=trials)


def _checkpoints(experiment: Experiment, run: RunDir) -> Iterator[tuple[Fold, Checkpoint]]:
    for fold in experiment.folds:
        best = fold_dir(run, fold).best()
        if best is not None:
            _check_windows(fold, fold_dir(run, fold))
            yield fold, best


def _result(experiment: Experiment, run: RunDir, fold: Fold, best: Checkpoint) -> FoldResult:
    own = experiment.of_fold(fold)
    assert issubclass(own.environment, MarketEnv)  # others have no folds
    assert isinstance(own.test_params, MarketParams)
    played = play(own.environment, own.test_params, policies_for(own, best.path))
    evaluation = judge(
        played, train_window=own.train_dates, seeds=(fold.seed,), trials=experiment.spec.evaluation.trials
    )
    folder = fold_dir(run, fold)
    return FoldResult(
        number=fold.number,
        folder=str(folder.path.relative_to(run.path)),
        checkpoint=best.path.name,
        finished=is_finished(folder, own),
        played=played,
        evaluation=evaluation,
    )


def _check_windows(fold: Fold, folder: RunDir) -> None:
    """Refuses to test a team in a window that is not its own: its training may have seen it."""
    begun = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    trained = _window(begun["environment"]["params"]["window"]), _window(begun["evaluation"]["window"])
    if trained != (fold.train, fold.test):
        raise UserError(
            f"{folder.path}: trained on {trained[0]} for a test on {trained[1]}, and with this data and file fold "
            f"{fold.number} would be {fold.train} and {fold.test}; evaluate one fold alone, as in 'wealtharena "
            f"evaluate {folder.path} --data FILE', or train again"
        )


def _window(given: dict[str, Any]) -> WindowSpec:
    return WindowSpec.model_validate(given)
