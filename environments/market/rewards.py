"""Rewards: what the last bar brought, for each trader on its own sleeve and for the allocator on the whole.

Columns M = N + 1: the assets, then the portfolio. Log returns, so that rewards of an episode add up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market.config import RewardParams

WORST = 1e-6  # the least a portfolio is taken to be worth of what it was a bar before, for the logarithm


def log_returns(pnl_EN: Tensor, before_E: Tensor, after_E: Tensor) -> tuple[Tensor, Tensor]:
    """The portfolio's log return, and what each asset brought of it.

    log_i = pnl_i / before x log(1 + r) / r, with r the portfolio's return: with the interest's part they add up.

    Returns:
        asset_EN: float64.
        portfolio_E: float64, log(after / before).
    """
    return_E = (after_E / before_E).clamp(min=WORST) - 1.0
    portfolio_E = torch.log1p(return_E)
    # Near 0 the ratio is 1 - r/2: below 1e-9 the division would lose digits, and at 0 everything.
    ratio_E = torch.where(return_E.abs() < 1e-9, 1.0, portfolio_E / return_E)
    return pnl_EN * (ratio_E / before_E).unsqueeze(1), portfolio_E


def columns(asset_EN: Tensor, portfolio_E: Tensor, sleeve_EN: Tensor) -> Tensor:
    """Puts assets, each by its sleeve, and the portfolio side by side: (E, M).

    A sleeve counts as at least a thousandth of an equal share, so that an agent without capital is not all noise.
    """
    floor = 1e-3 / sleeve_EN.shape[1]
    return torch.cat([asset_EN / sleeve_EN.clamp(min=floor), portfolio_E.unsqueeze(1)], dim=1)


def drawdown(before_EM: Tensor, return_EM: Tensor) -> Tensor:
    """How far below its running peak each column is, in log units: max(0, before - log return)."""
    return (before_EM - return_EM).clamp(min=0.0)


def reward(return_EM: Tensor, cost_EM: Tensor, deeper_EM: Tensor, params: RewardParams) -> Tensor:
    """Adds the terms up.

    reward = scale x (profit x return - cost x costs - drawdown x increase of the drawdown).

    Args:
        return_EM: Log returns, net of costs.
        cost_EM: Costs as a share of the value before: a penalty beyond what they took from the return.
        deeper_EM: Change of the drawdown; only an increase counts.
        params: The weights.

    Returns:
        float32 (E, M).
    """
    total_EM = return_EM * params.profit
    if params.cost:
        total_EM = total_EM - params.cost * cost_EM
    if params.drawdown:
        total_EM = total_EM - params.drawdown * deeper_EM.clamp(min=0.0)
    return (total_EM * params.scale).to(torch.float32)
