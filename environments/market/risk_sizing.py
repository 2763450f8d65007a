"""What a signal of 1 holds: less in what moves much, in what moves with the rest of the book, and after losses."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market.config_risk import DrawdownParams, VolatilityParams

LEAST = 0.01  # of a size: what is held stays a share of it


def by_volatility(volatility_EN: Tensor, params: VolatilityParams) -> Tensor:
    """min(max_leverage, target / volatility): float64 (E, N).

    Moskowitz, Ooi and Pedersen (2012), "Time series momentum", eq. 5, with a cap for what hardly moves.

    Args:
        volatility_EN: float64, forecasts per year; 0 where nothing is known, which is taken for what hardly moves.
        params: Target and cap.
    """
    return params.target / volatility_EN.clamp(min=params.target / params.max_leverage)


def by_diversification(shared_EN: Tensor, own_EN: Tensor, strength: float) -> Tensor:
    """1 - strength x max(0, rho_i), rho_i the correlation of bet i with the rest of the book: float64 (E, N).

    With c_i = w_i (C w)_i, o_i = w_i^2 C_ii and v = w' C w: rho_i = (c_i - o_i) / sqrt(o_i (v - 2 c_i + o_i)). So c_i,
    what the bet adds to the variance of the book, decides: a hedge (below 0) is left as it is, and so is a bet that
    moves on its own.

    Args:
        shared_EN: float64, c_i.
        own_EN: float64, o_i.
        strength: What a perfectly correlated bet loses, in [0, 1]; ``LEAST`` of it is always left.
    """
    rest_EN = (shared_EN.sum(1, keepdim=True) - 2.0 * shared_EN + own_EN).clamp(min=0.0)
    correlation_EN = ((shared_EN - own_EN) / (own_EN * rest_EN).sqrt()).nan_to_num(0.0).clamp(0.0, 1.0)
    return (1.0 - strength * correlation_EN).clamp(min=LEAST)


def by_drawdown(drawdown_E1: Tensor, before_E1: Tensor, params: DrawdownParams) -> Tensor:
    """The exposure in force: float64 (E, 1).

    1 at a drawdown of ``recover`` and below. Above: the smaller of what it was and of a line that falls from 1 at
    ``start`` to ``floor`` at ``limit`` (compare Grossman and Zhou 1993, where exposure falls to 0 at the limit).

    Args:
        drawdown_E1: float64, 1 - value / peak.
        before_E1: float64, the exposure of the bar before.
        params: See ``DrawdownParams``.
    """
    depth_E1 = ((drawdown_E1 - params.start) / (params.limit - params.start)).clamp(0.0, 1.0)
    line_E1 = 1.0 - (1.0 - params.floor) * depth_E1
    return torch.where(drawdown_E1 <= params.recover, 1.0, torch.minimum(before_E1, line_E1))
