"""Searchers and schedulers: Ray Tune's own, made of what the file says."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from wealtharena.errors import UserError
from wealtharena.spec import StopSpec
from wealtharena.spec_tune import AshaSpec, Dimension, PopulationSpec, TuneSpec
from wealtharena.training.metrics_log import read_rows
from wealtharena.tuning.check import Sweep
from wealtharena.tuning.folder import AT_WORK
from wealtharena.tuning.population import Population
from wealtharena.tuning.space import Space, Values, rounded
from wealtharena.tuning.trial import NUMBER, POINT, SCORE, VALUES

EXTRAS = {"optuna": "optuna", "pb2": "sklearn"}


def require_extras(spec: TuneSpec) -> None:
    """Refuses a searcher or a scheduler whose library is not installed.

    Raises:
        UserError: It is not.
    """
    for field, kind in (("searcher", spec.searcher.kind), ("scheduler", spec.scheduler.kind)):
        if kind in EXTRAS and importlib.util.find_spec(EXTRAS[kind]) is None:
            raise UserError(
                f"tune.{field}.kind = {kind!r}: needs the package {EXTRAS[kind]}: pip install 'wealtharena[tune]'"
            )


def all_points(sweep: Sweep) -> list[dict[str, Any]]:
    """What Tune tries where all trials are known from the start.

    Members of a population begin with seeds of their own: from the same weights they would be the same but for values.
    """
    assert sweep.points is not None
    spread = isinstance(sweep.tune.scheduler, PopulationSpec)
    seed = sweep.experiment.spec.seed
    return [
        {NUMBER: number, VALUES: {**values, **({"seed": seed + number} if spread else {})}}
        for number, values in enumerate(sweep.points)
    ]


def searcher(sweep: Sweep) -> Searcher | None:
    """Who suggests values; None where all of them are known."""
    if sweep.points is not None:
        return None
    from optuna.samplers import TPESampler  # noqa: PLC0415  (an extra)

    rules = sweep.tune.searcher
    sampler = TPESampler(seed=rules.seed, n_startup_trials=rules.startup)
    return _PatientOptuna(space=_Suggest(sweep.space), metric=SCORE, mode=sweep.tune.mode, sampler=sampler)


class _PatientOptuna(OptunaSearch):
    """Takes results without a score too: not every iteration sees an episode end."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if SCORE in result:
            super().on_trial_result(trial_id, result)


@dataclass(frozen=True)
class _Suggest:
    """The space as Optuna's define-by-run function: a dimension whose condition does not hold is not asked for."""

    space: Space

    def __call__(self, trial: Any) -> dict[str, Any]:
        values = self.space.filled(lambda key, dimension: _suggested(trial, key, dimension))
        return {f"{POINT}/{NUMBER}": trial.number, **{f"{POINT}/{VALUES}/{key}": v for key, v in values.items()}}


def _suggested(trial: Any, key: str, dimension: Dimension) -> Any:
    name = f"{POINT}/{VALUES}/{key}"
    if dimension.ends is None:
        return dimension.options[trial.suggest_categorical(name, list(range(len(dimension.options))))]
    low, high = dimension.ends
    if dimension.kind == "integer":
        return trial.suggest_int(name, int(low), int(high))
    return rounded(trial.suggest_float(name, low, high, log=dimension.kind == "loguniform"), dimension)


def scheduler(sweep: Sweep) -> TrialScheduler:
    """Who decides which trials go on."""
    rules, mode = sweep.tune.scheduler, sweep.tune.mode
    if isinstance(rules, AshaSpec):
        most = last_rung(rules, sweep.experiment.spec.stop)
        return _Asha(
            time_attr=rules.clock,
            metric=SCORE,
            mode=mode,
            grace_period=rules.grace,
            max_t=most,
            reduction_factor=rules.reduction,
        )
    if isinstance(rules, PopulationSpec):
        return _population(rules, sweep.space, mode)
    return FIFOScheduler()


def last_rung(rules: AshaSpec, stop: StopSpec) -> int:
    """Where the last trials end.

    Raises:
        UserError: Nothing says it, or it is not after the first rung.
    """
    of_stop = stop.iterations if rules.clock == "iteration" else stop.env_steps
    most = rules.most or of_stop
    if most is None:
        limit = "stop.iterations" if rules.clock == "iteration" else "stop.env_steps"
        raise UserError(f"tune.scheduler.most: is missing, and {limit} is too; give one, in {rules.clock}s")
    if most <= rules.grace:
        raise UserError(f"tune.scheduler.grace = {rules.grace}: the first rung must be before the last, {most}")
    return most


def rungs(rules: AshaSpec, most: int) -> list[float]:
    """Where trials are compared, by the rule of Ray Tune's ASHA: grace, grace x reduction, ... up to ``most``."""
    found = [float(rules.grace)]
    while found[-1] * rules.reduction <= most:
        found.append(found[-1] * rules.reduction)
    return found


class _Asha(ASHAScheduler):
    """Knows what was reported before a sweep was interrupted; Tune restores trials, and no scheduler."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(tune_controller, trial)
        if trial.last_result:
            for row in read_rows(AT_WORK.get().trial(trial.custom_dirname).metrics / "progress.csv"):
                if SCORE in row:
                    self.on_trial_result(tune_controller, trial, {name: float(value) for name, value in row.items()})


def _population(rules: PopulationSpec, space: Space, mode: str) -> Population:
    common = {
        "time_attr": rules.clock,
        "metric": SCORE,
        "mode": mode,
        "perturbation_interval": rules.interval,
        "quantile_fraction": rules.quantile,
        "custom_explore_fn": _Within(space.dimensions),
        "require_attrs": False,
    }
    if rules.kind == "pb2":
        from wealtharena.tuning.modelled_population import ModelledPopulation  # noqa: PLC0415  (an extra)

        bounds = {key: [*dimension.ends] for key, dimension in space.dimensions.items() if dimension.ends}
        return ModelledPopulation(hyperparam_bounds={POINT: {VALUES: bounds}}, **common)
    domains = {key: _domain(dimension) for key, dimension in space.dimensions.items()}
    return Population(
        hyperparam_mutations={POINT: {VALUES: domains}},
        resample_probability=rules.resample,
        burn_in_period=rules.burn_in,
        **common,
    )


def _domain(dimension: Dimension) -> Any:
    if dimension.ends is None:
        return list(dimension.options)
    low, high = dimension.ends
    if dimension.kind == "integer":
        return tune.randint(int(low), int(high) + 1)
    return tune.loguniform(low, high) if dimension.kind == "loguniform" else tune.uniform(low, high)


@dataclass(frozen=True)
class _Within:
    """Keeps changed values within their ends: 1.2 times a discount of 0.99 is none."""

    dimensions: Mapping[str, Dimension]

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        values: Values = config[POINT][VALUES]
        for key, dimension in self.dimensions.items():
            if dimension.ends is not None:
                kept = rounded(float(values[key]), dimension)
                values[key] = int(kept) if dimension.kind == "integer" else kept
        return config
