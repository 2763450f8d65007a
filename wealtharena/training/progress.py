"""Where a run stands after an iteration: one row of its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean


@dataclass(frozen=True)
class Progress:
    """One iteration, as it is logged and shown.

    Attributes:
        iteration: Counted from 1.
        env_steps: Steps of the environment so far, over all copies.
        seconds: Time spent training so far.
        steps_per_s: Steps of the environment per second, in this iteration.
        groups: group -> metric -> value; a metric that is not known yet is absent.
        episode_length: Mean steps of the episodes that ended last; NaN before the first one ends.
        curriculum: Its figures; none without one.
        runners: ``healthy_runners`` and ``restarts``; nothing without remote ones.
        environment: What the environment shows of itself, the mean over all copies; nothing where it shows nothing.
        time_shares: Part of an iteration -> its share of the time.
        recoveries: How often the team was built again from its last checkpoint, for its Learners were lost; None where
            they are in this process.
    """

    iteration: int
    env_steps: int
    seconds: float
    steps_per_s: float
    groups: Mapping[str, Mapping[str, float]]
    episode_length: float = math.nan
    curriculum: Mapping[str, float] = field(default_factory=dict)
    runners: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, float] = field(default_factory=dict)
    time_shares: Mapping[str, float] = field(default_factory=dict)
    recoveries: int | None = None

    def row(self) -> dict[str, float]:
        """By column name: of a group ``<group>/<metric>``, else ``curriculum/<figure>``, ``environment/<figure>``."""
        metrics = {f"{group}/{name}": value for group, known in self.groups.items() for name, value in known.items()}
        row = {
            "iteration": self.iteration,
            "env_steps": self.env_steps,
            "seconds": self.seconds,
            "steps_per_s": self.steps_per_s,
            "team_return": self.team_return(),
            "episode_length": self.episode_length,
            **self.runners,
            **({} if self.recoveries is None else {"recoveries": self.recoveries}),
            **metrics,
            **{f"environment/{name}": value for name, value in self.environment.items()},
            **{f"curriculum/{name}": value for name, value in self.curriculum.items()},
        }
        return {name: value for name, value in row.items() if not math.isnan(value)}

    def headline(self) -> dict[str, float]:
        """Of the row what says in a few numbers how it goes: counters, speed, returns, the curriculum."""
        names = ("iteration", "env_steps", "seconds", "steps_per_s", "team_return", "/episode_return", "curriculum/")
        return {name: value for name, value in self.row().items() if name.startswith(names) or name.endswith(names)}

    def team_return(self) -> float:
        """The mean of the groups' episode returns; NaN before the first episode ends."""
        returns = [known["episode_return"] for known in self.groups.values() if "episode_return" in known]
        return fmean(returns) if returns else math.nan
