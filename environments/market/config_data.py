"""Where prices come from: a file, the generator, or processes whose paths are drawn for each copy and episode."""

from __future__ import annotations

from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from environments import base
from environments.market.processes.base import Process
from environments.market.synthetic import SyntheticParams
from environments.targets import load_target


class ProcessSpec(base.Params):
    """The price process of one class of assets.

    Attributes:
        class_: ``module:Class``, a subclass of ``processes.base.Process``.
        params: Of that class.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    class_: str = Field(alias="class")
    params: dict[str, Any] = Field({})

    @model_validator(mode="after")
    def _usable(self) -> Self:
        found = load_target(self.class_)
        if not (isinstance(found, type) and issubclass(found, Process) and found is not Process):
            raise ValueError(f"{self.class_!r} is no subclass of {Process.__module__}:{Process.__name__}")
        try:
            found.Params.model_validate(self.params)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, ("params", *first["loc"])))
            raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
        return self

    def build(self, years: float, device: str) -> Process:
        """The process, for bars of this length."""
        found: type[Process] = load_target(self.class_)
        return found(found.Params.model_validate(self.params), years=years, device=device)


class SimulationParams(base.Params):
    """Prices that are drawn anew for each copy and episode, bar by bar.

    Attributes:
        classes: Class of assets -> its process. Processes of different classes are independent.
        bars_per_year: In the unit of time of the processes' parameters.
    """

    classes: dict[str, ProcessSpec] = Field(min_length=1)
    bars_per_year: float = Field(252.0, gt=0)

    @cached_property
    def years(self) -> float:
        """The length of a bar."""
        return 1.0 / self.bars_per_year


class DataParams(base.Params):
    """Where prices come from: exactly one of these.

    Attributes:
        path: A Parquet or CSV panel.
        synthetic: Parameters of the generator of one made-up panel.
        simulation: Processes; every copy and episode has a path of its own.
    """

    path: Path | None = None
    synthetic: SyntheticParams | None = None
    simulation: SimulationParams | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of path, synthetic and simulation"
            raise ValueError(f"{said} given; data takes exactly one of path, synthetic and simulation")
        return self


class WindowParams(base.Params):
    """The bars an episode may touch, both ends inclusive; null: as far as the data goes."""

    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}; it may end on its first day")
        return self
