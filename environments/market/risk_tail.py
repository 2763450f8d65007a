"""What may be lost in the coming bar: value at risk, and the mean of what is beyond it (CVaR).

A loss is a share of the portfolio's value; a is the level. Both measures are positively homogeneous: a book scaled
down by k has k times the risk, so that one division finds the scale that just keeps a limit.

    parametric   VaR = z_a s, CVaR = s phi(z_a) / (1 - a), s = sqrt(w' C w), mean 0         Jorion (2007), ch. 5
    historical   VaR = the ceil(a W)-th smallest of the W losses                       Jorion (2007), ch. 10
                 CVaR = VaR + mean(max(0, L - VaR)) / (1 - a)            Rockafellar and Uryasev (2000)
"""

from __future__ import annotations

import math
from statistics import NormalDist

from torch import Tensor

from environments.market.config_risk import HistoricalTailParams, RiskParams, TailParams

NORMAL = NormalDist()


def deviations(name: str, tail: TailParams) -> float:
    """VaR or CVaR of a normal law, in standard deviations."""
    quantile = NORMAL.inv_cdf(tail.level)
    return NORMAL.pdf(quantile) / (1.0 - tail.level) if name.startswith("cvar") else quantile


def of_losses(name: str, tail: HistoricalTailParams, loss_EW: Tensor) -> Tensor:
    """VaR or CVaR of equally likely losses: float64 (E,), below 0 if even that is a gain.

    Args:
        name: Which of the two.
        tail: Its level.
        loss_EW: float64, the last bar first; as many as ``window`` are looked at.
    """
    loss_EW = loss_EW[:, : tail.window]
    beyond = tail.window - math.ceil(tail.level * tail.window - 1e-9)
    worst_EW = loss_EW.topk(beyond + 1, dim=1).values
    found_E = worst_EW[:, -1]
    if name.startswith("cvar"):
        excess_E = (worst_EW - found_E.unsqueeze(1)).sum(1) / tail.window
        found_E = found_E + excess_E / (1.0 - tail.level)
    return found_E


def scales(params: RiskParams, variance_EN: Tensor | None, loss_EW: Tensor | None) -> dict[str, Tensor]:
    """Name of each limit -> what the book must be scaled by to keep it: float64 (E,), 1 where it does.

    Args:
        params: The limits.
        variance_EN: float64, what each position brings to the variance of the book; None: no limit asks.
        loss_EW: float64, what was lost in each of the last bars; None: no limit asks.
    """
    found: dict[str, Tensor] = {}
    if variance_EN is not None:
        deviation_E = variance_EN.sum(1).clamp(min=0.0).sqrt()
        for name, tail in params.parametric.items():
            found[name] = tail.limit / (deviation_E * deviations(name, tail)).clamp(min=tail.limit)
    if loss_EW is not None:
        for name, past in params.historical.items():
            found[name] = past.limit / of_losses(name, past, loss_EW).clamp(min=past.limit)
    return found
