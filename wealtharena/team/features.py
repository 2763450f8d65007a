"""What the columns of each group's observation mean, kept beside the weights that were trained on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

FEATURES = "features.json"


def write_features(folder: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Writes group -> names of its columns into a checkpoint."""
    plain = {group: list(columns) for group, columns in names.items()}
    (folder / FEATURES).write_text(json.dumps(plain, indent=1), encoding="utf-8")


def read_features(folder: Path) -> dict[str, tuple[str, ...]]:
    """The names that ``write_features`` wrote; empty where nothing was written."""
    file = folder / FEATURES
    if not file.is_file():
        return {}
    return {group: tuple(columns) for group, columns in json.loads(file.read_text(encoding="utf-8")).items()}


def feature_difference(
    learned: tuple[int, Sequence[str] | None], offered: tuple[int, Sequence[str] | None]
) -> str | None:
    """How the columns that are offered differ from those that were learned on, in words; None where they do not.

    Args:
        learned: Number of columns, and their names where they are known.
        offered: The same.
    """
    (width, names), (given, others) = learned, offered
    if width != given:
        return f"{width} features were learned on and {given} are given{_named(names, others)}"
    if names is None or others is None or list(names) == list(others):
        return None
    if sorted(names) == sorted(others):
        return f"the {width} features that were learned on are given in another order"
    return f"{width} features are given, but not those that were learned on{_named(names, others)}"


def _named(names: Sequence[str] | None, others: Sequence[str] | None) -> str:
    if names is None or others is None:
        return ""
    lacking = [name for name in names if name not in others]
    strange = [name for name in others if name not in names]
    said = [
        f"{what} {', '.join(columns)}"
        for what, columns in (("missing:", lacking), ("not learned on:", strange))
        if columns
    ]
    return f" ({'; '.join(said)})" if said else ""
