"""From what is asked for to orders: signals, fusion, allocation, risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from environments.market import capital, inventory, quotes, risk
from environments.market.feed import Rows
from environments.market.hearing import hear
from environments.market.inventory import Makers, Quoting
from environments.market.oversight import Watch
from environments.market.rewards import Memories
from environments.market.risk_guard import ROUNDING, Cut, Ruling, Sized
from environments.market.roster import Trader
from environments.market.state import State
from environments.market.world import World


@dataclass(frozen=True)
class Orders:
    """What is wanted at the close of bar t.

    Attributes:
        target_EN: float64, target amounts (see ``Sizing``), with market makers' inventory; of assets without an order,
            what is held.
        order_EN: bool, where an order stands.
        signal_EN: float64, what was asked for, before caps.
        budget_EK: float64.
        sleeve_EN: float64.
        full_EN: float64, the amount of a signal of 1.
        score_EJ: float64, see ``hearing.Heard``, as the next two.
        said_EM: float64.
        voice_EM: float64.
        caps: What holds after the fills.
        reins: What risk remembers (see ``Sized``).
        watch: What the risk manager decided and remembers; None: there is none.
        quoting: Market makers' quotes; None: there are none.
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
    said_EM: Tensor
    voice_EM: Tensor
    caps: risk.Limits
    reins: Memories
    watch: Watch | None = None
    quoting: Quoting | None = None
    quote_EN2: Tensor | None = None
    ruling: Ruling | None = None


def decide(world: World, before: State, now: Rows, actions: Mapping[str, Tensor]) -> Orders:
    """Reads all groups' actions; what they are is told in ``MarketEnv``.

    An order is given where an active trader asks for one, where the sleeve has changed (what is held is kept to scale),
    and where a cap cuts what is held. Orders that stand go on standing. With ``close_out``, the last decision before
    the end is to hold nothing.
    """
    heard = hear(world, before, now, actions)
    moved_EN = heard.asks_EN & now.active_EN
    signal_EN = torch.where(moved_EN, heard.signal_EN, before.held_EN)
    budget_EK, sleeve_EN = capital.divided(world, before, now, actions, signal_EN, moved_EN)
    resized_EN = moved_EN | ((sleeve_EN != before.sleeve_EN) & now.listed_EN)
    sized, watch = Sized(world.sizing.full(sleeve_EN), resized_EN, world.caps, before.reins), None
    if world.oversight is not None:
        watch = world.oversight.decide(before, actions)
        sized = _scaled(before, now, sized, watch.factor)
    if world.guard is not None:
        sized = world.guard.size(before, signal_EN, sized, now.listed_EN)
    wanted_EN = torch.where(sized.resized_EN, signal_EN * sized.full_EN, before.stand_EN)
    quote_EN2, quoting = _quotes(world, now, actions, wanted_EN), None
    order_EN = before.order_EN | sized.resized_EN
    if world.makers is not None and quote_EN2 is not None:
        quoting = _quoting(world.makers, before, now, quote_EN2, sleeve_EN, watch)
        wanted_EN = wanted_EN + inventory.weights(quoting.kept_EN, before.book.price_EN, before.nav_E)
        order_EN = order_EN | (quoting.kept_EN != before.inventory_EN)
    weight_EN = world.sizing.weights(wanted_EN, before.book.price_EN, before.nav_E)
    capped_EN, cuts = _limited(world, before, weight_EN, sized.caps)
    order_EN = order_EN | ((capped_EN - weight_EN).abs() > ROUNDING)
    target_EN = world.sizing.limited(wanted_EN, weight_EN, capped_EN)
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
        score_EJ=heard.score_EJ,
        said_EM=heard.said_EM,
        voice_EM=heard.voice_EM,
        caps=sized.caps,
        reins=sized.reins,
        watch=watch,
        quoting=quoting,
        quote_EN2=quote_EN2,
        ruling=Ruling(signal_EN, weight_EN, sized, cuts),
    )


def _scaled(before: State, now: Rows, sized: Sized, factor_E1: Tensor) -> Sized:
    """What a signal of 1 holds, times the risk manager's scale; all that may be traded is brought to a new one."""
    ((_, _, last_E1, *_),) = before.watch
    resized_EN = sized.resized_EN | ((factor_E1 != last_E1) & now.listed_EN)
    return replace(sized, full_EN=sized.full_EN * factor_E1, resized_EN=resized_EN)


def _quoting(
    makers: Makers, before: State, now: Rows, quote_EN2: Tensor, sleeve_EN: Tensor, watch: Watch | None
) -> Quoting:
    """Market makers' quotes, by their actions; while a stop rests, there are none, and no inventory is kept."""
    assert now.volatility_EN is not None  # a feed has it where somebody makes a market
    kept_EN = before.inventory_EN
    if watch is not None:
        sleeve_EN = sleeve_EN * watch.factor
        kept_EN = torch.where(watch.rest > 0.0, 0.0, kept_EN)
    return inventory.quote(makers, quote_EN2, before.book, before.nav_E, sleeve_EN, now.volatility_EN, kept_EN)


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
        said_EM=before.said_EM,
        voice_EM=before.voice_EM,
        caps=caps,
        reins=before.reins,
    )


def _quotes(world: World, now: Rows, actions: Mapping[str, Tensor], target_EN: Tensor) -> Tensor | None:
    """The distances of bids and asks: (E, N, 2), infinite where nothing is quoted; None if nobody ever quotes."""
    if world.params.limit_orders is None and world.makers is None:
        return None
    quote_EN2 = torch.full_like(target_EN, torch.inf).unsqueeze(-1).repeat(1, 1, 2)
    for player in world.traders:
        if player.kind == "quotes" and player.name in actions:
            quote_EN2[:, player.assets] = quotes.distances(actions[player.name], _width(world, player))
    return torch.where(now.active_EN.unsqueeze(-1), quote_EN2, torch.inf) if world.makers is not None else quote_EN2


def _width(world: World, player: Trader) -> float:
    """The largest distance that a trader can quote: in volatilities on a panel, in money for simulated prices."""
    limits = player.params.quoting or world.params.limit_orders
    assert limits is not None  # a trader that quotes has one of the two
    return limits.width
