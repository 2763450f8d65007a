import math

import pytest
import torch
from torch import Tensor

from environments.market.config import RewardParams
from environments.market.rewards import columns, drawdown, log_returns, reward


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_assets_and_interest_add_up_to_the_log_return():
    before, pnl, interest = 1000.0, row(60.0, -10.0, 0.0), 4.0
    asset_EN, portfolio_E = log_returns(pnl, row(before)[0], row(before + 50 + interest)[0])
    assert portfolio_E.item() == pytest.approx(math.log(1.054))
    assert asset_EN[0].tolist() == pytest.approx([share / 54 * math.log(1.054) for share in (60, -10, 0)])
    assert asset_EN.sum().item() + interest / 54 * math.log(1.054) == pytest.approx(portfolio_E.item())


def test_a_bar_without_a_return_and_one_that_ruins():
    asset_EN, portfolio_E = log_returns(row(5.0, -5.0), row(100.0)[0], row(100.0)[0])
    assert (asset_EN[0].tolist(), portfolio_E.item()) == (pytest.approx([0.05, -0.05]), 0.0)
    asset_EN, portfolio_E = log_returns(row(-150.0, 0.0), row(100.0)[0], row(-50.0)[0])
    assert portfolio_E.item() == pytest.approx(math.log(1e-6))
    assert asset_EN.isfinite().all()


def test_a_trader_is_paid_for_its_sleeve_and_the_floor_is_a_thousandth_of_an_equal_share():
    return_EM = columns(row(0.01, 0.01), row(0.02)[0], row(0.25, 0.0))
    assert return_EM[0].tolist() == pytest.approx([0.04, 0.01 / (1e-3 / 2), 0.02])


def test_the_drawdown_counts_from_the_running_peak():
    depth, depths = row(0.0), []
    for log_return in (0.1, -0.2, 0.05, 0.2, -0.01):
        depth = drawdown(depth, row(log_return))
        depths.append(depth.item())
    assert depths == pytest.approx([0.0, 0.2, 0.15, 0.0, 0.01])


def test_terms_are_weighed_and_scaled():
    params = RewardParams(profit=2.0, cost=0.5, drawdown=3.0, scale=10.0)
    total = reward(row(0.01, 0.01), row(0.002, 0.0), row(0.004, -0.004), params)
    assert total[0].tolist() == pytest.approx([10 * (0.02 - 0.001 - 0.012), 10 * 0.02])
    assert total.dtype == torch.float32
