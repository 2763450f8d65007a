"""The stages of a curriculum, made of the file and held against the experiment: what is wrong shows before training."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel

from environments.base import ArrayEnv, Group
from environments.errors import DataError
from environments.market.env import MarketEnv
from environments.staged import join_groups
from wealtharena.curriculum.shares import at_frontier
from wealtharena.document import Document, KeyPath, close_match
from wealtharena.errors import UserError
from wealtharena.spec import ExperimentSpec
from wealtharena.spec_curriculum import CurriculumSpec
from wealtharena.validation import complaint, validate

SECTION = "curriculum"
STAGES: KeyPath = (SECTION, "stages")
RETURN = "episode_return"

Stages = dict[str, BaseModel]


def stages_of(spec: ExperimentSpec, environment: type[ArrayEnv], params: BaseModel, document: Document) -> Stages:
    """The parameters of the environment in each stage of the curriculum; none where there is no curriculum.

    Args:
        spec: The file.
        environment: Its environment.
        params: Of the environment, as the file has it: those of the last stage.
        document: For messages that name its lines.

    Raises:
        UserError: A stage is not right, its agents see or do something else than in the others, or the curriculum does
            not go with the rest of the file.
    """
    plan = spec.curriculum
    if plan is None:
        return {}
    _check_beside(spec, document)
    _check_copies(plan, spec.sampling.envs_per_runner, document)
    stages = {name: _params(name, given, environment, params, document) for name, given in plan.stages.items()}
    worlds = {name: _build(name, environment, own, document) for name, own in stages.items()}
    try:
        join_groups({name: world.groups for name, world in worlds.items()})
    except DataError as error:
        raise UserError(complaint(document, STAGES, str(error))) from error
    _check_columns(worlds, document)
    _check_metric(plan, {name: world.groups for name, world in worlds.items()}, document)
    return stages


def _check_beside(spec: ExperimentSpec, document: Document) -> None:
    """A curriculum is one training of one team."""
    others = {"phases": bool(spec.phases), "evaluation.walk_forward": spec.evaluation.walk_forward is not None}
    for other, given in others.items():
        if given:
            rule = f"cannot go with {other}, whose trainings have environments of their own; leave one of the two out"
            raise UserError(complaint(document, (SECTION,), rule))


def _check_copies(plan: CurriculumSpec, copies: int, document: Document) -> None:
    stages, path = len(plan.stages), (SECTION, "replay")
    if plan.rule.kind in ("progress", "mixture"):
        if copies < stages:
            rule = f"plays {stages} stages at once, and sampling.envs_per_runner = {copies}; give a copy for each"
            raise UserError(complaint(document, (SECTION, "rule", "kind"), rule, plan.rule.kind))
    elif plan.replay and min(at_frontier(stages - 1, stages, copies, plan.replay)) < 1:
        rule = (
            f"is too small or too large: of sampling.envs_per_runner = {copies} copies the last stage and each of the "
            f"{stages - 1} before it need one"
        )
        raise UserError(complaint(document, path, rule, plan.replay))


def _params(
    stage: str, given: Mapping[str, Any], environment: type[ArrayEnv], params: BaseModel, document: Document
) -> BaseModel:
    """The parameters of a stage: those of the file, with its own over them."""
    if not given:
        return params
    path: KeyPath = (*STAGES, stage)
    data: Any = params.model_dump(mode="json", by_alias=True)
    origins = dict(document.origins)
    for key, value in given.items():
        at = tuple(key.split("."))
        _lay(data, at, value, merge=len(at) == 1, path=path, document=document)
        if (origin := document.origins.get((*path, key))) is not None:
            origins[*path, *at] = origin
    nested: Any = {SECTION: {"stages": {stage: data}}}
    made = validate(environment.Params, Document(document.name, nested, origins), path)
    if getattr(made, "window", None) != getattr(params, "window", None):
        rule = "must be environment.params.window in all stages: the test lies outside of that one"
        raise UserError(complaint(document, (*path, "window"), rule))
    return made


def _lay(data: Any, at: KeyPath, value: Any, *, merge: bool, path: KeyPath, document: Document) -> None:
    """Writes a value into nested sections; a section is merged into the one that is there, if it is to be."""
    for depth, key in enumerate(at[:-1], start=1):
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            rule = f"environment.params.{'.'.join(map(str, at[:depth]))} is {data!r}, not a section with keys"
            raise UserError(complaint(document, (*path, ".".join(map(str, at))), rule))
    if merge and isinstance(value, dict) and isinstance(data.get(at[-1]), dict):
        for key, inner in value.items():
            _lay(data[at[-1]], (key,), inner, merge=True, path=path, document=document)
    else:
        data[at[-1]] = deepcopy(value)


def _build(stage: str, environment: type[ArrayEnv], params: BaseModel, document: Document) -> ArrayEnv:
    try:
        return environment(params, num_envs=1)
    except DataError as error:
        raise UserError(complaint(document, (*STAGES, stage), str(error))) from error


def _check_columns(worlds: Mapping[str, ArrayEnv], document: Document) -> None:
    """Columns of the same number may be others all the same."""
    *_, (last, final) = worlds.items()
    for stage, world in worlds.items():
        if not (isinstance(world, MarketEnv) and isinstance(final, MarketEnv)):
            return
        for group, names in world.feature_names.items():
            if other := next((name for name in names if name not in final.feature_names[group]), None):
                rule = f"group {group} sees {other!r} here and not in the last stage, {last}: one policy plays all"
                raise UserError(complaint(document, (*STAGES, stage), rule))


def _check_metric(plan: CurriculumSpec, stages: Mapping[str, Mapping[str, Group]], document: Document) -> None:
    metric, path = plan.success.metric, (SECTION, "success", "metric")
    everywhere = [name for name in list(stages.values())[-1] if all(name in groups for groups in stages.values())]
    known = ["team_return", "episode_length", *(f"{name}/{RETURN}" for name in everywhere)]
    if metric not in known:
        rule = f"no episode of every stage has it{close_match(metric, known)} (known: {', '.join(known)})"
        raise UserError(complaint(document, path, rule, metric))
    if any(SECTION in groups for groups in stages.values()):
        rule = f"the environment has a group called {SECTION!r}, as its metrics are; rename the group"
        raise UserError(complaint(document, (SECTION,), rule))
