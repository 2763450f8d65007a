"""Which features the traders of each class see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from environments.market.features.sets import check_names

ALIKE = "alike"
BY_CLASS = "by_class"


def _known(given: Any) -> Any:
    """Refuses what is neither a choice for all classes nor one for each."""
    if isinstance(given, Mapping):
        for asset_class, names in given.items():
            _check(asset_class, names)
    elif given not in (ALIKE, BY_CLASS):
        raise ValueError(
            f"must be {ALIKE}, {BY_CLASS}, or class -> names of what it sees, as in {{stocks: [standard, momentum]}}"
        )
    return given


def _check(asset_class: str, names: Any) -> None:
    listed = isinstance(names, list | tuple) and len(names) > 0 and all(isinstance(name, str) for name in names)
    if not listed:
        raise ValueError(f"{asset_class} is {names!r}; it must be a list of names, as in [standard, momentum]")
    try:
        check_names(names)
    except ValueError as error:
        raise ValueError(f"{asset_class}: {error}") from error


Choice = Annotated[str | dict[str, tuple[str, ...]], BeforeValidator(_known)]
"""``alike``: all classes see the standard features and all extra columns. ``by_class``: each class those of
``features.sets.BY_CLASS``. Or class -> names of sets and features; a class that is left out is as ``alike``."""
