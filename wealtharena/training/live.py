"""What a person sees while a team trains: a table that is redrawn, or, without a terminal, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wealtharena.training.progress import Progress

RETURN = "episode_return"
EXPLORATION = ("entropy", "epsilon", "temperature")
LOSSES = ("policy_loss", "q_loss", "value_loss", "loss")
PAUSE = 5.0
"""The least number of seconds between two lines in a log: quick iterations do not fill it."""


class LiveView:
    """Renders the progress of a run on a console. A context manager."""

    def __init__(self, console: Console, algorithms: Mapping[str, str]) -> None:
        """Watches a team: ``algorithms`` has the name of each group's algorithm."""
        self._console = console
        self._algorithms = algorithms
        self._returns: dict[str, float] = {}
        self._title = ""
        self._told_at, self._untold = -PAUSE, ""
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        self._tell_last()

    def begin(self, title: str) -> None:
        """Another training begins, of another team."""
        self._tell_last()
        self._returns, self._title = {}, f"{title}\n"
        if self._live is None:
            self._console.print(title, soft_wrap=True, highlight=False)
            self._told_at = -PAUSE

    def update(self, progress: Progress, done: float) -> None:
        """Shows an iteration; ``done`` is the fraction of the run behind it."""
        for group, metrics in progress.groups.items():
            if RETURN in metrics:
                self._returns[group] = metrics[RETURN]
        if self._live is None:
            returns = "  ".join(f"{group} {_number(value)}" for group, value in self._returns.items())
            self._untold = f"{_status(progress, done)}  return: {returns or _no_return(progress)}"
            if time.monotonic() - self._told_at >= PAUSE:
                self._tell_last()
        else:
            self._live.update(Group(Text(self._title + _status(progress, done)), self._table(progress)), refresh=True)

    def _tell_last(self) -> None:
        """Prints the newest line, if that is not yet to be seen."""
        if self._untold:
            self._console.print(self._untold, soft_wrap=True, highlight=False)
            self._told_at, self._untold = time.monotonic(), ""

    def _table(self, progress: Progress) -> Table:
        table = Table("group", "algorithm")
        for heading in ("return", "exploration", "loss"):
            table.add_column(heading, justify="right")
        for group, algorithm in self._algorithms.items():
            metrics = progress.groups.get(group, {})
            table.add_row(
                group,
                algorithm,
                _number(self._returns.get(group)),
                _first_known(metrics, EXPLORATION, named=True),
                _first_known(metrics, LOSSES),
            )
        return table


def _status(progress: Progress, done: float) -> str:
    left = progress.seconds * (1 - done) / done if done else 0.0
    return (
        f"iteration {progress.iteration}  {progress.env_steps:,} steps  {progress.steps_per_s:,.0f} steps/s  "
        f"{done:.0%} done, {_duration(left)} left{_stage(progress.curriculum)}"
    )


def _stage(curriculum: Mapping[str, float]) -> str:
    if "stage" not in curriculum:
        return ""
    success = f", success {_number(curriculum['success'])}" if "success" in curriculum else ""
    return f"  stage {curriculum['stage']:.0f}{success}"


def _no_return(progress: Progress) -> str:
    return f"no episode {'of the last stage ' if progress.curriculum else ''}has ended yet"


def _first_known(metrics: Mapping[str, float], names: tuple[str, ...], *, named: bool = False) -> str:
    name = next((name for name in names if name in metrics), None)
    if name is None:
        return "-"
    return f"{name} {_number(metrics[name])}" if named else _number(metrics[name])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
