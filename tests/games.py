"""Tiny worlds with a known optimum, so that learning is a unit test.

Every group's action kind is a parameter, so one class serves on- and off-policy, discrete and continuous learners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from environments import base
from environments.base import ArrayEnv, Group, Transition
from environments.random import uniform

Kind = Literal["discrete", "continuous"]


class GroupParams(base.Params):
    """One group of a TargetGame."""

    kind: Kind = "discrete"
    agents: int = Field(default=1, ge=1)
    every: int = Field(default=1, ge=1)


class TargetParams(base.Params):
    """Which groups play, and for how many steps."""

    groups: dict[str, GroupParams] = Field(default={"a": GroupParams()})
    horizon: int = Field(default=8, ge=1)


class TargetGame(ArrayEnv):
    """See a context, answer with it. One-step optimal; the episode is truncated after ``horizon`` steps.

    A discrete agent sees one of three contexts, one-hot (F = 3), and earns 1 for naming it, else 0.
    A continuous agent sees a number x in [-0.8, 0.8] (F = 1) and earns 1 - (x - a)^2 for its action a in [-1, 1].
    Contexts are drawn independently for each agent and decision; nothing an agent does changes the next one.
    A group with ``every`` = k decides each k-th step and is paid in the last step before its next decision,
    so that a learner that drops the rewards between two decisions learns nothing.

    Optimum: 1 per decision that is paid: ``horizon // every`` per agent and episode, for any discount.
    Uniformly random play earns on average 1/3 (discrete) or 1 - (0.8^2 + 1)/3 = 0.4533 (continuous) of it.
    """

    Params = TargetParams

    def __init__(self, params: TargetParams, *, num_envs: int, device: str = "cpu") -> None:
        self.params, self.num_envs, self.device = params, num_envs, device
        self.groups = {
            name: Group(
                agent_ids=tuple(f"{name}/{i}" for i in range(group.agents)),
                observation_space=_box(0.0, 1.0, 3) if group.kind == "discrete" else _box(-1.0, 1.0, 1),
                action_space=gym.spaces.Discrete(3) if group.kind == "discrete" else _box(-1.0, 1.0, 1),
                every=group.every,
            )
            for name, group in params.groups.items()
        }
        self._seed = 0
        self._step_E = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._episode_E = self._step_E - 1
        self._owed: dict[str, Tensor] = {
            name: torch.zeros(num_envs, group.agents, device=device) for name, group in params.groups.items()
        }

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        if seed is not None:
            self._seed, self._episode_E = seed, torch.full_like(self._episode_E, -1)
        self._episode_E, self._step_E = self._episode_E + 1, torch.zeros_like(self._step_E)
        return self._observe(self._step_E, self._episode_E)

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        active, reward = self.active(), {}
        next_E = self._step_E + 1
        for name, group in self.params.groups.items():
            if name in actions:
                score_EA = self._score(name, actions[name])
                self._owed[name] = torch.where(active[name], score_EA, self._owed[name])
            paid_E1 = (next_E % group.every == 0).unsqueeze(1)
            reward[name] = torch.where(paid_E1, self._owed[name], 0.0)
        final_obs = self._observe(next_E, self._episode_E)
        done_E = next_E >= self.params.horizon
        self._step_E, self._episode_E = torch.where(done_E, 0, next_E), self._episode_E + done_E
        truncated = {name: done_E.unsqueeze(1).expand_as(r_EA).clone() for name, r_EA in reward.items()}
        return Transition(
            obs=self._observe(self._step_E, self._episode_E),
            final_obs=final_obs,
            reward=reward,
            terminated={name: torch.zeros_like(cut_EA) for name, cut_EA in truncated.items()},
            truncated=truncated,
            done=done_E,
            active=self.active(),
        )

    def active(self) -> dict[str, Tensor]:
        return {
            name: (self._step_E % group.every == 0).unsqueeze(1).repeat(1, group.agents)
            for name, group in self.params.groups.items()
        }

    def get_state(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "step_E": self._step_E.clone(),
            "episode_E": self._episode_E.clone(),
            "owed": {name: owed_EA.clone() for name, owed_EA in self._owed.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._seed = state["seed"]
        self._step_E, self._episode_E = state["step_E"].clone(), state["episode_E"].clone()
        self._owed = {name: owed_EA.clone() for name, owed_EA in state["owed"].items()}

    def _score(self, name: str, action: Tensor) -> Tensor:
        u_EA = self._context(name, self._step_E, self._episode_E)
        if self.params.groups[name].kind == "discrete":
            return (action == _third(u_EA)).float()
        return 1.0 - (_centred(u_EA) - action.squeeze(-1)).square()

    def _observe(self, step_E: Tensor, episode_E: Tensor) -> dict[str, Tensor]:
        obs = {}
        for name, group in self.params.groups.items():
            u_EA = self._context(name, step_E, episode_E)
            discrete = group.kind == "discrete"
            obs[name] = torch.nn.functional.one_hot(_third(u_EA), 3).float() if discrete else _centred(u_EA)[..., None]
        return obs

    def _context(self, name: str, step_E: Tensor, episode_E: Tensor) -> Tensor:
        """Uniform (E, A) in [0, 1), a function of seed, copy, episode, decision, group and agent alone."""
        group = self.params.groups[name]
        copy_E1 = torch.arange(self.num_envs, device=self.device).unsqueeze(1)
        agent_1A = torch.arange(group.agents, device=self.device).unsqueeze(0)
        decision_E1 = (step_E // group.every).unsqueeze(1)
        stream = list(self.params.groups).index(name)
        return uniform(self._seed, copy_E1, episode_E.unsqueeze(1), decision_E1, agent_1A, stream)


class SlowParams(TargetParams):
    """A fast group and a slow one."""

    groups: dict[str, GroupParams] = Field(default={"fast": GroupParams(), "slow": GroupParams(every=4)})
    horizon: int = Field(default=16, ge=1)


class SlowGame(TargetGame):
    """A TargetGame of two clocks: ``fast`` decides each step, ``slow`` each fourth.

    Optimum: 16 per episode for an agent of ``fast``, 4 for one of ``slow`` (horizon // every); random play: a third.
    """

    Params = SlowParams


class ChainParams(base.Params):
    """How long the chain is, and how an episode ends."""

    kind: Kind = "discrete"
    agents: int = Field(default=1, ge=1)
    length: int = Field(default=4, ge=2)
    horizon: int = Field(default=14, ge=1)
    ends: Literal["terminated", "truncated"] = "terminated"


class ChainGame(ArrayEnv):
    """Walk a chain of ``length`` places; only its last step pays, 1.

    An agent of group ``walkers`` sees its place, one-hot (F = length). Going on (action 1, or above 0 where continuous)
    moves it one place, anything else puts it back to the start. Stepping over the end pays 1, and

    * ``ends="terminated"``: ends the agent's episode: it is inactive, and sees zeros, until the copy resets.
    * ``ends="truncated"``: puts it back to the start; the game goes on for ever and is only *cut* at ``horizon``,
      with the default of 14 steps in the middle of the fourth lap.

    A copy is reset when all of its agents have ended, or at ``horizon`` (truncated). There is no chance in it.

    Optimum: always go on. Discounted value at place p, with L = ``length``:
    gamma^(L-1-p) where ends are terminal, gamma^(L-1-p) / (1 - gamma^L) where they are cuts.
    Return of an episode and agent: 1 (after L steps), respectively ``horizon // length``.
    """

    Params = ChainParams

    def __init__(self, params: ChainParams, *, num_envs: int, device: str = "cpu") -> None:
        self.params, self.num_envs, self.device = params, num_envs, device
        self.groups = {
            "walkers": Group(
                agent_ids=tuple(f"walkers/{i}" for i in range(params.agents)),
                observation_space=_box(0.0, 1.0, params.length),
                action_space=gym.spaces.Discrete(2) if params.kind == "discrete" else _box(-1.0, 1.0, 1),
            )
        }
        self.reset()

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        shape = (self.num_envs, self.params.agents)
        self._step_E = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._place_EA = torch.zeros(shape, dtype=torch.int64, device=self.device)
        self._ended_EA = torch.zeros(shape, dtype=torch.bool, device=self.device)
        return self._observe()

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        length, acting_EA = self.params.length, ~self._ended_EA
        action = actions["walkers"]
        goes_EA = action == 1 if self.params.kind == "discrete" else action.squeeze(-1) > 0
        place_EA = torch.where(goes_EA & acting_EA, self._place_EA + 1, 0)
        arrived_EA = (place_EA == length) & acting_EA
        terminated_EA = arrived_EA & (self.params.ends == "terminated")
        self._place_EA, self._ended_EA = place_EA % length, self._ended_EA | terminated_EA
        self._step_E = self._step_E + 1
        late_E = self._step_E >= self.params.horizon
        truncated_EA = late_E.unsqueeze(1) & ~self._ended_EA
        done_E = late_E | self._ended_EA.all(1)
        final_obs = self._observe()
        self._restart(done_E)
        return Transition(
            obs=self._observe(),
            final_obs=final_obs,
            reward={"walkers": arrived_EA.float()},
            terminated={"walkers": terminated_EA},
            truncated={"walkers": truncated_EA},
            done=done_E,
            active=self.active(),
        )

    def active(self) -> dict[str, Tensor]:
        return {"walkers": ~self._ended_EA}

    def get_state(self) -> dict[str, Any]:
        return {"step_E": self._step_E.clone(), "place_EA": self._place_EA.clone(), "ended_EA": self._ended_EA.clone()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._step_E, self._place_EA = state["step_E"].clone(), state["place_EA"].clone()
        self._ended_EA = state["ended_EA"].clone()

    def _restart(self, done_E: Tensor) -> None:
        self._step_E = torch.where(done_E, 0, self._step_E)
        self._place_EA = torch.where(done_E.unsqueeze(1), 0, self._place_EA)
        self._ended_EA = self._ended_EA & ~done_E.unsqueeze(1)

    def _observe(self) -> dict[str, Tensor]:
        place_EAF = torch.nn.functional.one_hot(self._place_EA, self.params.length).float()
        return {"walkers": place_EAF * ~self._ended_EA.unsqueeze(-1)}


def _third(u_EA: Tensor) -> Tensor:
    return (u_EA * 3).long()


def _centred(u_EA: Tensor) -> Tensor:
    return ((u_EA * 2 - 1) * 0.8).float()


def _box(low: float, high: float, size: int) -> gym.spaces.Box:
    return gym.spaces.Box(low, high, (size,), np.float32)
