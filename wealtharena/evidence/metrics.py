"""What a track was worth, in numbers: pure functions, and ``summary`` over all of them.

A number that the data do not define (a ratio over nothing, fewer than two bars) is None, never infinite and never NaN.
Annual figures use the calendar time that passed, so that a calendar with weekends and one without compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wealtharena.evidence.track import FloatArray, IntArray, Track

SPREADLESS = 1e-12
"""A standard deviation below this is rounding: the returns are constant, and a ratio over it means nothing."""

FLAT = 1e-9
"""A position below this share of the net asset value is rounding, not a position."""


def defined(value: float) -> float | None:
    """The value, or None where it is not a finite number."""
    return float(value) if math.isfinite(value) else None


def total_return(growth: float) -> float:
    """Return over the whole window, from ``growth``, final over initial value."""
    return growth - 1.0


def annual_return(growth: float, years: float) -> float | None:
    """The constant yearly return that makes the same ``growth`` in ``years``: growth^(1/years) - 1."""
    if years <= 0 or growth < 0:
        return None
    exponent = math.log(growth) / years if growth > 0 else -math.inf
    return math.expm1(exponent) if exponent < 700 else None


def volatility(returns_T: FloatArray, years: float) -> float | None:
    """Standard deviation of the bars' returns (T - 1 degrees of freedom), times the root of the bars in a year."""
    if len(returns_T) < 2 or years <= 0:
        return None
    return float(np.std(returns_T, ddof=1)) * math.sqrt(len(returns_T) / years)


def sharpe(excess_T: FloatArray, years: float) -> float | None:
    """Sharpe ratio (Sharpe 1994) of returns in excess of cash: mean over standard deviation, a year."""
    if len(excess_T) < 2 or years <= 0:
        return None
    deviation = float(np.std(excess_T, ddof=1))
    return float(np.mean(excess_T)) / deviation * math.sqrt(len(excess_T) / years) if deviation > SPREADLESS else None


def sortino(excess_T: FloatArray, years: float) -> float | None:
    """Sortino ratio: mean excess return over the root mean square of the negative ones (all bars counted), a year."""
    if len(excess_T) < 2 or years <= 0:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(excess_T, 0.0) ** 2)))
    return float(np.mean(excess_T)) / downside * math.sqrt(len(excess_T) / years) if downside > SPREADLESS else None


def drawdown(nav: FloatArray) -> FloatArray:
    """Share lost since the highest value so far, at every point: 0 at a peak, 0.25 a quarter below it."""
    return 1.0 - nav / np.maximum.accumulate(nav)


def cvar(returns_T: FloatArray, tail: float = 0.05) -> float | None:
    """Mean loss in the worst ``tail`` of the bars, positive for a loss (Rockafellar & Uryasev 2002, eq. 26).

    The bar at the edge of the tail counts with the part of it that lies within, so that exactly ``tail`` is averaged.
    """
    if len(returns_T) == 0:
        return None
    bars = tail * len(returns_T)
    weight_T = np.clip(bars - np.arange(len(returns_T)), 0.0, 1.0)
    return float(-(np.sort(returns_T) @ weight_T) / bars)


@dataclass(frozen=True)
class Trades:
    """Spells: the time one asset is held with one sign, from flat or the other sign to flat or the other sign.

    A spell that is open at the end of the track is valued at its last close. The bar on which a position turns from
    long to short, or back, counts towards the spell that is larger at its close: most of the bar's profit is its own.
    Where a track begins anew, its spells end.

    Attributes:
        asset: (R,) index of the asset of each of R spells.
        pnl: (R,) profit or loss, net of costs and carry.
        capital: (R,) largest absolute value of the position at a close.
    """

    asset: IntArray
    pnl: FloatArray
    capital: FloatArray

    def within(self, chosen_N: IntArray) -> Trades:
        """The spells of some of the assets, given by index."""
        kept = np.isin(self.asset, chosen_N)
        return Trades(self.asset[kept], self.pnl[kept], self.capital[kept])

    @property
    def win_rate(self) -> float | None:
        """Share of the spells that ended with a profit after costs."""
        return float(np.mean(self.pnl > 0)) if len(self.pnl) else None

    @property
    def average_return(self) -> float | None:
        """Mean over the spells of profit over the largest capital employed."""
        return float(np.mean(self.pnl / self.capital)) if len(self.pnl) else None


def find_trades(track: Track) -> Trades:
    """Cuts a track into its spells."""
    held_NT = np.where(np.abs(track.value_TN) > FLAT * track.nav[1:, None], np.sign(track.value_TN), 0.0).T
    before_NT = np.pad(held_NT, ((0, 0), (1, 0)))[:, :-1]
    before_NT[:, list(track.restarts)] = 0.0
    begins_NT = (held_NT != 0) & (held_NT != before_NT)
    spell_NT = np.cumsum(begins_NT).reshape(begins_NT.shape) - 1
    size_NT = np.abs(track.value_TN).T
    turns_NT = begins_NT & (before_NT != 0)
    shrinks_NT = size_NT < np.pad(size_NT, ((0, 0), (1, 0)))[:, :-1]
    earner_NT = spell_NT - (turns_NT & shrinks_NT)
    earns_NT = (held_NT != 0) | (before_NT != 0)
    count = int(begins_NT.sum())
    pnl = np.zeros(count)
    np.add.at(pnl, earner_NT[earns_NT], track.pnl_TN.T[earns_NT])
    capital = np.zeros(count)
    np.maximum.at(capital, spell_NT[held_NT != 0], size_NT[held_NT != 0])
    return Trades(np.nonzero(begins_NT)[0].astype(np.int64), pnl, capital)


def turnover(track: Track) -> float | None:
    """Notional bought and sold a year, as a multiple of the net asset value before each trade."""
    return _a_year(track, track.traded_TN)


def costs(track: Track) -> float | None:
    """Costs of trading a year (spread, commission, impact; not carry), as a share of the value before each."""
    return _a_year(track, track.cost_TN)


def excess_returns(track: Track, cash_rate: float = 0.0) -> FloatArray:
    """Returns above what cash pays at ``cash_rate`` a year (simple interest by calendar time): (T,)."""
    return track.returns_T - cash_rate * track.elapsed_T


def contribution(track: Track, asset: IntArray) -> dict[str, float | None]:
    """Sharpe ratio and largest drawdown of what some of the assets, given by index, brought to the whole book.

    Their return on a bar is their profit over the net asset value before it, so that returns of all assets, and the
    interest on cash, sum to the track's. The drawdown is that of a book which earned this alone.
    """
    return_T = track.pnl_TN[:, asset].sum(axis=1) / track.nav[:-1]
    value = np.cumprod(np.concatenate([[1.0], 1.0 + return_T]))
    return {"sharpe": sharpe(return_T, track.years), "max_drawdown": float(drawdown(value).max())}


def summary(track: Track, cash_rate: float = 0.0) -> dict[str, float | None]:
    """Every metric of a track.

    Args:
        track: At least one bar long.
        cash_rate: Interest on cash a year, as a share; Sharpe and Sortino are taken in excess of it.

    Returns:
        Shares, not percent; losses (``max_drawdown``, ``cvar_95``) positive; None where undefined.
    """
    growth, years = float(track.nav[-1] / track.nav[0]), track.years
    trades, excess_T = find_trades(track), excess_returns(track, cash_rate)
    yearly, deepest = annual_return(growth, years), float(drawdown(track.nav).max())
    found: dict[str, float | None] = {
        "total_return": total_return(growth),
        "annual_return": yearly,
        "sharpe": sharpe(excess_T, years),
        "sortino": sortino(excess_T, years),
        "max_drawdown": deepest,
        "calmar": yearly / deepest if yearly is not None and deepest > SPREADLESS else None,
        "win_rate": trades.win_rate,
        "average_trade_return": trades.average_return,
        "volatility": volatility(track.returns_T, years),
        "cvar_95": cvar(track.returns_T),
        "turnover": turnover(track),
        "costs": costs(track),
        "trades": float(len(trades.pnl)),
    }
    return {name: None if value is None else defined(value) for name, value in found.items()}


def _a_year(track: Track, amount_TN: FloatArray) -> float | None:
    """Sum over the bars of an amount of money over the value before it, a year."""
    return float((amount_TN.sum(axis=1) / track.nav[:-1]).sum() / track.years) if track.years > 0 else None
