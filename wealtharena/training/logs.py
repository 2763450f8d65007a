"""What happens in a run, for programs: ``logs/run.jsonl``, one JSON object a line, added to and never rewritten.

Any module tells through ``logging.getLogger(__name__)``: what it says lands there, warnings on the terminal too.
``event`` is for what has a name and fields.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environments
import policies
import wealtharena

PACKAGE = logging.getLogger("wealtharena")
_EVENT, _FIELDS = "event", "fields"


def event(name: str, **fields: Any) -> None:
    """Tells that something has happened.

    Args:
        name: started, resumed, iteration, checkpoint, interrupted, ended, or what else there may be.
        fields: What there is to know; ``run`` and ``iteration`` hold for all that is told after it too.
    """
    PACKAGE.info("%s", name, extra={_EVENT: name, _FIELDS: fields})


def setting() -> dict[str, Any]:
    """Where code runs: versions, files, machine, process."""
    return {
        "versions": versions(),
        "code": code_paths(),
        "host": platform.node(),
        "pid": os.getpid(),
        "command": sys.argv,
    }


def versions() -> dict[str, str]:
    """Which must be the same on every node."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("ray", "torch")}}


def versions_text() -> str:
    """The versions in words."""
    return ", ".join(f"{name} {number}" for name, number in versions().items())


def code_paths() -> dict[str, str]:
    """Which files run: those of this project, or of a namesake that was found before them."""
    return {package.__name__: str(Path(package.__path__[0])) for package in (environments, policies, wealtharena)}


class _Line(logging.Formatter):
    """A record as a JSON object: time (UTC), level, event, run, iteration, and its own fields."""

    def __init__(self) -> None:
        super().__init__()
        self._now: dict[str, Any] = {}

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, Any] = getattr(record, _FIELDS, {})
        self._now |= {name: fields[name] for name in ("run", "iteration") if name in fields}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, _EVENT, record.levelname.lower()),
            **self._now,
            **({} if hasattr(record, _EVENT) else {"message": record.getMessage(), "logger": record.name}),
            **fields,
        }
        if record.exc_info:
            line |= {"error": repr(record.exc_info[1]), "traceback": self.formatException(record.exc_info)}
        return json.dumps(line, default=str)


class _Told(logging.Handler):
    """Gives warnings, and what is worse, to ``tell``; events that are errors are told elsewhere."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, _EVENT):
            self._tell(f"{record.levelname.lower()}: {record.getMessage()}")


@contextmanager
def run_log(folder: Path, tell: Callable[[str], object] = lambda line: None) -> Iterator[None]:
    """Writes what is told into the log of the run in ``folder``, an error that ends it included.

    Args:
        folder: Of the run.
        tell: Shows a line to whoever watches.
    """
    file = folder / "logs" / "run.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    _end_cut_line(file)
    written = logging.FileHandler(file, encoding="utf-8")
    written.setFormatter(_Line())
    handlers = (written, _Told(tell))
    level = PACKAGE.level
    PACKAGE.setLevel(logging.INFO)
    for handler in handlers:
        PACKAGE.addHandler(handler)
    try:
        yield
    except BaseException as error:
        PACKAGE.error("%r", error, exc_info=error, extra={_EVENT: "error"})
        raise
    finally:
        PACKAGE.setLevel(level)
        for handler in handlers:
            PACKAGE.removeHandler(handler)
            handler.close()


def _end_cut_line(file: Path) -> None:
    """A process that was killed may have left half a line; what follows gets lines of its own."""
    with file.open("ab+") as log:
        end = log.seek(0, os.SEEK_END)
        log.seek(max(0, end - 1))
        if log.read(1) not in {b"", b"\n"}:
            log.write(b"\n")
