"""RLlib's and PettingZoo's multi-agent environments behind one protocol: a World, stepped by one caller."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
from gymnasium.utils import EzPickle
from pettingzoo import ParallelEnv
from ray import cloudpickle
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from environments.errors import DataError

Agent = Hashable


@dataclass(frozen=True)
class Outcome:
    """What one step of a World brought.

    Attributes:
        obs: Of the agents that were observed, the last observation of those that ended among them.
        reward: Of any agents.
        terminated: The agents whose episode has ended for good.
        truncated: The agents whose episode was cut off.
        acting: The agents that must be given an action next.
        over: The world wants to be reset.
    """

    obs: Mapping[Agent, Any]
    reward: Mapping[Agent, float]
    terminated: Collection[Agent]
    truncated: Collection[Agent]
    acting: Collection[Agent]
    over: bool


class World(Protocol):
    """One environment of several agents, whoever made it."""

    @property
    def agents(self) -> Sequence[Agent]:
        """All agents that may ever appear."""

    def spaces(self, agent: Agent) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Observation and action space of an agent."""

    def reset(self, seed: int | None) -> Mapping[Agent, Any]:
        """Begins an episode; the observations of the agents that act first."""

    def step(self, actions: Mapping[Agent, Any]) -> Outcome:
        """Steps the world with the actions of the acting agents."""


class _RLlibWorld:
    """A World of an RLlib MultiAgentEnv: who is observed acts next, and ``__all__`` tells the end."""

    def __init__(self, env: MultiAgentEnv) -> None:
        self._env = env
        self.agents: Sequence[Agent] = list(env.possible_agents)

    def spaces(self, agent: Agent) -> tuple[gym.Space[Any], gym.Space[Any]]:
        return self._env.get_observation_space(agent), self._env.get_action_space(agent)

    def reset(self, seed: int | None) -> Mapping[Agent, Any]:
        obs: Mapping[Agent, Any] = self._env.reset(seed=seed)[0]
        return obs

    def step(self, actions: Mapping[Agent, Any]) -> Outcome:
        obs, reward, terminateds, truncateds, _ = self._env.step(actions)
        terminated = {agent for agent in self.agents if terminateds.get(agent)}
        truncated = {agent for agent in self.agents if truncateds.get(agent)} - terminated
        ends, cuts = terminateds.get("__all__", False), truncateds.get("__all__", False)
        if ends or cuts:
            unflagged = set(self.agents) - terminated - truncated
            (terminated if ends else truncated).update(unflagged)
        return Outcome(obs, reward, terminated, truncated, obs.keys() - terminated - truncated, bool(ends or cuts))


class _PettingZooWorld:
    """A World of a PettingZoo ParallelEnv: ``env.agents`` act next, and its being empty tells the end."""

    def __init__(self, env: ParallelEnv) -> None:
        self._env = env
        self.agents: Sequence[Agent] = list(env.possible_agents)

    def spaces(self, agent: Agent) -> tuple[gym.Space[Any], gym.Space[Any]]:
        return self._env.observation_space(agent), self._env.action_space(agent)

    def reset(self, seed: int | None) -> Mapping[Agent, Any]:
        obs: Mapping[Agent, Any] = self._env.reset(seed=seed)[0]
        return obs

    def step(self, actions: Mapping[Agent, Any]) -> Outcome:
        before = list(self._env.agents)
        obs, reward, terminations, truncations, _ = self._env.step(actions)
        acting = list(self._env.agents)
        terminated = {agent for agent in before if terminations.get(agent)}
        gone = {agent for agent in before if truncations.get(agent) or agent not in acting}
        return Outcome(obs, reward, terminated, gone - terminated, acting, not acting)


_KINDS: tuple[tuple[type, Callable[[Any], World]], ...] = (
    (MultiAgentEnv, _RLlibWorld),
    (ParallelEnv, _PettingZooWorld),
)


def open_world(make: Callable[..., Any], kwargs: Mapping[str, Any]) -> World:
    """Makes an environment and puts it behind the protocol.

    Raises:
        DataError: It cannot be made of these arguments, is of neither kind, or names no agents.
    """
    name = getattr(make, "__name__", repr(make))
    try:
        env = make(**kwargs)
    except TypeError as error:
        raise DataError(f"env {name} cannot be called with kwargs {dict(kwargs)}: {error}") from error
    for kind, world in _KINDS:
        if isinstance(env, kind):
            if not getattr(env, "possible_agents", None):
                raise DataError(f"env {name} has no possible_agents: it must name all agents before its first reset")
            return world(env)
    raise DataError(
        f"env {name} gave a {type(env).__name__}: it must give an RLlib MultiAgentEnv or a PettingZoo ParallelEnv"
    )


def dump_worlds(worlds: Sequence[World]) -> bytes:
    """Pickles worlds with all that their next step depends on.

    Raises:
        DataError: A world holds something that cannot be pickled.
    """
    try:
        return _dumps(worlds)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise DataError(f"the environments cannot be saved, for they cannot be pickled: {error}") from error


def load_worlds(data: bytes) -> list[World]:
    """Restores what ``dump_worlds`` gave. Unpickling runs code: load only what you trust."""
    worlds: list[World] = cloudpickle.loads(data)
    return worlds


class _WholePickler(cloudpickle.CloudPickler):
    """Pickles an EzPickle object with its state.

    By itself it would come back freshly made. What cannot be pickled of it (a window, a font) is left as freshly made.
    """

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, EzPickle):
            return super().reducer_override(obj)
        made_of = (type(obj), obj._ezpickle_args, obj._ezpickle_kwargs)
        state = {name: value for name, value in vars(obj).items() if _can_pickle(value)}
        return _make, made_of, state, None, None, _fill


def _dumps(value: Any) -> bytes:
    buffer = io.BytesIO()
    _WholePickler(buffer).dump(value)
    return buffer.getvalue()


def _can_pickle(value: Any) -> bool:
    try:
        _dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True


def _make(kind: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return kind(*args, **kwargs)


def _fill(obj: Any, state: Mapping[str, Any]) -> None:
    vars(obj).update(state)
