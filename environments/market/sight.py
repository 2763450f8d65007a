"""What all groups see of a state."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market import observations
from environments.market.config import ALLOCATOR
from environments.market.state import State
from environments.market.world import World


def observe(world: World, state: State) -> dict[str, Tensor]:
    """Group -> float32 (E, A, F); see ``MarketEnv``."""
    drawdown_E1 = -torch.expm1(-state.drawdown_EM[:, -1:])
    exposure_EC = world.classes.sums(state.weight_EN.abs())
    portfolio_EPN = torch.stack(_portfolio(world, state, drawdown_E1, exposure_EC), dim=1)
    seen, shared = world.feed.observe(state, portfolio_EPN), _shared(world, state)
    obs = {}
    for seat in world.seats:
        asset_class = seat.player.asset_class
        obs[seat.player.name] = seat.see(seen[asset_class], shared.get(asset_class))
    if world.params.allocator is not None:
        overview_EF = world.feed.overview(state)
        if world.params.finite:
            overview_EF = torch.cat([overview_EF, _time_left(world, state)], dim=1)
        obs[ALLOCATOR] = observations.of_allocator(overview_EF, state.budget_EK, exposure_EC, drawdown_E1)
    return obs


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


def _shared(world: World, state: State) -> dict[str, Tensor]:
    """Class -> what its traders see of it as a whole, the time left at the end."""
    shared = world.feed.observe_shared(state)
    if not world.params.finite:
        return shared
    time_E1 = _time_left(world, state)
    return {
        name: torch.cat([shared[name], time_E1], dim=1) if name in shared else time_E1
        for name in world.feed.listing.classes
    }


def _time_left(world: World, state: State) -> Tensor:
    left_E = (state.end_E - state.bar_E).float() / float(world.params.horizon or 1)
    return left_E.unsqueeze(1)
