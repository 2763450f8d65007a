"""The parameters of the market: typed, frozen, and refused where they make no sense."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from environments.base import Params
from environments.market.synthetic import SyntheticParams

Action = Literal["trade", "levels", "continuous"]

ALLOCATOR = "allocator"
ACTIONS: dict[str, Action] = {"crypto": "continuous", "currencies": "levels"}  # by class; any other class: trade
COSTS: dict[str, dict[str, float]] = {
    "stocks": {"spread_bps": 2.0, "commission_bps": 1.0, "impact": 0.7, "borrow_rate": 0.01},
    "crypto": {"spread_bps": 6.0, "commission_bps": 10.0, "impact": 0.7, "borrow_rate": 0.08},
    "etf": {"spread_bps": 1.0, "commission_bps": 1.0, "impact": 0.7, "borrow_rate": 0.01},
    "currencies": {"spread_bps": 1.0, "commission_bps": 0.2, "impact": 0.7, "borrow_rate": 0.01},
    "reits": {"spread_bps": 4.0, "commission_bps": 1.0, "impact": 0.7, "borrow_rate": 0.015},
}


class DataParams(Params):
    """Where prices come from: a file or the generator, exactly one of them.

    Attributes:
        path: A Parquet or CSV panel.
        synthetic: Parameters of the generator.
    """

    path: Path | None = None
    synthetic: SyntheticParams | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.synthetic is None):
            given = "neither" if self.path is None else "both"
            raise ValueError(f"{given} of path and synthetic given; data takes exactly one of them")
        return self


class WindowParams(Params):
    """The bars an episode may touch, both ends inclusive; null: as far as the data goes."""

    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}; a window needs at least two bars")
        return self


class TraderParams(Params):
    """One group of agents, an agent for each asset of a class.

    Attributes:
        asset_class: The class it trades.
        action: ``trade`` (Sell, Hold, Buy), ``levels`` (five targets) or ``continuous``; null: by class
            (crypto continuous, currencies levels, any other trade).
    """

    asset_class: str
    action: Action | None = None

    @property
    def kind(self) -> Action:
        """The action kind, the class's own where none is given."""
        return self.action or ACTIONS.get(self.asset_class, "trade")


class AllocatorParams(Params):
    """The agent that divides the capital: it acts each ``every``-th step, budgets = softmax(sharpness x action)."""

    every: int = Field(5, ge=1)
    sharpness: float = Field(3.0, gt=0, le=50)


class FusionParams(Params):
    """How much each of several traders of one class is heard: see ``fusion``.

    Attributes:
        half_life: Bars after which a trader's past performance counts half.
        temperature: Of the softmax over performances: small, the best is heard alone; large, all are heard alike.
    """

    half_life: float = Field(60.0, gt=0)
    temperature: float = Field(0.05, gt=0)


class RiskParams(Params):
    """Caps on targets, as shares of the value of the portfolio.

    Attributes:
        max_position: Of one asset, long or short.
        max_class: Of the sum of absolute weights in one class.
        max_gross: Of the sum of absolute weights; above 1 it is leverage.
        shorting: The classes that may be sold short; null: all.
    """

    max_position: float = Field(0.25, gt=0, le=2)
    max_class: float = Field(0.6, gt=0, le=2)
    max_gross: float = Field(1.0, gt=0, le=2)
    shorting: tuple[str, ...] | None = None


class CostParams(Params):
    """What trading in a class costs.

    Attributes:
        spread_bps: Full bid-ask spread in basis points; a fill pays half of it.
        commission_bps: Basis points of the traded value.
        impact: Coefficient of the square-root impact, in daily volatilities at a trade of a whole day's volume.
        borrow_rate: Per year, on the value of shorts.
    """

    spread_bps: float = Field(5.0, ge=0, le=1000)
    commission_bps: float = Field(2.0, ge=0, le=1000)
    impact: float = Field(0.7, ge=0, le=10)
    borrow_rate: float = Field(0.02, ge=0, le=5)


class RewardParams(Params):
    """Weights of the reward's terms: see ``rewards``. All are multiplied by ``scale``.

    Attributes:
        profit: Of the log return.
        cost: Of costs, beyond what the return has lost by them.
        drawdown: Of an increase of the drawdown.
        terms: ``module:Class`` of a term of one's own -> its weight.
        scale: Of the sum: 100 makes percents.
    """

    profit: float = Field(1.0, ge=0)
    cost: float = Field(0.0, ge=0)
    drawdown: float = Field(0.0, ge=0)
    terms: dict[str, float] = Field({})
    scale: float = Field(100.0, gt=0)

    @field_validator("terms")
    @classmethod
    def _found(cls, terms: dict[str, float]) -> dict[str, float]:
        for target in terms:
            _term(target)
        return terms

    @cached_property
    def own_terms(self) -> tuple[tuple[Callable[..., Any], float], ...]:
        """The terms of ``terms``, ready to be called, with their weights."""
        return tuple((_term(target), weight) for target, weight in self.terms.items())


def _term(target: str) -> Callable[..., Any]:
    """An instance of the class that ``module:Class`` names."""
    module_name, _, class_name = target.partition(":")
    try:
        term = getattr(importlib.import_module(module_name), class_name)()
        if not callable(term):
            raise TypeError("it has no __call__(outcome)")  # noqa: TRY301  (told like every other reason)
    except Exception as error:  # a module of the user's may raise anything when it is imported
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{target!r} is no module:Class of a term, built without arguments ({reason})") from error
    return term


class MarketParams(Params):
    """Parameters of ``MarketEnv``.

    Attributes:
        data: Where prices come from.
        window: The bars an episode may touch; features may look back before it.
        horizon: Steps of an episode, its start drawn at random; null: from the window's first bar to its last.
        warmup: Own bars an asset needs before its agent acts.
        capital: What an episode starts with, all of it cash.
        traders: Name of a group -> what it trades; null: one for each class of the data, named as the class.
        allocator: null: equal fixed budgets for the classes and none for cash.
        fusion: Matters only where several traders cover one class.
        risk: Caps on targets.
        costs: Class -> costs; what a class leaves out keeps the class's default.
        cash_rate: Interest per year on cash, that from short sales left out.
        reward: Weights of the reward's terms.
    """

    data: DataParams
    window: WindowParams = WindowParams()
    horizon: int | None = Field(252, ge=1)
    warmup: int = Field(60, ge=1)
    capital: float = Field(1_000_000.0, ge=1, le=1e15)
    traders: dict[str, TraderParams] | None = Field(None, min_length=1)
    allocator: AllocatorParams | None = AllocatorParams()
    fusion: FusionParams = FusionParams()
    risk: RiskParams = RiskParams()
    costs: dict[str, CostParams] = Field({})
    cash_rate: float = Field(0.0, ge=-0.2, le=1)
    reward: RewardParams = RewardParams()

    @field_validator("costs", mode="before")
    @classmethod
    def _class_defaults(cls, costs: Any) -> Any:
        if not isinstance(costs, dict):
            return costs
        return {
            name: {**COSTS.get(name, {}), **given} if isinstance(given, dict) else given
            for name, given in costs.items()
        }

    @field_validator("traders")
    @classmethod
    def _names(cls, traders: dict[str, TraderParams] | None) -> dict[str, TraderParams] | None:
        for name in traders or {}:
            if name == ALLOCATOR or not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(
                    f"trader name {name!r}: letters, digits, '_' and '-', and not {ALLOCATOR!r} (that group is given)"
                )
        return traders

    def cost(self, asset_class: str) -> CostParams:
        """What trading in a class costs, with the class's defaults where nothing is said."""
        return self.costs.get(asset_class) or CostParams(**COSTS.get(asset_class, {}))
