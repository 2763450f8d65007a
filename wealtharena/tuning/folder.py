"""The folder that a sweep leaves behind.

``sweep.yaml`` (the file it began with), ``trials/<trial>/`` (config.yaml and metrics/ of each), ``tune/`` (Ray Tune's
own state, with the checkpoints), ``sweep.json``, ``sweep.html``, ``best.yaml`` and ``best/``, a run of its own.

Behind a URI, all nodes write their checkpoints there. The driver writes the rest into a folder of its own, which is
copied there, and fetches of ``tune/`` what it needs.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from wealtharena.document import Document, read_document
from wealtharena.errors import UserError
from wealtharena.evidence.files import write_whole
from wealtharena.training.run_dir import RunDir
from wealtharena.training.storage import Storage

TRIAL, FILE, NO_SWEEP = "trial.json", "sweep.yaml", "holds no sweep (no sweep.yaml in it)"
TRIALS = "experiment_state-*.json"
STATES = (TRIALS, "basic-variant-state-*", "search_gen_state-*", "searcher-state-*", "callback-states-*")
"""What Ray Tune goes on from: the trials, as JSON; who suggests values, and the callbacks, as pickles."""
BACKUP, BACKUP_EVERY = "state.backup", 10.0


@dataclass(frozen=True)
class SweepDir:
    """The files of a sweep.

    Attributes:
        path: The folder.
        storage: Where the folder is kept, if not on this machine.
    """

    path: Path
    storage: Storage | None = None

    @property
    def run(self) -> RunDir:
        """The folder as one that is kept somewhere, and that one process writes to."""
        return RunDir(self.path, self.storage)

    def where(self, file: Path) -> str:
        """Where a file of the sweep is to be found."""
        return f"{self.storage.uri}/{file.relative_to(self.path).as_posix()}" if self.storage else str(file)

    @property
    def file(self) -> Path:
        """The experiment file, as the sweep began."""
        return self.path / FILE

    @property
    def state(self) -> Path:
        """Ray Tune's folder; where that is behind a URI, what has been fetched of it, which is not copied back."""
        return (self.path.parent if self.storage else self.path) / "tune"

    @property
    def state_home(self) -> str:
        """Where Ray Tune writes."""
        return f"{self.storage.uri}/tune" if self.storage else str(self.state.resolve())

    @property
    def summary(self) -> Path:
        """What came out, for other programs."""
        return self.path / "sweep.json"

    @property
    def report(self) -> Path:
        """What came out, for people."""
        return self.path / "sweep.html"

    @property
    def best(self) -> RunDir:
        """The best trial as a run of its own."""
        return RunDir(self.path / "best")

    @property
    def best_config(self) -> Path:
        """The experiment file of the best trial."""
        return self.path / "best.yaml"

    def trial(self, name: str) -> RunDir:
        """The folder of a trial."""
        return RunDir(self.path / "trials" / name)

    def trials(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each trial that has begun, with what was last written of it."""
        for file in sorted(self.path.glob(f"trials/*/{TRIAL}")):
            yield file.parent.name, json.loads(file.read_text(encoding="utf-8"))

    def write_file(self, document: Document) -> None:
        """Writes the file that the sweep begins with, at once or not at all."""
        partial = self.file.with_suffix(".partial")
        partial.write_text(yaml.safe_dump(document.data, sort_keys=False), encoding="utf-8")
        partial.replace(self.file)


AT_WORK: ContextVar[SweepDir] = ContextVar("AT_WORK")
"""The sweep that Tune is running. Callbacks of one that goes on were pickled when it was perhaps in another folder."""


def keep_state(folder: SweepDir, state: Path) -> None:
    """Copies the newest state of Tune, if it is whole, every ``BACKUP_EVERY`` seconds.

    Tune overwrites its files; a process that is killed while it does leaves half of one.

    Args:
        folder: Of the sweep.
        state: Where Tune writes its state on this machine.
    """
    newest, backup = _newest(state), folder.path / BACKUP
    if not newest or time.time() - _written_at(backup) < BACKUP_EVERY:
        return
    contents = {file.name: file.read_bytes() for file in newest}
    if all(_is_whole(name, content) for name, content in contents.items()):
        write_whole(backup, lambda partial: _write(partial, pickle.dumps(contents)))


def has_state(folder: SweepDir) -> bool:
    """Whether there are trials to go on with; puts the last copy in the place of a state that was left half written."""
    newest, backup = _newest(folder.state), folder.path / BACKUP
    torn = [file for file in newest if not _is_whole(file.name, file.read_bytes())]
    if not torn:
        return any(folder.state.glob(TRIALS))
    for file in torn:
        file.unlink()
    if not backup.is_file():
        return has_state(folder)
    for name, content in pickle.loads(backup.read_bytes()).items():
        (folder.state / name).write_bytes(content)
    return True


def _newest(state: Path) -> list[Path]:
    """The last of each kind: Tune begins new ones whenever a sweep goes on."""
    found = (max(state.glob(kind), default=None) for kind in STATES)
    return [file for file in found if file is not None]


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def _written_at(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0.0


def _is_whole(name: str, content: bytes) -> bool:
    try:
        json.loads(content) if fnmatch(name, TRIALS) else pickle.loads(content)
    except (ValueError, EOFError, pickle.UnpicklingError):
        return False
    return True


def sweep_at(path: Path) -> SweepDir:
    """The folder of a sweep that was begun before.

    Raises:
        UserError: There is none.
    """
    folder = SweepDir(path)
    if not folder.file.is_file():
        raise UserError(f"{path}: {NO_SWEEP}")
    return folder


def reread(folder: SweepDir) -> Document:
    """The file that a sweep began with."""
    return read_document(str(folder.file))
