"""Policies that act in an environment, each remembering what it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from environments.base import ArrayEnv, Transition

Act = Callable[[Tensor], Tensor]
"""Observations (E, A, F) of one group -> actions (E, A) or (E, A, U)."""


class Player(Protocol):
    """A group of agents that remember their episodes, as ``wealtharena.team.policy.Player`` does."""

    def act(self, obs: Tensor, active: Tensor | None = None) -> Tensor:
        """Actions for observations (E, A, F) of those who decide, ``active`` (E, A)."""

    def forget(self, ended: Tensor) -> None:
        """Agents whose episode ended, (E, A), begin anew."""


@runtime_checkable
class Policy(Protocol):
    """A policy that remembers. Evidence needs no Ray, so that the platform's own class cannot be named here."""

    def player(self, copies: int, agents: int, *, device: str) -> Player:
        """A group of agents that have this policy, at the beginning of episodes."""


class Playing:
    """All groups of an environment, acting from the beginning of episodes on."""

    def __init__(self, env: ArrayEnv, policies: Mapping[str, Act]) -> None:
        """Takes a policy for each group; any function of observations is one that remembers nothing."""
        self._env, self._policies = env, policies
        self._players = {name: player for name, policy in policies.items() if (player := self._player(name, policy))}

    def _player(self, name: str, policy: object) -> Player | None:
        """Who plays a group with a policy that remembers."""
        if not isinstance(policy, Policy):
            return None
        env = self._env
        return policy.player(env.num_envs, len(env.groups[name].agent_ids), device=env.device)

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
