"""A market in which one trader learns alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor

from environments.base import ArrayEnv, Transition
from environments.market.config import MarketParams
from environments.market.config_traders import TraderParams
from environments.market.env import MarketEnv
from environments.market.signals import HOLD


class SoloParams(MarketParams):
    """Parameters of ``SoloMarket``: those of the market, and who trades in it.

    Attributes:
        only: Name of the trader that is there to learn. All others must ``trade``, so that they can hold; the budgets
            are fixed.
    """

    only: str
    allocator: None = None


def solo_params(params: MarketParams, only: str, names: tuple[str, ...]) -> SoloParams:
    """The same market with one trader alone in it.

    The trader sees the columns that it sees in the team, over the same calendar; its class has the budget of an equal
    share. Its class has no other trader, so that it is not fused with anybody, and those of other classes hold nothing.

    Args:
        params: Of the team's market.
        only: Who learns.
        names: All traders.
    """
    given = params.traders or {name: TraderParams(asset_class=name) for name in names}
    traders, idle = {only: given[only]}, {trader.asset_class: name for name, trader in reversed(given.items())}
    for asset_class, name in idle.items():
        if asset_class != given[only].asset_class:
            traders[name] = TraderParams(asset_class=asset_class, action="trade")
    return SoloParams.model_validate({**params.unmanaged().model_dump(by_alias=True), "only": only, "traders": traders})


class SoloMarket(ArrayEnv):
    """``MarketEnv`` with one group: all other traders hold, and so own nothing.

    Attributes:
        market: With all of its groups.
    """

    Params: ClassVar[type[BaseModel]] = SoloParams

    def __init__(self, params: SoloParams, *, num_envs: int, device: str = "cpu") -> None:
        """Builds E = ``num_envs`` copies.

        Raises:
            DataError: As ``MarketEnv``.
        """
        self.market = MarketEnv(params, num_envs=num_envs, device=device)
        self.num_envs, self.device = num_envs, device
        self.groups = {params.only: self.market.groups[params.only]}
        self._only = params.only
        self._holding = {
            name: torch.full((num_envs, len(group.agent_ids)), HOLD, dtype=torch.int64, device=device)
            for name, group in self.market.groups.items()
            if name != params.only
        }

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Starts new episodes; see ``MarketEnv``."""
        return self._own(self.market.reset(seed=seed))

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        """Trades one bar; see ``MarketEnv``."""
        found = self.market.step({**self._holding, **actions})
        return Transition(
            obs=self._own(found.obs),
            final_obs=self._own(found.final_obs),
            reward=self._own(found.reward),
            terminated=self._own(found.terminated),
            truncated=self._own(found.truncated),
            done=found.done,
            active=self._own(found.active),
        )

    def active(self) -> dict[str, Tensor]:
        """Who decides now."""
        return self._own(self.market.active())

    def get_state(self) -> dict[str, Any]:
        """The market's."""
        return self.market.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what ``get_state`` gave."""
        self.market.set_state(state)

    def _own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if name == self._only}
