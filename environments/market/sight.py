"""What all groups see of a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from environments.market import coordination, inventory, observations
from environments.market.config import ALLOCATOR
from environments.market.config_roles import RISK
from environments.market.desks import Desk
from environments.market.state import State
from environments.market.world import World


def observe(world: World, state: State) -> dict[str, Tensor]:
    """Group -> float32 (E, A, F); see ``MarketEnv``."""
    drawdown_E1 = -torch.expm1(-state.drawdown_EM[:, -1:])
    exposure_EC = world.classes.sums(state.weight_EN.abs())
    own = _portfolio(world, state, drawdown_E1, exposure_EC)
    portfolio_EPN = torch.stack([row_EN.float() for row_EN in own], dim=1)
    seen, shared = world.feed.observe(state, portfolio_EPN), world.feed.observe_shared(state)
    said: tuple[Tensor, ...] = ()
    rank_EC = state.class_mean_EC
    if world.fusers or world.params.observes_coordination:
        said = torch.split(state.said_EM, world.counts, dim=1)
    if world.params.observes_coordination:
        rank_EC = coordination.performance(state.class_mean_EC, state.class_variance_EC)
        seen = {desk.asset_class: _with_consensus(desk, seen[desk.asset_class], said) for desk in world.desks}
        shared = _with_others(world, shared, state.budget_EK, exposure_EC, rank_EC)
    if world.params.finite:
        shared = _joined(world, shared, [_time_left(world, state)] * len(world.desks))
    obs = {}
    for seat in world.seats:
        asset_class = seat.player.asset_class
        seen_EAF = seen[asset_class]
        if seat.player.makes_markets:
            seen_EAF = _with_inventory(world, state, seen_EAF, seat.player.assets)
        obs[seat.player.name] = seat.see(seen_EAF, shared.get(asset_class))
    for fuser in world.fusers:
        asset_class = fuser.asset_class
        obs[fuser.name] = fuser.see(said, state.score_EJ, seen[asset_class], shared.get(asset_class))
    if world.params.allocator is not None or world.oversight is not None:
        obs |= _from_above(world, state, exposure_EC, drawdown_E1, rank_EC)
    return obs


def _from_above(
    world: World, state: State, exposure_EC: Tensor, drawdown_E1: Tensor, rank_EC: Tensor
) -> dict[str, Tensor]:
    """What the allocator and the risk manager see, if they are there."""
    found, overview_EF = {}, world.feed.overview(state)
    if world.params.finite:
        overview_EF = torch.cat([overview_EF, _time_left(world, state)], dim=1)
    if world.params.allocator is not None:
        found[ALLOCATOR] = observations.of_allocator(overview_EF, state.budget_EK, exposure_EC, drawdown_E1, rank_EC)
    if world.oversight is not None:
        watched_EF = torch.cat([world.oversight.observe(state, drawdown_E1), exposure_EC], dim=1)
        found[RISK] = torch.cat([overview_EF, watched_EF.float()], dim=1).unsqueeze(1)
    return found


def _portfolio(world: World, state: State, drawdown_E1: Tensor, exposure_EC: Tensor) -> tuple[Tensor, ...]:
    """What each trader sees of its position and the portfolio: (E, N) for each of ``TRADER_FEATURES``."""
    book, assets = state.book, state.weight_EN.shape[1]
    return (
        state.held_EN,
        state.sleeve_EN * assets,
        observations.unrealised(book.shares_EN, book.price_EN, book.entry_EN, positive=world.feed.positive),
        state.order_EN,
        drawdown_E1.expand(-1, assets),
        world.classes.spread(exposure_EC),
    )


def _with_inventory(world: World, state: State, seen_EAF: Tensor, assets: slice) -> Tensor:
    """What is seen of each asset, and the inventory in it."""
    assert world.makers is not None  # a trader that makes a market is one of them
    share_EA = inventory.share(world.makers, state.inventory_EN, state.book, state.nav_E, state.sleeve_EN)[:, assets]
    return torch.cat([seen_EAF, share_EA.float().unsqueeze(2)], dim=2)


def _with_consensus(desk: Desk, seen_EAF: Tensor, said: tuple[Tensor, ...]) -> Tensor:
    """What is seen of each asset, and the mean of what its traders said last."""
    consensus_EA = torch.stack([said[j] for j in desk.traders]).mean(0)
    return torch.cat([seen_EAF, consensus_EA.float().unsqueeze(2)], dim=2)


def _with_others(
    world: World, shared: Mapping[str, Tensor], budget_EK: Tensor, exposure_EC: Tensor, rank_EC: Tensor
) -> dict[str, Tensor]:
    """What is seen of each class, and what its traders see of the others (see ``coordination_features``)."""
    columns = []
    for c in range(len(world.desks)):
        parts = (budget_EK[:, c : c + 1], exposure_EC[:, :c], exposure_EC[:, c + 1 :], rank_EC)
        columns.append(torch.cat(parts, dim=1).float())
    return _joined(world, shared, columns)


def _joined(world: World, shared: Mapping[str, Tensor], columns: Sequence[Tensor]) -> dict[str, Tensor]:
    """Class -> what is seen of it as a whole, with further columns for each class at the end."""
    return {
        desk.asset_class: torch.cat([shared[desk.asset_class], more_EG], dim=1)
        if desk.asset_class in shared
        else more_EG
        for desk, more_EG in zip(world.desks, columns, strict=True)
    }


def _time_left(world: World, state: State) -> Tensor:
    left_E = (state.end_E - state.bar_E).float() / float(world.params.horizon or 1)
    return left_E.unsqueeze(1)
