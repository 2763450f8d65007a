"""The search space: which values a trial has, and what they make of the experiment file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wealtharena.document import Document, with_value
from wealtharena.spec_tune import Dimension, TuneSpec
from wealtharena.validation import value_at

Values = dict[str, Any]
"""Key of the space -> value; of cases, the name. A key whose condition does not hold is absent."""

Draw = Callable[[str, Dimension], Any]
_DIGITS = 6


@dataclass(frozen=True)
class Space:
    """The dimensions of a sweep, over an experiment file.

    Attributes:
        document: The file.
        dimensions: path or name -> what its value is drawn from.
    """

    document: Document
    dimensions: Mapping[str, Dimension]

    def applied(self, values: Mapping[str, Any]) -> Document:
        """The file with the values of a trial in it.

        Raises:
            UserError: A path leads through something that is no section.
        """
        document = self.document
        for key, value in values.items():
            cases = self.dimensions[key].cases if key in self.dimensions else None
            changes = {key: value} if cases is None else cases[value]
            for path, changed in changes.items():
                document = with_value(
                    document, path, changed, given=f"tune.space.{key}: {path}", origin=self.origin(key, path)
                )
        return document

    def origin(self, key: str, path: str) -> str:
        """Where the file gives the values of a dimension, as in ``Document.origins``."""
        place = next((known for known in self.document.origins if known[:3] == ("tune", "space", key)), ())
        below = [known for known in self.document.origins if known[:3] == ("tune", "space", key) and path in known]
        return self.document.origins.get(below[0] if below else place, "tune.space")

    def filled(self, draw: Draw) -> Values:
        """The values of a trial: ``draw`` gives that of each dimension whose condition holds, in the file's order."""
        values: Values = {}
        for key, dimension in self.dimensions.items():
            if self._holds(dimension, values):
                values[key] = draw(key, dimension)
        return values

    def filled_from(self, given: Mapping[str, Any]) -> Values:
        """The values of a trial that has these; of the other dimensions the first ones."""
        return self.filled(lambda key, dimension: given[key] if key in given else first_of(dimension))

    def _holds(self, dimension: Dimension, values: Mapping[str, Any]) -> bool:
        if not dimension.when:
            return True
        data = self.applied(values).data
        return all(self._known(name, values, data) in allowed for name, allowed in dimension.when.items())

    def _known(self, name: str, values: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
        if name in self.dimensions:
            return values.get(name)
        return value_at(data, tuple(name.split(".")))

    def grid(self) -> list[Values]:
        """Every combination of the grids that there is, without the dimensions that are drawn."""
        found: list[Values] = []
        gridded = {key: dimension.options for key, dimension in self.dimensions.items() if dimension.gridded}
        for combination in itertools.product(*gridded.values()):
            values = self.filled_from(dict(zip(gridded, combination, strict=True)))
            of_grids = {key: value for key, value in values.items() if key in gridded}
            if of_grids not in found:
                found.append(of_grids)
        return found


def points(space: Space, tune: TuneSpec) -> list[Values]:
    """The values of all trials, where no searcher learns from earlier ones; each draw for the whole grid.

    The same seed gives the same values.
    """
    generator = np.random.default_rng(tune.searcher.seed)
    drawn = [
        {key: draw(dimension, generator) for key, dimension in space.dimensions.items() if not dimension.gridded}
        for _ in range(tune.trials)
    ]
    return [space.filled_from(own | cell) for own in drawn for cell in space.grid()]


def draw(dimension: Dimension, generator: np.random.Generator) -> Any:
    """A value of a dimension, to six digits."""
    if dimension.ends is None:
        return dimension.options[int(generator.integers(len(dimension.options)))]
    low, high = dimension.ends
    if dimension.kind == "integer":
        return int(generator.integers(int(low), int(high) + 1))
    if dimension.kind == "uniform":
        return rounded(float(generator.uniform(low, high)), dimension)
    return rounded(math.exp(generator.uniform(math.log(low), math.log(high))), dimension)


def rounded(value: float, dimension: Dimension) -> float:
    """A number as a file would have it, within the ends of its dimension."""
    assert dimension.ends is not None
    low, high = dimension.ends
    return min(max(float(f"{value:.{_DIGITS}g}"), low), high)


def first_of(dimension: Dimension) -> Any:
    """The first end, or the first option."""
    return next(probes(dimension))


def probes(dimension: Dimension) -> Iterator[Any]:
    """The values by which a dimension is judged: the ends of a range, every option of the others."""
    yield from dimension.options if dimension.ends is None else getattr(dimension, dimension.kind)
