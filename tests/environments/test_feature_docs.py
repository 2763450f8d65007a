"""The README's tables of features are those of the code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from environments.market.features.base import AssetBars, Feature
from environments.market.features.sets import BY_CLASS, COLUMNS, SETS
from environments.market.observations import TRADER_FEATURES

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def described(name: str, feature: Feature[AssetBars]) -> str:
    return row(f"`{name}`", feature.formula, feature.unit, f"{feature.low:g} to {feature.high:g}")


def features() -> str:
    """A table of all features, set by set."""
    lines = [row("feature", "formula", "unit: 1 is", "range"), "|---|---|---|---|"]
    for name, found in SETS.items():
        classes = ", ".join(asset_class for asset_class, sets in BY_CLASS.items() if name in sets)
        lines.append(row(f"**{name}**", "all classes" if len(BY_CLASS) == classes.count(",") + 1 else classes, "", ""))
        lines += [described(*each) for each in found.items()]
    return "\n".join(lines)


def columns() -> str:
    """A table of the extra columns that features read."""
    lines = [row("extra column", "holds"), "|---|---|", *(row(f"`{name}`", said) for name, said in COLUMNS.items())]
    return "\n".join(lines)


@pytest.mark.parametrize("table", [features, columns])
def test_the_readme_has_every_feature_and_column(table: Callable[[], str]) -> None:
    assert table() in README


def test_the_readme_names_what_is_seen_of_the_portfolio() -> None:
    assert all(f"`{name}`" in README for name in TRADER_FEATURES)
