"""The groups of agents that a market has, with their spaces."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym
import numpy as np

from environments.base import Group
from environments.market import oversight
from environments.market.config import ALLOCATOR, MarketParams
from environments.market.config_roles import RISK
from environments.market.desks import Fuser
from environments.market.feed import Feed, Listing
from environments.market.observations import TIME_LEFT, allocator_features, performance_features
from environments.market.seats import Seat
from environments.market.signals import action_space
from environments.market.world import World


def groups(world: World, names: Mapping[str, tuple[str, ...]]) -> dict[str, Group]:
    """The groups: each trader's, then the fusers', then the allocator's and the risk manager's."""
    params, listing = world.params, world.feed.listing
    found = {seat.player.name: _of_traders(seat, listing) for seat in world.seats}
    found |= {fuser.name: _of_fusers(fuser, listing) for fuser in world.fusers}
    if params.allocator is not None:
        space = gym.spaces.Box(-1.0, 1.0, (len(listing.classes) + 1,))
        found[ALLOCATOR] = Group((ALLOCATOR,), _observed(names[ALLOCATOR]), space, params.allocator.every)
    if params.risk_manager is not None:
        space = gym.spaces.Box(-1.0, 1.0, (2,))
        found[RISK] = Group((RISK,), _observed(names[RISK]), space, params.risk_manager.every)
    return found


def allocator_names(feed: Feed, params: MarketParams) -> tuple[str, ...]:
    """Names of the columns that the allocator sees."""
    classes, time = feed.listing.classes, (TIME_LEFT,) if params.finite else ()
    ranks = performance_features(classes) if params.observes_coordination else ()
    return (*feed.class_names, *time, *allocator_features(classes), *ranks)


def risk_names(feed: Feed, params: MarketParams) -> tuple[str, ...]:
    """Names of the columns that the risk manager sees."""
    time = (TIME_LEFT,) if params.finite else ()
    return (*feed.class_names, *time, *oversight.features(feed.listing.classes))


def _of_traders(seat: Seat, listing: Listing) -> Group:
    player = seat.player
    symbols = listing.symbols[player.assets]
    agents = ("desk",) if player.params.joint else symbols
    space = action_space(player.params, len(symbols))
    ids = tuple(f"{player.name}/{agent}" for agent in agents)
    return Group(ids, _observed(seat.names), space, player.params.clock)


def _of_fusers(fuser: Fuser, listing: Listing) -> Group:
    agents = tuple(f"{fuser.name}/{symbol}" for symbol in listing.symbols[fuser.assets])
    return Group(agents, _observed(fuser.names), gym.spaces.Box(-1.0, 1.0, (len(fuser.traders),)))


def _observed(names: tuple[str, ...]) -> gym.spaces.Box:
    return gym.spaces.Box(-np.inf, np.inf, (len(names),))
