"""The parameters of risk: what a target may be."""

from __future__ import annotations

from pydantic import Field

from environments.base import Params


class RiskParams(Params):
    """Caps on targets, as shares of the value of the portfolio.

    Attributes:
        max_position: Of one asset, long or short.
        max_class: Of the sum of absolute weights in one class.
        max_gross: Of the sum of absolute weights; above 1 it is leverage.
        shorting: The classes that may be sold short; null: all.
    """

    max_position: float = Field(0.25, gt=0, le=20)
    max_class: float = Field(0.6, gt=0, le=20)
    max_gross: float = Field(1.0, gt=0, le=20)
    shorting: tuple[str, ...] | None = None
