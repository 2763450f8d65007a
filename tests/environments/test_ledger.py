"""The ledger against numbers worked by hand."""

from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor

from environments.market.execution import Fills
from environments.market.ledger import Book, accrue, settle


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def all_cash(cash: float, *price: float) -> Book:
    nothing = row(*[0.0] * len(price))
    return Book(row(cash)[0], nothing, row(*price), nothing, row(*price))


def play(
    book: Book,
    shares: float,
    open_: float,
    close: float,
    cost: float,
    borrow: float = 0.0,
    rate: float = 0.0,
    captured: float = 0.0,
):
    """One bar of a book with one asset; returns the book, its value, pnl, carry and interest."""
    carry_EN, interest_E = accrue(book, row(borrow), row(rate)[0])
    traded_EN = (row(shares) - book.shares_EN).abs() * open_
    fills = Fills(row(shares), traded_EN, row(cost), row(captured))
    book, pnl_EN = settle(book, fills, row(open_), row(close), carry_EN, interest_E)
    assert torch.equal(book.value_EN, book.shares_EN * book.price_EN)
    nav = float(book.cash_E + book.value_EN.sum(1))
    return book, nav, float(pnl_EN), float(carry_EN), float(interest_E)


def test_a_long_position_over_three_bars():
    book, nav, pnl, _, _ = play(all_cash(1000, 19), shares=10, open_=20, close=21, cost=1.5)
    assert (float(book.cash_E), nav, pnl) == pytest.approx((1000 - 200 - 1.5, 1008.5, 8.5))

    book, nav, pnl, carry, interest = play(book, shares=10, open_=22, close=20.5, cost=0, borrow=0.01, rate=0.001)
    assert (carry, interest, pnl) == pytest.approx((0.0, 0.7985, -5.0))  # nothing is borrowed; interest on 798.50
    assert nav == pytest.approx(1004.2985)

    book, nav, pnl, _, _ = play(book, shares=6, open_=19, close=19.5, cost=0.5)
    assert float(book.cash_E) == pytest.approx(799.2985 + 4 * 19 - 0.5)
    assert (nav, pnl) == pytest.approx((991.7985, 10 * -1.5 + 6 * 0.5 - 0.5))


def test_a_short_position_pays_for_what_is_borrowed_and_earns_nothing_on_its_proceeds():
    book, nav, pnl, _, _ = play(all_cash(1000, 100), shares=-5, open_=100, close=98, cost=1)
    assert (float(book.cash_E), nav, pnl) == pytest.approx((1499, 1009, 9))

    weekend = 3 / 365
    book, nav, pnl, carry, interest = play(book, -5, open_=101, close=103, cost=0, borrow=0.1 * weekend, rate=0.0004)
    assert carry == pytest.approx(-490 * 0.1 * 3 / 365)
    assert interest == pytest.approx((1499 - 490) * 0.0004)
    assert pnl == pytest.approx(-5 * (103 - 98) + carry)
    assert nav == pytest.approx(1009 + pnl + interest)


def test_what_quotes_capture_is_earned_in_cash():
    book, nav, pnl, _, _ = play(all_cash(100.0, 10.0), shares=1.0, open_=10.0, close=11.0, cost=0.25, captured=0.5)
    assert pnl == 1.0 - 0.25 + 0.5
    assert nav == 100 + pnl
    assert book.cash_E.item() == 100 - 10 - 0.25 + 0.5


def test_turning_a_position_round():
    book, nav, _, _, _ = play(all_cash(1000, 100), shares=-5, open_=100, close=103, cost=0)
    book, after, pnl, _, _ = play(book, shares=3, open_=104, close=105, cost=2)
    assert pnl == pytest.approx(-5 * (104 - 103) + 3 * (105 - 104) - 2)
    assert after == pytest.approx(nav + pnl)
    assert float(book.cash_E) == pytest.approx(1500 - 8 * 104 - 2)


def test_a_currency_in_fractions_of_a_unit():
    units = 50_000 / 1.10
    book, nav, pnl, _, _ = play(all_cash(100_000, 1.10), shares=units, open_=1.10, close=1.1011, cost=2.5)
    assert float(book.cash_E) == pytest.approx(100_000 - 50_000 - 2.5, abs=1e-9)
    assert pnl == pytest.approx(50 - 2.5, abs=1e-9)
    assert nav == pytest.approx(100_047.5, abs=1e-9)


def test_the_entry_is_the_average_of_what_was_added_and_stays_when_reduced():
    entries = []
    book = all_cash(1000, 10)
    for shares, open_ in ((2, 10), (6, 14), (3, 20), (-1, 30), (-3, 24), (0, 25), (4, 12)):
        book, *_ = play(book, shares, open_, close=open_, cost=0)
        entries.append(float(book.entry_EN))
    assert entries[:5] == pytest.approx([10, (2 * 10 + 4 * 14) / 6, 76 / 6, 30, (30 + 2 * 24) / 3])
    assert entries[6] == pytest.approx(12)


def test_long_and_short_mirror_each_other():
    long, *_ = play(all_cash(1000, 50), shares=4, open_=50, close=53, cost=0)
    short, *_ = play(all_cash(1000, 50), shares=-4, open_=50, close=47, cost=0)
    for prices, mirrored in (((54, 56), (46, 44)), ((51, 49), (49, 51))):
        long, up, *_ = play(long, 4, *map(float, prices), cost=0)
        short, down, *_ = play(short, -4, *map(float, mirrored), cost=0)
        assert up == down


def test_ten_thousand_bars_are_exact_to_a_billionth():
    """Against the same sums in 50 decimal digits: two copies, one long and one short on the whole, three assets."""
    bars, generator = 10_000, torch.Generator().manual_seed(3)

    def noise(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    price_TEN = 50 + noise(bars + 1, 2, 3) * 100
    open_TEN, shares_TEN = 50 + noise(bars, 2, 3) * 100, (noise(bars, 2, 3) - 0.4) * torch.tensor([[[3.0], [-3.0]]])
    cost_TEN, borrow, interest = noise(bars, 2, 3) * 1e-2, 1e-5, 1e-5
    nothing_EN = torch.zeros_like(price_TEN[0])
    book = Book(torch.full((2,), 1e5, dtype=torch.float64), nothing_EN, price_TEN[0], nothing_EN, price_TEN[0])
    for t in range(bars):
        carry_EN, interest_E = accrue(book, torch.full_like(book.price_EN, borrow), row(interest, interest)[0])
        traded_EN = (shares_TEN[t] - book.shares_EN).abs() * open_TEN[t]
        fills = Fills(shares_TEN[t], traded_EN, cost_TEN[t], torch.zeros_like(traded_EN))
        book, _ = settle(book, fills, open_TEN[t], price_TEN[t + 1], carry_EN, interest_E)
    with localcontext(prec=50):
        cash_E = [exact_cash(e, price_TEN, open_TEN, shares_TEN, cost_TEN, borrow, interest) for e in range(2)]
    assert book.cash_E.tolist() == pytest.approx([float(cash) for cash in cash_E], rel=1e-9)


def exact_cash(
    e: int, price_TEN: Tensor, open_TEN: Tensor, shares_TEN: Tensor, cost_TEN: Tensor, borrow: float, interest: float
) -> Decimal:
    """The cash of one copy after all bars, by the module's own formula, in decimals."""
    cash, held_N = Decimal(100_000), [Decimal(0)] * 3
    columns = (price_TEN[:-1, e], open_TEN[:, e], shares_TEN[:, e], cost_TEN[:, e])
    for row in zip(*(column.tolist() for column in columns), strict=True):
        price_N, open_N, shares_N, cost_N = ([Decimal(value) for value in values] for values in row)
        short = sum(min(held * price, Decimal(0)) for held, price in zip(held_N, price_N, strict=True))
        cash += Decimal(interest) * (cash + short) + Decimal(borrow) * short
        cash -= sum((new - held) * at for new, held, at in zip(shares_N, held_N, open_N, strict=True)) + sum(cost_N)
        held_N = shares_N
    return cash
