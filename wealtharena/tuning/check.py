"""A sweep held against the experiment file, before the first trial: every value it may give must be taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from wealtharena.document import Document, close_match, shown
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment, experiment_of
from wealtharena.spec_tune import Dimension, PopulationSpec, TuneSpec
from wealtharena.tuning.space import Space, Values, points, probes
from wealtharena.validation import complaint, validate

TUNE = ("tune",)


@dataclass(frozen=True)
class Sweep:
    """A sweep whose file, space and data were found to fit together.

    Attributes:
        space: Its space, over the file.
        tune: The section ``tune`` of the file.
        experiment: That of the first values of all dimensions.
        first: The first values of all dimensions.
        points: The values of all trials; None where the searcher learns from earlier ones.
    """

    space: Space
    tune: TuneSpec
    experiment: Experiment
    first: Values
    points: tuple[Values, ...] | None

    @property
    def name(self) -> str:
        """The experiment's."""
        return self.experiment.spec.name

    @property
    def metric(self) -> str:
        """What trials are compared by."""
        return self.tune.metric or self.experiment.spec.checkpoint.metric

    @property
    def count(self) -> int:
        """How many trials there will be."""
        return self.tune.trials if self.points is None else len(self.points)


def sweep_of(document: Document) -> Sweep:
    """The sweep that an experiment file asks for.

    Raises:
        UserError: It has none, or some value that a trial may have is refused.
    """
    if document.data.get("tune") is None:
        rule = (
            "is missing: say what to try, as in tune: {space: {members.stocks.params.lr: {loguniform: [1e-4, 1e-2]}}}"
        )
        raise UserError(complaint(document, TUNE, rule))
    tune = validate(TuneSpec, document, TUNE)
    space = Space(document, tune.space)
    first = space.filled_from({})
    experiment = _loaded(space, first, first)
    _check_kind(experiment, document)
    if isinstance(tune.scheduler, PopulationSpec):
        for key in space.dimensions:
            _check_in_flight(key, tune.scheduler.kind, experiment, document)
    seen = {_key(first)}
    for values in _tried(space):
        if (key := _key(values)) not in seen:
            seen.add(key)
            _loaded(space, values, first)
    drawn = None if tune.searcher.kind == "optuna" else tuple(points(space, tune))
    return Sweep(space, tune, experiment, first, drawn)


def _key(values: Values) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _loaded(space: Space, values: Values, first: Values) -> Experiment:
    """The experiment of some values; says which of them are not the first ones, if the message does not."""
    try:
        return experiment_of(space.applied(values))
    except UserError as error:
        others = [f"{key} = {shown(value)}" for key, value in values.items() if value != first.get(key)]
        unsaid = [other for other in others if other.split(" = ")[0] not in str(error)]
        if not unsaid:
            raise
        raise UserError(f"{error} (in a trial with {', '.join(unsaid)})") from error


def _tried(space: Space) -> Iterator[Values]:
    """Every cell of the grid but for its seeds, and every end and option with the first values of all others."""
    for cell in space.grid():
        yield space.filled_from({key: value for key, value in cell.items() if key != "seed"})
    for key, dimension in space.dimensions.items():
        for value in probes(dimension):
            values = space.filled_from(_needed(space, key, dimension) | {key: value})
            if key not in values:
                path = (*TUNE, "space", key, "when")
                raise UserError(complaint(space.document, path, "never holds", dimension.when))
            yield values


def _needed(space: Space, key: str, dimension: Dimension) -> Values:
    """What must be so for the condition of a dimension to hold, as far as it is of the space."""
    values: Values = {}
    for name, allowed in dimension.when.items():
        known = space.dimensions.get(name)
        if known is None:
            continue
        values |= _needed(space, name, known) | {name: allowed[0]}
        for value in allowed:
            if known.ends is None and value not in known.options:
                options = [str(option) for option in known.options]
                rule = f"must be one of {', '.join(options)}{close_match(str(value), options)}"
                raise UserError(complaint(space.document, (*TUNE, "space", key, "when", name), rule, value))
    return values


def _check_kind(experiment: Experiment, document: Document) -> None:
    if experiment.spec.phases:
        raise UserError(complaint(document, ("phases",), "a sweep trains each trial in one go; leave phases out"))
    if experiment.spec.evaluation.walk_forward is not None:
        rule = "a sweep trains each trial once; leave walk_forward out, and train best.yaml with it afterwards"
        raise UserError(complaint(document, ("evaluation", "walk_forward"), rule))


def _check_in_flight(key: str, kind: str, experiment: Experiment, document: Document) -> None:
    """Refuses what a team cannot change once it learns: the sizes of its networks, say."""
    rule = _why_not_in_flight(key.split("."), experiment)
    if rule:
        raise UserError(complaint(document, (*TUNE, "space", key), f"{kind} changes values of a running team; {rule}"))


def _why_not_in_flight(path: list[str], experiment: Experiment) -> str | None:
    match path:
        case ["members", member, "params", name, *_]:
            algorithm = experiment.members[member]
            if name not in algorithm.settled:
                return None
            free = [known for known in algorithm.Params.model_fields if known not in algorithm.settled]
            return f"{type(algorithm).__name__} settles {name} at its start (these can change: {', '.join(free)})"
        case ["environment", "params", name, *_] if name in experiment.environment.in_flight:
            return None
    parameters = [f"environment.params.{name}" for name in experiment.environment.in_flight]
    return f"only members.<group>.params and {' or '.join(parameters) or 'nothing of the environment'} can change"
