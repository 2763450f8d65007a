"""A run in phases: each goes on with the weights of those before it, in run folders of its own."""

from __future__ import annotations

from collections.abc import Iterable

from wealtharena.experiment import Experiment
from wealtharena.training.phases import Phase, Task, phases_of
from wealtharena.training.run_dir import Mark, RunDir
from wealtharena.training.setup import enter
from wealtharena.training.side_by_side import train_side_by_side
from wealtharena.training.stopping import Stop
from wealtharena.training.train import Outcome
from wealtharena.training.walk_forward import PartsView, together, train_unless_finished


def train_phases(experiment: Experiment, run: RunDir, *, view: PartsView, stop: Stop) -> Outcome:
    """Trains phase after phase, from where it was left; one that was followed by another stays as it is.

    The run's checkpoints and metrics are those of the last phase that trained the team together. Ray must be running.

    Raises:
        UserError: The phases do not go with the experiment, or a phase was begun as another one.
    """
    phases = phases_of(experiment)
    for phase in phases:
        if any(later.begun(run) for later in phases[phase.number :]):
            continue
        where = f"phase {phase.number} of {len(phases)}, {phase.spec.name}"
        _train(phase, run, where, view, stop)
        if phase.whole_team:
            run.show(phase.tasks[0].within(run))
        if stop.requested:
            return Outcome(f"interrupted in {where}", True, reached(phases, run))
    return Outcome(f"all {len(phases)} phases are trained", False, reached(phases, run))


def reached(phases: Iterable[Phase], run: RunDir) -> Mark:
    """How far phases have come, all in all."""
    checkpoints = [task.within(run).latest() for phase in phases for task in phase.tasks]
    return together([checkpoint.mark for checkpoint in checkpoints if checkpoint is not None])


def _train(phase: Phase, run: RunDir, where: str, view: PartsView, stop: Stop) -> None:
    for task in phase.tasks:
        enter(task.within(run), task.experiment)
    if phase.spec.parallel > 1:
        view.begin(f"{where}: {', '.join(_names(phase.tasks))}, {phase.spec.parallel} at a time")
        train_side_by_side(phase.tasks, run, at_once=phase.spec.parallel, view=view, stop=stop)
        return
    for task in phase.tasks:
        view.begin(f"{where}: {', '.join(_names([task]))}")
        with task.within(run).alone():
            train_unless_finished(task.ready(run), task.within(run), view=view, stop=stop)
        if stop.requested:
            return


def _names(tasks: Iterable[Task]) -> list[str]:
    """Who learns."""
    return [name for task in tasks for name in task.members if not task.experiment.spec.members[name].frozen]
