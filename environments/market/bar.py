"""One bar, from the close of t to that of t + 1: execution, ledger, reward."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from environments.market import coordination, execution, impact, inventory, ledger, quotes, rewards
from environments.market.execution import Fills
from environments.market.feed import Rows
from environments.market.inventory import Made
from environments.market.ledger import Book
from environments.market.orders import Orders
from environments.market.record import MarketRecord
from environments.market.rewards import Memories, Outcome
from environments.market.scalars import scalar
from environments.market.state import State
from environments.market.world import World

LEAST = 1e-6  # of value, for a division: a portfolio that is worth nothing is about to end


def trade(world: World, before: State, now: Rows, orders: Orders) -> tuple[State, Outcome, Tensor]:
    """Fills orders at the next open, books the bar and marks at its close.

    Returns:
        after: The state at the close of t + 1, before any reset.
        outcome: What the bar brought.
        reward_EM: float32, rewards for each asset's traders and for the portfolio (last).
    """
    fill_EN = orders.order_EN & now.trades_EN
    if now.settles_EN is not None:
        fill_EN = fill_EN | now.settles_EN
    if world.feed.overnight:
        carry_EN, interest_E = _accrued(world, before.book, now)
        cash_E = before.book.cash_E + interest_E + carry_EN.sum(1)
        fills = _fills(world, before, now, orders, fill_EN, cash_E)
    else:
        fills = _fills(world, before, now, orders, fill_EN, before.book.cash_E)
        carry_EN, interest_E = _accrued(world, ledger.filled(before.book, fills, now.open_EN), now)
    close_EN = _closes(world, before, now, fills)
    book, pnl_EN = ledger.settle(before.book, fills, now.open_EN, close_EN, carry_EN, interest_E)
    made = _made(world, before, now, orders, fill_EN, fills, carry_EN)
    record = MarketRecord(
        bar_E=before.bar_E + 1,
        nav_E=book.cash_E + book.value_EN.sum(1),
        value_EN=book.value_EN,
        traded_EN=fills.traded_EN,
        cost_EN=fills.cost_EN,
        captured_EN=_captured(fills),
        carry_EN=carry_EN,
        pnl_EN=pnl_EN,
        interest_E=interest_E,
        budget_EK=orders.budget_EK,
        signal_EN=orders.signal_EN,
        voice_EM=orders.voice_EM,
        inventory_EN=made.shares_EN if world.makers is None else made.shares_EN * book.price_EN,
        made_EN=made.pnl_EN,
        quoted_EN=made.quoted_EN,
    )
    sized_EN = torch.where(fill_EN, world.paid(orders.sleeve_EN), before.sized_EN)
    outcome = _outcome(world, before, now, record, book, paid_on(before.sized_EN, sized_EN))
    reward_EM, terms = rewards.reward(outcome, world.params.reward, before.terms)
    step_E = before.step_E + 1
    after = replace(
        before,
        book=book,
        nav_E=record.nav_E,
        bar_E=record.bar_E,
        step_E=step_E,
        acts_E1=world.acts(step_E),
        sized_EN=sized_EN,
        drawdown_EM=outcome.drawdown_EM,
        hidden_EK=before.hidden_EK if now.hidden_EK is None else now.hidden_EK,
        terms=terms,
        reins=orders.reins,
        inventory_EN=made.shares_EN,
        watch=_watched(world, before, orders, outcome),
        **_ranked(world, before, outcome),
        **_standing(world, before, orders, record, book, order_EN=orders.order_EN > fill_EN),
    )
    return after, outcome, reward_EM


def paid_on(before_EN: Tensor, after_EN: Tensor) -> Tensor:
    """The sleeve that each position of the bar is paid by: the larger one it was sized on, before the bar and after.

    When the allocator cuts a sleeve to nothing, what the large position still earns until the fill, and what the fill
    costs, is no huge return on the small one.
    """
    return torch.maximum(before_EN, after_EN)


def _accrued(world: World, book: Book, now: Rows) -> tuple[Tensor, Tensor]:
    """Carry and interest of holding a book for the bar."""
    return ledger.accrue(book, world.borrow_N * now.years_E.unsqueeze(1), world.params.cash_rate * now.years_E)


def _fills(world: World, before: State, now: Rows, orders: Orders, fill_EN: Tensor, cash_E: Tensor) -> Fills:
    """What the open brings, and then the bar to resting orders."""
    target_EN = orders.target_EN
    if orders.quoting is not None:
        nav_E = cash_E + (before.book.shares_EN * now.open_EN).sum(1)
        kept_EN, most = orders.quoting.kept_EN, orders.caps.max_position
        target_EN = inventory.at_the_open(target_EN, kept_EN, before, now.open_EN, nav_E, most, world.lowest_N)
    fills = execution.fill(
        shares_EN=before.book.shares_EN,
        open_EN=now.open_EN,
        cash_E=cash_E,
        target_EN=target_EN if now.settles_EN is None else torch.where(now.settles_EN, 0.0, target_EN),
        fill_EN=fill_EN,
        slope_EN=now.slope_EN,
        costs=world.costs,
        classes=world.classes,
        caps=orders.caps,
        in_shares=world.sizing.in_shares,
    )
    if orders.quoting is not None:
        return _with_makers(world, before, now, orders, fill_EN, fills, cash_E)
    return _with_quotes(world, before, now, orders, fills, cash_E)


def _with_makers(
    world: World, before: State, now: Rows, orders: Orders, fill_EN: Tensor, fills: Fills, cash_E: Tensor
) -> Fills:
    """What market makers' quotes bring on top."""
    makers, quoting, low_EN, high_EN = world.makers, orders.quoting, now.low_EN, now.high_EN
    assert makers is not None
    assert quoting is not None
    assert low_EN is not None
    assert high_EN is not None  # a feed has highs and lows where somebody makes a market
    nav_E = cash_E - fills.cost_EN.sum(1) + (before.book.shares_EN * now.open_EN).sum(1)
    most_N = torch.full_like(world.lowest_N, torch.inf)
    least_N = torch.where(world.lowest_N < 0.0, -torch.inf, 0.0)
    limits = quotes.Exposure(most_N, least_N, nav_E.unsqueeze(1), world.classes, orders.caps)
    kept_EN = _kept(before, now, orders, fill_EN)
    return inventory.fill(makers, quoting, fills, kept_EN, low_EN, high_EN, now.open_EN, limits)


def _kept(before: State, now: Rows, orders: Orders, fill_EN: Tensor) -> Tensor:
    """Market makers' inventory once orders have filled at the open."""
    if orders.quoting is None:
        kept_EN = before.inventory_EN
    else:
        kept_EN = torch.where(fill_EN, orders.quoting.kept_EN, before.inventory_EN)
    return kept_EN if now.settles_EN is None else torch.where(now.settles_EN, 0.0, kept_EN)


def _made(
    world: World, before: State, now: Rows, orders: Orders, fill_EN: Tensor, fills: Fills, carry_EN: Tensor
) -> Made:
    """What market makers did; without columns where there are none."""
    if world.makers is None:
        return Made(before.inventory_EN, before.inventory_EN, before.inventory_EN)
    kept_EN = _kept(before, now, orders, fill_EN)
    prices = (now.open_EN, now.close_EN)
    return inventory.account(fills, before.inventory_EN, kept_EN, *prices, carry_EN, before.book)


def _with_quotes(world: World, before: State, now: Rows, orders: Orders, fills: Fills, cash_E: Tensor) -> Fills:
    """What resting orders bring on top."""
    params = world.params.limit_orders
    if params is None or orders.quote_EN2 is None or now.chance_EN2 is None:
        return fills
    nav_E = cash_E - fills.cost_EN.sum(1) + (before.book.shares_EN * now.open_EN).sum(1)
    most_N = world.sizing.size_N
    limits = quotes.Exposure(most_N, most_N * world.lowest_N, nav_E.unsqueeze(1), world.classes, orders.caps)
    return quotes.fill(fills, orders.quote_EN2, now.chance_EN2, now.open_EN, now.years_E, params, world.fees, limits)


def _captured(fills: Fills) -> Tensor:
    nothing = scalar(0.0, fills.cost_EN.device)
    return nothing.expand_as(fills.cost_EN) if fills.captured_EN is None else fills.captured_EN


def _closes(world: World, before: State, now: Rows, fills: Fills) -> Tensor:
    """The closes, once the trades of the bar have moved prices for good."""
    if world.permanent is None:
        return now.close_EN
    return now.close_EN + impact.per_asset(world.permanent, fills.shares_EN - before.book.shares_EN)


def _standing(
    world: World, before: State, orders: Orders, record: MarketRecord, book: Book, order_EN: Tensor
) -> dict[str, Tensor]:
    """What is wanted and what is held, as amounts and as signals: fields of the state."""
    nav_E1 = record.nav_E.clamp(min=LEAST).unsqueeze(1)
    weight_EN = record.value_EN / nav_E1
    held_EN, target_EN = world.sizing.held(weight_EN, book.shares_EN), orders.target_EN
    if world.makers is not None:
        held_EN = held_EN - record.inventory_EN / nav_E1
    if orders.quoting is not None:
        target_EN = target_EN - inventory.weights(orders.quoting.kept_EN, before.book.price_EN, before.nav_E)
    stand_EN = torch.where(order_EN, target_EN, held_EN)
    signal_EN = stand_EN / orders.full_EN
    if world.oversight is not None:  # where it lets nothing be held, what traders want stands all the same
        signal_EN = torch.where(orders.full_EN == 0.0, orders.signal_EN, signal_EN)
    return {
        "weight_EN": weight_EN,
        "budget_EK": orders.budget_EK,
        "sleeve_EN": orders.sleeve_EN,
        "order_EN": order_EN,
        "stand_EN": stand_EN,
        "held_EN": torch.clamp(signal_EN, world.lowest_N, world.highest_N),
        "score_EJ": orders.score_EJ,
        "said_EM": orders.said_EM,
        "voice_EM": orders.voice_EM,
    }


def _watched(world: World, before: State, orders: Orders, outcome: Outcome) -> Memories:
    """What the risk manager remembers; as it was where it was not asked."""
    if world.oversight is None or orders.watch is None:
        return before.watch
    return world.oversight.follow(orders.watch, outcome.return_EM[:, -1:])


def _ranked(world: World, before: State, outcome: Outcome) -> dict[str, Tensor]:
    """How the classes have performed, where that matters: fields of the state."""
    if world.half_life is None:
        return {}
    pnl_EC, sleeve_EC = world.classes.sums(outcome.record.pnl_EN), world.classes.sums(outcome.sleeve_EN)
    return_EC = coordination.class_returns(pnl_EC, sleeve_EC, before.nav_E)
    found = coordination.follow(before.class_mean_EC, before.class_variance_EC, return_EC, world.half_life)
    return dict(zip(("class_mean_EC", "class_variance_EC"), found, strict=True))


def _outcome(
    world: World, before: State, now: Rows, record: MarketRecord, book: Book, sleeve_EN: Tensor
) -> rewards.Outcome:
    """What the bar brought, as rewards see it."""
    params, before_E1 = world.params.reward, before.nav_E.unsqueeze(1)
    gain_E1 = record.nav_E.unsqueeze(1) - before_E1
    base_EM = rewards.bases(before_E1, sleeve_EN)
    own_EN = record.pnl_EN if world.makers is None else record.pnl_EN - record.made_EN
    return_EM = rewards.log_returns(own_EN, gain_E1, base_EM)
    profit_EM = return_EM
    if params.unit == "money" or params.expected:
        profit_EM = rewards.profits(record, params, base_EM, _luck(world, before, now, book))
        if world.makers is not None:
            profit_EM = torch.cat([own_EN, profit_EM[:, -1:]], dim=1)
    return Outcome(
        record=record,
        before_E=before.nav_E,
        sleeve_EN=sleeve_EN,
        base_EM=base_EM,
        return_EM=return_EM,
        drawdown_EM=rewards.drawdown(before.drawdown_EM, return_EM),
        deeper_EM=return_EM.neg().clamp(min=0.0),
        profit_EM=profit_EM,
        shares_EN=book.shares_EN,
        last_E=record.bar_E >= before.end_E,
    )


def _luck(world: World, before: State, now: Rows, book: Book) -> rewards.Luck | None:
    """What of the bar nobody could expect; None if it counts as well."""
    if not world.params.reward.expected or now.expected_EN is None:
        return None
    surprise_EN = book.shares_EN * (now.close_EN - now.expected_EN)
    return rewards.Luck(surprise_EN, world.feed.variance(before, book.shares_EN))
