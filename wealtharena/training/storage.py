"""Where a run is kept when that is no folder of this machine: anything that pyarrow's filesystems reach by a URI.

The run writes to a folder of its own on this machine, which is copied: after each checkpoint and at the end. A file is
copied beside its place and moved into it, a checkpoint's ``mark.json`` after all of its other files: whoever reads
finds each of them complete or not at all. What was removed here is removed there.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType

from wealtharena.errors import UserError

MARK, LINKS, PARTIAL = "mark.json", ".links.json", ".partial"
_LOCAL = (".lock", LINKS)
"""Files that mean something on the machine alone on which they are."""
_CHUNK = 1 << 20


def is_uri(path: str) -> bool:
    """Whether ``path`` is a URI, and no folder of this machine."""
    return "://" in path


@dataclass
class Storage:
    """A folder behind a URI.

    Attributes:
        uri: As it was given.
        files: The filesystem.
        root: The folder's path in it.
    """

    uri: str
    files: FileSystem
    root: str
    _copied: dict[str, tuple[int, int]] = field(default_factory=dict)
    """File -> size and time of what was last copied of it."""
    _made: set[str] = field(default_factory=set)
    """Folders that are there."""

    @classmethod
    def at(cls, uri: str) -> Self:
        """The folder that a URI means.

        Raises:
            UserError: No filesystem takes it.
        """
        try:
            files, root = FileSystem.from_uri(uri.rstrip("/"))
        except (ArrowException, OSError) as error:
            raise UserError(
                f"{uri}: is no URI of a filesystem ({error}); give one such as s3://bucket/runs, gs://bucket/runs or "
                "file:///shared/runs, or a folder"
            ) from None
        return cls(uri.rstrip("/"), files, root)

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return PurePosixPath(self.root).name

    def require_writable(self) -> None:
        """Writes a small file and removes it.

        Raises:
            UserError: That fails.
        """
        probe = f"{self.root}/.probe-{uuid.uuid4().hex}"
        try:
            self.files.create_dir(self.root, recursive=True)
            with self.files.open_output_stream(probe) as stream:
                stream.write(b"probe")
            self.files.delete_file(probe)
        except (ArrowException, OSError) as error:
            raise UserError(f"{self.uri}: cannot be written to: {error}; give another storage or --out") from None

    def holds(self, name: str) -> bool:
        """Whether a file is there.

        Raises:
            UserError: The filesystem cannot be read.
        """
        try:
            found = self.files.get_file_info(f"{self.root}/{name}")
        except (ArrowException, OSError) as error:
            raise UserError(f"{self.uri}: cannot be read: {error}") from None
        return bool(found.type == FileType.File)

    def pull(self, folder: Path, *, choose: Callable[[list[str]], list[str]] = list) -> None:
        """Copies what is complete there into ``folder``.

        Args:
            folder: On this machine.
            choose: Of the names of all files that are complete, those that are wanted.

        Raises:
            UserError: It cannot be read.
        """
        try:
            for name in choose(_complete(self._listed())):
                self._download(name, folder / name)
        except (ArrowException, OSError) as error:
            raise UserError(f"{self.uri}: cannot be read: {error}") from None
        _restore_links(folder)

    def _listed(self) -> list[str]:
        found = self.files.get_file_info(FileSelector(self.root, recursive=True))
        return [info.path[len(self.root) :].lstrip("/") for info in found if info.type == FileType.File]

    def _download(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.files.open_input_stream(f"{self.root}/{name}") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK)
        self._copied[name] = _state(target)

    def push(self, folder: Path) -> None:
        """Copies what has changed in ``folder``.

        Raises:
            OSError: It cannot be written. What was complete there stays.
        """
        here = _files(folder)
        marks = [name for name in here if _is_mark(name)]
        vanished = {_checkpoint_of(name) for name in here if name not in marks and not self._upload(folder, name)}
        for name in marks:
            if _checkpoint_of(name) not in vanished:
                self._upload(folder, name)
        self._write(LINKS, io.BytesIO(json.dumps(_links(folder)).encode()))
        self._remove(self._copied.keys() - set(here))

    def _upload(self, folder: Path, name: str) -> bool:
        """Whether the file is there now; it may have been removed here meanwhile."""
        try:
            source, state = (folder / name).open("rb"), _state(folder / name)
        except FileNotFoundError:
            return False
        with source:
            if self._copied.get(name) != state:
                self._write(name, source)
                self._copied[name] = state
        return True

    def _write(self, name: str, source: BinaryIO) -> None:
        path = f"{self.root}/{name}"
        parent = str(PurePosixPath(path).parent)
        if parent not in self._made:
            self.files.create_dir(parent, recursive=True)
            self._made.add(parent)
        with self.files.open_output_stream(path + PARTIAL) as copy:
            shutil.copyfileobj(source, copy, _CHUNK)
        self.files.move(path + PARTIAL, path)

    def _remove(self, names: Iterable[str]) -> None:
        """Checkpoints lose their mark first: none of them is ever half there."""
        for name in sorted(names, key=lambda name: (not _is_mark(name), name)):
            self.files.delete_file(f"{self.root}/{name}")
            del self._copied[name]


def _is_mark(name: str) -> bool:
    return PurePosixPath(name).name == MARK


def _checkpoint_of(name: str) -> str | None:
    """The checkpoint that a file belongs to."""
    parts = PurePosixPath(name).parts
    for depth, part in enumerate(parts[:-1]):
        if part == "checkpoints" and depth + 1 < len(parts) - 1:
            return "/".join(parts[: depth + 2])
    return None


def _complete(names: Iterable[str]) -> list[str]:
    """Without what was being written when a process ended."""
    whole = {_checkpoint_of(name) for name in names if _is_mark(name)}
    return [name for name in names if not name.endswith(PARTIAL) and _checkpoint_of(name) in {None, *whole}]


def _files(folder: Path) -> list[str]:
    """The files of a run that are not just being written."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.endswith(PARTIAL)]
        here = [Path(parent, name) for name in names if not name.endswith(PARTIAL) and name not in _LOCAL]
        found += [path.relative_to(folder).as_posix() for path in here if not path.is_symlink()]
    return found


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _links(folder: Path) -> dict[str, str]:
    """Links of a run, of which filesystems behind a URI know nothing."""
    paths = (Path(parent, name) for parent, folders, names in os.walk(folder) for name in (*folders, *names))
    return {path.relative_to(folder).as_posix(): os.readlink(path) for path in paths if path.is_symlink()}


def _restore_links(folder: Path) -> None:
    listed = folder / LINKS
    if not listed.exists():
        return
    for name, target in json.loads(listed.read_text(encoding="utf-8")).items():
        link = folder / name
        if (link.parent / target).resolve().is_relative_to(folder.resolve()) and (link.parent / target).exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
