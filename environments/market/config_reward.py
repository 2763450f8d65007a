"""The weights of the reward's terms."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator

from environments.base import Params
from environments.targets import load_target


class RewardParams(Params):
    """Weights of the reward's terms: see ``rewards``. All are multiplied by ``scale``.

    Attributes:
        unit: What profit is measured in: ``log`` returns, or ``money``.
        profit: Of the profit.
        expected: Profit as it could be expected when the order was given, what it turned out to be left out: the same
            mean and far less noise. For simulated prices only, where the expectation is known.
        cost: Of costs, beyond what the profit has lost by them.
        drawdown: Of an increase of the drawdown, in log units whatever the unit of profit.
        final_position: Of the squared number of shares held at the end of a finite horizon.
        terms: ``module:Class`` of a term of one's own -> its weight.
        scale: Of the sum: 100 makes percents.
    """

    unit: Literal["log", "money"] = "log"
    profit: float = Field(1.0, ge=0)
    expected: bool = False
    cost: float = Field(0.0, ge=0)
    drawdown: float = Field(0.0, ge=0)
    final_position: float = Field(0.0, ge=0)
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
    try:
        term = load_target(target)()
        if not callable(term):
            raise TypeError("it has no __call__(outcome)")  # noqa: TRY301  (told like every other reason)
    except Exception as error:  # a class of the user's may raise anything when it is built
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{target!r} is no module:Class of a term, built without arguments ({reason})") from error
    return term
