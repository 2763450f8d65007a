"""A sweep whose trials all wait for room says so: Tune would wait in silence."""

from __future__ import annotations

import logging
import time
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from wealtharena.training.room import PATIENCE, shortage

_LOG = logging.getLogger(__name__)


class WaitingAloud(Callback):
    """Warns each minute in which no trial has found room, though there was some when the sweep began."""

    _since: float | None = None

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune looks for trials that may start, many times a second."""
        waiting = [trial for trial in trials if trial.status in (Trial.PENDING, Trial.PAUSED)]
        if not waiting or any(trial.status == Trial.RUNNING for trial in trials):
            self._since = None
            return
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since >= PATIENCE:
            self._since = now
            _LOG.warning(
                "no trial has found room for %g s: %s", PATIENCE, shortage(waiting[0].placement_group_factory.bundles)
            )
