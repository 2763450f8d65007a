"""Several trainings at the same time: Ray tasks in processes of their own, and an actor between them and the run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.training.phases import Task
from wealtharena.training.progress import Progress
from wealtharena.training.run_dir import RunDir
from wealtharena.training.stopping import Stop
from wealtharena.training.train import View
from wealtharena.training.walk_forward import train_unless_finished

PAUSE = 0.2
"""Seconds between two looks at what the trainings have to tell."""


def train_side_by_side(tasks: Sequence[Task], run: RunDir, *, at_once: int, view: View, stop: Stop) -> None:
    """Trains each task from where it was left; what comes out is what comes out of one after the other.

    Args:
        tasks: That do not start from each other.
        run: Whose phase they are.
        at_once: How many at a time; each takes a CPU, and waits until there is one.
        view: Sees the iterations of all of them.
        stop: Asks all of them to end; those that have not begun do not begin then.

    Raises:
        UserError: As one of the trainings; the others have then ended as if interrupted.
    """
    desk = ray.remote(num_cpus=0)(_Desk).remote()
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)  # where the folders are
    apart = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy=here)(_train_apart)
    waiting, failed, ending = list(tasks), None, False
    running: list[ray.ObjectRef[None]] = []
    try:
        while running or (waiting and not ending):
            while waiting and len(running) < at_once and not ending:
                task = waiting.pop(0)
                running.append(apart.remote(os.getcwd(), task.ready(run), task.within(run), desk))
            ended, running = ray.wait(running, timeout=PAUSE)
            failed = failed or _failure(ended)
            ending = stop.requested or failed is not None
            for progress, done in ray.get(desk.exchange.remote(ending)):
                view.update(progress, done)
    finally:
        ray.kill(desk)
    if failed is not None:
        raise failed


def _failure(ended: Sequence[ray.ObjectRef[None]]) -> BaseException | None:
    try:
        ray.get(list(ended))
    except RayTaskError as error:
        return error.cause if isinstance(error.cause, UserError) else error
    return None


class _Desk:
    """Where trainings leave their progress, and ask whether they are to end."""

    def __init__(self) -> None:
        self._stop = False
        self._news: list[tuple[Progress, float]] = []

    def exchange(self, stop: bool) -> list[tuple[Progress, float]]:
        """Says whether all are to end, and takes what is new."""
        news, self._news, self._stop = self._news, [], stop
        return news

    def tell(self, progress: Progress, done: float) -> None:
        """Leaves an iteration."""
        self._news.append((progress, done))

    def stop(self) -> bool:
        """Whether to end."""
        return self._stop


class _Line:
    """The desk as a training knows it: its view, and what asks it to stop."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def update(self, progress: Progress, done: float) -> None:
        ray.get(self._desk.tell.remote(progress, done))

    @property
    def requested(self) -> bool:
        return bool(ray.get(self._desk.stop.remote()))


def _train_apart(home: str, experiment: Experiment, folder: RunDir, desk: Any) -> None:
    line = _Line(desk)
    with contextlib.chdir(home), folder.alone():
        train_unless_finished(experiment, folder, view=line, stop=line)
