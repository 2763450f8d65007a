"""When a run ends: its limits are reached, it no longer improves, or somebody asks it to."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict

from wealtharena.spec import EarlyStoppingSpec, StopSpec


def fraction_done(stop: StopSpec, *, env_steps: int, iteration: int, seconds: float) -> float:
    """How much of a run is done, 0 to 1, by the limit that is nearest."""
    shares = [
        reached / limit
        for reached, limit in ((env_steps, stop.env_steps), (iteration, stop.iterations), (seconds, stop.seconds))
        if limit is not None
    ]
    return min(1.0, max(shares))


class Patience(BaseModel):
    """Early stopping as a value: the best score so far, and the iterations since."""

    model_config = ConfigDict(frozen=True)

    best: float | None = None
    waited: int = 0

    def after(self, score: float | None, min_delta: float) -> Patience:
        """The state after one more iteration. One whose score is not known is not counted."""
        if score is None or math.isnan(score):
            return self
        if self.best is None or score > self.best + min_delta:
            return Patience(best=score)
        return Patience(best=self.best, waited=self.waited + 1)

    def exhausted(self, rule: EarlyStoppingSpec | None) -> bool:
        """Whether ``rule`` ends the run."""
        return rule is not None and self.waited >= rule.patience


class Stop(Protocol):
    """Says whether training is asked to end after the iteration."""

    @property
    def requested(self) -> bool:
        """Whether it is."""


class StopSignal:
    """Turns the first Ctrl-C or SIGTERM into a request to finish; the second one interrupts at once.

    Used as a context manager, in the main thread.
    """

    def __init__(self, announce: Callable[[], object]) -> None:
        """``announce`` is called by the first signal, from its handler."""
        self.requested = False
        self._announce = announce
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._announce()
