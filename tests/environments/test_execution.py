import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from environments.market.execution import MAX_IMPACT, Costs, Fills, cost_rate, fill, impact_slope
from environments.market.risk import Classes, Limits

ONE_CLASS = Classes(torch.tensor([0, 0]), torch.tensor([2]))
NO_CAPS = Limits(torch.inf, torch.inf, torch.inf)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def trade(
    shares: Tensor,
    price: Tensor,
    cash: float,
    target: Tensor,
    fills: tuple[bool, ...] = (True, True),
    flat: float = 0.0,
    slope: float = 0.0,
    caps: Limits = NO_CAPS,
    classes: Classes = ONE_CLASS,
) -> Fills:
    costs = Costs(torch.full_like(target[0], flat), None, None)
    slopes = torch.full_like(target, slope)
    return fill(shares, price, row(cash)[0], target, torch.tensor([fills]), slopes, costs, classes, caps)


def test_without_costs_targets_are_met_exactly():
    fills = trade(row(0, 10), row(20, 50), 500, row(0.5, -0.25))
    assert fills.shares_EN.tolist() == [[500 / 20, -250 / 50]]
    assert fills.traded_EN.tolist() == [[500, 750]]
    assert fills.cost_EN.tolist() == [[0, 0]]


def test_the_first_buy_leaves_room_for_its_costs():
    fills = trade(row(0, 0), row(1.1, 1.0), 1e6, row(0.5, 0.0), flat=1e-4)
    value = 0.5 * (1e6 - 50)  # the costs of 500,000 at one basis point are the bound
    assert fills.traded_EN[0, 0].item() == pytest.approx(value)
    assert fills.cost_EN[0, 0].item() == pytest.approx(value * 1e-4)


def test_a_small_rebalancing_reserves_little():
    fills = trade(row(500, 499), row(1.0, 1.0), 1.0, row(0.501, 0.499), flat=1e-3)
    # d = (1, 0): c = (1 + c) x 0.001, far below the cost of selling everything
    reserve = 0.001 / (1 - 0.001)
    assert fills.shares_EN[0].tolist() == pytest.approx([0.501 * (1000 - reserve), 0.499 * (1000 - reserve)], rel=1e-12)


def test_square_root_impact():
    slope = impact_slope(torch.tensor(0.7), torch.tensor(0.02), torch.tensor(1e8))
    rate = cost_rate(torch.tensor(1e6), torch.tensor(0.0002), slope)
    assert rate.item() == pytest.approx(0.0002 + 0.7 * 0.02 * (1e6 / 1e8) ** 0.5)
    assert cost_rate(torch.tensor(1e30), torch.tensor(0.0), slope).item() == MAX_IMPACT


def test_there_is_no_impact_where_nobody_knows_the_volume():
    assert impact_slope(torch.tensor(0.7), torch.tensor(0.02), torch.tensor(0.0)).item() == 0


def test_what_gets_no_fill_keeps_its_shares_to_the_bit():
    shares = row(1 / 3, 7.0)
    fills = trade(shares, row(10, 10), 100, row(0.9, 0.1), fills=(False, True), flat=0.01)
    assert fills.shares_EN[0, 0] == shares[0, 0]
    assert fills.cost_EN[0, 0] == 0
    assert fills.traded_EN[0, 0] == 0


def test_targets_make_room_for_what_cannot_be_sold():
    fills = trade(row(70, 0), row(1, 1), 30, row(0.0, 0.5), fills=(False, True), caps=Limits(1, 1, 1))
    assert fills.shares_EN[0].tolist() == pytest.approx([70, 30])
    two = Classes(torch.tensor([0, 1]), torch.tensor([1, 1]))
    fills = trade(row(70, 0), row(1, 1), 30, row(0, 0.5), (False, True), caps=Limits(1, 0.4, 2), classes=two)
    assert fills.shares_EN[0].tolist() == pytest.approx([70, 40])  # what cannot be sold is of another class


def test_nothing_is_bought_where_the_rest_already_fills_the_cap():
    fills = trade(row(120, 5), row(1, 1), -25, row(0.0, 0.5), fills=(False, True), caps=Limits(1, 1, 1))
    assert fills.shares_EN[0].tolist() == [120, 0]


def test_a_portfolio_without_value_is_closed():
    fills = trade(row(-10, 3), row(20, 10), 100, row(0.5, 0.5), flat=0.001)
    assert fills.shares_EN.tolist() == [[0, 0]]


numbers = st.floats(-3, 3)


@settings(max_examples=60, deadline=None)
@given(
    held=st.tuples(numbers, numbers),
    weight=st.tuples(numbers, numbers),
    fills=st.tuples(st.booleans(), st.booleans()),
    flat=st.floats(0, 0.15),
    slope=st.floats(0, 1),
)
def test_weights_hold_after_all_costs_are_paid(held, weight, fills, flat, slope):
    held_EN, nav = 1000 * row(*held), 1000.0
    target_EN = row(*weight) / max(1.0, sum(map(abs, weight)) / 2)  # gross 2 at most
    done = trade(held_EN, row(1, 1), nav - held_EN.sum().item(), target_EN, fills, flat, slope)
    after = nav - done.cost_EN.sum().item()
    value_EN = torch.where(torch.tensor([fills]), done.shares_EN, 0.0)
    assert (value_EN.abs() <= target_EN.abs() * max(after, 0.0) + 1e-9).all()
    assert (value_EN * target_EN >= 0).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 0.1), st.floats(0, 1e-3))
def test_trading_more_costs_more(one, more, flat, slope):
    value = torch.tensor(sorted([one, more]), dtype=torch.float64)
    cost = value * cost_rate(value, torch.tensor(flat), torch.tensor(slope))
    assert 0 <= cost[0] <= cost[1]
