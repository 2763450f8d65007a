"""From what is asked for to orders: signals, fusion, allocation, risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market import allocation, fusion, quotes, risk
from environments.market.config import ALLOCATOR
from environments.market.feed import Rows
from environments.market.rewards import Memories
from environments.market.risk_guard import ROUNDING, Cut, Ruling, Sized
from environments.market.roster import Trader
from environments.market.state import State
from environments.market.world import World


@dataclass(frozen=True)
class Orders:
    """What is wanted at the close of bar t.

    Attributes:
        target_EN: float64, target amounts (see ``Sizing``); of assets without an order, what is held.
        order_EN: bool, where an order stands.
        signal_EN: float64, what was asked for, before caps.
        budget_EK: float64.
        sleeve_EN: float64.
        full_EN: float64, the amount of a signal of 1.
        score_EJ: float64, the traders' performances once the next bar is known (see ``fusion``).
        caps: What holds after the fills.
        reins: What risk remembers (see ``Sized``).
        quote_EN2: float64, distances of bid and ask, infinite where nothing is quoted; None: nobody quotes.
        ruling: What risk made of the decision; None: it was not asked.
    """

    target_EN: Tensor
    order_EN: Tensor
    signal_EN: Tensor
    budget_EK: Tensor
    sleeve_EN: Tensor
    full_EN: Tensor
    score_EJ: Tensor
    caps: risk.Limits
    reins: Memories
    quote_EN2: Tensor | None = None
    ruling: Ruling | None = None


def decide(world: World, before: State, now: Rows, actions: Mapping[str, Tensor]) -> Orders:
    """Reads all groups' actions; what they are is told in ``MarketEnv``.

    An order is given where an active trader asks for one, where the sleeve has changed (what is held is kept to scale),
    and where a cap cuts what is held. Orders that stand go on standing. With ``close_out``, the last decision before
    the end is to hold nothing.
    """
    budget_EK = _budgets(world, before, actions)
    sleeve_EN = allocation.sleeves(budget_EK, world.classes, now.per_asset_EN)
    asked_EN, asks_EN, score_EJ = _signals(world, before, now, actions)
    moved_EN = asks_EN & now.active_EN
    signal_EN = torch.where(moved_EN, asked_EN, before.held_EN)
    resized_EN = moved_EN | ((sleeve_EN != before.sleeve_EN) & now.listed_EN)
    sized = Sized(world.sizing.full(sleeve_EN), resized_EN, world.caps, before.reins)
    if world.guard is not None:
        sized = world.guard.size(before, signal_EN, sized, now.listed_EN)
    wanted_EN = torch.where(sized.resized_EN, signal_EN * sized.full_EN, before.stand_EN)
    weight_EN = world.sizing.weights(wanted_EN, before.book.price_EN, before.nav_E)
    capped_EN, cuts = _limited(world, before, weight_EN, sized.caps)
    order_EN = before.order_EN | sized.resized_EN | ((capped_EN - weight_EN).abs() > ROUNDING)
    target_EN = world.sizing.limited(wanted_EN, weight_EN, capped_EN)
    quote_EN2 = _quotes(world, actions, target_EN)
    if world.params.close_out:
        last_E1 = (before.bar_E + 1 >= before.end_E).unsqueeze(1)
        target_EN, order_EN = torch.where(last_E1, 0.0, target_EN), order_EN | last_E1
        quote_EN2 = None if quote_EN2 is None else torch.where(last_E1.unsqueeze(-1), torch.inf, quote_EN2)
    return Orders(
        target_EN=target_EN,
        order_EN=order_EN,
        signal_EN=signal_EN,
        budget_EK=budget_EK,
        sleeve_EN=sleeve_EN,
        full_EN=sized.full_EN,
        score_EJ=score_EJ,
        caps=sized.caps,
        reins=sized.reins,
        quote_EN2=quote_EN2,
        ruling=Ruling(signal_EN, weight_EN, sized, cuts),
    )


def _limited(world: World, before: State, weight_EN: Tensor, caps: risk.Limits) -> tuple[Tensor, tuple[Cut, ...]]:
    """The book within all limits, and what those of the guard did to it."""
    capped_EN = risk.capped(weight_EN, world.classes, caps)
    return (capped_EN, ()) if world.guard is None else world.guard.limit(before, capped_EN)


def from_targets(world: World, before: State, now: Rows, target_EN: Tensor, order_EN: Tensor) -> Orders:
    """Takes target weights as they are; see ``MarketEnv.trade``."""
    order_EN = order_EN & now.listed_EN
    amount_EN = world.sizing.amounts(target_EN.to(torch.float64), before.book.price_EN, before.nav_E)
    target_EN = torch.where(order_EN, amount_EN, before.stand_EN)
    full_EN = world.sizing.full(before.sleeve_EN)
    caps = risk.Limits(torch.inf, torch.inf, max(1.0, world.params.risk.max_gross))
    return Orders(
        target_EN=target_EN,
        order_EN=order_EN | before.order_EN,
        signal_EN=target_EN / full_EN,
        budget_EK=before.budget_EK,
        sleeve_EN=before.sleeve_EN,
        full_EN=full_EN,
        score_EJ=before.score_EJ,
        caps=caps,
        reins=before.reins,
    )


def _budgets(world: World, before: State, actions: Mapping[str, Tensor]) -> Tensor:
    params = world.params.allocator
    if params is None:
        return before.budget_EK
    given = ALLOCATOR in actions
    if (world.on_host or not given) and not bool(before.acts_E1.any()):
        return before.budget_EK
    if not given:
        raise left_out(ALLOCATOR)
    budget_EK = allocation.budgets(actions[ALLOCATOR].squeeze(1), params.sharpness)
    return torch.where(before.acts_E1, budget_EK, before.budget_EK)


def _signals(world: World, before: State, now: Rows, actions: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """What is asked of each asset, where anything is, and the traders' performances."""
    action_EM = torch.cat([_given(player, now, actions) for player in world.traders], dim=1).to(torch.float64)
    if world.one_each:
        return *world.dialect.read(action_EM, before.held_EN), before.score_EJ
    signal_EM, asks_EM = world.dialect.read(action_EM, before.held_EN.index_select(1, world.asset_M))
    parts = (torch.split(column_EM, world.counts, dim=1) for column_EM in (signal_EM, asks_EM))
    said = list(zip(*parts, strict=True))
    heard, scores = [], list(before.score_EJ.unbind(1))
    for desk in world.desks:
        together, score_EJ = _together(world, before, now, desk, [said[j] for j in desk])
        heard.append(together)
        for j, score_E in zip(desk, score_EJ.unbind(1), strict=True):
            scores[j] = score_E
    signals, asks = zip(*heard, strict=True)
    return torch.cat(signals, dim=1), torch.cat(asks, dim=1), torch.stack(scores, dim=1)


def _given(player: Trader, now: Rows, actions: Mapping[str, Tensor]) -> Tensor:
    """The actions of one group, a column for each of its assets; of one that is left out or quotes, any."""
    if player.name in actions and player.kind != "quotes":
        return actions[player.name].flatten(1)
    active_EA = now.active_EN[:, player.assets]
    if player.name not in actions and bool(active_EA.any()):
        raise left_out(player.name)
    return torch.zeros_like(active_EA, dtype=torch.float32)


def _quotes(world: World, actions: Mapping[str, Tensor], target_EN: Tensor) -> Tensor | None:
    """The distances of bids and asks: (E, N, 2), infinite where nothing is quoted; None if nobody ever quotes."""
    if world.params.limit_orders is None:
        return None
    quote_EN2 = torch.full_like(target_EN, torch.inf).unsqueeze(-1).repeat(1, 1, 2)
    for player in world.traders:
        if player.kind == "quotes":
            action_EA2 = actions[player.name]
            quote_EN2[:, player.assets] = quotes.distances(action_EA2, world.params.limit_orders.width)
    return quote_EN2


def _together(
    world: World, before: State, now: Rows, desk: tuple[int, ...], said: list[tuple[Tensor, Tensor]]
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """What the traders of one class say together, and their performances."""
    params = world.params.fusion
    signal_JEA, asks_JEA = (torch.stack(parts) for parts in zip(*said, strict=True))
    score_EJ = torch.stack([before.score_EJ[:, j] for j in desk], dim=1)
    assets = world.traders[desk[0]].assets
    surprise_EA = world.feed.surprise(before, now)[:, assets]
    heard = fusion.fuse(signal_JEA, asks_JEA, fusion.voices(score_EJ, params.temperature))
    spoken_JEA = torch.where(now.active_EN[:, assets], signal_JEA, 0.0)
    return heard, fusion.follow(score_EJ, spoken_JEA, surprise_EA, params.half_life)


def left_out(name: str) -> ValueError:
    """What to raise where actions are missing."""
    return ValueError(f"step: no actions for group {name!r}, some of whose agents are active; give one for each agent")
