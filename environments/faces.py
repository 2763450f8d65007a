"""One copy of an array environment, as an RLlib MultiAgentEnv and as a PettingZoo ParallelEnv."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress
from operator import not_
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pettingzoo import ParallelEnv
from pydantic import Field, ImportString
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from torch import Tensor

from environments.base import ArrayEnv, Group, Params, Transition

Observations = dict[str, NDArray[np.float32]]
Infos = dict[str, dict[str, Any]]


class FaceParams(Params):
    """What a face shows.

    Attributes:
        env: An ArrayEnv class, or its name ``module:Class``.
        params: The parameters of that environment, as an experiment file holds them.
    """

    env: ImportString[type[ArrayEnv]]
    params: dict[str, Any] = Field(default_factory=dict)


class MultiAgentFace(MultiAgentEnv):
    """One copy of an ArrayEnv as an RLlib MultiAgentEnv (new API stack).

    Only agents that decide get an observation. What an agent earns until its next observation is paid with that one.
    When its episode ends, an agent that acted gets a last observation (the one before the automatic reset) and all
    that it is owed.

    At the end of an episode a cut is told by ``truncateds["__all__"]`` alone. RLlib's MultiAgentEpisode takes an
    episode for a *terminated* one as soon as each of its agents carries a flag of its own, and bootstraps nothing.

    ``reset()`` without a seed after an end hands out the episode that the ArrayEnv has begun by itself. The first
    ``reset()`` without a seed draws one, as Gymnasium does. RLlib's check of environments leaves every copy at
    seed 42: give the AlgorithmConfig a seed, so that copies differ.

    Args:
        config: The fields of FaceParams; RLlib passes its ``env_config``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._world = _OneCopy(config)
        self.observation_spaces = self._world.observation_spaces
        self.action_spaces = self._world.action_spaces
        self.possible_agents = list(self._world.seats)
        self.agents = list(self.possible_agents)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts an episode; ``options`` are ignored."""
        obs = self._world.reset(seed)
        self._open, self._acted = set(self.possible_agents), set[str]()
        self._owed = dict.fromkeys(self.possible_agents, 0.0)
        return self._pick(obs, self._world.deciding()), {}

    def step(
        self, action_dict: Mapping[str, Any]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Steps the copy.

        Args:
            action_dict: An action for each agent that got an observation.

        Raises:
            RuntimeError: The episode has ended.
            ValueError: An action is missing or has the wrong shape.
        """
        acting = self._world.deciding()
        transition = self._world.step(action_dict)
        self._acted |= acting
        over = self._world.over
        terminated, truncated = self._world.flags(transition.terminated), self._world.flags(transition.truncated)
        for agent, reward in self._world.numbers(transition.reward).items():
            self._owed[agent] += reward
        ended = {agent for agent in self._open if over or terminated[agent] or truncated[agent]}
        self._open -= ended
        seen = (ended & self._acted) | (self._open & self._world.deciding())
        cut = over and any(truncated[agent] for agent in ended)
        return (
            self._pick(self._world.rows(transition.final_obs), seen),
            {agent: self._pay(agent) for agent in self.possible_agents if agent in seen},
            self._flags(terminated, seen) | {"__all__": over and not cut},
            self._flags(truncated, set() if over else seen) | {"__all__": cut},
            {},
        )

    def _pick(self, obs: Observations, agents: Iterable[str]) -> Observations:
        return {agent: obs[agent] for agent in self.possible_agents if agent in agents}

    def _flags(self, flags: Mapping[str, bool], agents: set[str]) -> dict[str, bool]:
        return {agent: flags[agent] for agent in self.possible_agents if agent in agents}

    def _pay(self, agent: str) -> float:
        reward, self._owed[agent] = self._owed[agent], 0.0
        return reward


class ParallelFace(ParallelEnv):
    """One copy of an ArrayEnv as a PettingZoo ParallelEnv.

    All agents live until the copy ends and are told each step's observation and reward. The actions of agents that
    do not decide are ignored and may be left out; ``infos[agent]["active"]`` says who decides next. An agent whose
    episode ends before the others' is inactive from then on, and its flag is told with the others' at the end.
    Seeds and ``reset()`` are as in MultiAgentFace.

    Args:
        config: The fields of FaceParams.
    """

    render_mode = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._world = _OneCopy(config)
        self.metadata = {"name": type(self._world.env).__name__, "render_modes": []}
        self.possible_agents = list(self._world.seats)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> gym.spaces.Box:
        """The space of this agent's observations, the same object each time."""
        return self._world.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """The space of this agent's actions, the same object each time."""
        return self._world.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, Infos]:
        """Starts an episode; ``options`` are ignored."""
        obs = self._world.reset(seed)
        self.agents = list(self.possible_agents)
        self._terminated, self._truncated = (dict.fromkeys(self.agents, False) for _ in range(2))
        return obs, self._infos()

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Steps the copy.

        Args:
            actions: An action for each agent that decides.

        Raises:
            RuntimeError: The episode has ended.
            ValueError: An action is missing or has the wrong shape.
        """
        transition = self._world.step(actions)
        over = self._world.over
        for kept, now in ((self._terminated, transition.terminated), (self._truncated, transition.truncated)):
            kept |= {agent: True for agent, flag in self._world.flags(now).items() if flag}
        if over:
            self.agents = []
        return (
            self._world.rows(transition.final_obs),
            self._world.numbers(transition.reward),
            {agent: over and flag for agent, flag in self._terminated.items()},
            {agent: over and flag for agent, flag in self._truncated.items()},
            self._infos(),
        )

    def _infos(self) -> Infos:
        deciding = self._world.deciding()
        return {agent: {"active": agent in deciding} for agent in self.possible_agents}


class _OneCopy:
    """An ArrayEnv of one copy, spoken to by agent ids."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        params = FaceParams.model_validate(dict(config))
        self.env = params.env(params.env.Params.model_validate(params.params), num_envs=1)
        groups = self.env.groups
        self.seats = {agent: (name, i) for name, group in groups.items() for i, agent in enumerate(group.agent_ids)}
        # Each agent has spaces of its own, for seeding one must not reseed another.
        self.observation_spaces = {
            a: copy.deepcopy(groups[name].observation_space) for a, (name, _) in self.seats.items()
        }
        self.action_spaces = {a: copy.deepcopy(groups[name].action_space) for a, (name, _) in self.seats.items()}
        self.over = False
        self._obs: dict[str, Tensor] | None = None
        self._nobody = dict.fromkeys(self.seats, False)
        self._deciding: set[str] = set()

    def reset(self, seed: int | None) -> Observations:
        """The first observations of an episode: a new one, or the one that began by itself when the last ended."""
        if seed is None and self._obs is None:
            seed = secrets.randbits(31)
        if self._obs is None or seed is not None or not self.over:
            self._obs = self.env.reset(seed=seed)
            self._set_active(self.env.active())
        self.over = False
        return self.rows(self._obs)

    def step(self, actions: Mapping[str, Any]) -> Transition:
        if self._obs is None or self.over:
            raise RuntimeError("there is no episode to step, it has ended or none was begun: call reset() first")
        deciding = self.deciding()
        given = {name: _together(group, actions, deciding) for name, group in self.env.groups.items()}
        transition = self.env.step(given)
        self._obs, self.over = transition.obs, bool(transition.done)
        self._set_active(transition.active)
        return transition

    def deciding(self) -> set[str]:
        """The agents that decide on the current observations."""
        return self._deciding

    def _set_active(self, active: Mapping[str, Tensor]) -> None:
        self._deciding = set(self.seats)
        self._deciding.difference_update(compress(self._agents(active), map(not_, _flat(active))))

    def numbers(self, columns: Mapping[str, Tensor]) -> dict[str, Any]:
        """Group -> (1, A) becomes agent -> a number of Python's."""
        return dict(zip(self._agents(columns), _flat(columns), strict=True))

    def flags(self, columns: Mapping[str, Tensor]) -> Mapping[str, bool]:
        """The same of flags, which are seldom set."""
        flat = _flat(columns)
        return dict(zip(self._agents(columns), flat, strict=True)) if True in flat else self._nobody

    def rows(self, columns: Mapping[str, Tensor]) -> Observations:
        """Group -> (1, A, F) becomes agent -> (F,), copied once for each group."""
        rows = chain.from_iterable([column.numpy(force=True)[0].copy() for column in columns.values()])
        return dict(zip(self._agents(columns), rows, strict=True))

    def _agents(self, columns: Mapping[str, Tensor]) -> Iterable[str]:
        groups = self.env.groups
        return chain.from_iterable([groups[name].agent_ids for name in columns])


def _flat(columns: Mapping[str, Tensor]) -> list[Any]:
    """Group -> (1, A) becomes numbers of Python's, one group after the other."""
    return list(chain.from_iterable([column.tolist()[0] for column in columns.values()]))


def _together(group: Group, actions: Mapping[str, Any], deciding: set[str]) -> Tensor:
    """The actions of a group, (1, A) or (1, A, U); zeros where an agent does not decide."""
    space, discrete = group.action_space, isinstance(group.action_space, gym.spaces.Discrete)
    shape, kind = space.shape or (), np.int64 if discrete else np.float32
    nothing = np.zeros(shape, kind)
    try:
        said = [actions[agent] if agent in deciding else nothing for agent in group.agent_ids]
    except KeyError as missing:
        raise ValueError(f"step() was given no action for {missing}: every agent that decides needs one") from None
    try:
        together = np.array([said], kind)
    except ValueError:  # shapes that do not go together, or no numbers
        _check_shapes(group, said)
        raise
    if together.shape != (1, len(said), *shape):
        _check_shapes(group, said)
    return torch.from_numpy(together)


def _check_shapes(group: Group, said: Sequence[Any]) -> None:
    space = group.action_space
    for agent, action in zip(group.agent_ids, said, strict=True):
        if np.shape(action) != (space.shape or ()):
            raise ValueError(f"the action of {agent!r} has shape {np.shape(action)}, its space is {space}")
