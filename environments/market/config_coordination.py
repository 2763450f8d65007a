"""The parameters of a team's organisation: who divides the capital, and how signals about one asset become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from environments.base import Params

Share = Annotated[float, Field(ge=0, le=1)]
ROUNDING = 1e-9  # of sums of shares that are written in decimals


class MeanFusion(Params):
    """All traders of a class are heard alike."""

    kind: Literal["mean"] = "mean"


class WeightedFusion(Params):
    """Who was right lately is heard more.

    Attributes:
        kind: Its name.
        half_life: Bars after which a trader's past performance counts half.
        temperature: Of the softmax over performances: small, the best is heard alone; large, all are heard alike.
    """

    kind: Literal["weighted"] = "weighted"
    half_life: float = Field(60.0, gt=0)
    temperature: float = Field(0.05, gt=0)


class VotingFusion(Params):
    """The majority of the traders' directions.

    Attributes:
        kind: Its name.
        threshold: A continuous signal (of ``adjust``: a change) no larger than this abstains; required where a trader
            that votes has one.
        tie: Without a majority, or without a quorum: ``flat`` holds nothing, ``hold`` what is held.
        quorum: How many must not abstain.
    """

    kind: Literal["voting"] = "voting"
    threshold: float | None = Field(None, ge=0, lt=1)
    tie: Literal["flat", "hold"] = "flat"
    quorum: int = Field(1, ge=1)


class NeuralFusion(Params):
    """A policy of the team weighs the traders: a group ``<class>_fuser`` for each class that several traders trade.

    Attributes:
        kind: Its name.
        sharpness: Of the weights, softmax(sharpness x action).
        half_life: Bars after which a trader's past performance, which the fuser sees, counts half.
        paid: For what the whole ``portfolio`` earns, or for the ``sleeve`` of the asset that it speaks about.
        observe: Names of the features that a fuser sees; null: all.
    """

    kind: Literal["neural"] = "neural"
    sharpness: float = Field(3.0, gt=0, le=50)
    half_life: float = Field(60.0, gt=0)
    paid: Literal["portfolio", "sleeve"] = "portfolio"
    observe: tuple[str, ...] | None = Field(None, min_length=1)


Fusion = Annotated[MeanFusion | WeightedFusion | VotingFusion | NeuralFusion, Field(discriminator="kind")]


def fuser_of(asset_class: str) -> str:
    """Name of the group that fuses the signals about a class."""
    return f"{asset_class}_fuser"


class AllocatorParams(Params):
    """The agent that divides the capital: it acts each ``every``-th step, budgets = softmax(sharpness x action)."""

    every: int = Field(5, ge=1)
    sharpness: float = Field(3.0, gt=0, le=50)


class FixedBudgets(Params):
    """Budgets that never change.

    Attributes:
        kind: Its name.
        shares: Class -> its share of the capital, above 0, the rest is cash; null: equal shares and no cash.
    """

    kind: Literal["fixed"] = "fixed"
    shares: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        total = sum((self.shares or {}).values())
        if total > 1 + ROUNDING:
            raise ValueError(f"shares add up to {total:g}; they must add up to 1 at most, the rest is cash")
        return self

    def check(self, classes: Iterable[str]) -> str | None:
        """What is wrong with them for these classes; None: nothing."""
        if self.shares is None or set(self.shares) == set(classes):
            return None
        return f"coordination.budgets.shares: names {', '.join(self.shares)}; it must name {', '.join(classes)}"


class PerformanceBudgets(Params):
    """Budgets that follow the risk-adjusted performance of the classes: see ``coordination.performance_budgets``.

    Attributes:
        kind: Its name.
        every: Steps from one change of the budgets to the next.
        temperature: Of the softmax over performances (mean / deviation of a bar's return on the budget).
        floor: The least that a class has.
        ceiling: The most.
        cash: What no class has.
    """

    kind: Literal["performance"] = "performance"
    every: int = Field(5, ge=1)
    temperature: float = Field(0.1, gt=0)
    floor: Share = 0.0
    ceiling: Share = 1.0
    cash: float = Field(0.0, ge=0, lt=1)

    def check(self, classes: Iterable[str]) -> str | None:
        """What is wrong with them for these classes; None: nothing."""
        count = len(tuple(classes))
        if self.floor * count <= 1 - self.cash + ROUNDING and self.ceiling * count >= 1 - self.cash - ROUNDING:
            return None
        return (
            f"coordination.budgets: floor {self.floor:g} and ceiling {self.ceiling:g} with {count} classes and cash "
            f"{self.cash:g}; must be floor x classes <= 1 - cash <= ceiling x classes"
        )


class Coordination(Params):
    """What all kinds have.

    Attributes:
        observe: Agents see budgets, the classes' exposures and performances, and the consensus about their asset.
        half_life: Bars after which the past return of a class counts half in its performance.
    """

    observe: bool = True
    half_life: float = Field(60.0, gt=0)


class Hierarchical(Coordination):
    """An allocator divides the capital among the classes."""

    kind: Literal["hierarchical"] = "hierarchical"


class Decentralized(Coordination):
    """Nobody decides on budgets: they are fixed, or follow performance."""

    kind: Literal["decentralized"] = "decentralized"
    budgets: Annotated[FixedBudgets | PerformanceBudgets, Field(discriminator="kind")] = FixedBudgets()


class Centralized(Coordination):
    """One book for all classes: capital goes where the signals are.

    Attributes:
        kind: Its name.
        gross: The largest sum of absolute weights, where all signals together are 1 or more.
    """

    kind: Literal["centralized"] = "centralized"
    gross: float = Field(1.0, gt=0, le=20)


AnyCoordination = Annotated[Hierarchical | Decentralized | Centralized, Field(discriminator="kind")]
