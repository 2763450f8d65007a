"""A sweep that is kept behind a URI: what the driver fetches, and when it copies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import ArrowException
from ray.tune import Callback

from wealtharena.errors import UserError
from wealtharena.training.mirror import kept, working_folder
from wealtharena.training.storage import Storage, is_uri
from wealtharena.tuning.folder import AT_WORK, FILE, NO_SWEEP, TRIAL, SweepDir, has_state, sweep_at

_LOG = logging.getLogger(__name__)


def fetched_sweep(uri: str) -> SweepDir:
    """A sweep that is kept behind a URI, in a working folder, without Tune's part.

    Raises:
        UserError: There is no sweep, or it cannot be read.
    """
    storage = Storage.at(uri)
    if not storage.holds(FILE):
        raise UserError(f"{uri}: {NO_SWEEP}")
    folder = SweepDir(working_folder(storage.name), storage)
    storage.pull(folder.path, choose=lambda names: [name for name in names if not name.startswith("tune/")])
    return folder


def holds_sweep(path: str) -> bool:
    """Whether there is a sweep in a folder, or behind a URI.

    Raises:
        UserError: The URI cannot be read.
    """
    return Storage.at(path).holds(FILE) if is_uri(path) else SweepDir(Path(path)).file.is_file()


@contextmanager
def sweep_here(path: str) -> Iterator[SweepDir]:
    """The sweep in a folder; behind a URI a copy of it with the newest checkpoints, which is copied back at the end."""
    if not is_uri(path):
        yield sweep_at(Path(path))
        return
    folder = fetched_sweep(path)
    fetch_checkpoints(folder)
    with kept(folder.run):
        yield folder


def sound_state(folder: SweepDir) -> bool:
    """Whether Tune has trials to go on with; what it left half written is replaced by its copy.

    Raises:
        UserError: Its state cannot be read.
    """
    if folder.storage is None:
        return has_state(folder)
    tune = Storage.at(folder.state_home)
    if not tune.holds("tuner.pkl"):
        return False
    folder.state.mkdir(exist_ok=True)
    tune.pull(folder.state, choose=lambda names: [name for name in names if "/" not in name])
    found = has_state(folder)
    tune.push(folder.state)
    return found


def fetch_checkpoints(folder: SweepDir) -> None:
    """Fetches the newest complete checkpoint of each trial.

    Raises:
        UserError: They cannot be read.
    """
    if folder.storage is not None:
        folder.state.mkdir(exist_ok=True)
        Storage.at(folder.state_home).pull(folder.state, choose=_newest_checkpoints)


def _newest_checkpoints(names: list[str]) -> list[str]:
    newest: dict[str, str] = {}
    for parts in (Path(name).parts for name in names):
        if len(parts) == 3 and parts[1].startswith("checkpoint_") and parts[2] == TRIAL:
            newest[parts[0]] = max(parts[1], newest.get(parts[0], ""))
    kept = tuple(f"{trial}/{checkpoint}/" for trial, checkpoint in newest.items())
    return [name for name in names if name.startswith(kept)]


class CopyFirst(Callback):
    """Copies the driver's part of a sweep before Tune saves its own state, which is then never ahead of the metrics."""

    def get_state(self) -> None:
        """Asked for whenever Tune saves its state; there is none of its own."""
        folder = AT_WORK.get()
        if folder.storage is None:
            return
        try:
            folder.storage.push(folder.path)
        except (ArrowException, OSError) as error:
            _LOG.warning("%s: the sweep could not be copied: %s; trying again", folder.storage.uri, error)
