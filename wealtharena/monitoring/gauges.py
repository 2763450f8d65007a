"""Gauges of Ray: what a Prometheus beside the cluster scrapes, as ``ray_wealtharena_...``."""

from __future__ import annotations

import math

from ray.util.metrics import Gauge

from wealtharena.monitoring.readings import MEANING, PREFIX, TAGS, readings
from wealtharena.training.progress import Progress


class Gauges:
    """Shows the iterations of a run. Ray must be running, in this process."""

    def __init__(self, run: str) -> None:
        """Takes the label by which the run is told from others."""
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def show(self, progress: Progress) -> None:
        """Sets every gauge of which the iteration knows the value."""
        for reading in readings(progress):
            if math.isfinite(reading.value):
                first, *_ = TAGS[reading.gauge]
                own = {} if reading.label is None else {first: reading.label}
                self._gauge(reading.gauge).set(reading.value, tags={**own, "run": self._run})

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"{PREFIX}{name}", description=MEANING[name], tag_keys=TAGS[name])
        return self._gauges[name]

    def close(self) -> None:
        """They go with the process."""
