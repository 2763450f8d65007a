"""All features by name, in sets, and the sets of each class: what ``features`` in an experiment file may name.

A feature is added by an entry in one of the sets, or by the user in a file of his own, as ``module:NAME``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from environments.market.features.base import CLIP, DEVIATIONS, AssetBars, Feature
from environments.market.features.economic import CARRY, ECONOMIC
from environments.market.features.momentum import MOMENTUM
from environments.market.features.rates import DRAWDOWNS, RATE_SENSITIVITY, YIELD_SPREAD
from environments.market.features.relative import SECTOR_ROTATION
from environments.market.features.reversion import MEAN_REVERSION
from environments.market.features.standard import FEATURES
from environments.market.features.technical import TECHNICAL
from environments.market.features.volatility import REALISED_VOLATILITY
from environments.market.series import expanding_score
from environments.targets import load_target

Features = Mapping[str, Feature[AssetBars]]

SETS: Mapping[str, Features] = {
    "standard": FEATURES,
    "momentum": MOMENTUM,
    "mean_reversion": MEAN_REVERSION,
    "technical": TECHNICAL,
    "realised_volatility": REALISED_VOLATILITY,
    "sector_rotation": SECTOR_ROTATION,
    "carry": CARRY,
    "economic": ECONOMIC,
    "rate_sensitivity": RATE_SENSITIVITY,
    "yields": YIELD_SPREAD,
    "drawdowns": DRAWDOWNS,
}
EXTRAS = "extras"  # the set of all extra columns of the data that no feature above reads
EXTRA = "extra_"  # and the beginning of each one's name

BY_CLASS: Mapping[str, tuple[str, ...]] = {
    "stocks": ("standard", "momentum", "mean_reversion", "technical"),
    "crypto": ("standard", "realised_volatility"),
    "etf": ("standard", "sector_rotation"),
    "currencies": ("standard", "carry", "economic"),
    "reits": ("standard", "rate_sensitivity", "yields", "drawdowns"),
}
"""The sets of each class by ``by_class``, ``EXTRAS`` beside them; any other class: ``standard``."""

ALL: Features = {name: feature for features in SETS.values() for name, feature in features.items()}
COLUMNS: Mapping[str, str] = {
    "carry": "what holding the asset for a year pays beyond its price, 0.03 for 3%",
    "rate_differential": "short interest rate of the base currency less that of the quote currency, a year",
    "inflation_differential": "the same of inflation",
    "growth_differential": "the same of real growth",
    "bond_yield": "yield of a reference bond, such as a 10-year treasury, a year",
    "dividend_yield": "dividends of the last year over the price",
}
"""The extra columns that features read, and what they hold."""


def extra(column: str) -> Feature[AssetBars]:
    """An extra column in standard deviations from the mean of the asset's own bars so far."""
    return Feature(
        "(x - mean so far) / standard deviation so far, x the column",
        DEVIATIONS,
        -CLIP,
        CLIP,
        lambda own: expanding_score(own.columns[column]),
        (column,),
    )


def feature(name: str) -> Feature[AssetBars]:
    """The feature of a name: of a set, ``extra_<column>``, or ``module:NAME``, a Feature or a function of AssetBars.

    Raises:
        ValueError: There is none; the message lists what there is.
    """
    if name in ALL:
        return ALL[name]
    if name.startswith(EXTRA):
        return extra(name.removeprefix(EXTRA))
    if ":" not in name:
        raise ValueError(
            f"{name!r} is no feature; there are the sets {', '.join((*SETS, EXTRAS))}, the features {', '.join(ALL)}, "
            f"{EXTRA}<column of the data>, and module:NAME of one of your own"
        )
    found = load_target(name)
    if isinstance(found, Feature):
        return found
    usable = callable(found) and not isinstance(found, type)
    if not usable:
        raise ValueError(f"{name!r} is neither a Feature nor a function from AssetBars to numbers")
    return Feature(found.__doc__ or name, "as the function gives it", -CLIP, CLIP, found)


def check_names(names: Iterable[str]) -> None:
    """Refuses what is the name of neither a set nor a feature.

    Raises:
        ValueError: With the name and what there is.
    """
    for name in names:
        if name not in SETS and name != EXTRAS:
            feature(name)
