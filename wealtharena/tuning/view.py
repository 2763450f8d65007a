"""What a person sees while a sweep runs: a table that is redrawn, or one line per iteration without a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.table import Table

from wealtharena.tuning.trial import POINT, SCORE, VALUES

SHOWN = 30
"""Trials in the table: those that are on, then the best of the others."""


class SweepView(Callback):
    """Shows the trials of a sweep. Tune keeps it with the sweep: it opens the terminal when it is first needed."""

    def __init__(self, metric: str, *, sign: int, trials: int) -> None:
        """Watches a sweep of so many trials; more of ``sign`` times the metric is better."""
        self._metric, self._sign, self._trials = metric, sign, trials
        self._console: Console | None = None
        self._live: Live | None = None

    def setup(self, *args: Any, **info: Any) -> None:
        """Opens the terminal."""
        self._console = Console()
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Shows a row."""
        self._say(
            trials,
            f"{trial}  iteration {result['iteration']}  {result['env_steps']:,} steps  "
            f"{self._metric} {score_text(result)}",
        )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Says that a trial is over."""
        last = trial.last_result or {}
        self._say(trials, f"{trial}  ended: {last.get('reason') or 'stopped by the scheduler'}")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Says that a trial has failed."""
        self._say(trials, f"{trial}  failed: see {trial.error_file}")

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Leaves the table as it is."""
        if self._live is not None:
            self._live.stop()

    def _say(self, trials: list[Trial], line: str) -> None:
        if self._live is not None:
            self._live.update(self.table(trials), refresh=True)
        elif self._console is not None:
            over = sum(trial.is_finished() for trial in trials)
            self._console.print(f"[{over}/{self._trials}] {line}", markup=False, soft_wrap=True, highlight=False)

    def table(self, trials: list[Trial]) -> Table:
        """The trials that are on, then the others, the best first."""
        over = sum(trial.is_finished() for trial in trials)
        table = Table("trial", "state", title=f"{over} of {self._trials} trials are over", title_justify="left")
        for heading in ("iteration", "steps", self._metric):
            table.add_column(heading, justify="right")
        table.add_column("values", overflow="fold")
        for trial in sorted(trials, key=self._rank)[:SHOWN]:
            last = trial.last_result or {}
            steps = f"{last.get('env_steps', 0):,}"
            values = values_text(trial.config[POINT][VALUES])
            table.add_row(
                str(trial), trial.status.lower(), str(last.get("iteration", "-")), steps, score_text(last), values
            )
        return table

    def _rank(self, trial: Trial) -> tuple[bool, float]:
        score = (trial.last_result or {}).get(SCORE)
        return trial.is_finished(), -self._sign * score if score is not None else float("inf")


def score_text(result: Mapping[str, Any]) -> str:
    """The last known score."""
    return f"{result[SCORE]:.4g}" if result.get(SCORE) is not None else "-"


def values_text(values: Mapping[str, Any]) -> str:
    """The values of a trial, in one line: paths by their last words."""
    return "  ".join(f"{short(key)}={value_text(value)}" for key, value in values.items())


def short(key: str) -> str:
    """A path without what all paths have: ``members.stocks.params.lr`` is ``stocks.lr``."""
    parts = [part for part in key.split(".") if part not in ("members", "environment", "params")]
    return ".".join(parts)


def value_text(value: Any) -> str:
    """A value as a table has it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text.rpartition(":")[2] if text.count(":") == 1 and "{" not in text else text
