"""The parameters of a made-up market: the character of each class, and what all classes share."""

from __future__ import annotations

import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from environments.base import Params

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class ClassParams(Params):
    """The character of an asset class.

    Attributes:
        volatility: Of a daily log return, typical over assets and time.
        market: a, share of the shocks' variance that is the whole market's.
        sector: q, share of the remainder that is the class's own.
        jump_rate: l, jumps per bar.
        jump_size: k, standard deviation of a jump, in daily volatilities.
        overnight: Share of the variance that falls between close and open.
        price: Typical first price.
        turnover: Typical value traded per bar, in quote currency.
        weekends: Trades seven days a week, holidays included.
    """

    volatility: float = Field(default=0.015, gt=0.0, le=0.2)
    market: Share = 0.3
    sector: Share = 0.3
    jump_rate: Share = 0.01
    jump_size: float = Field(default=4.0, ge=0.0, le=20.0)
    overnight: Share = 0.25
    price: float = Field(default=50.0, gt=0.0)
    turnover: float = Field(default=5e7, gt=0.0)
    weekends: bool = False


CLASS_DEFAULTS = {
    "stocks": ClassParams(),
    "crypto": ClassParams(
        volatility=0.04, market=0.1, sector=0.5, jump_rate=0.02, overnight=0.0, price=200.0, turnover=5e8, weekends=True
    ),
    "etf": ClassParams(volatility=0.01, market=0.5, jump_rate=0.005, price=80.0, turnover=1e9),
    "currencies": ClassParams(volatility=0.006, market=0.05, overnight=0.02, price=1.0, turnover=1e9),
    "reits": ClassParams(volatility=0.014, sector=0.4, price=60.0),
}


class SyntheticParams(Params):
    """A made-up market; the formulas are in ``environments.market.synthetic_paths``.

    Attributes:
        assets: class -> number of assets.
        bars: T, dates of the panel: every day where some class trades at weekends, else every weekday.
        start: The first day that may be a date.
        seed: Everything follows from it. More bars leave the earlier ones as they were (with ``late_start`` 0).
        predictability: R, share of the variance of daily returns that is known before the bar.
        persistence: p, how slowly the predictable part fades, per own bar.
        regime_share: w, share of the predictable part that is the hidden regime's drift.
        late_start: Share of the assets that list only within the first half of the panel.
        extras: Whether currencies and REITs have extra columns (see ``synthetic_extras``), which change nothing else.
        holidays: Whether 1 January and 25 December are closed, but for classes that trade at weekends.
        classes: class -> its character, where it is to differ from ``CLASS_DEFAULTS``.
    """

    assets: dict[str, Annotated[int, Field(ge=1, le=1000)]] = Field(
        default={"stocks": 6, "crypto": 3, "etf": 4, "currencies": 4, "reits": 3}, min_length=1
    )
    bars: int = Field(default=1000, ge=30, le=20_000)
    start: datetime.date = datetime.date(2015, 1, 1)
    seed: int = Field(default=0, ge=0)
    predictability: float = Field(default=0.02, ge=0.0, le=0.5)
    persistence: Share = 0.9
    regime_share: float = Field(default=0.0, ge=0.0, le=1.0)
    late_start: float = Field(default=0.0, ge=0.0, le=1.0)
    extras: bool = False
    holidays: bool = True
    classes: dict[str, ClassParams] = Field(default={})

    @model_validator(mode="after")
    def _classes_have_assets(self) -> Self:
        unknown = sorted(self.classes.keys() - self.assets.keys())
        if unknown:
            raise ValueError(f"classes names {', '.join(unknown)}, but assets holds only {', '.join(self.assets)}")
        return self

    def character(self, asset_class: str) -> ClassParams:
        """The character of a class: as given, else the default of that name, else that of stocks."""
        return self.classes.get(asset_class, CLASS_DEFAULTS.get(asset_class, CLASS_DEFAULTS["stocks"]))
