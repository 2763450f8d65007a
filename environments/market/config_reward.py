"""The weights of the reward's terms."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from environments.base import Params
from environments.targets import load_target

TERMS = "environments.market.terms"
"""Where the terms are that come with the market, a file each."""

Entry = float | dict[str, Any]
"""A weight, or ``weight`` and the term's own parameters."""


class AdaptiveParams(Params):
    """Rewards over a running size of their discounted sum: see ``adaptive``.

    Attributes:
        half_life: Steps after which a past sum counts half in its mean square.
        discount: Of the sum: the learners' ``gamma``.
        most: What a scaled reward is cut to, positive or negative.
    """

    half_life: float = Field(10_000.0, gt=0)
    discount: float = Field(0.99, ge=0, lt=1)
    most: float = Field(10.0, gt=0)


@dataclass(frozen=True)
class OwnTerm:
    """A term of ``RewardParams.terms``, ready to be called.

    Attributes:
        name: As in the file.
        weight: Of its value.
        call: A function of an ``Outcome``, or a ``terms.base.Remembering``.
    """

    name: str
    weight: float
    call: Callable[..., Any]


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
        terms: Name of a file of ``environments.market.terms``, or ``module:Class`` of a term of one's own -> its
            weight, or ``{weight: ..., and the term's parameters}``.
        scale: Of the sum: 100 makes percents.
        adaptive: Divides the sum by its own running size; null: not.
    """

    unit: Literal["log", "money"] = "log"
    profit: float = Field(1.0, ge=0)
    expected: bool = False
    cost: float = Field(0.0, ge=0)
    drawdown: float = Field(0.0, ge=0)
    final_position: float = Field(0.0, ge=0)
    terms: dict[str, Entry] = Field({})
    scale: float = Field(100.0, gt=0)
    adaptive: AdaptiveParams | None = None

    @field_validator("terms")
    @classmethod
    def _found(cls, terms: dict[str, Entry]) -> dict[str, Entry]:
        for name, entry in terms.items():
            _term(name, entry)
        return terms

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.cost and "cost" in self.terms:
            raise ValueError("cost and terms.cost are the same in log returns; give one of the two")
        return self

    @cached_property
    def own_terms(self) -> tuple[OwnTerm, ...]:
        """The terms of ``terms``, ready to be called."""
        return tuple(_term(name, entry) for name, entry in self.terms.items())


def _term(name: str, entry: Entry) -> OwnTerm:
    """An instance of the class that a file of ``TERMS``, or ``module:Class``, names."""
    given = dict(entry) if isinstance(entry, Mapping) else {"weight": entry}
    weight = given.pop("weight", None)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise ValueError(f"{name}: weight is {weight!r}; give a number, {name}: 0.1 or {name}: {{weight: 0.1, ...}}")
    if ":" not in name and name not in _names():
        raise ValueError(f"{name!r} is no term; there are {', '.join(_names())}, and module:Class of one of your own")
    try:
        return OwnTerm(name, float(weight), _built(_class_of(name), given))
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(str(part) for part in wrong["loc"])
        raise ValueError(f"{name}.{field}: {wrong['msg']}, given {wrong['input']!r}") from error
    except Exception as error:  # a class of the user's may raise anything when it is built
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name!r} is no module:Class of a term ({reason})") from error


def _names() -> list[str]:
    """The terms that come with the market."""
    package = importlib.import_module(TERMS)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "base")


def _class_of(name: str) -> Any:
    """What ``module:Class`` names, or the one class that a file of ``TERMS`` is about."""
    if ":" in name:
        return load_target(name)
    module = importlib.import_module(f"{TERMS}.{name}")
    return next(kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == module.__name__)


def _built(kind: Any, given: Mapping[str, Any]) -> Callable[..., Any]:
    """An instance, made of its ``Params`` if it has any."""
    term = kind(kind.Params.model_validate(given)) if hasattr(kind, "Params") else kind(**given)
    if not callable(term):
        raise TypeError("it has no __call__(outcome)")
    return term
