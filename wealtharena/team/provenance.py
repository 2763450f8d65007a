"""Where a group's weights come from, kept beside them: the columns they were trained on, and the dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel

from environments.base import ArrayEnv
from environments.market.env import MarketEnv
from wealtharena.spec import WindowSpec

PROVENANCE = "provenance.json"


class Provenance(BaseModel):
    """Of one group.

    Attributes:
        features: Names of the columns of its observation, in their order; None where its environment names none.
        windows: The dates of the price files it was trained on; made-up prices count for nothing.
    """

    model_config = ConfigDict(frozen=True)

    features: tuple[str, ...] | None = None
    windows: tuple[WindowSpec, ...] = ()

    def then(self, later: Provenance) -> Provenance:
        """That of weights that were trained further."""
        return Provenance(features=later.features, windows=tuple(dict.fromkeys((*self.windows, *later.windows))))

    def overlapping(self, test: WindowSpec) -> WindowSpec | None:
        """A window it was trained on that has days in common with a test."""
        return next((window for window in self.windows if window.overlaps(test)), None)


def provenance_of(world: ArrayEnv) -> dict[str, Provenance]:
    """What the groups of a world will have been trained on."""
    if not isinstance(world, MarketEnv):
        return {name: Provenance() for name in world.groups}
    windows: tuple[WindowSpec, ...] = ()
    if world.params.data.path is not None:
        first, last = world.panel.dates_T[list(world.window_bars)].astype("datetime64[D]").tolist()
        windows = (WindowSpec(start=first, end=last),)
    return {name: Provenance(features=world.feature_names[name], windows=windows) for name in world.groups}


_Groups = RootModel[dict[str, Provenance]]


def write_provenance(folder: Path, groups: Mapping[str, Provenance]) -> None:
    """Writes what is known of each group into a checkpoint."""
    (folder / PROVENANCE).write_text(_Groups(dict(groups)).model_dump_json(indent=1), encoding="utf-8")


def read_provenance(folder: Path) -> dict[str, Provenance]:
    """What ``write_provenance`` wrote; empty where nothing was written."""
    file = folder / PROVENANCE
    return _Groups.model_validate_json(file.read_bytes()).root if file.is_file() else {}


def feature_difference(
    learned: tuple[int, Sequence[str] | None], offered: tuple[int, Sequence[str] | None]
) -> str | None:
    """How the columns that are offered differ from those that were learned on, in words; None where they do not.

    Args:
        learned: Number of columns, and their names where they are known.
        offered: The same.
    """
    (width, names), (given, others) = learned, offered
    if width == given and (names is None or others is None or tuple(names) == tuple(others)):
        return None
    said = f"it learned on {width} features and this data gives it {given}"
    if names is None or others is None:
        return said
    lacking = [name for name in names if name not in others]
    strange = [name for name in others if name not in names]
    parts = [f"{what} {', '.join(columns)}" for what, columns in (("without", lacking), ("new:", strange)) if columns]
    return f"{said} ({'; '.join(parts) or 'in another order'})"
