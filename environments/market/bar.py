"""One bar, from the close of t to that of t + 1: execution, ledger, reward."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from environments.market import execution, ledger, rewards
from environments.market.orders import Orders
from environments.market.record import MarketRecord
from environments.market.state import State
from environments.market.tables import Rows
from environments.market.world import World

LEAST = 1e-6  # of value, for a division: a portfolio that is worth nothing is about to end


def trade(world: World, before: State, now: Rows, orders: Orders) -> tuple[State, MarketRecord, Tensor]:
    """Fills orders at the next open, books the bar and marks at its close.

    Returns:
        after: The state at the close of t + 1, before any reset.
        record: What the bar brought.
        reward_EM: float32, rewards for each asset's traders and for the portfolio (last).
    """
    years_E = world.tables.years_T.index_select(0, before.bar_E)
    carry_EN, interest_E = ledger.accrue(
        before.book, world.borrow_N * years_E.unsqueeze(1), world.params.cash_rate * years_E
    )
    fill_EN = (orders.order_EN & now.trades_EN) | now.settles_EN
    fills = execution.fill(
        shares_EN=before.book.shares_EN,
        open_EN=now.open_EN,
        cash_E=before.book.cash_E + interest_E + carry_EN.sum(1),
        target_EN=torch.where(now.settles_EN, 0.0, orders.target_EN),
        fill_EN=fill_EN,
        flat_N=world.flat_N,
        slope_EN=now.slope_EN,
        classes=world.classes,
        caps=orders.caps,
    )
    book, pnl_EN = ledger.settle(before.book, fills, now.open_EN, now.close_EN, carry_EN, interest_E)
    value_EN = book.shares_EN * book.price_EN
    record = MarketRecord(
        bar_E=before.bar_E + 1,
        nav_E=book.cash_E + value_EN.sum(1),
        value_EN=value_EN,
        traded_EN=fills.traded_EN,
        cost_EN=fills.cost_EN,
        carry_EN=carry_EN,
        pnl_EN=pnl_EN,
        interest_E=interest_E,
        budget_EK=orders.budget_EK,
        signal_EN=orders.signal_EN,
    )
    sized_EN = torch.where(fill_EN, orders.sleeve_EN, before.sized_EN)
    drawdown_EM, reward_EM = _rewards(world, before, sized_EN, record)
    after = replace(
        _with_orders(world, before, orders, record, order_EN=orders.order_EN & ~fill_EN),
        book=book,
        nav_E=record.nav_E,
        bar_E=record.bar_E,
        step_E=before.step_E + 1,
        sized_EN=sized_EN,
        drawdown_EM=drawdown_EM,
    )
    return after, record, reward_EM


def _with_orders(world: World, before: State, orders: Orders, record: MarketRecord, order_EN: Tensor) -> State:
    """The state with what is wanted and what is held, as weights and as signals."""
    weight_EN = record.value_EN / record.nav_E.clamp(min=LEAST).unsqueeze(1)
    stand_EN = torch.where(order_EN, orders.target_EN, weight_EN)
    return replace(
        before,
        weight_EN=weight_EN,
        budget_EK=orders.budget_EK,
        sleeve_EN=orders.sleeve_EN,
        order_EN=order_EN,
        stand_EN=stand_EN,
        held_EN=torch.maximum((stand_EN / orders.sleeve_EN).clamp(max=1.0), world.lowest_N),
        score_EJ=orders.score_EJ,
    )


def _rewards(world: World, before: State, sized_EN: Tensor, record: MarketRecord) -> tuple[Tensor, Tensor]:
    """The new drawdowns, and the rewards.

    A position is paid for by the sleeve it was sized on: when the allocator cuts a sleeve to nothing, what the large
    position still earns until the fill, and what the fill costs, is no huge return on the small one.
    """
    sleeve_EN = torch.maximum(before.sized_EN, sized_EN)
    asset_EN, portfolio_E = rewards.log_returns(record.pnl_EN, before.nav_E, record.nav_E)
    return_EM = rewards.columns(asset_EN, portfolio_E, sleeve_EN)
    drawdown_EM = rewards.drawdown(before.drawdown_EM, return_EM)
    outcome = rewards.Outcome(
        record=record,
        before_E=before.nav_E,
        sleeve_EN=sleeve_EN,
        return_EM=return_EM,
        drawdown_EM=drawdown_EM,
        deeper_EM=drawdown_EM - before.drawdown_EM,
    )
    return drawdown_EM, rewards.reward(outcome, world.params.reward)
