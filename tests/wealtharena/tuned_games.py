"""A game for sweeps."""

from collections.abc import Mapping

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
