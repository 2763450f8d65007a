"""A training in phases, planned: which trainings each of them has, and from whose weights they start."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from environments.market.config import ALLOCATOR, MarketParams
from environments.market.env import MarketEnv
from policies.algorithm import Algorithm
from wealtharena.document import Document, KeyPath, close_match
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.spec import EnvironmentSpec, ExperimentSpec, PhaseSpec
from wealtharena.training.run_dir import RunDir
from wealtharena.training.solo import SoloMarket, solo_params
from wealtharena.validation import complaint, validate

NETWORKS = ("hidden", "activation", "network", "normalize_observations")
"""What the weights of one phase and of the next must have in common."""


@dataclass(frozen=True)
class Task:
    """One training of a phase: a run of its own.

    Attributes:
        folder: Its name, within the run's ``phases``.
        members: Who takes part.
        experiment: What it trains; its members start from scratch, or from what the file says.
        starts: member -> the folder of the task whose weights it starts from instead.
    """

    folder: str
    members: tuple[str, ...]
    experiment: Experiment
    starts: Mapping[str, str]

    def within(self, run: RunDir) -> RunDir:
        """Its folder in a run."""
        return RunDir(run.phases / self.folder)

    def ready(self, run: RunDir) -> Experiment:
        """Its experiment, with the members to start from the folders of the tasks before it."""
        spec = self.experiment.spec
        members = {
            name: member.model_copy(update={"start_from": run.phases / self.starts[name]})
            if name in self.starts
            else member
            for name, member in spec.members.items()
        }
        return replace(self.experiment, spec=spec.model_copy(update={"members": members}))


@dataclass(frozen=True)
class Phase:
    """A phase and its trainings: one for each trader of an individual phase, otherwise one of the team.

    Attributes:
        number: Counted from 1.
        spec: As the file has it.
        tasks: Its trainings.
    """

    number: int
    spec: PhaseSpec
    tasks: tuple[Task, ...]

    @property
    def whole_team(self) -> bool:
        """Whether it trains the team together."""
        return self.spec.kind != "individual"

    def begun(self, run: RunDir) -> bool:
        """Whether one of its trainings has left a checkpoint."""
        return any(task.within(run).latest() is not None for task in self.tasks)


def phases_of(experiment: Experiment, document: Document | None = None) -> tuple[Phase, ...]:
    """The phases of an experiment, in their order; none where it is trained in one go.

    Args:
        experiment: The experiment.
        document: The file, for messages that name its lines.

    Raises:
        UserError: The phases do not go with the experiment, or with each other.
    """
    planner = _Planner(experiment, document or Document("config.yaml", experiment.resolved(), {}))
    return tuple(planner.plan())


class _Planner:
    """Holds the phases against the experiment, one after the other."""

    def __init__(self, experiment: Experiment, document: Document) -> None:
        self._experiment, self._document = experiment, document
        self._trained: dict[str, str] = {}  # member -> the task that trained it last

    def plan(self) -> Iterator[Phase]:
        """The phases that the file has."""
        phases = self._experiment.spec.phases
        self._check_order(phases)
        for index, phase in enumerate(phases):
            self._check(phase, index)
            members = {name: self._member(name, phase, index) for name in self._experiment.members}
            planned = Phase(index + 1, phase, tuple(self._tasks(phase, index, members)))
            self._trained |= {name: task.folder for task in planned.tasks for name in task.members}
            yield planned

    def _fault(self, path: KeyPath, rule: str, value: Any = None) -> UserError:
        return UserError(complaint(self._document, ("phases", *path), rule, value))

    def _check_order(self, phases: tuple[PhaseSpec, ...]) -> None:
        names = [phase.name for phase in phases]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise self._fault((index, "name"), "is the name of an earlier phase; give each its own", name)
        if phases and self._experiment.spec.evaluation.walk_forward is not None:
            raise self._fault((), "cannot be walked forward with; leave phases or evaluation.walk_forward out")
        if phases and (frozen := self._experiment.spec.frozen_members):
            path: KeyPath = ("members", frozen[0], "frozen")
            rule = "must be false in a training in phases: phases say who is frozen in each of them"
            raise UserError(complaint(self._document, path, rule, True))
        if phases and phases[-1].kind == "individual":
            rule = "must not be the last: a joint or a meta phase after it makes a team of the traders"
            raise self._fault((len(phases) - 1, "kind"), rule, "individual")

    def _check(self, phase: PhaseSpec, index: int) -> None:
        for field, names in (("members", phase.members), ("frozen", phase.frozen or ())):
            self._check_known((index, field), names)
        if phase.kind == "individual":
            self._check_individual(phase, index)
            return
        if phase.parallel > 1:
            rule = "must be 1 in a phase that trains the team together; see sampling.runners and learning.learners"
            raise self._fault((index, "parallel"), rule, phase.parallel)
        if phase.kind == "meta" and ALLOCATOR not in self._experiment.groups:
            rule = f"must not be meta: the environment has no group {ALLOCATOR!r} that could learn above the others"
            raise self._fault((index, "kind"), rule, phase.kind)
        frozen = self._frozen(phase)
        if phase.kind == "meta" and ALLOCATOR in frozen:
            rule = "must leave out the allocator, which learns in a meta phase"
            raise self._fault((index, "frozen"), rule, ALLOCATOR)
        if frozen >= self._experiment.members.keys():
            raise self._fault((index, "frozen"), "leaves nobody who learns; leave out at least one member")

    def _check_known(self, path: KeyPath, names: Collection[str]) -> None:
        members = self._experiment.members
        for name in names:
            if name not in members:
                rule = f"there is no such member{close_match(name, members)} (members: {', '.join(members)})"
                raise self._fault(path, rule, name)

    def _check_individual(self, phase: PhaseSpec, index: int) -> None:
        spec = self._experiment.spec
        if self._experiment.environment is not MarketEnv:
            rule = "must be joint: only the market (environments.market.env:MarketEnv) can be traded by one group alone"
            raise self._fault((index, "kind"), rule, phase.kind)
        if phase.frozen is not None:
            raise self._fault((index, "frozen"), "must be left out of an individual phase: every trader learns in it")
        assert isinstance(self._experiment.params, MarketParams)
        for name, what in self._experiment.params.above.items():
            if name in phase.members:
                rule = f"the {what} takes no part in an individual phase, where each trader is alone; leave it out"
                raise self._fault((index, "members", name), rule)
        if phase.parallel > 1 and (spec.sampling.runners or spec.learning.learners):
            rule = (
                "must be 1 with sampling.runners or learning.learners: trainings at the same time have one process each"
            )
            raise self._fault((index, "parallel"), rule, phase.parallel)

    def _frozen(self, phase: PhaseSpec) -> set[str]:
        if phase.frozen is not None:
            return set(phase.frozen)
        return self._experiment.members.keys() - {ALLOCATOR} if phase.kind == "meta" else set()

    def _member(self, name: str, phase: PhaseSpec, index: int) -> Algorithm:
        """A member's algorithm with the hyperparameters of the phase over its own."""
        algorithm, given = self._experiment.members[name], phase.members.get(name, {})
        path = ("phases", index, "members", name)
        if other := next((field for field in NETWORKS if field in given), None):
            rule = f"must be the same in all phases, as their weights are; set members.{name}.params.{other}"
            raise UserError(complaint(self._document, (*path, other), rule))
        merged = {**algorithm.params.model_dump(mode="json", by_alias=True), **given}
        data: Any = {"phases": {index: {"members": {name: merged}}}}
        params = validate(algorithm.Params, Document(self._document.name, data, self._document.origins), path)
        return type(algorithm)(params)

    def _tasks(self, phase: PhaseSpec, index: int, members: Mapping[str, Algorithm]) -> Iterator[Task]:
        folder = f"{index + 1:02d}-{phase.name}"
        if phase.kind != "individual":
            spec = self._spec(phase, (index,), members, self._frozen(phase))
            yield self._task(folder, replace(self._experiment, spec=spec, members=members))
            return
        for place, name in enumerate(_traders(self._experiment)):
            spec = self._spec(phase, (index, place), (name,), ())
            yield self._task(f"{folder}-{name}", _alone(self._experiment, name, spec, members[name]))

    def _task(self, folder: str, experiment: Experiment) -> Task:
        members = tuple(experiment.members)
        starts = {name: self._trained[name] for name in members if name in self._trained}
        return Task(folder, members, experiment, starts)

    def _spec(
        self, phase: PhaseSpec, place: tuple[int, ...], names: Collection[str], frozen: Collection[str]
    ) -> ExperimentSpec:
        spec = self._experiment.spec
        members = {name: spec.members[name].model_copy(update={"frozen": name in frozen}) for name in names}
        update = {
            "name": "-".join([spec.name, phase.name, *(names if phase.kind == "individual" else ())]),
            "seed": int(np.random.SeedSequence(spec.seed, spawn_key=place).generate_state(1)[0] >> 1),
            "members": members,
            "stop": phase.stop or spec.stop,
            "phases": (),
        }
        return spec.model_copy(update=update)


def _traders(experiment: Experiment) -> tuple[str, ...]:
    assert isinstance(experiment.params, MarketParams)
    traders, above = experiment.params.traders, experiment.params.above
    return tuple(name for name in experiment.groups if (name not in above if traders is None else name in traders))


def _alone(experiment: Experiment, name: str, spec: ExperimentSpec, algorithm: Algorithm) -> Experiment:
    """The experiment of a trader that is alone in the market."""
    assert isinstance(experiment.params, MarketParams)
    assert isinstance(experiment.test_params, MarketParams)
    traders = _traders(experiment)
    world = EnvironmentSpec.model_validate({"class": f"{SoloMarket.__module__}:{SoloMarket.__name__}"})
    return replace(
        experiment,
        spec=_own_metrics(spec.model_copy(update={"environment": world}), name),
        environment=SoloMarket,
        params=solo_params(experiment.params, name, traders),
        test_params=solo_params(experiment.test_params, name, traders),
        members={name: algorithm},
        groups={name: experiment.groups[name]},
        provenance={name: experiment.provenance[name]},
    )


def _own_metrics(spec: ExperimentSpec, name: str) -> ExperimentSpec:
    """What counts as best is the trader's own return where the file names a metric of somebody else."""
    update: dict[str, Any] = {}
    for section in ("checkpoint", "early_stopping"):
        rule = getattr(spec, section)
        if rule is not None and not rule.metric.startswith(f"{name}/"):
            update[section] = rule.model_copy(update={"metric": "team_return"})
    return spec.model_copy(update=update)
