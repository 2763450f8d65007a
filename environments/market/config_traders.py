"""The parameters of one group of traders."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from environments.base import Params
from environments.market.config_roles import LONG_TERM, QuoteParams, Role, complete

Action = Literal["trade", "levels", "continuous", "adjust", "quotes"]
ACTIONS: dict[str, Action] = {"crypto": "continuous", "currencies": "levels"}  # by class; any other class: trade


class TraderParams(Params):
    """One group of agents, an agent for each asset of a class (or one for all of them).

    A signal of 1 means to hold ``size``, -1 to be short as much.

    Attributes:
        asset_class: The class it trades.
        role: ``long_term`` decides each 20th bar, ``short_term`` at every bar; ``market_making`` quotes the assets of a
            panel, beside the other traders of its class; null: none of these.
        every: It decides each so many steps, and what it said stands in between; null: by role.
        action: ``trade`` (Sell, Hold, Buy), ``levels`` (targets), ``continuous`` (a target), ``adjust`` (a change of
            what is held) or ``quotes`` (a bid and an ask); null: by role (market_making quotes) and by class (crypto
            continuous, currencies levels, any other trade).
        levels: How many targets ``levels`` has, evenly from the lowest signal to 1.
        notch: The change of the signal by one Sell or Buy, and the largest by ``adjust``.
        size: What a signal of 1 holds: in multiples of the asset's sleeve, or in shares (see ``MarketParams.sizing``).
        start: The signal held when an episode begins.
        joint: One agent trades all assets of the class, and sees them side by side; for continuous and adjust.
        paid: By what its own ``sleeve`` earns, or by what the whole ``portfolio`` does.
        risk_aversion: Takes half of it x the variance of the coming bar's profit (of its sleeve, or of the portfolio)
            off the reward; for simulated prices, where the variance is known, and for ``market_making``: of its
            inventory.
        observe: Names of the features it sees, in this order; null: all.
        quoting: How a market maker quotes.
    """

    asset_class: str
    role: Role | None = None
    every: int | None = Field(None, ge=1)
    action: Action | None = None
    levels: int = Field(5, ge=2, le=101)
    notch: float = Field(0.5, gt=0, le=2)
    size: float = Field(1.0, gt=0)
    start: float = Field(0.0, ge=-1, le=1)
    joint: bool = False
    paid: Literal["sleeve", "portfolio"] = "sleeve"
    risk_aversion: float = Field(0.0, ge=0)
    observe: tuple[str, ...] | None = Field(None, min_length=1)
    quoting: QuoteParams | None = None

    @property
    def kind(self) -> Action:
        """The action kind, the role's or the class's own where none is given."""
        return self.action or ("quotes" if self.makes_markets else ACTIONS.get(self.asset_class, "trade"))

    @property
    def makes_markets(self) -> bool:
        """Whether it quotes the assets of a panel."""
        return self.role == "market_making"

    @property
    def clock(self) -> int:
        """Steps from one decision to the next."""
        return self.every or (LONG_TERM if self.role == "long_term" else 1)

    @property
    def paid_plainly(self) -> bool:
        """Whether each agent is paid the reward of its own asset as it is."""
        return not self.joint and self.paid == "sleeve" and not self.risk_aversion

    @model_validator(mode="before")
    @classmethod
    def _has_instruments(cls, given: Any) -> Any:
        return complete(given)

    @model_validator(mode="after")
    def _plays_its_role(self) -> Self:
        if self.role == "short_term" and self.clock != 1:
            raise ValueError(f"every: {self.every}, and role short_term decides at every bar; take role long_term")
        if self.role == "long_term" and self.clock == 1:
            raise ValueError("every: 1, and role long_term decides less often; take role short_term")
        if self.makes_markets != (self.quoting is not None):
            raise ValueError("role: market_making and quoting: {width: ...} go together; give both or neither")
        if self.makes_markets and self.kind != "quotes":
            raise ValueError(f"action: {self.action!r}, and role market_making quotes; leave action away")
        if self.kind == "quotes" and self.clock != 1:
            raise ValueError(f"every: {self.every}, and quotes stand for one bar; leave every away")
        if self.makes_markets and (self.start or self.size != 1.0):
            raise ValueError(
                "role: market_making starts without inventory, and quoting.size says how much it trades; "
                "leave start and size away"
            )
        return self

    @model_validator(mode="after")
    def _acts_together(self) -> Self:
        if self.joint and self.kind not in ("continuous", "adjust"):
            raise ValueError(f"action {self.kind!r} is for one asset; joint takes action continuous or adjust")
        return self
