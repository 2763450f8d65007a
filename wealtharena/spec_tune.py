"""The ``tune:`` section of the experiment file: a sweep over whatever else the file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


class TuneSection(BaseModel):
    """Base of every part of the section."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


Ends = tuple[float, float]
DISTRIBUTIONS = ("uniform", "loguniform", "integer", "choice", "grid", "cases")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class Dimension(TuneSection):
    """What one value of the file is drawn from: exactly one of the distributions.

    Attributes:
        uniform: Any number from the first to the second, all alike.
        loguniform: The same, but their logarithms are alike; from a number above 0.
        integer: A whole number from the first to the second, both included.
        choice: One of these values, all alike.
        grid: Each of these values, with each of every other grid.
        cases: A grid of named changes: name -> path of the file -> value. The key is then a name, not a path.
        when: path or name -> a value, or a list of them: only in trials in which all of these are so.
    """

    uniform: Ends | None = None
    loguniform: Ends | None = None
    integer: tuple[int, int] | None = None
    choice: tuple[Any, ...] | None = Field(None, min_length=1)
    grid: tuple[Any, ...] | None = Field(None, min_length=1)
    cases: dict[str, dict[str, Any]] | None = Field(None, min_length=1)
    when: dict[str, Annotated[tuple[Any, ...], BeforeValidator(_listed)]] = {}

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [kind for kind in DISTRIBUTIONS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(DISTRIBUTIONS)} (got {', '.join(given) or 'none'})")
        if self.kind in ("uniform", "loguniform", "integer"):
            self._check_ends(*getattr(self, self.kind))
        return self

    def _check_ends(self, low: float, high: float) -> None:
        if low >= high:
            raise ValueError(f"{self.kind}: [{low:g}, {high:g}]: the first end must be below the second")
        if self.loguniform is not None and low <= 0:
            raise ValueError(f"loguniform: [{low:g}, {high:g}]: both ends must be above 0")

    @property
    def kind(self) -> str:
        """Which distribution it is."""
        return next(kind for kind in DISTRIBUTIONS if getattr(self, kind) is not None)

    @property
    def ends(self) -> Ends | None:
        """The least and the largest number, of a range."""
        ends: Ends | None = getattr(self, self.kind) if self.kind in ("uniform", "loguniform", "integer") else None
        return ends

    @property
    def options(self) -> tuple[Any, ...]:
        """The values of a choice or a grid; of cases, their names; of a range none."""
        if self.cases is not None:
            return tuple(self.cases)
        return self.choice or self.grid or ()

    @property
    def gridded(self) -> bool:
        """Whether each of its values is tried, rather than one drawn."""
        return self.grid is not None or self.cases is not None


class SearcherSpec(TuneSection):
    """Who chooses the values of the next trial.

    Attributes:
        kind: ``random`` draws them; ``grid`` has nothing to draw; ``optuna`` learns from the trials before (TPE).
        seed: Of its draws.
        startup: Of ``optuna``: trials that are drawn at random before it learns from them.
    """

    kind: Literal["random", "grid", "optuna"] = "random"
    seed: int = Field(0, ge=0, lt=2**31)
    startup: int = Field(10, ge=1)


class NoScheduler(TuneSection):
    """Every trial is trained to its end."""

    kind: Literal["none"] = "none"


class AshaSpec(TuneSection):
    """Stops trials early (Li et al. 2020): at each rung only the best of those that came so far go on.

    Attributes:
        kind: ``asha``.
        clock: What rungs are counted in.
        grace: The first rung; no trial is stopped before it.
        most: The last; null: as ``stop`` of the file says.
        reduction: One in so many goes on; each rung is so many times further than the one before.
    """

    kind: Literal["asha"]
    clock: Literal["iteration", "env_steps"] = "iteration"
    grace: int = Field(ge=1)
    most: int | None = Field(None, ge=2)
    reduction: float = Field(3.0, gt=1)


class PopulationSpec(TuneSection):
    """Trials as a population: the worst go on from copies of the best, with values a little changed.

    Attributes:
        kind: ``pbt`` changes them at random (Jaderberg et al. 2017), ``pb2`` by a Gaussian process of what earlier
            changes gained (Parker-Holder et al. 2020).
        clock: What intervals are counted in.
        interval: How long trials learn between two comparisons.
        quantile: The share of the population that is replaced, and the share it is replaced by.
        resample: Of ``pbt``: how often a value is drawn anew instead of multiplied by 0.8 or 1.2.
        burn_in: No comparison before.
    """

    kind: Literal["pbt", "pb2"]
    clock: Literal["iteration", "env_steps"] = "iteration"
    interval: int = Field(ge=1)
    quantile: float = Field(0.25, gt=0, le=0.5)
    resample: float = Field(0.25, ge=0, le=1)
    burn_in: int = Field(0, ge=0)


Scheduler = Annotated[NoScheduler | AshaSpec | PopulationSpec, Field(discriminator="kind")]


class CompareSpec(TuneSection):
    """A table of what each value of some dimensions is worth, against the first value of each.

    Every trial is then judged on its test data, the best of them too; so ``trials`` of the deflated Sharpe counts all.

    Attributes:
        dimensions: Keys of grids or cases of ``space``.
        settings: Keys whose values are kept apart, as they are not to be compared: markets, say.
        repeats: The key whose values are repetitions: the seed.
    """

    dimensions: tuple[str, ...] = Field(min_length=1)
    settings: tuple[str, ...] = ()
    repeats: str = "seed"


class TuneSpec(TuneSection):
    """A sweep: many trainings of the file, each with other values.

    Attributes:
        metric: What trials are compared by, as ``checkpoint.metric``; null: that. Never test data.
        mode: Whether more of it is better.
        trials: How many; of a space with grids, for each point of the grid.
        concurrency: Most trials at the same time; null: as many as there is room for.
        searcher: Who chooses the values.
        scheduler: Which trials go on.
        max_failures: How often a trial begins again at its last checkpoint after an error.
        time_budget: Seconds after which no trial goes on; null: no limit.
        compare: A table of what each value is worth; null: none.
        space: path in the file -> what its value is drawn from.
    """

    metric: str | None = None
    mode: Literal["max", "min"] = "max"
    trials: int = Field(1, ge=1)
    concurrency: int | None = Field(None, ge=1)
    searcher: SearcherSpec = SearcherSpec()
    scheduler: Scheduler = NoScheduler()
    max_failures: int = Field(2, ge=0)
    time_budget: float | None = Field(None, gt=0)
    compare: CompareSpec | None = None
    space: dict[str, Dimension] = Field(min_length=1)

    @field_validator("space")
    @classmethod
    def _conditions_come_before(cls, space: dict[str, Dimension]) -> dict[str, Dimension]:
        keys = list(space)
        for place, (key, dimension) in enumerate(space.items()):
            if late := [name for name in dimension.when if name in keys[place:]]:
                raise ValueError(f"{key}: when {late[0]} ...: {late[0]} must be listed above {key}")
        return space

    @model_validator(mode="after")
    def _fit(self) -> Self:
        _check_searcher(self)
        if isinstance(self.scheduler, PopulationSpec):
            _check_population(self)
        if self.compare is not None:
            _check_compared(self.compare, self.space)
        return self

    @property
    def sign(self) -> int:
        """What a score is multiplied by for more to be better."""
        return 1 if self.mode == "max" else -1


def _check_searcher(tune: TuneSpec) -> None:
    for key, dimension in tune.space.items():
        if tune.searcher.kind == "optuna" and dimension.gridded:
            raise ValueError(f"space.{key}: optuna draws and tries no grid; give a choice, or searcher.kind: random")
        if tune.searcher.kind == "grid" and not dimension.gridded:
            raise ValueError(f"space.{key}: searcher.kind: grid draws nothing; give a grid, or searcher.kind: random")


def _check_population(tune: TuneSpec) -> None:
    kind = tune.scheduler.kind
    if tune.searcher.kind != "random":
        raise ValueError(f"scheduler.kind: {kind} takes searcher.kind: random, which draws the first generation")
    if tune.trials < 2:
        raise ValueError(f"trials: {tune.trials}: a population has two members at least")
    if tune.concurrency is not None and tune.concurrency < tune.trials:
        raise ValueError(
            f"concurrency: {tune.concurrency}: a population of {tune.trials} trains together; leave concurrency out "
            "(where there is no room for all, they take turns)"
        )
    for key, dimension in tune.space.items():
        if dimension.gridded or dimension.when:
            what = "a condition" if dimension.when else f"a {dimension.kind}"
            raise ValueError(f"space.{key}: {kind} changes values of a running team; {what} cannot change in flight")
        if kind == "pb2" and dimension.kind not in ("uniform", "loguniform"):
            raise ValueError(f"space.{key}: pb2 changes numbers only; give uniform or loguniform, or take pbt")


def _check_compared(compare: CompareSpec, space: Mapping[str, Dimension]) -> None:
    for key in (*compare.dimensions, *compare.settings, compare.repeats):
        if key not in space or not space[key].gridded:
            raise ValueError(f"compare: {key} must be a grid or cases of space")
