"""The parameters of risk: what a signal may hold, and what a book of targets may be."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from environments.base import Params


class VolatilityParams(Params):
    """A signal of 1 holds its sleeve x min(max_leverage, target / forecast volatility of the asset).

    Attributes:
        target: Standard deviation per year of the return of a full position on its sleeve.
        max_leverage: The most sleeves that a full position holds, however quiet the asset is.
    """

    target: float = Field(gt=0, le=10)
    max_leverage: float = Field(1.0, gt=0, le=20)


class TailParams(Params):
    """A limit on what is lost in the coming bar, under a normal law.

    Attributes:
        limit: Of the loss, as a share of the portfolio's value.
        level: Probability that the loss is smaller (VaR), or beyond which it is averaged (CVaR).
    """

    limit: float = Field(gt=0, le=1)
    level: float = Field(0.95, gt=0.5, lt=1)


class HistoricalTailParams(TailParams):
    """The same limit, on what today's targets would have lost in each of the last ``window`` bars."""

    window: int = Field(50, ge=2, le=5000)

    @model_validator(mode="after")
    def _reaches_the_tail(self) -> Self:
        if self.window * (1 - self.level) < 1 - 1e-9:
            needed = round(1 / (1 - self.level))
            raise ValueError(
                f"window: {self.window} bars hold none that is worse than {self.level:g} of all; "
                f"give at least {needed}, or a lower level"
            )
        return self


class DrawdownParams(Params):
    """Exposure by the portfolio's drawdown in the episode: 1 up to ``start``, then linear to ``floor`` at ``limit``.

    It never rises again until the drawdown is back at ``recover``; then it is 1.

    Attributes:
        start: Drawdown (share of the peak) from which exposure falls.
        limit: Drawdown from which it is ``floor``.
        floor: The least exposure; above 0, or nothing would ever recover.
        recover: Drawdown at which exposure is 1 again.
    """

    start: float = Field(0.05, ge=0, lt=1)
    limit: float = Field(0.2, gt=0, le=1)
    floor: float = Field(0.25, gt=0, lt=1)
    recover: float = Field(0.02, ge=0, lt=1)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.recover <= self.start < self.limit:
            raise ValueError(
                f"recover {self.recover:g}, start {self.start:g}, limit {self.limit:g} must rise: "
                "recover <= start < limit"
            )
        return self


class RiskParams(Params):
    """What a signal may hold and what targets may be, as shares of the value of the portfolio; null: no such limit.

    Attributes:
        max_position: Of one asset, long or short.
        max_class: Of the sum of absolute weights in one class.
        max_gross: Of the sum of absolute weights; above 1 it is leverage.
        max_net: Of the absolute sum of weights.
        shorting: The classes that may be sold short; null: all.
        half_life: Bars after which a return counts half in forecasts of variance and covariance.
        volatility: Sizes positions by the volatility of their asset.
        diversification: How much a bet shrinks that is perfectly correlated with the rest of the book; 0: not at all.
        max_concentration: Of the sum of squared shares of gross exposure (Herfindahl and Hirschman): 1 / that many
            equal positions.
        var_parametric: Value at risk of a normal law with the forecast covariance.
        cvar_parametric: Its mean beyond.
        var_historical: Value at risk in the last bars.
        cvar_historical: Its mean beyond.
        drawdown: Throttles exposure.
    """

    max_position: float = Field(0.25, gt=0, le=20)
    max_class: float = Field(0.6, gt=0, le=20)
    max_gross: float = Field(1.0, gt=0, le=20)
    max_net: float | None = Field(None, gt=0, le=20)
    shorting: tuple[str, ...] | None = None
    half_life: float = Field(30.0, gt=0)
    volatility: VolatilityParams | None = None
    diversification: float = Field(0.0, ge=0, le=1)
    max_concentration: float | None = Field(None, gt=0, le=1)
    var_parametric: TailParams | None = None
    cvar_parametric: TailParams | None = None
    var_historical: HistoricalTailParams | None = None
    cvar_historical: HistoricalTailParams | None = None
    drawdown: DrawdownParams | None = None

    @property
    def historical(self) -> dict[str, HistoricalTailParams]:
        """Name -> limit, of those that look at past bars."""
        given = {"var_historical": self.var_historical, "cvar_historical": self.cvar_historical}
        return {name: tail for name, tail in given.items() if tail is not None}

    @property
    def parametric(self) -> dict[str, TailParams]:
        """Name -> limit, of those of a normal law."""
        given = {"var_parametric": self.var_parametric, "cvar_parametric": self.cvar_parametric}
        return {name: tail for name, tail in given.items() if tail is not None}

    @property
    def guards(self) -> bool:
        """Whether anything is on beside the caps on positions, classes and gross exposure."""
        given = (self.max_net, self.volatility, self.max_concentration, self.drawdown)
        return bool(
            self.historical or self.parametric or self.diversification or any(part is not None for part in given)
        )

    @property
    def forecasts(self) -> bool:
        """Whether anything asks for a forecast of variance or covariance."""
        return bool(self.parametric or self.diversification or self.volatility)

    def check_history(self, warmup: int) -> None:
        """Refuses what looks back further than every asset has been there when it is first held.

        Raises:
            ValueError: The first such field.
        """
        looks = [(f"{name}.window", tail.window) for name, tail in self.historical.items()]
        for field, bars in (*looks, *([("half_life", self.half_life)] if self.forecasts else ())):
            if bars > warmup - 1:
                raise ValueError(
                    f"risk.{field}: {bars:g} bars are more than the {warmup - 1} returns that an asset is sure to have "
                    f"when it is first held (warmup {warmup}); raise warmup, or give at most {warmup - 1}"
                )
