"""The parameters of the market: typed, frozen, and refused where they make no sense."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from environments.base import Params
from environments.market.config_coordination import (
    AllocatorParams,
    AnyCoordination,
    Centralized,
    Decentralized,
    FixedBudgets,
    Fusion,
    Hierarchical,
    MeanFusion,
    NeuralFusion,
    PerformanceBudgets,
    VotingFusion,
    WeightedFusion,
    fuser_of,
)
from environments.market.config_costs import COSTS, CostParams, LimitOrderParams, LinearImpactParams
from environments.market.config_data import DataParams, WindowParams
from environments.market.config_features import ALIKE, Choice
from environments.market.config_reward import RewardParams
from environments.market.config_risk import RiskParams
from environments.market.config_roles import RISK, RiskManagerParams
from environments.market.config_traders import TraderParams

Sizing = Literal["weights", "shares"]
ALLOCATOR = "allocator"


class MarketParams(Params):
    """Parameters of ``MarketEnv``.

    Attributes:
        data: Where prices come from.
        window: The bars an episode may touch; features may look back before it. Not for a simulation.
        horizon: Steps of an episode, its start drawn at random; null: from the window's first bar to its last.
        finite: The horizon is the end of the world (terminated), and agents see the time left; otherwise it only cuts
            the episode off (truncated). For a simulation.
        close_out: The last decision before a finite horizon closes every position, whatever agents say.
        warmup: Own bars an asset needs before its agent acts; a simulation needs none.
        capital: What an episode starts with, all of it cash unless traders start with positions.
        traders: Name of a group -> what it trades; null: one for each class of the data, named as the class.
        allocator: null: nobody decides on the budgets of the classes.
        risk_manager: An agent above the traders that scales what they want and sets a stop; null: none.
        coordination: Who divides the capital, and whether agents see that; null: ``hierarchical`` where there is an
            allocator, otherwise ``decentralized`` with equal fixed budgets, and agents see nothing of it.
        sizing: Positions are ``weights`` (shares of the portfolio's value) or numbers of ``shares``.
        features: What traders see of prices: see ``config_features``.
        fusion: How the signals of several traders of one class become one.
        risk: Limits on what signals hold and on targets.
        costs: Class -> costs; what a class leaves out keeps the class's default.
        linear_impact: Beside the square-root impact of ``costs``.
        limit_orders: How quotes are filled; needed by traders whose action is ``quotes``.
        cash_rate: Interest per year on cash, that from short sales left out.
        reward: Weights of the reward's terms.
        compile: Steps are compiled to C++ at the first one (``compiled``), on the CPU, the same to rounding: several
            times as fast with few copies or few assets, a little with many of both. Takes a C++ compiler and most of a
            minute, once for each process and number of copies; less where torch's cache of compiled code has it.
    """

    data: DataParams
    window: WindowParams = WindowParams()
    horizon: int | None = Field(252, ge=1)
    finite: bool = False
    close_out: bool = False
    warmup: int = Field(60, ge=1)
    capital: float = Field(1_000_000.0, ge=1, le=1e15)
    traders: dict[str, TraderParams] | None = Field(None, min_length=1)
    allocator: AllocatorParams | None = AllocatorParams()
    risk_manager: RiskManagerParams | None = None
    coordination: AnyCoordination | None = None
    sizing: Sizing = "weights"
    features: Choice = ALIKE
    fusion: Fusion = WeightedFusion()
    risk: RiskParams = RiskParams()
    costs: dict[str, CostParams] = Field({})
    linear_impact: LinearImpactParams = LinearImpactParams()
    limit_orders: LimitOrderParams | None = None
    cash_rate: float = Field(0.0, ge=-0.2, le=1)
    reward: RewardParams = RewardParams()
    compile: bool = False

    @field_validator("costs", mode="before")
    @classmethod
    def _class_defaults(cls, costs: Any) -> Any:
        if not isinstance(costs, dict):
            return costs
        return {
            name: {**COSTS.get(name, {}), **given} if isinstance(given, dict) else given
            for name, given in costs.items()
        }

    @field_validator("fusion", mode="before")
    @classmethod
    def _weighted_by_default(cls, fusion: Any) -> Any:
        return {"kind": "weighted", **fusion} if isinstance(fusion, dict) else fusion

    @model_validator(mode="before")
    @classmethod
    def _allocator_by_default(cls, given: Any) -> Any:
        """There is one where nothing is said, but for the kinds of coordination that have none."""
        if not isinstance(given, dict) or "allocator" in given:
            return given
        told = given.get("coordination")
        kind = told.get("kind") if isinstance(told, dict) else getattr(told, "kind", None)
        return {**given, "allocator": None} if kind in ("decentralized", "centralized") else given

    @field_validator("traders")
    @classmethod
    def _names(cls, traders: dict[str, TraderParams] | None) -> dict[str, TraderParams] | None:
        for name in traders or {}:
            if name == ALLOCATOR or not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(
                    f"trader name {name!r}: letters, digits, '_' and '-', and not {ALLOCATOR!r} (that group is given)"
                )
        return traders

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.finite and self.horizon is None:
            raise ValueError("finite: true needs a horizon; give the number of steps")
        if self.close_out and not self.finite:
            raise ValueError("close_out: true needs finite: true, a horizon that is the end")
        if self.reward.final_position and not self.finite:
            raise ValueError("reward.final_position is charged at the end of a finite horizon; set finite: true")
        return self

    @model_validator(mode="after")
    def _in_one_unit(self) -> Self:
        for name, trader in (self.traders or {}).items():
            if self.reward.adaptive is not None and (trader.joint or trader.risk_aversion):
                raise ValueError(
                    f"traders.{name}: joint and risk_aversion reckon in the unit of profit, and with reward.adaptive a "
                    "reward has none; leave one of the two away"
                )
        return self

    @model_validator(mode="after")
    def _roles_have_a_place(self) -> Self:
        if self.risk_manager is not None and RISK in (self.traders or {}):
            raise ValueError(f"traders.{RISK}: that group is the risk manager's; rename the trader")
        takes_off = self.risk_manager and (self.risk_manager.drawdown or self.risk_manager.risk_aversion)
        if takes_off and self.reward.adaptive is not None:
            raise ValueError(
                "risk_manager: drawdown and risk_aversion reckon in log returns, and with reward.adaptive a reward has "
                "no unit; set both to 0, or leave reward.adaptive away"
            )
        makers = {name: trader for name, trader in (self.traders or {}).items() if trader.makes_markets}
        first: dict[str, str] = {}
        for name, trader in makers.items():
            if not self.dated:
                raise ValueError(
                    f"traders.{name}.role: market_making needs the highs and lows of a panel's bars; simulated prices "
                    "are quoted with action: quotes and limit_orders"
                )
            if self.sizing != "weights":
                raise ValueError(f"traders.{name}.role: market_making quotes shares of a sleeve; set sizing: weights")
            if self.reward.adaptive is not None:
                raise ValueError(
                    f"traders.{name}: market_making reckons in the unit of profit, and with reward.adaptive a reward "
                    "has none; leave one of the two away"
                )
            if (other := first.setdefault(trader.asset_class, name)) != name:
                raise ValueError(f"traders: {other} and {name} both make a market in {trader.asset_class}; keep one")
        return self

    @model_validator(mode="after")
    def _simulated(self) -> Self:
        if self.data.simulation is None:
            return self._of_a_panel()
        if self.window != WindowParams():
            raise ValueError("window: a simulation has no dates; leave window away and give a horizon")
        if self.features != ALIKE:
            raise ValueError("features: what is seen of simulated prices is up to their processes; leave features away")
        if self.horizon is None:
            raise ValueError("horizon: a simulation has no last bar; give the number of steps of an episode")
        return self

    def _of_a_panel(self) -> Self:
        needs = "is known for simulated prices only; leave it away, or set data.simulation"
        if self.finite:
            raise ValueError("finite: true is for simulated prices; a panel is tested over its whole window")
        if self.reward.expected:
            raise ValueError(f"reward.expected: what could be expected {needs}")
        if self.linear_impact.permanent != 0.0:
            raise ValueError("linear_impact.permanent: the prices of a panel are given and cannot move; leave it away")
        for name, trader in (self.traders or {}).items():
            if trader.risk_aversion and not trader.makes_markets:
                raise ValueError(f"traders.{name}.risk_aversion: the variance of the coming bar {needs}")
        return self

    @model_validator(mode="after")
    def _risk_is_known(self) -> Self:
        risk = self.risk
        if self.dated:
            risk.check_history(self.warmup)
        elif risk.historical:
            raise ValueError(
                f"risk.{next(iter(risk.historical))}: simulated prices have no past to look at; "
                "take var_parametric or cvar_parametric, whose covariance is known, or leave it away"
            )
        if self.sizing == "shares" and risk.volatility is not None:
            raise ValueError("risk.volatility sizes shares of the portfolio; set sizing: weights, or leave it away")
        return self

    @model_validator(mode="after")
    def _sized(self) -> Self:
        quoting = [
            name
            for name, trader in (self.traders or {}).items()
            if trader.kind == "quotes" and not trader.makes_markets
        ]
        if quoting and self.limit_orders is None:
            raise ValueError(f"traders.{quoting[0]} quotes; limit_orders must say how quotes are filled")
        if quoting and self.sizing != "shares":
            raise ValueError(f"traders.{quoting[0]} quotes numbers of shares; set sizing: shares")
        if self.sizing == "shares" and self.allocator is not None:
            raise ValueError("sizing: shares leaves an allocator nothing to divide; set allocator: null")
        return self

    @model_validator(mode="after")
    def _coordinated(self) -> Self:
        match self.coordination:
            case Hierarchical() if self.allocator is None:
                raise ValueError(
                    "coordination.kind: hierarchical needs an allocator, and allocator is null; leave allocator away, "
                    "or set kind: decentralized"
                )
            case Decentralized() | Centralized() as chosen if self.allocator is not None:
                raise ValueError(
                    f"coordination.kind: {chosen.kind} has no allocator, and one is given; set allocator: null, "
                    "or kind: hierarchical"
                )
            case Centralized(gross=gross) if gross > self.risk.max_gross:
                raise ValueError(
                    f"coordination.gross: {gross:g} is more than risk.max_gross = {self.risk.max_gross:g} allows; "
                    "lower the one or raise the other"
                )
        if self.sizing == "shares" and not self._leaves_shares_alone:
            raise ValueError(
                "coordination: sizing: shares leaves no capital to divide; take kind: decentralized with equal "
                "fixed budgets, or leave coordination away"
            )
        return self

    @property
    def _leaves_shares_alone(self) -> bool:
        match self.coordination:
            case None | Decentralized(budgets=FixedBudgets(shares=None)):
                return True
        return False

    @model_validator(mode="after")
    def _fused(self) -> Self:
        if isinstance(self.fusion, NeuralFusion) and not self.shared_classes:
            raise ValueError(
                "fusion.kind: neural has no signals to fuse: no class has two traders or more; add a trader with "
                "the asset_class of another, or take kind: weighted"
            )
        for asset_class, names in self.shared_classes.items():
            if isinstance(self.fusion, NeuralFusion) and fuser_of(asset_class) in (self.traders or {}):
                raise ValueError(f"traders.{fuser_of(asset_class)}: that group is the fuser's; rename the trader")
            if isinstance(self.fusion, VotingFusion):
                self._check_votes(self.fusion, names)
        return self

    def _check_votes(self, fusion: VotingFusion, names: tuple[str, ...]) -> None:
        if fusion.quorum > len(names):
            raise ValueError(f"fusion.quorum: {fusion.quorum} of {', '.join(names)} can never vote; lower it")
        for name in names:
            kind = (self.traders or {})[name].kind
            if fusion.threshold is None and kind in ("continuous", "adjust"):
                raise ValueError(
                    f"fusion.threshold: voting over continuous signals without a rule: traders.{name} says a number "
                    f"(action {kind}); give the size up to which it abstains, from 0 to below 1"
                )

    @property
    def shared_classes(self) -> dict[str, tuple[str, ...]]:
        """Class -> its traders that give a signal, where there are several."""
        found: dict[str, tuple[str, ...]] = {}
        for name, trader in (self.traders or {}).items():
            if not trader.makes_markets:
                found[trader.asset_class] = (*found.get(trader.asset_class, ()), name)
        return {asset_class: names for asset_class, names in found.items() if len(names) > 1}

    @property
    def above(self) -> dict[str, str]:
        """Names of the groups above the traders -> what they are; there may be no allocator, its name is taken."""
        return {ALLOCATOR: "allocator"} | ({} if self.risk_manager is None else {RISK: "risk manager"})

    @property
    def makes_markets(self) -> bool:
        """Whether some trader quotes the assets of a panel."""
        return any(trader.makes_markets for trader in (self.traders or {}).values())

    @property
    def adaptive_budgets(self) -> PerformanceBudgets | None:
        """The rule of budgets that follow performance, if they do."""
        match self.coordination:
            case Decentralized(budgets=PerformanceBudgets() as rule):
                return rule
        return None

    @property
    def divides_capital(self) -> bool:
        """Whether somebody, or some rule, decides on the budgets of the classes as time goes on."""
        return bool(self.allocator or self.adaptive_budgets or isinstance(self.coordination, Centralized))

    @property
    def budgets_every(self) -> int:
        """Steps from one decision about budgets to the next."""
        rule = self.allocator or self.adaptive_budgets
        return 1 if rule is None else rule.every

    @property
    def observes_coordination(self) -> bool:
        """Whether agents see what others do: see ``observations.coordination_features``."""
        return self.coordination is not None and self.coordination.observe

    def unmanaged(self) -> Self:
        """The same market with traders alone: equal fixed budgets, no risk manager, and all are heard alike.

        Traders see the same columns.
        """
        told = self.coordination
        return self.model_copy(
            update={
                "allocator": None,
                "risk_manager": None,
                "coordination": told and Decentralized(observe=told.observe, half_life=told.half_life),
                "fusion": MeanFusion() if isinstance(self.fusion, NeuralFusion) else self.fusion,
            }
        )

    @property
    def dated(self) -> bool:
        """Whether prices have dates, so that training and test are windows of them."""
        return self.data.simulation is None

    def cost(self, asset_class: str) -> CostParams:
        """What trading in a class costs, with the class's defaults where nothing is said."""
        return self.costs.get(asset_class) or CostParams(**COSTS.get(asset_class, {}))
