"""Numbers and results in words, as the report and the result table say them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wealtharena.evidence.bootstrap import ABOVE, BELOW, SAME

UNDEFINED = "–"
MINUS = "\u2212"

NAMES = {
    "team": "Team",
    "cash": "Cash",
    "equal_weight": "Equal weight",
    "buy_and_hold": "Buy and hold",
    "inverse_volatility": "Inverse volatility",
    "momentum": "Momentum",
    "minimum_variance": "Minimum variance",
}

METRICS: Mapping[str, tuple[str, str]] = {
    "total_return": ("Total return", "percent"),
    "annual_return": ("Annual return", "percent"),
    "sharpe": ("Sharpe", "ratio"),
    "sortino": ("Sortino", "ratio"),
    "volatility": ("Volatility", "percent"),
    "max_drawdown": ("Max drawdown", "percent"),
    "calmar": ("Calmar", "ratio"),
    "cvar_95": ("CVaR 95%", "percent"),
    "turnover": ("Turnover", "times"),
    "costs": ("Costs", "percent"),
    "trades": ("Trades", "count"),
    "win_rate": ("Win rate", "percent"),
    "average_trade_return": ("Average trade", "percent"),
}
"""metric -> its name for people, and how it is written."""


def name_of(track: str) -> str:
    """A track's name for people."""
    return NAMES.get(track, track.replace("_", " ").capitalize())


def number(value: float | None, style: str) -> str:
    """Writes a number in a style: ``percent``, ``points`` of percent, ``ratio``, ...; a dash for None."""
    if value is None:
        return UNDEFINED
    written = {
        "points": f"{100 * value:,.1f}",
        "percent": f"{100 * value:,.{2 if 0 < abs(value) < 0.01 else 1}f}%",
        "confidence": "over 99%" if value > 0.995 else "under 1%" if value < 0.005 else f"{value:.0%}",
        "ratio": f"{value:.2f}",
        "reward": f"{value:.4f}",
        "times": f"{value:,.1f}\u00d7",
        "years": f"{value:,.1f}" if value < 1000 else "over 1,000",
        "count": f"{value:,.0f}",
    }[style]
    is_zero = not any(digit in written for digit in "123456789")
    return written.replace("-", "" if is_zero else MINUS)


def signed(value: float | None, style: str) -> str:
    """The same with its sign always shown."""
    written = number(value, style)
    return f"+{written}" if value is not None and value > 0 else written


def bounds(found: Mapping[str, Any] | None, style: str) -> str:
    """An interval's ends: ``1.0% to 3.0%``, or ``\u22121.0% to +3.0%`` around zero; empty where there is none."""
    if not found or found.get("low") is None:
        return ""
    low, high = found["low"], found["high"]
    return f"{number(low, style)} to {(signed if low < 0 else number)(high, style)}"


def verdict(content: Mapping[str, Any]) -> str:
    """One plain sentence: does the team beat equal weight, by return, and by Sharpe ratio where that says otherwise?"""
    gain, risk = (content["difference"][name]["verdict"] for name in ("annual_return", "sharpe"))
    earned = {
        ABOVE: "The team earned more than equal weight in this test",
        BELOW: "The team earned less than equal weight in this test",
        SAME: "The team cannot be told apart from equal weight in this test",
    }[gain]
    if risk == gain:
        return f"{earned}."
    weighed = "the two are not distinguishable" if risk == SAME else f"it is {risk} equal weight"
    return f"{earned}; by Sharpe ratio, {weighed}."


def explanation(content: Mapping[str, Any]) -> list[str]:
    """The sentences under the verdict: both results, the difference with its interval, and how far to trust it."""
    team, equal = content["team"], content["baselines"]["equal_weight"]
    return [
        f"After costs, the team returned {signed(team['annual_return'], 'percent')} a year "
        f"(Sharpe {number(team['sharpe'], 'ratio')}); the same assets held equally weighted returned "
        f"{signed(equal['annual_return'], 'percent')} (Sharpe {number(equal['sharpe'], 'ratio')}).",
        _gaps(content["difference"]),
        *made_up(content["data"]),
        trust(content["seeds"], float(content["years"]), folds=len(content["windows"].get("folds", ()))),
    ]


def made_up(data: Mapping[str, Any]) -> list[str]:
    """What must be said of prices that were generated; nothing of others."""
    share = data.get("planted")
    if share is None:
        return []
    return [
        f"The prices are made up, and {number(share, 'percent')} of the variance of each day's return was planted in "
        "them to be foreseen: this shows that the team learns, and nothing about real markets."
    ]


def trust(seeds: Sequence[int], years: float, *, folds: int = 0) -> str:
    """What a reader must not forget: how many training seeds, how long a test, and in how many folds."""
    span = f"{years:.1f} years" if years >= 1 else f"{years * 12:.0f} months"
    if folds:
        return (
            f"These are the tests of {folds} teams, one after the other, {span} in all: each team was trained once, "
            "with a seed of its own, and its test begins in cash. The interval covers only the luck of the bars, not "
            "that of training."
        )
    if len(seeds) > 1:
        return f"{len(seeds)} training seeds, one test window of {span}."
    return (
        f"This is one training seed and one test window of {span}: another seed or another window may come out "
        "otherwise. The interval covers only the luck of the bars, not that of training."
    )


def against(gap: Mapping[str, Any], other: str) -> str:
    """Where the interval of a difference puts the team: above the other, below it, or not distinguishable from it."""
    return f"{gap['verdict']} {other}" if gap["verdict"] in (ABOVE, BELOW) else f"{gap['verdict']} from {other}"


def tries(trials: Mapping[str, Any]) -> list[str]:
    """How sure it is that the team is more than the luckiest of the trials that were run, or of more than were counted.

    Nothing where no deflated Sharpe ratio is defined.
    """
    if trials["dsr"] is None:
        return []
    count = trials["count"]
    said = (
        f"Counting {count:,} {'trial' if count == 1 else 'trials'} ({trials['counted']}), the confidence that the "
        f"team's Sharpe is more than luck is {number(trials['dsr'], 'confidence')} (deflated Sharpe ratio)"
    )
    if count > 1:
        said += f": without skill, the best of {count:,} would show about {number(trials['luck'], 'ratio')}"
    more = ", ".join(
        f"{number(found['dsr'], 'confidence')} as the best of {found['count']}" for found in trials["if_more"]
    )
    asked = "Whatever else was tried on this window counts as well" + (f": it would be {more}." if more else ".")
    return [f"{said}.", asked]


def _gaps(difference: Mapping[str, Any]) -> str:
    gain, risk = difference["annual_return"], difference["sharpe"]
    if gain["low"] is None:
        return "The test is too short for an interval around the difference."
    said = (
        f"The difference is {signed(gain['value'], 'points')} percentage points a year, with a "
        f"{difference['level']:.0%} interval of {bounds(gain, 'points')}"
    )
    if risk["value"] is None or risk["low"] is None:
        return f"{said}."
    return (
        f"{said}; in Sharpe it is {signed(risk['value'], 'ratio')} ({bounds(risk, 'ratio')}): "
        f"{against(risk, 'equal weight')}."
    )
