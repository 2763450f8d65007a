"""Everybody who watches a run from outside, none of whom can stop it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from wealtharena.training.progress import Progress

_logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Somebody to whom each iteration is shown."""

    def show(self, progress: Progress) -> None:
        """Takes an iteration."""

    def close(self) -> None:
        """The run has ended."""


class Watchers:
    """Shows each iteration to all of them. A context manager.

    What goes wrong with one of them is said once; it is left out then, and the run goes on.
    """

    def __init__(self, watchers: Iterable[Watcher]) -> None:
        """Takes those who watch."""
        self._watchers = list(watchers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._each(lambda watcher: watcher.close())

    def show(self, progress: Progress) -> None:
        """Shows an iteration."""
        self._each(lambda watcher: watcher.show(progress))

    def _each(self, do: Callable[[Watcher], None]) -> None:
        for watcher in tuple(self._watchers):
            try:
                do(watcher)
            except Exception:
                self._watchers.remove(watcher)
                name = type(watcher).__name__
                _logger.warning("%s failed and is not told of this run any more; the run goes on", name, exc_info=True)
