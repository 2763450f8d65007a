"""``members.<group>.start_from``: what a member starts from, found and held against the experiment."""

from __future__ import annotations

from pathlib import Path

from policies.algorithm import Algorithm
from wealtharena.agents.checkpoints import agents_of, checkpoint_at
from wealtharena.agents.files import holds_agent, members_at, read_agent
from wealtharena.agents.parts import Learned
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.team.provenance import feature_difference


def starts_of(experiment: Experiment) -> dict[str, Learned]:
    """What the members with a ``start_from`` start from.

    Raises:
        UserError: There is nothing there, it does not fit the member, or it was trained on dates of the test.
    """
    found: dict[str, Learned] = {}
    for name, member in experiment.spec.members.items():
        if member.start_from is not None:
            found[name] = _learned_at(member.start_from, name)
            if reason := _why_not(found[name], name, experiment):
                raise UserError(f"members.{name}.start_from = {str(member.start_from)!r}: {reason}")
    return found


def _learned_at(path: Path, name: str) -> Learned:
    """Of an agent that was saved, or of the group of the same name in a team, a run or a checkpoint."""
    field = f"members.{name}.start_from = {str(path)!r}"
    if holds_agent(path):
        return read_agent(path)[1]
    members = members_at(path)
    checkpoint = None if members else checkpoint_at(path)
    if not members and checkpoint is None:
        raise UserError(f"{field}: must be the folder of a saved agent or team, of a run or of a checkpoint")
    agents = {} if checkpoint is None else agents_of(checkpoint)
    if name not in {**members, **agents}:
        raise UserError(f"{field}: this team has no group {name!r} (its groups: {', '.join({**members, **agents})})")
    return read_agent(members[name])[1] if members else agents[name][1]


def _why_not(learned: Learned, name: str, experiment: Experiment) -> str | None:
    """Why a member cannot, or must not, start from what was learned; None if it can."""
    group, policy, test = experiment.groups[name], learned.policy, experiment.spec.evaluation.window
    offered = (int(group.observation_space.shape[0]), experiment.provenance[name].features)
    if difference := feature_difference((policy.features, learned.provenance.features), offered):
        return f"{difference}: the member must see what it saw"
    if policy.action_space != group.action_space:
        return f"it acts in {policy.action_space} and group {name} in {group.action_space}; give both the same action"
    if difference := _network_difference(learned, experiment.members[name]):
        return difference
    seen = None if test is None else learned.provenance.overlapping(test)
    return None if seen is None else f"was trained on {seen}, which overlaps the test evaluation.window ({test})"


def _network_difference(learned: Learned, algorithm: Algorithm) -> str | None:
    module = learned.policy.module
    own = algorithm.module_spec(module.observation_space, module.action_space, inference_only=False).build()
    there, here = ({key: tuple(value.shape) for key, value in each.state_dict().items()} for each in (module, own))
    key = next((key for key in {**there, **here} if there.get(key) != here.get(key)), None)
    if key is None:
        return None
    return (
        f"its networks are others: {key} is {there.get(key, 'missing')} there and {here.get(key, 'missing')} here; "
        "give the member the algorithm and the hidden, activation, network and normalize_observations of its training"
    )
