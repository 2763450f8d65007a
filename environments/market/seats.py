"""What a group of traders sees and is paid: assets side by side, or one agent for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from environments.errors import DataError
from environments.market.feed import Listing
from environments.market.roster import Trader


@dataclass(frozen=True)
class Seat:
    """One group's view of the market.

    Attributes:
        player: Who sits there.
        names: Names of the columns of its observation.
        own: The columns seen of each asset; None: all, in their order.
        shared: The columns seen of the class as a whole; None: all.
    """

    player: Trader
    names: tuple[str, ...]
    own: Tensor | None
    shared: Tensor | None

    def see(self, asset_ENF: Tensor, shared_EG: Tensor | None) -> Tensor:
        """The observation, float32 (E, A, F): of each asset, or of all of them by one agent, then what is shared."""
        seen_EAF = asset_ENF if self.own is None else asset_ENF.index_select(-1, self.own)
        if self.player.params.joint:
            seen_EAF = seen_EAF.flatten(1).unsqueeze(1)
        if shared_EG is None:
            return seen_EAF
        shown_EG = shared_EG if self.shared is None else shared_EG.index_select(-1, self.shared)
        return torch.cat([seen_EAF, shown_EG.unsqueeze(1).expand(-1, seen_EAF.shape[1], -1)], dim=-1)

    def decides(self, active_EN: Tensor) -> Tensor:
        """Which of its agents decide: bool (E, A)."""
        active_EA = active_EN[:, self.player.assets]
        return active_EA.any(1, keepdim=True) if self.player.params.joint else active_EA

    def earns(self, reward_EM: Tensor, sleeve_EN: Tensor, unit: Literal["log", "money"]) -> Tensor:
        """What it is paid, float32 (E, A), of the rewards of the assets and the portfolio (last).

        A joint agent is paid for the sleeves of all its assets together: the sum of their money, or the return on them.
        """
        if self.player.params.paid == "portfolio":
            return reward_EM[:, -1:].expand(-1, self._agents)
        reward_EA = reward_EM[:, self.player.assets]
        if not self.player.params.joint:
            return reward_EA
        if unit == "money":
            return reward_EA.sum(1, keepdim=True)
        return (reward_EA * _parts(sleeve_EN[:, self.player.assets]).float()).sum(1, keepdim=True)

    def risks(self, variance_EN: Tensor, sleeve_EN: Tensor, before_E: Tensor, unit: Literal["log", "money"]) -> Tensor:
        """The variance of what it is paid for, (E, A), in squares of the unit of profit.

        Args:
            variance_EN: What each position brings to the variance of the portfolio's profit, in money squared.
            sleeve_EN: What each position is paid on, as a share of the portfolio's value.
            before_E: That value.
            unit: Of profit.
        """
        whole = self.player.params.paid == "portfolio"
        mine_EN = variance_EN if whole else variance_EN[:, self.player.assets]
        if unit == "log":
            base_EN = torch.ones_like(variance_EN) if whole else sleeve_EN[:, self.player.assets]
            mine_EN = mine_EN / (base_EN * before_E.unsqueeze(1)).square()
            if self.player.params.joint and not whole:
                mine_EN = mine_EN * _parts(base_EN).square()
        if whole or self.player.params.joint:
            return mine_EN.sum(1, keepdim=True).expand(-1, self._agents)
        return mine_EN

    @property
    def _agents(self) -> int:
        assets = self.player.assets
        return 1 if self.player.params.joint else assets.stop - assets.start


def _parts(sleeve_EA: Tensor) -> Tensor:
    """Each sleeve as a share of all of them."""
    return sleeve_EA / sleeve_EA.sum(1, keepdim=True).clamp(min=1e-300)


def seat(player: Trader, own: tuple[str, ...], shared: tuple[str, ...], listing: Listing, device: str) -> Seat:
    """The seat of a group of traders.

    Args:
        player: Who sits there.
        own: Names of what is seen of each asset.
        shared: Names of what is seen of the class as a whole.
        listing: What is traded.
        device: Of the tensors.

    Raises:
        DataError: It wants to observe what is not there.
    """
    wanted = player.params.observe
    if wanted is not None:
        _check_there(player.name, wanted, (*own, *shared))
    own_columns, own_names = _chosen(own, wanted, device)
    shared_columns, shared_names = _chosen(shared, wanted, device)
    if player.params.joint:
        symbols = listing.symbols[player.assets]
        own_names = tuple(f"{symbol}/{name}" for symbol in symbols for name in own_names)
    return Seat(player, (*own_names, *shared_names), own_columns, shared_columns)


def _chosen(
    names: tuple[str, ...], wanted: tuple[str, ...] | None, device: str
) -> tuple[Tensor | None, tuple[str, ...]]:
    if wanted is None:
        return None, names
    found = tuple(name for name in wanted if name in names)
    return torch.tensor([names.index(name) for name in found], dtype=torch.int64, device=device), found


def _check_there(trader: str, wanted: tuple[str, ...], there: tuple[str, ...]) -> None:
    for name in wanted:
        if name not in there:
            raise DataError(f"traders.{trader}.observe: there is no feature {name!r}; there are {', '.join(there)}")
