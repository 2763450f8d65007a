"""The groups of agents that a market has, with their spaces."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym
import numpy as np

from environments.base import Group
from environments.market.config import ALLOCATOR, MarketParams
from environments.market.feed import Feed, Listing
from environments.market.observations import TIME_LEFT, allocator_features
from environments.market.seats import Seat
from environments.market.signals import action_space


def groups(
    params: MarketParams, seats: tuple[Seat, ...], listing: Listing, names: Mapping[str, tuple[str, ...]]
) -> dict[str, Group]:
    """The groups: each trader's, then the allocator's."""
    found = {seat.player.name: _of_traders(seat, listing) for seat in seats}
    if params.allocator is not None:
        space = gym.spaces.Box(-1.0, 1.0, (len(listing.classes) + 1,))
        found[ALLOCATOR] = Group((ALLOCATOR,), _observed(names[ALLOCATOR]), space, params.allocator.every)
    return found


def allocator_names(feed: Feed, *, finite: bool) -> tuple[str, ...]:
    """Names of the columns that the allocator sees."""
    time = (TIME_LEFT,) if finite else ()
    return (*feed.class_names, *time, *allocator_features(feed.listing.classes))


def _of_traders(seat: Seat, listing: Listing) -> Group:
    player = seat.player
    symbols = listing.symbols[player.assets]
    agents = ("desk",) if player.params.joint else symbols
    space = action_space(player.params, len(symbols))
    return Group(tuple(f"{player.name}/{agent}" for agent in agents), _observed(seat.names), space)


def _observed(names: tuple[str, ...]) -> gym.spaces.Box:
    return gym.spaces.Box(-np.inf, np.inf, (len(names),))
