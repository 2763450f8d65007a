"""Roles beside the plain traders: how often somebody decides, who quotes, and who watches over the book."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from environments.base import Params

Role = Literal["long_term", "short_term", "market_making"]
LONG_TERM = 20
"""Bars from one decision of a long-term trader to the next, where nothing else is said."""
RISK = "risk"
"""Name of the risk manager's group."""


class QuoteParams(Params):
    """How a market maker quotes the assets of a panel: see ``inventory``.

    Attributes:
        width: The largest distance from the last close that can be quoted, in volatilities of the asset's own bars.
        size: What a quote buys or sells, as a share of the asset's sleeve.
        max_inventory: The largest inventory, long or short, likewise.
    """

    width: float = Field(gt=0, le=20)
    size: float = Field(0.1, gt=0, le=1)
    max_inventory: float = Field(0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size > self.max_inventory:
            raise ValueError(
                f"size: {self.size:g} is more than max_inventory = {self.max_inventory:g}, so that nothing could ever "
                "be quoted; lower the one or raise the other"
            )
        return self


class RiskManagerParams(Params):
    """The agent that scales all targets and sets a stop, a group ``risk``: see ``oversight``.

    Attributes:
        every: It acts each so many steps.
        min_stop: The tightest stop, a drawdown as a share of the peak.
        max_stop: The widest.
        rest: Bars for which nothing is held once the stop was hit.
        half_life: Bars after which a return counts half in the mean and the volatility that it sees.
        drawdown: Weight of what a bar adds to the drawdown, taken off its reward.
        risk_aversion: Half of it x the squared return of the bar is taken off its reward.
    """

    every: int = Field(1, ge=1)
    min_stop: float = Field(0.02, gt=0, lt=1)
    max_stop: float = Field(0.2, gt=0, lt=1)
    rest: int = Field(5, ge=1)
    half_life: float = Field(20.0, gt=0)
    drawdown: float = Field(0.5, ge=0)
    risk_aversion: float = Field(5.0, ge=0)

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.min_stop > self.max_stop:
            raise ValueError(f"min_stop: {self.min_stop:g} is above max_stop = {self.max_stop:g}; lower it")
        return self


def complete(trader: Any) -> Any:
    """Refuses a trader with a role and no instruments, and the role that is no trader's.

    Raises:
        ValueError: It is such a one.
    """
    if not isinstance(trader, dict):
        return trader
    role = trader.get("role")
    if role == RISK:
        raise ValueError(
            "role: 'risk' is no trader's: the risk manager is above all of them; write risk_manager: {} beside traders"
        )
    if role is not None and "asset_class" not in trader:
        raise ValueError(f"role: {role!r} has no instruments; give asset_class, the class that it trades")
    return trader
