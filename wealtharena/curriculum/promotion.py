"""Promotion by what is shown: on to the next stage when the team is surely good at this one, back when surely not."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from wealtharena.curriculum.bounds import Bounds, bounds
from wealtharena.curriculum.shares import at_frontier
from wealtharena.evidence.convergence import trend
from wealtharena.spec_curriculum import CurriculumSpec, PromotionSpec


class Promotion:
    """Holds the stage of the moment and the evidence about it (see ``PromotionSpec``).

    A check looks at N episodes: ``rule.episodes``, or as many as all runners have copies where these are more, since
    the first episodes to end are the short ones, which need not be like the others.
    """

    def __init__(self, spec: CurriculumSpec, *, copies: int, runners: int) -> None:
        assert isinstance(spec.rule, PromotionSpec)
        self._rule, self._copies, self._replay = spec.rule, copies, spec.replay
        self._stages, self._successes = len(spec.stages), spec.success.at_least is not None
        self._least = max(spec.rule.episodes, copies * runners)
        self._promotions = self._regressions = 0
        self._enter(0)

    def _enter(self, stage: int) -> None:
        """Nothing is known of a stage that begins, whatever was known of an earlier stay in it."""
        self._stage, self._episodes, self._passed, self._failed = stage, 0, 0, 0
        plateau = self._rule.plateau
        self._recent = deque[float](maxlen=self._least)
        self._curve = deque[float](maxlen=None if plateau is None else plateau.episodes)

    def copies(self) -> tuple[int, ...]:
        """See ``StageRule``."""
        return at_frontier(self._stage, self._stages, self._copies, self._replay)

    def reached(self, env_steps: int) -> None:
        """Changes nothing."""

    def ended(self, stage: int, success: float) -> None:
        """Counts the episodes of the stage of the moment, and checks after each N of them."""
        if stage != self._stage:
            return
        self._episodes += 1
        self._recent.append(success)
        if self._rule.plateau is not None:
            self._curve.append(success)
        if self._episodes % self._least == 0:
            self._check(self._bounds())

    def _bounds(self) -> Bounds:
        return bounds(list(self._recent), self._rule.confidence, successes=self._successes)

    def _check(self, found: Bounds) -> None:
        rule = self._rule
        passes = found.low > rule.promote_above or self._flat(found)
        may_fail = rule.regress_below is not None and self._episodes > rule.grace
        fails = may_fail and found.high < (rule.regress_below or 0.0)
        self._passed = self._passed + 1 if passes else 0
        self._failed = self._failed + 1 if fails else 0
        if self._passed >= rule.patience and self._stage < self._stages - 1:
            self._promotions += 1
            self._enter(self._stage + 1)
        elif self._failed >= rule.patience and self._stage > 0:
            self._regressions += 1
            self._enter(self._stage - 1)

    def _flat(self, found: Bounds) -> bool:
        """Whether the learning curve of the stage has flattened, at a level that is good enough."""
        plateau = self._rule.plateau
        if plateau is None or len(self._curve) < plateau.episodes or found.low <= plateau.above:
            return False
        fitted = trend(np.arange(len(self._curve), dtype=np.float64), np.array(self._curve))
        return fitted is not None and fitted.low <= 0 <= fitted.high

    def figures(self) -> dict[str, float]:
        """The stage, counted from 1, the evidence about it, and how often it has changed."""
        figures = {
            "stage": float(self._stage + 1),
            "episodes": float(self._episodes),
            "checks_passed": float(self._passed),
            "checks_failed": float(self._failed),
            "promotions": float(self._promotions),
            "regressions": float(self._regressions),
        }
        if len(self._recent) < 2:
            return figures
        found = self._bounds()
        return figures | {"success": found.mean, "lower_bound": found.low, "upper_bound": found.high}

    def get_state(self) -> dict[str, Any]:
        """The stage and the evidence about it."""
        return {
            "stage": self._stage,
            "episodes": self._episodes,
            "passed": self._passed,
            "failed": self._failed,
            "promotions": self._promotions,
            "regressions": self._regressions,
            "recent": list(self._recent),
            "curve": list(self._curve),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._enter(state["stage"])
        self._episodes, self._passed, self._failed = state["episodes"], state["passed"], state["failed"]
        self._promotions, self._regressions = state["promotions"], state["regressions"]
        self._recent.extend(state["recent"])
        self._curve.extend(state["curve"])
