"""An experiment, ready to run: the file, the classes it names, and the proof that they fit together.

Everything a file can get wrong is found here, before Ray starts and before anything is written.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from environments.base import ArrayEnv, Group
from environments.errors import DataError
from environments.market import roster
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.staged import StagedEnv
from policies.algorithm import Algorithm
from policies.errors import MemberError
from wealtharena.curriculum.stages import stages_of
from wealtharena.document import Document, KeyPath, close_match, read_document
from wealtharena.errors import UserError
from wealtharena.folds import Fold, plan_folds
from wealtharena.spec import ExperimentSpec, WindowSpec
from wealtharena.team.provenance import Provenance, provenance_of
from wealtharena.validation import complaint, rule_of, validate

ENVIRONMENT: KeyPath = ("environment", "params")
TEST_WINDOW: KeyPath = ("evaluation", "window")
WALK_FORWARD: KeyPath = ("evaluation", "walk_forward")


@dataclass(frozen=True)
class Experiment:
    """What a run needs to know.

    Attributes:
        spec: The experiment file.
        environment: The world's class.
        params: Its parameters, for training.
        test_params: The same over the test window, from its first bar to its last.
        members: group -> the algorithm it learns with.
        groups: The groups of the environment, with their spaces.
        notes: What the environment mended in its data, a line each.
        train_dates: First and last bar of the training; None where there are no dates.
        test_dates: First and last bar of the test.
        folds: Of a walk-forward evaluation; none where there is a single test.
        provenance: group -> its columns, and the dates of training (of the test, if that alone was asked for).
        stages: Of a curriculum: name -> the environment's parameters there, the last being ``params``.
    """

    spec: ExperimentSpec
    environment: type[ArrayEnv]
    params: BaseModel
    test_params: BaseModel
    members: Mapping[str, Algorithm]
    groups: Mapping[str, Group]
    notes: tuple[str, ...]
    train_dates: tuple[str, str] | None
    test_dates: tuple[str, str] | None
    folds: tuple[Fold, ...] = ()
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    stages: Mapping[str, BaseModel] = field(default_factory=dict)

    @property
    def trained_on(self) -> tuple[type[ArrayEnv], dict[str, Any]]:
        """The environment that is sampled in training, and its parameters as plain values."""
        if not self.stages:
            return self.environment, self.params.model_dump(by_alias=True)
        stages = {name: params.model_dump(by_alias=True) for name, params in self.stages.items()}
        return StagedEnv, {"env": self.environment, "stages": stages}

    def of_fold(self, fold: Fold) -> Experiment:
        """One fold as an experiment of its own, trained and tested in the fold's windows with the fold's seed."""
        spec = self.spec.model_copy(
            update={
                "name": f"{self.spec.name}-fold-{fold.number:02d}",
                "seed": fold.seed,
                "evaluation": self.spec.evaluation.model_copy(update={"window": fold.test, "walk_forward": None}),
            }
        )
        return replace(
            self,
            spec=spec,
            params=_over(self.params, fold.train),
            test_params=_over(self.test_params, fold.test),
            train_dates=(str(fold.train.start), str(fold.train.end)),
            test_dates=(str(fold.test.start), str(fold.test.end)),
            folds=(),
            provenance={
                name: known.model_copy(update={"windows": (fold.train,) if known.windows else ()})
                for name, known in self.provenance.items()
            },
        )

    def resolved(self) -> dict[str, Any]:
        """The experiment file with every default spelt out, as plain values; loading it gives the same experiment."""
        plain = self.spec.model_dump(mode="json")
        plain["environment"]["params"] = self.params.model_dump(mode="json", by_alias=True)
        for group, algorithm in self.members.items():
            plain["members"][group]["params"] = algorithm.params.model_dump(mode="json", by_alias=True)
        return plain


def load_experiment(config: str, overrides: Iterable[str] = (), *, for_training: bool = True) -> Experiment:
    """Reads an experiment file and checks all of it, its data included.

    Args:
        config: The experiment file, or ``quickstart``.
        overrides: ``--set`` values, ``a.b.c=value``.
        for_training: Whether the data must cover the training window too.

    Raises:
        UserError: The file, its data or the way its parts fit together is not right.
    """
    return experiment_of(read_document(config, overrides), for_training=for_training)


def experiment_of(document: Document, *, for_training: bool = True) -> Experiment:
    """The experiment that a file's values make; see ``load_experiment``.

    Raises:
        UserError: The file, its data or the way its parts fit together is not right.
    """
    spec = validate(ExperimentSpec, document)
    environment = load_class(ArrayEnv, spec.environment.class_, document, ("environment", "class"))
    params = validate(environment.Params, document, ENVIRONMENT)
    members = {group: _member(group, spec, document) for group in spec.members}
    test_params = _test_params(environment, params, spec, document)
    trained = _build(environment, params, document, ENVIRONMENT) if for_training else None
    tested = _build(environment, test_params, document, TEST_WINDOW)
    _check_members(members, tested.groups, document)
    stages = stages_of(spec, environment, params, document) if for_training else {}
    _check_metrics(spec, members, tested.groups, document)
    notes = tested.panel.notes if isinstance(tested, MarketEnv) and tested.params.dated else ()
    folds = _folds(spec, params, tested, document)
    known = provenance_of(tested if trained is None else trained)
    dates = _dates(trained), _dates(tested)
    return Experiment(
        spec, environment, params, test_params, members, tested.groups, notes, *dates, folds, known, stages
    )


def _dates(world: ArrayEnv | None) -> tuple[str, str] | None:
    if not isinstance(world, MarketEnv) or not world.params.dated:
        return None
    first, last = world.panel.dates_T[list(world.window_bars)].astype("datetime64[D]")
    return str(first), str(last)


def _over(params: BaseModel, window: WindowSpec) -> BaseModel:
    """An environment's parameters over another window."""
    return type(params).model_validate({**params.model_dump(by_alias=True), "window": window.model_dump()})


def _folds(spec: ExperimentSpec, params: BaseModel, world: ArrayEnv, document: Document) -> tuple[Fold, ...]:
    """The folds of a walk-forward evaluation, each of them held against the data."""
    rule, test = spec.evaluation.walk_forward, spec.evaluation.window
    if rule is None:
        return ()
    if test is None or not isinstance(world, MarketEnv) or not world.params.dated:
        given = f"{type(world).__name__} has no dates that could be cut into folds; leave it out"
        raise UserError(complaint(document, WALK_FORWARD, given))
    train = _window_of(params)
    if not test.follows(train):
        rule_text = f"must begin after the training window environment.params.window ({train}) in a walk-forward"
        raise UserError(complaint(document, TEST_WINDOW, rule_text, str(test)))
    days = np.unique(world.panel.dates_T.astype("datetime64[D]"))
    try:
        folds = plan_folds(rule, days, train, test, seed=spec.seed)
        for fold in folds:
            _check_training(fold, params, world)
    except (ValueError, DataError) as error:
        raise UserError(complaint(document, WALK_FORWARD, str(error))) from error
    return folds


def _check_training(fold: Fold, params: BaseModel, world: MarketEnv) -> None:
    trained = _over(params, fold.train)
    assert isinstance(trained, MarketParams)  # those of a MarketEnv
    try:
        roster.window_bars(trained, world.panel)
    except DataError as error:
        raise DataError(f"fold {fold.number} cannot be trained: {error}") from error


def _window_of(params: BaseModel) -> WindowSpec:
    return WindowSpec.model_validate(params.model_dump()["window"])


def _member(group: str, spec: ExperimentSpec, document: Document) -> Algorithm:
    path = ("members", group)
    algorithm = load_class(Algorithm, spec.members[group].algorithm, document, (*path, "algorithm"))
    return algorithm(validate(algorithm.Params, document, (*path, "params")))


def load_class(base: type[Any], target: str, document: Document, path: KeyPath) -> type[Any]:
    """The class that ``module:Class`` names, checked to be one of ``base``.

    Raises:
        UserError: There is no such class; the message names the field at ``path``.
    """
    module_name, class_name = target.split(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        rule = _why_not_imported(module_name, error)
        raise UserError(complaint(document, path, rule, target)) from error
    found = getattr(module, class_name, None)
    if isinstance(found, type) and issubclass(found, base) and found is not base:
        return found
    known = [name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)]
    exists = f"must be a subclass of {base.__module__}.{base.__name__}"
    rule = exists if found is not None else f"module {module_name} has no class {class_name!r}"
    raise UserError(complaint(document, path, rule + close_match(class_name, known), target))


def _why_not_imported(module_name: str, error: Exception) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None or not f"{module_name}.".startswith(f"{missing}."):
        return f"module {module_name} cannot be imported: {type(error).__name__}: {error}"
    package = sys.modules.get(module_name.rpartition(".")[0])
    siblings = [f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__)] if package else []
    return f"there is no module {missing}{close_match(module_name, siblings)}"


def _build(environment: type[ArrayEnv], params: BaseModel, document: Document, path: KeyPath) -> ArrayEnv:
    """One copy of the world: what is wrong with its data shows here."""
    try:
        return environment(params, num_envs=1)
    except DataError as error:
        raise UserError(f"{error} [{'.'.join(map(str, path))}: {_given_below(document, path)}]") from error


def _given_below(document: Document, path: KeyPath) -> str:
    """Where the section was given; a ``--set`` into it is the likelier culprit."""
    below = [key for key in document.origins if key[: len(path)] == path]
    return next(
        (origin for key in below if (origin := document.origin(key)).startswith("--set")), document.origin(path)
    )


def _check_members(members: Mapping[str, Algorithm], groups: Mapping[str, Group], document: Document) -> None:
    for group in members.keys() - groups.keys():
        rule = f"the environment has no such group{close_match(group, groups)} (its groups: {', '.join(groups)})"
        raise UserError(complaint(document, ("members", group), rule))
    if homeless := [group for group in groups if group not in members]:
        rule = f"no member for {', '.join(homeless)}: every group of the environment needs one ({', '.join(groups)})"
        raise UserError(complaint(document, ("members",), rule))
    for group, algorithm in members.items():
        with _refused_at(document, ("members", group, "algorithm")):
            algorithm.check(group, groups[group].action_space)
        with _refused_at(document, ("members", group, "params", "network")):
            algorithm.check_network(group, len(groups[group].agent_ids))


@contextmanager
def _refused_at(document: Document, path: KeyPath) -> Iterator[None]:
    """Says where a member was given that cannot learn in its group."""
    try:
        yield
    except MemberError as error:
        raise UserError(f"{error} [{document.origin(path)}]") from error


def _check_metrics(
    spec: ExperimentSpec, members: Mapping[str, Algorithm], groups: Mapping[str, Group], document: Document
) -> None:
    named = {("checkpoint", "metric"): spec.checkpoint.metric}
    if spec.early_stopping is not None:
        named["early_stopping", "metric"] = spec.early_stopping.metric
    if spec.tune is not None and spec.tune.metric is not None:
        named["tune", "metric"] = spec.tune.metric
    for path, metric in named.items():
        group, slash, name = metric.partition("/")
        if metric != "team_return" and not (slash and name and group in groups):
            rule = f"must be team_return or <group>/<metric>, as in {next(iter(groups))}/episode_return"
            raise UserError(complaint(document, path, rule + close_match(group, groups), metric))
        if slash and name not in (known := members[group].shown_metrics(groups[group].action_space)):
            rule = f"{group} logs no {name!r}{close_match(name, known)} (it logs {', '.join(known)})"
            raise UserError(complaint(document, path, rule, metric))


def _test_params(environment: type[ArrayEnv], params: BaseModel, spec: ExperimentSpec, document: Document) -> BaseModel:
    """The environment's parameters over the test window; an environment without a ``window`` is tested as it trains."""
    fields, window = environment.Params.model_fields, spec.evaluation.window
    undated = isinstance(params, MarketParams) and not params.dated
    if "window" not in fields or undated:
        if window is not None:
            what = "a simulation has no dates" if undated else f"{environment.__name__} has no windows"
            raise UserError(complaint(document, TEST_WINDOW, f"{what}; leave it out"))
        return params
    if window is None:
        rule = "is missing: the dates of the test, as in {start: 2019-07-01, end: 2021-06-30}"
        raise UserError(complaint(document, TEST_WINDOW, rule))
    trained = _window_of(params)
    if window.overlaps(trained):
        rule = f"overlaps the training window environment.params.window ({trained}): the test must lie outside of it"
        raise UserError(complaint(document, TEST_WINDOW, rule, str(window)))
    changes = {"window": window.model_dump(), **({"horizon": None} if "horizon" in fields else {})}
    try:
        return environment.Params.model_validate({**params.model_dump(by_alias=True), **changes})
    except ValidationError as error:
        raise UserError(complaint(document, TEST_WINDOW, rule_of(error.errors()[0]), str(window))) from error
