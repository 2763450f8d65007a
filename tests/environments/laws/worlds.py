"""Random markets that the laws are tried on: every part of the data and of the configuration is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from environments.base import Transition
from environments.market.alignment import Floats
from environments.market.env import MarketEnv
from environments.market.features.base import AssetBars
from environments.market.features.sets import COLUMNS
from environments.market.panel import Panel, panel_from_frame
from environments.market.record import MarketRecord
from environments.market.rewards import Outcome
from environments.market.series import lagged
from tests.environments.laws.guards import guards
from tests.environments.markets import CLASSES, FREE, bars, random_actions

COPIES = 3
STEPS = 30
HEAVY = {"spread_bps": 1000, "commission_bps": 500, "impact": 10, "borrow_rate": 5}
ACTIONS = ("trade", "levels", "continuous")
TERMS = (
    "cooperation",
    "cvar",
    "differential_sharpe",
    "diversification",
    "exploration",
    "log_return",
    "market_impact",
    "mean_variance",
    "risk_adjusted_return",
    "volatility",
)
"""But ``cost``, which is ``reward.cost``, and ``drawdown``, by which a peak acts that only the portfolio is shown."""


SETS = ("standard", "momentum", "mean_reversion", "technical", "realised_volatility", "sector_rotation", "drawdowns")
"""Of features, that need no extra column."""


class Make(Protocol):
    """Builds a market on a panel that is at hand, as ``markets.market`` does."""

    def __call__(self, panel: Panel, num_envs: int = 1, **params: Any) -> MarketEnv: ...


class Turnover:
    """A reward term of one's own."""

    def __call__(self, outcome: Outcome) -> Tensor:
        return -outcome.traded_EM


def gap(own: AssetBars) -> Floats:
    """A feature of one's own: log(open / close before) / v20."""
    return own.scaled(own.open_BS - lagged(own.close_BS, 1), 1)


def frame(seed: int) -> pd.DataFrame:
    """One to four classes of one to three assets: gaps, late starts, delistings, jumps at the open, extra columns."""
    rng = np.random.default_rng([seed, 1])
    days = pd.date_range("2020-01-01", periods=int(rng.integers(45, 60)), freq=str(rng.choice(["D", "B", "36h"])))
    classes = rng.choice(CLASSES, size=int(rng.integers(1, len(CLASSES) + 1)), replace=False)
    symbols = [(str(name), i) for name in classes for i in range(int(rng.integers(1, 4)))]
    table = pd.concat([_asset(*symbol, days, rng) for symbol in symbols], ignore_index=True)
    if rng.random() < 0.3:
        table["mood"] = np.where(rng.random(len(table)) < 0.2, np.nan, rng.standard_normal(len(table)))
    more = np.random.default_rng([seed, 5])
    for column in more.permutation(list(COLUMNS))[: more.choice([0, 0, 3, 6])]:
        table[column] = np.where(more.random(len(table)) < 0.1, np.nan, 0.03 * more.standard_normal(len(table)))
    return table


def _asset(asset_class: str, number: int, days: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    at = np.arange(len(days))
    first = int(rng.integers(0, 15)) if rng.random() < 0.4 else 0
    last = int(rng.integers(20, 30)) if number and rng.random() < 0.3 else len(days)
    kept = (at >= first) & (at < last) & (rng.random(len(days)) < rng.choice([0.6, 0.9, 1.0]))
    kept[first] = True
    count = int(kept.sum())
    gap, move = float(rng.choice([0.005, 0.03, 0.08])) * rng.standard_normal((2, count))
    path, level = np.cumsum(gap + move), float(np.exp(rng.uniform(-3, 8)))
    open_, close = level * np.exp(path - move), level * np.exp(path)
    volume = rng.lognormal(14, 2, count) / level * rng.choice([0.0, 1.0])
    return bars(f"{asset_class[:2].upper()}{number}", asset_class, days[kept], open_, close, volume)


def panel_of(table: pd.DataFrame) -> Panel:
    return panel_from_frame(table, origin="random")


def params(seed: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """A configuration for the classes of a panel."""
    rng = np.random.default_rng([seed, 2])
    traders = {name: {"asset_class": name, "action": str(rng.choice(ACTIONS))} for name in classes}
    for number in range(int(rng.choice([0, 0, 1, 2]))):
        traders[f"other{number}"] = {"asset_class": str(rng.choice(classes)), "action": str(rng.choice(ACTIONS))}
    allocator = {"every": int(rng.integers(1, 6)), "sharpness": float(rng.uniform(0.5, 6))}
    weight = [float(w) * (rng.random() < 0.6) for w in rng.uniform(0, 1, 3)]
    given: dict[str, Any] = {
        "horizon": None if rng.random() < 0.3 else int(rng.integers(5, 15)),
        "warmup": int(rng.integers(1, 8)),
        "capital": float(rng.choice([1e3, 1e6, 1e10])),
        "traders": traders,
        "allocator": None if rng.random() < 0.2 else allocator,
        "features": features(seed, classes),
        "risk": {
            "max_position": float(rng.uniform(0.1, 1)),
            "max_class": float(rng.uniform(0.2, 1.5)),
            "max_gross": float(rng.uniform(0.3, 2)),
            "shorting": None if rng.random() < 0.2 else [name for name in classes if rng.random() < 0.6],
        },
        "costs": {name: _costs(rng) for name in classes if rng.random() < 0.8},
        "cash_rate": float(rng.uniform(-0.05, 0.1)),
        "reward": {
            "profit": float(rng.uniform(0.1, 2)),
            "cost": weight[0],
            "drawdown": weight[1],
            "terms": ({f"{__name__}:Turnover": weight[2]} if weight[2] else {}) | terms(seed),
            "scale": float(rng.choice([1, 100])),
            "adaptive": {"half_life": 10, "discount": 0.9} if rng.random() < 0.3 else None,
        },
    }
    given["risk"] |= guards(seed, given["warmup"])
    return given | fusion(seed, given) | coordination(seed, given, classes)


def coordination(seed: int, given: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Who divides the capital, of every kind, often as a market is without such a section."""
    rng = np.random.default_rng([seed, 6])
    half_life, observe = float(rng.uniform(1, 20)), bool(rng.random() < 0.7)
    equal = 1 / len(classes)
    budgets = (
        {"kind": "fixed"},
        {"kind": "fixed", "shares": {name: float(rng.uniform(0.1, 1)) * equal for name in classes}},
        {
            "kind": "performance",
            "every": int(rng.integers(1, 5)),
            "temperature": float(rng.choice([0.01, 0.1, 1])),
            "floor": float(rng.uniform(0, 0.8)) * equal,
            "ceiling": equal + float(rng.random()) * (1 - equal),
            "cash": float(rng.choice([0, 0.1])),
        },
    )
    kinds: tuple[dict[str, Any] | None, ...] = (
        None,
        {"kind": "hierarchical"},
        *({"kind": "decentralized", "budgets": rule} for rule in budgets),
        {"kind": "centralized", "gross": float(rng.uniform(0.2, 1)) * min(1.0, given["risk"]["max_gross"])},
    )
    kinds = (None, *kinds) if given["allocator"] is not None else (None, *kinds[2:])
    chosen = kinds[int(rng.integers(len(kinds)))]
    if chosen is None:
        return {}
    common = {"coordination": {**chosen, "half_life": half_life, "observe": observe}}
    return common if chosen["kind"] == "hierarchical" else {**common, "allocator": None}


def fusion(seed: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """How several traders of a class are heard, of every kind."""
    rng = np.random.default_rng([seed, 7])
    covered = [trader["asset_class"] for trader in given["traders"].values()]
    half_life = float(rng.uniform(1, 60))
    voting = {"threshold": float(rng.choice([0, 0.3])), "quorum": int(rng.integers(1, 3))}
    kinds: list[dict[str, Any]] = [
        {"kind": "mean"},
        {"kind": "weighted", "half_life": half_life, "temperature": float(rng.choice([0.01, 0.1, 1]))},
        {"kind": "voting", **voting, "tie": str(rng.choice(["flat", "hold"]))},
    ]
    if len(set(covered)) < len(covered):
        kinds.append({"kind": "neural", "half_life": half_life, "sharpness": float(rng.uniform(0.5, 6))})
    return {"fusion": kinds[int(rng.integers(len(kinds)))]}


def features(seed: int, classes: tuple[str, ...]) -> str | dict[str, list[str]]:
    """The same for all classes, those of each, or some drawn for some of them."""
    rng = np.random.default_rng([seed, 6])
    drawn = {
        name: [*map(str, rng.permutation(SETS)[: rng.integers(1, 4)]), f"{__name__}:gap"]
        for name in classes
        if rng.random() < 0.7
    }
    chosen: tuple[str | dict[str, list[str]], ...] = ("alike", "alike", "by_class", drawn)
    return chosen[int(rng.integers(len(chosen)))]


def terms(seed: int) -> dict[str, Any]:
    """Up to four terms of the market's own, those that remember often with a short memory."""
    rng = np.random.default_rng([seed, 4])
    chosen: dict[str, Any] = {
        str(name): float(rng.uniform(0.1, 1)) for name in rng.permutation(TERMS)[: rng.integers(5)]
    }
    remembering = chosen.keys() & {"cvar", "differential_sharpe", "exploration", "risk_adjusted_return", "volatility"}
    return chosen | {name: {"weight": chosen[name], "half_life": 3} for name in sorted(remembering)}


def _costs(rng: np.random.Generator) -> dict[str, float]:
    drawn = {
        "spread_bps": float(rng.uniform(0, 100)),
        "commission_bps": float(rng.uniform(0, 50)),
        "impact": float(rng.uniform(0, 3)),
        "borrow_rate": float(rng.uniform(0, 0.3)),
    }
    return (FREE, HEAVY, drawn, drawn)[int(rng.integers(4))]


def world(make: Make, seed: int, num_envs: int = COPIES, **changes: Any) -> MarketEnv:
    """A random configuration on a random panel."""
    panel = panel_of(frame(seed))
    return make(panel, num_envs, **{**params(seed, panel.classes), **changes})


def free(panel: Panel) -> dict[str, dict[str, float]]:
    """Zero costs in every class."""
    return dict.fromkeys(panel.classes, FREE)


@dataclass(frozen=True)
class Step:
    """One step, and what was held before it: shares follow from recorded values and the panel's closes alone."""

    nav_E: Tensor
    before_EN: Tensor
    after_EN: Tensor
    last_EN: Tensor
    open_EN: Tensor
    close_EN: Tensor
    record: MarketRecord
    transition: Transition


def played(env: MarketEnv, seed: int, steps: int = STEPS) -> Iterator[Step]:
    """Random steps from a reset on."""
    env.reset(seed=seed)
    capital_E = torch.full((env.num_envs,), env.params.capital, dtype=torch.float64)
    nav_E, shares_EN = capital_E, torch.zeros(env.num_envs, len(env.panel.symbols), dtype=torch.float64)
    for i in range(steps):
        transition = env.step(random_actions(env, seed + i))
        record = env.record
        last_EN, open_EN, close_EN = prices(env.panel, record.bar_E)
        after_EN = record.value_EN / close_EN
        yield Step(nav_E, shares_EN, after_EN, last_EN, open_EN, close_EN, record, transition)
        nav_E = torch.where(transition.done, capital_E, record.nav_E)
        shares_EN = torch.where(transition.done[:, None], 0.0, after_EN)


def quote_fees(env: MarketEnv, record: MarketRecord) -> Tensor:
    """Commission of what market makers' quotes traded, after all that the open brought: float64 (E, N)."""
    rates = [env.params.cost(env.panel.classes[c]).commission_bps * 1e-4 for c in env.panel.class_N]
    rate_N = torch.tensor(rates, dtype=torch.float64)
    return record.quoted_EN * rate_N if record.quoted_EN.shape[1] else torch.zeros_like(record.cost_EN)


def by_orders(record: MarketRecord) -> Tensor:
    """Value traded at the open, without what market makers' quotes traded."""
    return record.traded_EN - record.quoted_EN if record.quoted_EN.shape[1] else record.traded_EN


def prices(panel: Panel, bar_E: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Close before, open and close of each copy's bar."""
    open_TN, close_TN = torch.from_numpy(panel.open_TN), torch.from_numpy(panel.close_TN)
    return close_TN[bar_E - 1], open_TN[bar_E], close_TN[bar_E]
