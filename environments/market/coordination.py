"""Capital without an allocator: budgets that follow performance, and one book for all classes."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market.config_coordination import PerformanceBudgets

MOST = 3.0  # of a performance, either way
TINY = 1e-12  # of a deviation, for a division
FAINT = -50.0  # of a logarithm of a weight, against the largest: what is fainter weighs as much


def class_returns(pnl_EC: Tensor, sleeve_EC: Tensor, before_E: Tensor) -> Tensor:
    """What each class earned in a bar on its capital: float64 (E, C).

    Args:
        pnl_EC: float64, in money.
        sleeve_EC: float64, the capital, as a share of the portfolio; it counts as at least a thousandth of an equal
            share.
        before_E: float64, the portfolio's value at the last close.
    """
    return pnl_EC / (sleeve_EC.clamp(min=1e-3 / sleeve_EC.shape[1]) * before_E.unsqueeze(1))


def follow(mean_EC: Tensor, variance_EC: Tensor, return_EC: Tensor, half_life: float) -> tuple[Tensor, Tensor]:
    """Updates exponential mean and variance: Finch (2009), "Incremental calculation of weighted mean and variance", 9.

        m' = m + (1 - k) (r - m),  v' = k (v + (1 - k) (r - m)^2),  k = 0.5^(1 / half-life)

    Both begin with 0, as after a long time without any return: a young class is held for average.
    """
    keep = 0.5 ** (1.0 / half_life)
    news_EC = return_EC - mean_EC
    return mean_EC + (1.0 - keep) * news_EC, keep * (variance_EC + (1.0 - keep) * news_EC.square())


def performance(mean_EC: Tensor, variance_EC: Tensor) -> Tensor:
    """Risk-adjusted performance m / sqrt(v), per bar, clipped to -3 and 3; 0 where nothing was earned: float64."""
    return (mean_EC / variance_EC.sqrt().clamp(min=TINY)).clamp(-MOST, MOST)


def performance_budgets(performance_EC: Tensor, rule: PerformanceBudgets) -> Tensor:
    """Budgets of the classes and of cash (last): float64 (E, K), rows sum to 1.

    b = clip(x exp(performance / temperature), floor, ceiling), with the one x at which they add up to 1 - cash. Of all
    budgets within the bounds these have the highest sum of b performance - temperature b log(b): with bounds that do
    not bind it is the softmax.
    """
    logit_EC = performance_EC / rule.temperature
    weight_EC = (logit_EC - logit_EC.amax(1, keepdim=True)).clamp(min=FAINT).exp()
    budget_EC = bounded(weight_EC, rule.floor, rule.ceiling, 1.0 - rule.cash)
    return torch.cat([budget_EC, torch.full_like(budget_EC[:, :1], rule.cash)], dim=1)


def bounded(weight_EC: Tensor, floor: float, ceiling: float, total: float) -> Tensor:
    """clip(x weight, floor, ceiling) with the x at which each row sums to the total, exactly: float64 (E, C).

    The sum grows with x in straight lines, with a corner where a weight leaves its floor or meets its ceiling: x lies
    between two neighbouring corners, and follows from the sums there.

    Args:
        weight_EC: float64, above 0.
        floor: At most total / C.
        ceiling: At least total / C.
        total: Of each row.
    """
    corner_EX = torch.cat([floor / weight_EC, ceiling / weight_EC], dim=1).sort(dim=1).values
    sum_EX = (corner_EX.unsqueeze(2) * weight_EC.unsqueeze(1)).clamp(floor, ceiling).sum(2)
    last = corner_EX.shape[1] - 1
    low_E1 = ((sum_EX <= total).sum(1, keepdim=True) - 1).clamp(0, last - 1)
    (from_E1, to_E1), (less_E1, more_E1) = (
        (value_EX.gather(1, low_E1), value_EX.gather(1, low_E1 + 1)) for value_EX in (corner_EX, sum_EX)
    )
    share_E1 = ((total - less_E1) / (more_E1 - less_E1)).nan_to_num(0.0, 1.0, 0.0).clamp(0.0, 1.0)
    return ((from_E1 + share_E1 * (to_E1 - from_E1)) * weight_EC).clamp(floor, ceiling)


def one_book(size_EN: Tensor, gross: float) -> Tensor:
    """The sleeve of each asset where all are in one book: gross / max(1, sum of sizes), float64 (E, 1).

    Args:
        size_EN: float64, |signal| x size of each asset: its weight is that times the sleeve.
        gross: The largest sum of absolute weights.
    """
    return gross / size_EN.sum(1, keepdim=True).clamp(min=1.0)
