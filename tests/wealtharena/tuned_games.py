"""Games for sweeps."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from environments.base import Transition
from tests.games import TargetGame, TargetParams


class FailingParams(TargetParams):
    fails: bool = False


class FailingGame(TargetGame):
    """Raises in its third step, if it is asked to."""

    Params = FailingParams

    params: FailingParams

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        self._stepped = getattr(self, "_stepped", 0) + 1
        if self.params.fails and self._stepped > 2:
            raise RuntimeError("the game is broken")
        return super().step(actions)


class PaidParams(TargetParams):
    worth: float = 1.0


class PaidGame(TargetGame):
    """Every step earns what the file says, whatever anybody does: the best trial is known beforehand."""

    Params = PaidParams
    in_flight = ("worth",)

    params: PaidParams

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        transition = super().step(actions)
        paid = {name: torch.full_like(reward, self.params.worth) for name, reward in transition.reward.items()}
        return replace(transition, reward=paid)
