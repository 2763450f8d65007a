"""Which features the traders of each class see: what the experiment file asks for, held against the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from environments.errors import DataError
from environments.market.config_features import ALIKE, Choice
from environments.market.features.sets import BY_CLASS, COLUMNS, EXTRA, EXTRAS, SETS, Features, extra, feature
from environments.market.panel import Panel


@dataclass(frozen=True)
class Chosen:
    """The features of each class.

    Attributes:
        by_class: name of the class -> its features, in their order.
        notes: What is left out for want of a column, or says nothing, a line each.
    """

    by_class: Mapping[str, Features]
    notes: tuple[str, ...] = ()


def alike(panel: Panel) -> Features:
    """What all classes see where nothing is chosen: the standard features, and all extra columns."""
    return {**SETS["standard"], **{EXTRA + column: extra(column) for column in panel.extras}}


def chosen(choice: Choice, panel: Panel) -> Chosen:
    """The features of each class.

    Raises:
        DataError: A class is named that the data lacks, or a feature whose column it lacks.
    """
    if choice == ALIKE:
        return Chosen(dict.fromkeys(panel.classes, alike(panel)))
    given = choice if isinstance(choice, dict) else {}
    if strange := [name for name in given if name not in panel.classes]:
        raise DataError(
            f"features: class {strange[0]!r} has no symbols in the data; its classes are {', '.join(panel.classes)}"
        )
    for asset_class, names in given.items():
        _check_columns(asset_class, names, panel)
    wanted = {name: _wanted(name, choice, panel) for name in panel.classes}
    there = {
        name: {each: found for each, found in features.items() if not _lacking(found.columns, panel)}
        for name, features in wanted.items()
    }
    notes = (note for name in panel.classes for note in _notes(name, wanted[name], there[name], panel))
    return Chosen(there, tuple(notes))


def _wanted(asset_class: str, choice: Choice, panel: Panel) -> Features:
    if not isinstance(choice, dict):
        return _expanded((*BY_CLASS.get(asset_class, ("standard",)), EXTRAS), panel)
    return _expanded(choice[asset_class], panel) if asset_class in choice else alike(panel)


def _expanded(names: Iterable[str], panel: Panel) -> Features:
    """The features of names of sets and features."""
    return {name: found for each in names for name, found in _of_name(each, panel).items()}


def _of_name(name: str, panel: Panel) -> Features:
    if name == EXTRAS:
        return {EXTRA + column: extra(column) for column in panel.extras if column not in COLUMNS}
    return SETS.get(name) or {name: feature(name)}


def _check_columns(asset_class: str, names: Iterable[str], panel: Panel) -> None:
    """Refuses a feature that lacks a column, and a set of which each feature does."""
    for name in names:
        features = _of_name(name, panel).values()
        if features and all(_lacking(found.columns, panel) for found in features):
            lacking = _lacking((column for found in features for column in found.columns), panel)
            raise DataError(
                f"features.{asset_class}: {name!r} needs the column {', '.join(lacking)} of the data, whose extra "
                f"columns are {', '.join(panel.extras) or 'none'}; add it to the data, or leave {name!r} out"
            )


def _notes(asset_class: str, wanted: Features, there: Features, panel: Panel) -> Iterator[str]:
    """What the traders of a class do not get to see."""
    if left_out := [name for name in wanted if name not in there]:
        lacking = _lacking((column for name in left_out for column in wanted[name].columns), panel)
        yield f"features: {asset_class} goes without {', '.join(left_out)}: the data has no column {', '.join(lacking)}"
    members_N = panel.class_N == panel.classes.index(asset_class)
    for column in dict.fromkeys(column for found in there.values() for column in found.columns if column in COLUMNS):
        if np.isnan(panel.extras[column][:, members_N]).all():
            yield f"features: column {column} has no value for {asset_class}: what {asset_class} sees of it is 0"


def _lacking(columns: Iterable[str], panel: Panel) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column for column in columns if column not in panel.extras))
