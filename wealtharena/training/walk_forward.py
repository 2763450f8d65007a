"""A walk-forward run: a fresh team for each fold, trained one after the other, each in a run folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wealtharena.experiment import Experiment
from wealtharena.folds import Fold
from wealtharena.training.run_dir import Mark, RunDir
from wealtharena.training.setup import enter
from wealtharena.training.stopping import Stop
from wealtharena.training.train import Outcome, View, reason_to_end, train


class PartsView(View, Protocol):
    """Somebody who watches a run of several trainings, one after the other."""

    def begin(self, title: str) -> None:
        """One of them begins."""


def fold_dir(run: RunDir, fold: Fold) -> RunDir:
    """The folder of one fold: a run of its own."""
    return RunDir(run.folds / f"{fold.number:02d}")


def is_finished(run: RunDir, experiment: Experiment) -> bool:
    """Whether the training in a folder has come to its end."""
    last = run.latest()
    return last is not None and reason_to_end(experiment.spec, last.mark) is not None


def train_folds(experiment: Experiment, run: RunDir, *, view: PartsView, stop: Stop) -> Outcome:
    """Trains the team of every fold, from where it was left; those that have come to their end stay as they are.

    ``stop`` in the file holds for each fold. Ray must be running.

    Raises:
        UserError: A fold was begun with other windows, as after a change of the prices.
    """
    marks: list[Mark] = []
    for fold in experiment.folds:
        where = f"fold {fold.number} of {len(experiment.folds)}"
        view.begin(f"{where}: train {fold.train}, test {fold.test}")
        own, folder = experiment.of_fold(fold), fold_dir(run, fold)
        enter(folder, own)
        with folder.alone():
            outcome = train_unless_finished(own, folder, view=view, stop=stop)
        marks.append(outcome.mark)
        if stop.requested:
            return Outcome(f"interrupted in {where}", True, together(marks))
    return Outcome(f"all {len(marks)} folds are trained", False, together(marks))


def train_unless_finished(experiment: Experiment, run: RunDir, *, view: View, stop: Stop) -> Outcome:
    """``train``, or how a training ended that has come to its end before."""
    last = run.latest()
    reason = reason_to_end(experiment.spec, last.mark) if last else None
    if last and reason:
        return Outcome(reason, False, last.mark)
    return train(experiment, run, view=view, stop=stop)


def together(marks: Sequence[Mark]) -> Mark:
    """How far several trainings have come, all in all."""
    return Mark(
        iteration=sum(mark.iteration for mark in marks),
        env_steps=sum(mark.env_steps for mark in marks),
        seconds=sum(mark.seconds for mark in marks),
    )
