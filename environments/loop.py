"""E copies of any RLlib MultiAgentEnv or PettingZoo ParallelEnv, looped over in Python: general and slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pkgutil import resolve_name
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, field_validator
from torch import Tensor

from environments import base
from environments.base import ArrayEnv, Group, Transition
from environments.errors import DataError
from environments.foreign import Agent, World, dump_worlds, load_worlds, open_world

Columns = dict[str, NDArray[Any]]


class LoopParams(base.Params):
    """Which environment, and who is in which group.

    Attributes:
        env: ``module:Class`` or ``module:function`` that gives a MultiAgentEnv or a ParallelEnv.
        kwargs: What it is called with.
        groups: Group name -> agent ids or patterns (``agent_*``, as in a shell), held against ``str(agent id)``.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    env: str = Field(pattern=r"^[\w.]+:\w+$")
    kwargs: dict[str, Any] = Field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = Field(min_length=1)

    @field_validator("env")
    @classmethod
    def _can_be_called(cls, env: str) -> str:
        _maker(env)
        return env


class LoopEnv(ArrayEnv):
    """E copies of a foreign environment, stepped one after the other. For small games, tests and strangers' worlds.

    Discrete observations become one-hot, Box observations are flattened to float32 (F,); Box actions are flattened to
    (U,) and clipped to the space before they are passed on. An agent that ended before its copy did is inactive, and
    sees and earns zeros, from the step after its end until the copy resets; so does one that is not observed yet.

    Copy i is seeded by (seed, i). Its later episodes are begun without a seed, so that its own generator goes on;
    a foreign environment that then draws from the system's entropy is not reproducible, here as elsewhere.

    ``get_state`` pickles the environments themselves; ``set_state`` unpickles them, which runs code: restore only
    what you trust.

    Raises:
        DataError: The environment cannot be made, its spaces are neither Box nor Discrete, an agent is in no group or
            in two, or the agents of a group differ in their spaces.
    """

    Params = LoopParams

    def __init__(self, params: LoopParams, *, num_envs: int, device: str = "cpu") -> None:
        self.num_envs, self.device = num_envs, device
        self._worlds = [open_world(_maker(params.env), params.kwargs) for _ in range(num_envs)]
        members = _seat(params.groups, self._worlds[0].agents)
        self._codecs = {name: _codec(name, agents, self._worlds[0]) for name, agents in members.items()}
        self._seats = {agent: (name, j) for name, agents in members.items() for j, agent in enumerate(agents)}
        self.groups = {
            name: Group(
                agent_ids=tuple(f"{name}/{agent}" for agent in agents),
                observation_space=self._codecs[name].observation_box(),
                action_space=self._codecs[name].flat_actions(),
            )
            for name, agents in members.items()
        }
        self._begun = False
        self._open = self._blank(np.bool_)
        self._active = self._blank(np.bool_)

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Starts new episodes in all copies: group -> (E, A, F)."""
        if seed is None and not self._begun:
            seed = 0
        self._begun = True
        obs, self._active = self._blank_obs(), self._blank(np.bool_)
        for i in range(self.num_envs):
            self._begin(i, None if seed is None else _seed_of_copy(seed, i), obs, self._active)
        return self._tensors(obs)

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        """Steps all copies, one after the other."""
        given = {name: action.cpu().numpy() for name, action in actions.items()}
        final_obs, active, done_E = self._blank_obs(), self._blank(np.bool_), np.zeros(self.num_envs, np.bool_)
        reward, terminated, truncated = self._blank(np.float32), self._blank(np.bool_), self._blank(np.bool_)
        for i, world in enumerate(self._worlds):
            outcome = world.step(self._actions(i, given))
            for agent, name, at in self._open_seats(i):
                if agent in outcome.obs:
                    final_obs[name][at] = self._codecs[name].encode(outcome.obs[agent])
                reward[name][at] = outcome.reward.get(agent, 0.0)
                terminated[name][at] = agent in outcome.terminated
                truncated[name][at] = agent in outcome.truncated
                self._open[name][at] = not (terminated[name][at] or truncated[name][at])
                active[name][at] = self._open[name][at] and agent in outcome.acting
            done_E[i] = outcome.over or not any(True for _ in self._open_seats(i))
        obs = {name: column.copy() for name, column in final_obs.items()}
        for i in done_E.nonzero()[0].tolist():
            self._begin(i, None, obs, active)
        self._active = active
        return Transition(
            obs=self._tensors(obs),
            final_obs=self._tensors(final_obs),
            reward=self._tensors(reward),
            terminated=self._tensors(terminated),
            truncated=self._tensors(truncated),
            done=torch.from_numpy(done_E).to(self.device),
            active=self.active(),
        )

    def active(self) -> dict[str, Tensor]:
        """Who decides on the current observations: group -> bool (E, A)."""
        return self._tensors(self._active)

    def get_state(self) -> dict[str, Any]:
        """The pickled environments, and who takes part.

        Raises:
            DataError: An environment cannot be pickled.
        """
        return {
            "worlds": dump_worlds(self._worlds),
            "begun": self._begun,
            "open": {name: open_EA.copy() for name, open_EA in self._open.items()},
            "active": {name: active_EA.copy() for name, active_EA in self._active.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave, by unpickling: only from a source you trust.

        Raises:
            DataError: The state is of another number of copies.
        """
        worlds = load_worlds(state["worlds"])
        if len(worlds) != self.num_envs:
            raise DataError(f"the state holds {len(worlds)} copies, this LoopEnv has num_envs={self.num_envs}")
        self._worlds, self._begun = worlds, state["begun"]
        self._open = {name: open_EA.copy() for name, open_EA in state["open"].items()}
        self._active = {name: active_EA.copy() for name, active_EA in state["active"].items()}

    def _begin(self, i: int, seed: int | None, obs: Columns, active: Columns) -> None:
        """Begins an episode in copy i and writes its row of ``obs`` and ``active``."""
        first = self._worlds[i].reset(seed)
        for agent, (name, j) in self._seats.items():
            self._open[name][i, j], active[name][i, j] = True, agent in first
            obs[name][i, j] = self._codecs[name].encode(first[agent]) if agent in first else 0.0

    def _open_seats(self, i: int) -> Iterator[tuple[Agent, str, tuple[int, int]]]:
        """The agents of copy i whose episode goes on, with their place in the columns."""
        return ((agent, name, (i, j)) for agent, (name, j) in self._seats.items() if self._open[name][i, j])

    def _actions(self, i: int, given: Columns) -> dict[Agent, Any]:
        return {
            agent: self._codecs[name].decode(given[name][i, j])
            for agent, (name, j) in self._seats.items()
            if self._active[name][i, j]
        }

    def _blank(self, dtype: type[np.generic]) -> Columns:
        return {name: np.zeros((self.num_envs, len(group.agent_ids)), dtype) for name, group in self.groups.items()}

    def _blank_obs(self) -> Columns:
        shapes = {name: (len(group.agent_ids), *group.observation_space.shape) for name, group in self.groups.items()}
        return {name: np.zeros((self.num_envs, *shape), np.float32) for name, shape in shapes.items()}

    def _tensors(self, columns: Columns) -> dict[str, Tensor]:
        return {name: torch.tensor(column, device=self.device) for name, column in columns.items()}


@dataclass(frozen=True)
class _Codec:
    """Between the spaces of a foreign agent and those of a Group."""

    observation: gym.spaces.Box | gym.spaces.Discrete[Any]
    action: gym.spaces.Box | gym.spaces.Discrete[Any]

    def observation_box(self) -> gym.spaces.Box:
        if isinstance(self.observation, gym.spaces.Discrete):
            return gym.spaces.Box(0.0, 1.0, (int(self.observation.n),), np.float32)
        return _flat(self.observation)

    def flat_actions(self) -> gym.spaces.Box | gym.spaces.Discrete[Any]:
        if isinstance(self.action, gym.spaces.Discrete):
            return gym.spaces.Discrete(int(self.action.n))
        return _flat(self.action)

    def encode(self, obs: Any) -> NDArray[np.float32]:
        """An observation as (F,)."""
        if isinstance(self.observation, gym.spaces.Discrete):
            return np.eye(int(self.observation.n), dtype=np.float32)[int(obs) - int(self.observation.start)]
        return np.asarray(obs, np.float32).reshape(-1)

    def decode(self, action: NDArray[Any]) -> Any:
        """A number, or (U,), as the foreign space has it."""
        if isinstance(self.action, gym.spaces.Discrete):
            return int(action) + int(self.action.start)
        box = self.action
        return np.clip(action.reshape(box.shape), box.low, box.high).astype(box.dtype)


def _maker(env: str) -> Callable[..., Any]:
    """What ``module:name`` stands for."""
    try:
        found: Callable[..., Any] = resolve_name(env)
    except (ImportError, AttributeError) as error:
        raise DataError(f"cannot be imported: {error}") from error
    if not callable(found):
        raise DataError(f"is {found!r}; it must name a class, or a function that gives an environment")
    return found


def _codec(name: str, agents: Sequence[Agent], world: World) -> _Codec:
    spaces = world.spaces(agents[0])
    for agent in agents[1:]:
        if world.spaces(agent) != spaces:
            raise DataError(
                f"groups.{name}: agent {agent!r} has spaces {world.spaces(agent)}, agent {agents[0]!r} has {spaces}; "
                "agents of one group must have the same: put them in two groups"
            )
    return _Codec(*(_known(name, space) for space in spaces))


def _known(name: str, space: gym.Space[Any]) -> gym.spaces.Box | gym.spaces.Discrete[Any]:
    if isinstance(space, gym.spaces.Box | gym.spaces.Discrete):
        return space
    raise DataError(f"groups.{name}: its agents have the space {space}; allowed are Box and Discrete")


def _seat(groups: Mapping[str, Sequence[str]], agents: Sequence[Agent]) -> dict[str, list[Agent]]:
    """Group -> its agents, in the order of the environment."""
    members: dict[str, list[Agent]] = {name: [] for name in groups}
    for agent in agents:
        homes = [name for name, patterns in groups.items() if any(fnmatchcase(str(agent), p) for p in patterns)]
        if len(homes) != 1:
            told = f"is in {len(homes)} groups ({', '.join(homes)})" if homes else "is in no group"
            raise DataError(f"groups: agent {agent!r} {told}; each agent must be in one: change its patterns")
        members[homes[0]].append(agent)
    for name, seated in members.items():
        if not seated:
            raise DataError(
                f"groups.{name}: its patterns {list(groups[name])} match none of the agents {[str(a) for a in agents]}"
            )
    return members


def _seed_of_copy(seed: int, i: int) -> int:
    """A seed below 2^31 (what every environment takes), a function of ``seed`` and the copy alone."""
    return int(np.random.SeedSequence((seed, i)).generate_state(1)[0]) >> 1


def _flat(box: gym.spaces.Box) -> gym.spaces.Box:
    """The same bounds as float32 (F,); a bound that float32 cannot hold is none."""
    with np.errstate(over="ignore"):
        low, high = (bound.reshape(-1).astype(np.float32) for bound in (box.low, box.high))
    return gym.spaces.Box(low, high, dtype=np.float32)
