"""Gives a fresh team what was learned elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.rl_module.apis import TargetNetworkAPI

from policies.modules import ObservationNormalizer
from policies.statistics import RunningStatistics
from wealtharena.agents.parts import Learned
from wealtharena.team.algorithm import Team


def begin_from(team: Team, starts: Mapping[str, Learned]) -> None:
    """Gives members of a fresh team what was learned elsewhere, by networks of the same shapes.

    Weights and normalisers go on; target networks become copies of the networks they follow. Optimisers, replay and
    schedules begin anew.

    Args:
        team: Before its first iteration.
        starts: member -> where it starts; the other members start from their own random weights.
    """
    home = {name: family for family, names in team.learner_group.families.items() for name in names}
    for name, learned in starts.items():
        weights = {COMPONENT_LEARNER: {COMPONENT_RL_MODULE: {name: learned.policy.module.get_state()}}}
        team.set_state({COMPONENT_LEARNER_GROUP: {home[name]: weights}})
        team.learner_group.children[home[name]].foreach_learner(_TargetsFollow(name))
    own = team.get_state(components="team")["team"]
    for name in own["statistics"].keys() & starts.keys():
        own["statistics"][name] = _statistics(starts[name])
    team.set_state({"team": own})


class _TargetsFollow:
    """Copies a member's networks into their targets; a class, so that it can be sent to Learners elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, learner: Learner) -> None:
        module = learner.module[self._name].unwrapped()
        if isinstance(module, TargetNetworkAPI):
            for network, target in module.get_target_network_pairs():
                target.load_state_dict(network.state_dict())


def _statistics(learned: Learned) -> dict[str, Any]:
    """What its normaliser holds, as if it had seen one row in each step of its training.

    The rows themselves are not known: with several agents there were more, and new ones then count for more.
    """
    normalizer: ObservationNormalizer = learned.policy.module.normalizer
    statistics = RunningStatistics(learned.policy.features)
    statistics.count = max(1, learned.env_steps)
    statistics.mean_F = normalizer.shift.double()
    statistics.square_F = statistics.count * normalizer.scale.double() ** -2
    return statistics.get_state()
