"""What one step of the market brought, for evaluation and for tests."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MarketRecord:
    """The last step, before any automatic reset. No tensor in it is changed by a later step.

    nav after = nav before + the sum of pnl + interest; pnl = price change + captured - cost + carry.

    Attributes:
        bar_E: int64, index into ``panel.dates_T`` of the bar at whose close this was marked.
        nav_E: float64, value of the portfolio at that close.
        value_EN: float64, value of each position at that close, negative if short.
        traded_EN: float64, absolute value traded at the open of the bar, at the open's price; and by market makers'
            quotes, at these.
        cost_EN: float64, spread, impact and commission: at least 0 in sum, and of each asset unless the trades of one
            move the price of another (``linear_impact``).
        captured_EN: float64, what resting orders earned against the open's price; below 0 where a bar opened beyond a
            market maker's quote.
        carry_EN: float64, borrowing of shorts since the close before, at most 0.
        pnl_EN: float64, net of costs and carry.
        interest_E: float64, on cash, since the close before.
        budget_EK: float64, shares of the classes and of cash (last).
        signal_EN: float64, what was asked for, as a share of each asset's size (before caps).
        voice_EM: float64, how much each trader was heard, a column for each of its assets, one trader after the other;
            without columns where each asset has one trader, unless agents see what others say.
        inventory_EN: float64, value of market makers' inventory at that close, a part of ``value_EN``; without columns
            where there are no market makers, as the next two.
        made_EN: float64, their profit, a part of ``pnl_EN``.
        quoted_EN: float64, value that their quotes bought and sold, a part of ``traded_EN``.
    """

    bar_E: Tensor
    nav_E: Tensor
    value_EN: Tensor
    traded_EN: Tensor
    cost_EN: Tensor
    captured_EN: Tensor
    carry_EN: Tensor
    pnl_EN: Tensor
    interest_E: Tensor
    budget_EK: Tensor
    signal_EN: Tensor
    voice_EM: Tensor
    inventory_EN: Tensor
    made_EN: Tensor
    quoted_EN: Tensor
