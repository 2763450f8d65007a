"""A run whose folder is kept elsewhere: fetched, copied after each checkpoint, and copied whole at the end."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import ArrowException

from wealtharena.errors import UserError
from wealtharena.training.run_dir import RunDir
from wealtharena.training.storage import MARK, Storage, is_uri

POLL, RETRY = 1.0, 15.0
"""Seconds between two looks for a new checkpoint, and until a copy that failed is tried again."""
_LOG = logging.getLogger(__name__)


def working_folder(name: str) -> Path:
    """A new, empty folder on this machine, of that name."""
    folder = Path(tempfile.mkdtemp(prefix="wealtharena-")).resolve() / name
    folder.mkdir()
    return folder


def fetched(uri: str) -> RunDir:
    """A run that is kept behind a URI, in a working folder.

    Raises:
        UserError: There is no run, or it cannot be read.
    """
    storage = Storage.at(uri)
    if not storage.holds("config.yaml"):
        raise UserError(f"{uri}: holds no run (no config.yaml in it)")
    folder = working_folder(storage.name)
    storage.pull(folder)
    return RunDir(folder, storage)


@contextmanager
def here(path: str) -> Iterator[RunDir]:
    """The folder at a path; behind a URI a copy of it, which is copied back at the end."""
    if not is_uri(path):
        yield RunDir(Path(path))
        return
    run = fetched(path)
    with kept(run):
        yield run


@contextmanager
def kept(run: RunDir) -> Iterator[None]:
    """Copies a run to where it is kept: whenever it has another checkpoint, and at the end.

    A copy that fails is told, and tried again. The working folder goes when all of it has been copied.

    Raises:
        UserError: The last copy failed; the message says where the run lies.
    """
    storage = run.storage
    if storage is None:
        yield
        return
    ended = threading.Event()
    found = _marks(run.path)  # before the thread runs: the run may be quicker than it
    copying = threading.Thread(target=_copy_checkpoints, args=(run.path, storage, ended, found), daemon=True)
    copying.start()
    try:
        yield
    finally:
        ended.set()
        copying.join()
        _copy_all(run.path, storage)


def _copy_checkpoints(folder: Path, storage: Storage, ended: threading.Event, known: set[Path]) -> None:
    pause = POLL
    while not ended.wait(pause):
        pause, now = POLL, _marks(folder)
        if now == known:
            continue
        try:
            storage.push(folder)
        except (ArrowException, OSError) as error:
            _LOG.warning("%s: the run could not be copied: %s; trying again", storage.uri, error)
            pause = RETRY
        else:
            known = now


def _marks(folder: Path) -> set[Path]:
    return set(folder.rglob(f"checkpoints/iter_*/{MARK}"))


def _copy_all(folder: Path, storage: Storage) -> None:
    try:
        storage.push(folder)
    except (ArrowException, OSError) as error:
        raise UserError(
            f"{storage.uri}: the run could not be copied: {error}; it lies in {folder}, to go on with or to copy"
        ) from None
    shutil.rmtree(folder.parent)
