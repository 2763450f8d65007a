import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from environments.errors import DataError
from environments.market.config_reward import RewardParams
from environments.market.record import MarketRecord
from environments.market.rewards import Outcome, bases, drawdown, log_ratio, log_returns, objectives, reward, weights


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


WHOLE = row(1.0, 1.0)
"""Sleeves so large that assets are paid as the portfolio is."""


def test_assets_and_interest_add_up_to_the_log_return():
    before, interest = 1000.0, 4.0
    return_EM = log_returns(row(60.0, -10.0), row(50.0 + interest), bases(row(before), WHOLE))
    assert return_EM[0].tolist() == pytest.approx([share / 54 * math.log(1.054) for share in (60, -10, 54)])


def test_a_bar_without_a_return_and_one_that_ruins():
    base_EM = bases(row(100.0), WHOLE)
    assert log_returns(row(5.0, -5.0), row(0.0), base_EM)[0].tolist() == pytest.approx([0.05, -0.05, 0.0])
    return_EM = log_returns(row(-150.0, 0.0), row(-150.0), base_EM)
    assert return_EM[0].tolist() == pytest.approx([math.log(1e-6), 0.0, math.log(1e-6)])


@pytest.mark.parametrize("return_", [0.0, 1e-300, -1e-17, 1e-12, -1e-9, 3e-5, -0.4, 1.7])
def test_the_log_of_a_small_return_loses_no_digits(return_):
    expected = math.log1p(return_) / return_ if return_ else 1.0
    assert log_ratio(row(return_)).item() == pytest.approx(expected, rel=1e-14)


def test_a_trader_is_paid_for_its_sleeve_and_the_floor_is_a_thousandth_of_an_equal_share():
    base_EM = bases(row(200.0), row(0.25, 0.0))
    assert base_EM[0].tolist() == pytest.approx([50.0, 200 * 1e-3 / 2, 200.0])


def test_the_drawdown_counts_from_the_running_peak():
    depth, depths = row(0.0), []
    for log_return in (0.1, -0.2, 0.05, 0.2, -0.01):
        depth = drawdown(depth, row(log_return))
        depths.append(depth.item())
    assert depths == pytest.approx([0.0, 0.2, 0.15, 0.0, 0.01])


def outcome() -> Outcome:
    """Two assets on sleeves of a half and a quarter of a portfolio worth 1000."""
    zero = row(0.0, 0.0)
    record = MarketRecord(
        bar_E=torch.zeros(1, dtype=torch.int64),
        nav_E=row(1010.0)[0],
        value_EN=row(-200.0, 100.0),
        traded_EN=row(50.0, 0.0),
        cost_EN=row(1.0, 0.0),
        captured_EN=zero,
        carry_EN=zero,
        pnl_EN=zero,
        interest_E=row(0.0)[0],
        budget_EK=row(1.0, 0.0),
        signal_EN=zero,
        voice_EM=zero,
        inventory_EN=zero,
        made_EN=zero,
        quoted_EN=zero,
    )
    return Outcome(
        record=record,
        before_E=row(1000.0)[0],
        sleeve_EN=row(0.5, 0.25),
        base_EM=row(500.0, 250.0, 1000.0),
        return_EM=row(0.01, 0.02, 0.01),
        drawdown_EM=row(0.05, 0.0, 0.0),
        deeper_EM=row(0.004, 0.0, 0.0),
        profit_EM=row(0.01, 0.02, 0.01),
        shares_EN=row(-4.0, 1.0),
        last_E=torch.tensor([True]),
    )


def test_an_outcome_is_in_shares_of_the_sleeve_and_of_the_portfolio():
    found = outcome()
    assert found.cost_EM[0].tolist() == pytest.approx([0.002, 0.0, 0.001])
    assert found.traded_EM[0].tolist() == pytest.approx([0.1, 0.0, 0.05])
    assert found.exposure_EM[0].tolist() == pytest.approx([0.4, 0.4, 0.3])


def test_terms_are_weighed_and_scaled():
    total, _ = reward(outcome(), RewardParams(profit=2.0, cost=0.5, drawdown=3.0, scale=10.0), ())
    expected = [10 * (0.02 - 0.001 - 0.012), 10 * 0.04, 10 * (0.02 - 0.0005)]
    assert total[0].tolist() == pytest.approx(expected)
    assert total.dtype == torch.float32


class Turnover:
    """A term of one's own: what is traded."""

    def __call__(self, outcome: Outcome) -> Tensor:
        return outcome.traded_EM


def test_a_term_of_ones_own_is_named_in_the_file():
    params = RewardParams(profit=0.0, scale=1.0, terms={f"{__name__}:Turnover": -2.0})
    total, memories = reward(outcome(), params, ((),))
    assert total[0].tolist() == pytest.approx([-0.2, 0.0, -0.1])
    assert memories == ((),)


class Lopsided:
    """Forgets the portfolio."""

    def __call__(self, outcome: Outcome) -> Tensor:
        return outcome.record.cost_EN


def test_a_term_of_another_shape_is_named():
    with pytest.raises(DataError, match=r"reward\.terms: \S+:Lopsided gave shape \(1, 2\), must be \(1, 3\)"):
        reward(outcome(), RewardParams(terms={f"{__name__}:Lopsided": 1.0}), ((),))


@pytest.mark.parametrize(
    "target",
    [
        "nowhere:Turnover",
        f"{__name__}:Missing",
        f"{__name__}:MarketRecord",
        "builtins:object",
        "this_is:no.module",
    ],
)
def test_a_term_that_cannot_be_built_is_refused(target):
    with pytest.raises(ValidationError, match="is no module:Class of a term"):
        RewardParams(terms={target: 1.0})


def test_a_vector_has_each_term_before_weights():
    params = RewardParams(cost=0.5, drawdown=3.0, terms={f"{__name__}:Turnover": -2.0})
    told = objectives(outcome(), params, ((),))
    assert {name: value_EM[0].tolist() for name, value_EM in told.items()} == {
        "profit": pytest.approx([0.01, 0.02, 0.01]),
        "cost": pytest.approx([-0.002, 0.0, -0.001]),
        "drawdown_increase": pytest.approx([-0.004, 0.0, 0.0]),
        f"{__name__}:Turnover": pytest.approx([0.1, 0.0, 0.05]),
    }
    summed = sum(weight * told[name] for name, weight in weights(params).items())
    total, _ = reward(outcome(), params, ((),))
    assert torch.allclose(total.double(), 100 * summed)


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ({"sharpe": 1.0}, r"'sharpe' is no term; there are cooperation, cost, cvar, .*, and module:Class"),
        ({"base": 1.0}, r"'base' is no term"),
        ({"cvar": {"level": 0.9}}, r"cvar: weight is None; give a number"),
        ({"cvar": {"weight": "much"}}, r"cvar: weight is 'much'; give a number"),
        ({"cvar": {"weight": 0.1, "level": 95}}, r"cvar\.level: Input should be less than 1, given 95"),
        ({"cvar": {"weight": 0.1, "lever": 0.9}}, r"cvar\.lever: Extra inputs are not permitted, given 0\.9"),
        ({"log_return": {"weight": 1.0, "half_life": 3}}, r"'log_return' is no module:Class of a term \(TypeError"),
    ],
)
def test_a_term_that_is_not_as_it_must_be_is_refused(terms, told):
    with pytest.raises(ValidationError, match=told):
        RewardParams(terms=terms)


def test_the_same_term_twice_is_refused():
    with pytest.raises(ValidationError, match=r"cost and terms\.cost are the same in log returns"):
        RewardParams(cost=0.5, terms={"cost": 0.5})
