"""Gauges of Ray: what a Prometheus beside the cluster scrapes, as ``ray_wealtharena_...``."""

from __future__ import annotations

import logging
import math

from ray.util.metrics import Gauge

from wealtharena.monitoring.readings import MEANING, PREFIX, TAGS, readings
from wealtharena.training.progress import Progress

_logger = logging.getLogger(__name__)


class Gauges:
    """Shows the iterations of a run. Ray must be running, in this process.

    Whatever goes wrong here is said once, and never stops a run.
    """

    def __init__(self, run: str) -> None:
        """Takes the label by which the run is told from others."""
        self._run = run
        self._gauges: dict[str, Gauge] = {}
        self._broken = False

    def show(self, progress: Progress) -> None:
        """Sets every gauge of which the iteration knows the value."""
        if self._broken:
            return
        try:
            self._set(progress)
        except Exception:
            self._broken = True
            _logger.warning("the gauges of %s are not shown any more; the run goes on", self._run, exc_info=True)

    def _set(self, progress: Progress) -> None:
        for reading in readings(progress):
            if not math.isfinite(reading.value):
                continue
            first, *_ = labels = TAGS[reading.gauge]
            own = {} if reading.label is None else {first: reading.label}
            gauge = self._gauges.get(reading.gauge)
            if gauge is None:
                name, meaning = f"{PREFIX}{reading.gauge}", MEANING[reading.gauge]
                gauge = self._gauges[reading.gauge] = Gauge(name, description=meaning, tag_keys=labels)
            gauge.set(reading.value, tags={**own, "run": self._run})
