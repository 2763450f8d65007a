"""The one place where money moves, in float64. Long and short are symmetric; shares may be fractions.

One bar, from close to close, with h shares, p prices, c cash:
    interest = rate x days/365 x (c - value of shorts): what short sales brought in earns nothing
    carry_i  = -borrow_i x days/365 x value of a short at the last close
    both of what is held when the bar begins: before the fills, or after them where the open is the last close (a
    simulation), with c - sum (h'_i - h_i) open_i - sum cost_i + sum captured_i for the cash
    c'       = c + interest + sum carry - sum (h'_i - h_i) open_i - sum cost_i + sum captured_i
    pnl_i    = h'_i close_i - h_i p_i - (h'_i - h_i) open_i + carry_i - cost_i + captured_i
    nav'     = c' + sum h'_i close_i = nav + sum pnl_i + interest
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market.execution import Fills


@dataclass(frozen=True)
class Book:
    """What a portfolio holds, marked at a close.

    Attributes:
        cash_E: float64.
        shares_EN: float64, negative if short.
        price_EN: float64, the close it is marked at.
        value_EN: float64, shares x price.
        entry_EN: float64, average price at which what is held was opened; means nothing where nothing is held.
    """

    cash_E: Tensor
    shares_EN: Tensor
    price_EN: Tensor
    value_EN: Tensor
    entry_EN: Tensor


def accrue(book: Book, borrow_EN: Tensor, interest_E: Tensor) -> tuple[Tensor, Tensor]:
    """What holding the book from one close to the next brings, apart from prices.

    Args:
        book: Marked at the last close.
        borrow_EN: float64, borrowing rate of this bar (per year x year fraction).
        interest_E: float64, interest rate of this bar.

    Returns:
        carry_EN: float64, at most 0.
        interest_E: float64.
    """
    short_EN = book.value_EN.clamp(max=0.0)
    return short_EN * borrow_EN, (book.cash_E + short_EN.sum(1)) * interest_E


def filled(book: Book, fills: Fills, open_EN: Tensor) -> Book:
    """The book right after its fills, marked at the open; ``entry_EN`` is left as it was."""
    paid_EN = _paid(fills, fills.shares_EN - book.shares_EN, open_EN)
    return Book(book.cash_E - paid_EN.sum(1), fills.shares_EN, open_EN, fills.shares_EN * open_EN, book.entry_EN)


def settle(
    book: Book, fills: Fills, open_EN: Tensor, close_EN: Tensor, carry_EN: Tensor, interest_E: Tensor
) -> tuple[Book, Tensor]:
    """Books one bar and marks at its close.

    Returns:
        book: The new one.
        pnl_EN: float64, net of costs, carry and what quotes captured.
    """
    bought_EN = fills.shares_EN - book.shares_EN
    paid_EN = _paid(fills, bought_EN, open_EN) - carry_EN
    value_EN = fills.shares_EN * close_EN
    pnl_EN = value_EN - book.value_EN - paid_EN
    # How much of the position is new: all of it if it was opened or turned round, nothing if it was only reduced.
    ratio_EN = bought_EN / fills.shares_EN  # not a number if nothing was held and nothing is
    fresh_EN = torch.where(ratio_EN > 0.0, ratio_EN, 0.0).clamp(max=1.0)
    after = Book(
        cash_E=book.cash_E + interest_E - paid_EN.sum(1),
        shares_EN=fills.shares_EN,
        price_EN=close_EN,
        value_EN=value_EN,
        entry_EN=torch.lerp(book.entry_EN, open_EN, fresh_EN),
    )
    return after, pnl_EN


def _paid(fills: Fills, bought_EN: Tensor, open_EN: Tensor) -> Tensor:
    """Cash that leaves for what is bought, and for its costs, less what quotes captured."""
    paid_EN = torch.addcmul(fills.cost_EN, bought_EN, open_EN)
    return paid_EN if fills.captured_EN is None else paid_EN - fills.captured_EN
