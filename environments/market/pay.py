"""What each group is paid for a bar."""

from __future__ import annotations

from torch import Tensor

from environments.market import inventory
from environments.market.config import ALLOCATOR
from environments.market.config_roles import RISK
from environments.market.feed import Rows
from environments.market.rewards import Outcome
from environments.market.seats import Seat
from environments.market.state import State
from environments.market.world import World


def earned(world: World, before: State, now: Rows, outcome: Outcome, reward_EM: Tensor) -> dict[str, Tensor]:
    """Group -> rewards of its agents, float32 (E, A).

    Args:
        world: The market.
        before: The bar's beginning.
        now: What the feed told of it.
        outcome: What it brought.
        reward_EM: Of the assets and the portfolio (last).
    """
    reward = _by_asset(world, reward_EM) if world.plainly_paid else _by_seat(world, before, now, outcome, reward_EM)
    if world.params.allocator is not None:
        reward[ALLOCATOR] = reward_EM[:, -1:]
    if world.oversight is not None:
        reward[RISK] = world.oversight.paid(outcome, reward_EM[:, -1:], world.params.reward.scale)
    return reward


def _by_asset(world: World, reward_EM: Tensor) -> dict[str, Tensor]:
    parts = reward_EM.split_with_sizes([*world.counts, 1], dim=1)
    return {player.name: own_EA for player, own_EA in zip(world.traders, parts, strict=False)}


def _by_seat(world: World, before: State, now: Rows, outcome: Outcome, reward_EM: Tensor) -> dict[str, Tensor]:
    """Of traders in their seats, makers of markets and fusers."""
    reward = {seat.player.name: _of(seat, world, before, now, outcome, reward_EM) for seat in world.seats}
    return reward | {fuser.name: fuser.earns(reward_EM) for fuser in world.fusers}


def _of(seat: Seat, world: World, before: State, now: Rows, outcome: Outcome, reward_EM: Tensor) -> Tensor:
    """Of one group of traders, less what its aversion to risk takes off."""
    player, params = seat.player, world.params.reward
    if player.makes_markets:
        assert now.volatility_EN is not None  # a feed has it where somebody makes a market
        return inventory.paid(player, outcome, now.volatility_EN, params)
    reward_EA = seat.earns(reward_EM, outcome.sleeve_EN, params.unit)
    if not player.params.risk_aversion:
        return reward_EA
    variance_EN = world.feed.variance(before, outcome.shares_EN)
    risk_EA = seat.risks(variance_EN, outcome.sleeve_EN, before.nav_E, params.unit)
    return reward_EA - (params.scale * player.params.risk_aversion / 2 * risk_EA).float()
