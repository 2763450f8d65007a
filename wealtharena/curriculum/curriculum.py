"""What a team knows of its curriculum: the rule, and the latest episodes of every stage."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from wealtharena.curriculum.episodes import Ended
from wealtharena.curriculum.rules import rule_of
from wealtharena.spec_curriculum import CurriculumSpec

RECENT = 100
"""Episodes of a stage that its figures are the means of."""


class _Record:
    """The latest episodes of a stage."""

    def __init__(self) -> None:
        self.episodes = 0
        self.returns, self.successes = deque[float](maxlen=RECENT), deque[float](maxlen=RECENT)

    def add(self, team_return: float, success: float) -> None:
        """Notes one more."""
        self.episodes += 1
        self.returns.append(team_return)
        self.successes.append(success)

    def get_state(self) -> dict[str, Any]:
        """What it holds."""
        return {"episodes": self.episodes, "returns": list(self.returns), "successes": list(self.successes)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self.episodes = state["episodes"]
        self.returns, self.successes = (deque(state[name], maxlen=RECENT) for name in ("returns", "successes"))


class Curriculum:
    """Says how many copies of every runner play each stage, and learns from the episodes that end."""

    def __init__(self, spec: CurriculumSpec, *, copies: int, runners: int) -> None:
        """For so many runners with so many copies each."""
        self._success = spec.success
        self._rule = rule_of(spec, copies=copies, runners=runners)
        self._records = {name: _Record() for name in spec.stages}

    def copies(self) -> tuple[int, ...]:
        """Copies of each runner that play each stage from their next episodes on, (K,)."""
        return self._rule.copies()

    def observe(self, ended: Sequence[Ended], env_steps: int) -> None:
        """Takes the episodes that have ended, in the order given.

        Args:
            ended: Of each fragment.
            env_steps: Environment steps of the team so far.
        """
        records = list(self._records.values())
        for episodes in ended:
            told_M = episodes.metric(self._success.metric).tolist()
            returns_M = episodes.metric("team_return").tolist()
            for stage, told, team_return in zip(episodes.stage.tolist(), told_M, returns_M, strict=True):
                success = self._worth(told)
                records[stage].add(team_return, success)
                self._rule.ended(stage, success)
        self._rule.reached(env_steps)

    def _worth(self, told: float) -> float:
        bar = self._success.at_least
        return told if bar is None else float(told >= bar)

    def figures(self) -> dict[str, float]:
        """The rule's figures, and of each stage ``<figure>/<stage>``: share of copies, episodes, success, return."""
        copies = self.copies()
        figures = self._rule.figures()
        for (name, record), own in zip(self._records.items(), copies, strict=True):
            figures[f"share/{name}"] = own / sum(copies)
            figures[f"episodes/{name}"] = float(record.episodes)
            if record.episodes:
                figures[f"success/{name}"] = fmean(record.successes)
                figures[f"return/{name}"] = fmean(record.returns)
        return figures

    def get_state(self) -> dict[str, Any]:
        """All that it goes on from."""
        records = {name: record.get_state() for name, record in self._records.items()}
        return {"rule": self._rule.get_state(), "records": records}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._rule.set_state(state["rule"])
        for name, record in self._records.items():
            record.set_state(state["records"][name])
