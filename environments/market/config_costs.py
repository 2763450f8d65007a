"""The parameters of what trading costs, and of how resting orders are hit."""

from __future__ import annotations

from pydantic import Field

from environments.base import Params

Matrix = float | tuple[float, ...] | tuple[tuple[float, ...], ...]
"""A number for all assets alike, one for each, or one for each pair."""

COSTS: dict[str, dict[str, float]] = {
    "stocks": {"spread_bps": 2.0, "commission_bps": 1.0, "impact": 0.7, "borrow_rate": 0.01},
    "crypto": {"spread_bps": 6.0, "commission_bps": 10.0, "impact": 0.7, "borrow_rate": 0.08},
    "etf": {"spread_bps": 1.0, "commission_bps": 1.0, "impact": 0.7, "borrow_rate": 0.01},
    "currencies": {"spread_bps": 1.0, "commission_bps": 0.2, "impact": 0.7, "borrow_rate": 0.01},
    "reits": {"spread_bps": 4.0, "commission_bps": 1.0, "impact": 0.7, "borrow_rate": 0.015},
}


class CostParams(Params):
    """What trading in a class costs.

    Attributes:
        spread_bps: Full bid-ask spread in basis points; a fill pays half of it.
        commission_bps: Basis points of the traded value.
        impact: Coefficient of the square-root impact, in daily volatilities at a trade of a whole day's volume.
        borrow_rate: Per year, on the value of shorts.
        per_share: Money for each share traded.
    """

    spread_bps: float = Field(5.0, ge=0, le=1000)
    commission_bps: float = Field(2.0, ge=0, le=1000)
    impact: float = Field(0.7, ge=0, le=10)
    borrow_rate: float = Field(0.02, ge=0, le=5)
    per_share: float = Field(0.0, ge=0)


class LinearImpactParams(Params):
    """Prices that give way in proportion to what is traded (Almgren and Chriss 2001, eqs. 6-7).

    Attributes:
        temporary: L, in money per share squared: a trade of dx shares costs dx' L dx / 2.
        permanent: G: a trade of dx shares moves prices by G dx, before the close of its bar; for simulated prices only.
    """

    temporary: Matrix = 0.0
    permanent: Matrix = 0.0


class LimitOrderParams(Params):
    """How resting orders are hit: in each bar and on each side, at most one fill.

    Its probability is min(1, rate x exp(-decay x distance) x length of the bar): Avellaneda and Stoikov (2008),
    eq. 2.11.

    Attributes:
        rate: Fills per unit of time at the price itself.
        decay: Per unit of distance from it.
        width: The largest distance that can be quoted.
        units: Shares of a fill.
    """

    rate: float = Field(gt=0)
    decay: float = Field(gt=0)
    width: float = Field(gt=0)
    units: float = Field(1.0, gt=0)
