"""Policies that act in an environment, each remembering what it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from environments.base import ArrayEnv, Transition
from wealtharena.team.policy import Policy

Act = Callable[[Tensor], Tensor]
"""Observations (E, A, F) of one group -> actions (E, A) or (E, A, U)."""


class Playing:
    """All groups of an environment, acting from the beginning of episodes on."""

    def __init__(self, env: ArrayEnv, policies: Mapping[str, Act]) -> None:
        """Takes a policy for each group; any function of observations is one that remembers nothing."""
        self._env, self._policies = env, policies
        self._players = {
            name: policy.player(env.num_envs, len(env.groups[name].agent_ids), device=env.device)
            for name, policy in policies.items()
            if isinstance(policy, Policy)
        }

    def actions(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What all groups do."""
        active = self._env.active()
        return {
            name: self._players[name].act(obs[name], active.get(name))
            if name in self._players
            else self._policies[name](obs[name])
            for name in self._env.groups
        }

    def note(self, transition: Transition) -> None:
        """Agents whose episode ended begin anew."""
        for name, player in self._players.items():
            ended = transition.terminated[name] | transition.truncated[name]
            player.forget(ended | transition.done.unsqueeze(1))
