"""A world that pays for what was seen before, or for what others see: a look at the present is worth nothing in it."""

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


class RecallParams(base.Params):
    """What pays, and for whom."""

    task: Literal["recall", "others"] = "recall"
    kind: Literal["discrete", "continuous"] = "discrete"
    groups: dict[str, int] = Field(default={"a": 1})
    delay: int = Field(default=3, ge=1)
    horizon: int = Field(default=12, ge=1)
    absent: float = Field(default=0.0, ge=0, lt=1)
    stagger: bool = False


class RecallGame(ArrayEnv):
    """Each agent sees a cue, -1 or 1 by chance (F = 1), and answers with a sign.

    The right answer is, in ``recall``, the cue it saw ``delay`` of its own decisions ago; in ``others``, the sign of
    the sum of the cues of the group's others who decide now (of itself, if that is 0). A discrete agent earns 1 for
    it, a continuous one 1 - (0.8 answer - action)^2. The first ``delay`` decisions of an episode earn nothing in
    ``recall``.

    Agents miss a step with probability ``absent``. An episode is truncated after ``horizon`` steps; with ``stagger``
    agent j's is terminated j steps before.

    Optimum of one agent that is never absent: ``horizon - delay`` in ``recall``, ``horizon`` in ``others``. What sees
    its own present alone earns half of it, or 0.36 of it where continuous.
    """

    Params = RecallParams

    def __init__(self, params: RecallParams, *, num_envs: int, device: str = "cpu") -> None:
        self.params, self.num_envs, self.device = params, num_envs, device
        box = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        actions = gym.spaces.Discrete(2) if params.kind == "discrete" else box
        self.groups = {
            name: Group(tuple(f"{name}/{i}" for i in range(agents)), box, actions)
            for name, agents in params.groups.items()
        }
        self._seed = 0
        self._step_E = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._episode_E = self._step_E - 1
        self._past = self._nothing()

    def _nothing(self) -> dict[str, Tensor]:
        shape = (self.num_envs, self.params.delay)
        return {
            name: torch.zeros(shape[0], agents, shape[1], device=self.device)
            for name, agents in self.params.groups.items()
        }

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        if seed is not None:
            self._seed, self._episode_E = seed, torch.full_like(self._episode_E, -1)
        self._episode_E, self._step_E = self._episode_E + 1, torch.zeros_like(self._step_E)
        self._past = self._nothing()
        return self._observe()

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        active, reward = self._active(), {}
        for name, agents in self.params.groups.items():
            cue_EA, there_EA = self._cue(name), active[name]
            action = actions.get(name, torch.zeros(self.num_envs, agents, *self.groups[name].action_space.shape))
            reward[name] = self._score(name, cue_EA, there_EA, action) * there_EA
            moved = torch.cat([self._past[name][..., 1:], cue_EA.unsqueeze(-1)], dim=-1)
            self._past = {**self._past, name: torch.where(there_EA.unsqueeze(-1), moved, self._past[name])}
        self._step_E = self._step_E + 1
        final_obs, done_E = self._observe(), self._step_E >= self.params.horizon
        ended = {name: self._step_E.unsqueeze(1) == self._end(name) for name in self.groups}
        early = {name: ended[name] & (self._end(name) < self.params.horizon) for name in self.groups}
        self._past = {name: past.masked_fill(done_E[:, None, None], 0.0) for name, past in self._past.items()}
        self._step_E, self._episode_E = torch.where(done_E, 0, self._step_E), self._episode_E + done_E
        return Transition(
            obs=self._observe(),
            final_obs=final_obs,
            reward=reward,
            terminated=early,
            truncated={name: ended[name] & ~early[name] for name in self.groups},
            done=done_E,
            active=self.active(),
        )

    def active(self) -> dict[str, Tensor]:
        return self._active() if self.params.absent or self.params.stagger else {}

    def _active(self) -> dict[str, Tensor]:
        return {
            name: (self._uniform(name, 1) >= self.params.absent) & (self._step_E.unsqueeze(1) < self._end(name))
            for name in self.groups
        }

    def _end(self, name: str) -> Tensor:
        place_A = torch.arange(self.params.groups[name], device=self.device)
        return self.params.horizon - place_A * self.params.stagger

    def _score(self, name: str, cue_EA: Tensor, there_EA: Tensor, action: Tensor) -> Tensor:
        if self.params.task == "recall":
            right_EA = self._past[name][..., 0]
        else:
            seen_EA = cue_EA * there_EA
            right_EA = seen_EA.sum(dim=1, keepdim=True) - seen_EA
            right_EA = torch.where(right_EA == 0, cue_EA, right_EA).sign()
        if self.params.kind == "discrete":
            return (2.0 * action - 1.0 == right_EA).float()
        return (1.0 - (0.8 * right_EA - action.squeeze(-1)).square()) * (right_EA != 0)

    def _observe(self) -> dict[str, Tensor]:
        return {name: self._cue(name).unsqueeze(-1) for name in self.groups}

    def _cue(self, name: str) -> Tensor:
        return 2.0 * (self._uniform(name, 0) < 0.5).float() - 1.0

    def _uniform(self, name: str, stream: int) -> Tensor:
        copy_E1 = torch.arange(self.num_envs, device=self.device).unsqueeze(1)
        agent_1A = torch.arange(self.params.groups[name], device=self.device).unsqueeze(0)
        kind = 2 * list(self.groups).index(name) + stream
        return uniform(self._seed, copy_E1, self._episode_E.unsqueeze(1), self._step_E.unsqueeze(1), kind, agent_1A)

    def get_state(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "step_E": self._step_E.clone(),
            "episode_E": self._episode_E.clone(),
            "past": {name: past.clone() for name, past in self._past.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._seed = state["seed"]
        self._step_E, self._episode_E = state["step_E"].clone(), state["episode_E"].clone()
        self._past = {name: past.clone() for name, past in state["past"].items()}
