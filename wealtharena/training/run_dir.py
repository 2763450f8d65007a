"""The folder a run leaves behind, and the checkpoints in it.

A checkpoint is written beside its place and renamed into it: it is complete or absent, whatever interrupts.
Which one is the latest and which the best follows from the checkpoints alone: the links ``latest`` and ``best`` are
for people.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from wealtharena.errors import UserError
from wealtharena.training.stopping import Patience
from wealtharena.training.storage import Storage


class Mark(BaseModel):
    """How far a run had come at a checkpoint: what the run loop needs in order to go on from it.

    Attributes:
        iteration: Rounds of sampling and learning done.
        env_steps: Steps of the environment, over all copies.
        seconds: Time spent training.
        score: ``checkpoint.metric`` at this checkpoint; None where it was not known.
        patience: The state of early stopping.
    """

    model_config = ConfigDict(frozen=True)

    iteration: int = 0
    env_steps: int = 0
    seconds: float = 0.0
    score: float | None = None
    patience: Patience = Patience()


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    mark: Mark


@dataclass(frozen=True)
class RunDir:
    """The files of one run.

    Attributes:
        path: The folder.
        storage: Where the folder is kept, if not on this machine.
    """

    path: Path
    storage: Storage | None = None

    @property
    def home(self) -> str:
        """Where the run is to be found: its folder, or the URI behind which that is kept."""
        return self.storage.uri if self.storage else str(self.path)

    @property
    def config(self) -> Path:
        """The experiment file as resolved."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The folder of progress.csv and the TensorBoard files."""
        return self.path / "metrics"

    @property
    def folds(self) -> Path:
        """The folder of the runs of the folds, in a walk-forward run."""
        return self.path / "folds"

    @property
    def phases(self) -> Path:
        """The folder of the runs of the phases, in a training in phases."""
        return self.path / "phases"

    def show(self, part: RunDir) -> None:
        """Makes the checkpoints and the metrics of a run within this one its own, by links."""
        for own, shown in ((self.path / "checkpoints", part.path / "checkpoints"), (self.metrics, part.metrics)):
            _link(own, str(shown.relative_to(self.path)))

    def write_config(self, resolved: Mapping[str, Any]) -> None:
        """Writes config.yaml, at once or not at all."""
        partial = self.config.with_suffix(".partial")
        partial.write_text(yaml.safe_dump(dict(resolved), sort_keys=False), encoding="utf-8")
        partial.replace(self.config)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from training in this folder; the lock goes with the process, however it ends.

        Raises:
            UserError: Another process is training in it.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise UserError(f"{self.path}: another process trains in this folder; wait for it, or stop it") from None
        try:
            yield
        finally:
            lock.release()

    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints, oldest first."""
        marks = sorted(self.path.glob("checkpoints/iter_*/mark.json"))
        return [Checkpoint(file.parent, _mark(file)) for file in marks]

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint."""
        return next(reversed(self.checkpoints()), None)

    def best(self) -> Checkpoint | None:
        """The checkpoint of the highest score, the newest of equals."""
        return max(reversed(self.checkpoints()), key=_score, default=None)

    def save(self, mark: Mark, write: Callable[[Path], object], *, keep: int) -> Checkpoint:
        """Adds a checkpoint, then removes all but the last ``keep`` and the best one.

        Args:
            mark: How far the run has come.
            write: Writes the team into the folder it is given.
            keep: How many of the last checkpoints stay.
        """
        name = f"iter_{mark.iteration:06d}"
        partial, final = self.path / "checkpoints" / f".{name}.partial", self.path / "checkpoints" / name
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            write(partial)
            (partial / "mark.json").write_text(mark.model_dump_json(), encoding="utf-8")
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # what is there takes the room that may be lacking
            raise
        self._tidy(keep)
        return Checkpoint(final, mark)

    def _tidy(self, keep: int) -> None:
        checkpoints, best = self.checkpoints(), self.best()
        for checkpoint in checkpoints[:-keep]:
            if checkpoint != best:
                shutil.rmtree(checkpoint.path)
        _link(self.path / "checkpoints" / "latest", checkpoints[-1].path.name)
        _link(self.path / "checkpoints" / "best", (best or checkpoints[-1]).path.name)


def _mark(file: Path) -> Mark:
    try:
        return Mark.model_validate_json(file.read_bytes())
    except ValidationError:
        raise UserError(f"{file.parent}: is damaged (mark.json); remove this checkpoint to use the others") from None


def _score(checkpoint: Checkpoint) -> float:
    return -math.inf if checkpoint.mark.score is None else checkpoint.mark.score


def _link(link: Path, target: str) -> None:
    """Points a link elsewhere without a moment in which there is none."""
    fresh = link.with_name(f".{link.name}.partial")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.replace(fresh, link)


def check_vacant(path: Path) -> None:
    """Refuses a folder that a new run must not be written to.

    Raises:
        UserError: Something is there already.
    """
    if RunDir(path).config.exists():
        raise UserError(f"--out {path}: already holds a run; name another folder, or continue it with --resume")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"--out {path}: exists and is not an empty folder; name another one")


def new_run(name: str, out: Path | None, parent: Path = Path("runs")) -> RunDir:
    """Makes the folder of a new run: ``out``, or else the next free ``<parent>/<name>-<number>``.

    Raises:
        UserError: ``out`` is not vacant, or the folder cannot be made.
    """
    try:
        if out is None:
            return RunDir(_next_free(parent, name))
        check_vacant(out)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        given = "storage" if out is None else "--out"
        raise UserError(f"{given} {error.filename}: the folder cannot be made: {error.strerror}") from error
    return RunDir(out)


def _next_free(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = parent / f"{name}-{number:03d}"
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def open_run(path: Path) -> RunDir:
    """The folder of a run that was begun before.

    Raises:
        UserError: There is no run.
    """
    run = RunDir(path)
    if not run.config.is_file():
        raise UserError(f"{path}: holds no run (no config.yaml in it)")
    return run
