"""How an episode begins."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market import rewards
from environments.market.capital import opened
from environments.market.ledger import Book
from environments.market.rewards import Memories
from environments.market.state import State
from environments.market.world import World
from environments.random import Seed


def begin(world: World, seed: Seed, copy_E: Tensor, episode_E: Tensor, remembered: Memories) -> State:
    """The first state of an episode of some copies.

    Args:
        world: The market.
        seed: Of its draws.
        copy_E: int64, which copies.
        episode_E: int64, how many episodes each has had.
        remembered: What the terms of the reward remember of the last one.
    """
    opening = world.feed.open(seed, copy_E, episode_E)
    price_EN = opening.price_EN
    zero_EN, nav_E = torch.zeros_like(price_EN), torch.full_like(price_EN[:, 0], world.params.capital)
    budget_EK, sleeve_EN = opened(world, world.feed.per_asset(opening.bar_E))
    amount_EN = world.start_N * world.sizing.full(sleeve_EN)
    shares_EN = world.sizing.shares(amount_EN, price_EN, nav_E)
    value_EN = shares_EN * price_EN
    zero_E1 = torch.zeros_like(price_EN[:, :1])
    zero_EM, rank_EC = zero_E1.expand(-1, price_EN.shape[1] + 1), zero_E1.expand(-1, world.ranks)
    return State(
        book=Book(nav_E - value_EN.sum(1), shares_EN, price_EN, value_EN, price_EN),
        nav_E=nav_E,
        weight_EN=world.sizing.weights(amount_EN, price_EN, nav_E),
        bar_E=opening.bar_E,
        end_E=opening.end_E,
        step_E=torch.zeros_like(opening.bar_E),
        acts_E1=torch.ones_like(opening.bar_E, dtype=torch.bool).unsqueeze(1),
        episode_E=episode_E,
        budget_EK=budget_EK,
        sleeve_EN=sleeve_EN,
        sized_EN=world.paid(sleeve_EN),
        order_EN=torch.zeros_like(zero_EN, dtype=torch.bool),
        stand_EN=amount_EN,
        held_EN=world.start_N.expand_as(zero_EN),
        drawdown_EM=zero_EM,
        score_EJ=zero_E1.expand(-1, len(world.traders)),
        said_EM=world.said_M.expand(len(nav_E), -1),
        voice_EM=world.voice_M.expand(len(nav_E), -1),
        class_mean_EC=rank_EC,
        class_variance_EC=rank_EC,
        hidden_EK=opening.hidden_EK,
        inventory_EN=zero_EN[:, :0] if world.makers is None else zero_EN,
        terms=rewards.begin(world.params.reward, zero_EM, remembered),
        reins=() if world.guard is None else world.guard.begin(nav_E),
        watch=() if world.oversight is None else world.oversight.begin(nav_E),
    )
