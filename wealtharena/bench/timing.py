"""How speed is measured: subjects in turn, so that what the machine does meanwhile falls on all of them; medians."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from wealtharena.evidence.evaluation import versions

Measure = Callable[[], float]


@dataclass(frozen=True)
class Samples:
    """One subject's figures, in the order of the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"median": self.median, "samples": list(self.values)}


def in_turn(subjects: Mapping[str, Measure], rounds: int) -> dict[str, Samples]:
    """Measures A B A B ...: every subject once in each round, always in the same order."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            found[name].append(measure())
    return {name: Samples(tuple(values)) for name, values in found.items()}


def rate(work: Callable[[], int], seconds: float) -> float:
    """How much ``work`` gets done per second: called again and again for about ``seconds``, at least once.

    Args:
        work: Does some, and says how much.
        seconds: How long.
    """
    done, begun = 0, time.perf_counter()
    while True:
        done += work()
        passed = time.perf_counter() - begun
        if passed >= seconds:
            return done / passed


@dataclass
class Stopwatch:
    """Adds up the time that is spent in methods, and counts their calls.

    Attributes:
        seconds: Name -> time.
        calls: Name -> count.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def watch(self, name: str, owner: Any, method: str) -> None:
        """Puts itself around one object's method, from now on; its class and other objects are left as they are."""
        inner = getattr(owner, method)
        self.seconds.setdefault(name, 0.0)
        self.calls.setdefault(name, 0)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - begun
                self.calls[name] += 1

        setattr(owner, method, timed)

    def clear(self) -> None:
        """Back to zero."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        self.calls = dict.fromkeys(self.calls, 0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute on one thread, as training does: small networks lose more by sharing work than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def machine(device: str = "cpu") -> dict[str, Any]:
    """What it was measured on, how many processes were busy there before, and with which versions."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "versions": versions(),
    }


def _processor() -> str:
    """The name on the box where Linux tells it, else the architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
