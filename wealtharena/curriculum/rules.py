"""The rules by which a team goes through the stages.

K stages, E copies; stages are counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from wealtharena.curriculum.promotion import Promotion
from wealtharena.curriculum.shares import at_frontier, in_proportion
from wealtharena.spec_curriculum import CurriculumSpec, MixtureSpec, ProgressSpec, PromotionSpec, ScheduleSpec


class StageRule(Protocol):
    """When which stages are played."""

    def copies(self) -> tuple[int, ...]:
        """Copies of each runner that play each stage, (K,)."""

    def ended(self, stage: int, success: float) -> None:
        """An episode of a stage has ended."""

    def reached(self, env_steps: int) -> None:
        """The team has sampled so many steps."""

    def figures(self) -> dict[str, float]:
        """How it stands, for the metrics."""

    def get_state(self) -> dict[str, Any]:
        """All that it goes on from."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""


def rule_of(spec: CurriculumSpec, *, copies: int, runners: int) -> StageRule:
    """The rule that a file asks for.

    Args:
        spec: The section of the file.
        copies: E of each runner.
        runners: How many there are.
    """
    stages = len(spec.stages)
    match spec.rule:
        case PromotionSpec():
            return Promotion(spec, copies=copies, runners=runners)
        case ScheduleSpec(env_steps=env_steps):
            return _Schedule(env_steps, copies, spec.replay)
        case ProgressSpec() as rule:
            return _Progress(rule, stages, copies)
        case MixtureSpec():
            return _Mixture(stages, copies)


class _Mixture:
    """All stages alike."""

    def __init__(self, stages: int, copies: int) -> None:
        self._copies = in_proportion([1.0] * stages, copies)

    def copies(self) -> tuple[int, ...]:
        """See ``StageRule``."""
        return self._copies

    def ended(self, stage: int, success: float) -> None:
        """Changes nothing."""

    def reached(self, env_steps: int) -> None:
        """Changes nothing."""

    def figures(self) -> dict[str, float]:
        """There is no stage of the moment."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""


class _Schedule:
    """The next stage at given times."""

    def __init__(self, env_steps: tuple[int, ...], copies: int, replay: float) -> None:
        self._begins, self._copies, self._replay = env_steps, copies, replay
        self._stage = 0

    def copies(self) -> tuple[int, ...]:
        """See ``StageRule``."""
        return at_frontier(self._stage, len(self._begins) + 1, self._copies, self._replay)

    def ended(self, stage: int, success: float) -> None:
        """Changes nothing."""

    def reached(self, env_steps: int) -> None:
        """See ``StageRule``."""
        self._stage = sum(env_steps >= begin for begin in self._begins)

    def figures(self) -> dict[str, float]:
        """The stage, counted from 1."""
        return {"stage": float(self._stage + 1)}

    def get_state(self) -> dict[str, Any]:
        """The stage."""
        return {"stage": self._stage}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._stage = state["stage"]


class _Progress:
    """A bandit over stages, paid by how much the score of a stage changes, whether up or down.

    The score x of a stage is the mean success of N of its episodes in a row; of its absolute changes an exponential
    mean is kept, ``q <- q + rate (|x - x'| - q)`` (Matiisen et al. 2019, the online algorithm). Of the copies a share
    ``explore`` goes to all stages alike and the rest in proportion to q (Portelas et al. 2019); to all alike before any
    score has changed.
    """

    def __init__(self, rule: ProgressSpec, stages: int, copies: int) -> None:
        self._rule, self._copies = rule, copies
        self._change = [0.0] * stages
        self._score: list[float | None] = [None] * stages
        self._recent: list[list[float]] = [[] for _ in range(stages)]

    def copies(self) -> tuple[int, ...]:
        """See ``StageRule``."""
        total, stages, explore = sum(self._change), len(self._change), self._rule.explore
        if not total:
            return in_proportion([1.0] * stages, self._copies)
        weights = [explore / stages + (1 - explore) * change / total for change in self._change]
        return in_proportion(weights, self._copies)

    def ended(self, stage: int, success: float) -> None:
        """See ``StageRule``."""
        recent = self._recent[stage]
        recent.append(success)
        if len(recent) < self._rule.episodes:
            return
        score, before = sum(recent) / len(recent), self._score[stage]
        self._score[stage], self._recent[stage] = score, []
        if before is not None:
            self._change[stage] += self._rule.rate * (abs(score - before) - self._change[stage])

    def reached(self, env_steps: int) -> None:
        """Changes nothing."""

    def figures(self) -> dict[str, float]:
        """The stage that most copies play, counted from 1."""
        copies = self.copies()
        return {"stage": float(1 + copies.index(max(copies)))}

    def get_state(self) -> dict[str, Any]:
        """Scores, their changes, and the episodes of scores to come."""
        recent = [list(own) for own in self._recent]
        return {"change": list(self._change), "score": list(self._score), "recent": recent}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._change, self._score = list(state["change"]), list(state["score"])
        self._recent = [list(own) for own in state["recent"]]
