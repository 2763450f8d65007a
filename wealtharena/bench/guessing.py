"""A game that costs next to nothing to step and whose optimum is known: what is left to measure is everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from environments import base
from environments.base import ArrayEnv, Group, Transition
from environments.random import uniform

ANSWERS = 3


class GuessingParams(base.Params):
    """The size of the game.

    Attributes:
        groups: How many groups, of one agent each.
        features: F, of an observation; the first three are the question.
        horizon: Steps of an episode.
    """

    groups: int = Field(5, ge=1)
    features: int = Field(32, ge=ANSWERS)
    horizon: int = Field(20, ge=1)


class GuessingGame(ArrayEnv):
    """See a question, name its answer; the next question does not depend on it.

    Actions: Discrete(3). Observation: which of three questions it is, one-hot, and F - 3 zeros. Reward: 1 for the
    answer, else 0. End: truncated after ``horizon`` steps.

    Optimum: ``horizon`` per agent and episode; random play earns a third of it.
    """

    Params = GuessingParams

    def __init__(self, params: GuessingParams, *, num_envs: int, device: str = "cpu") -> None:
        self.params, self.num_envs, self.device = params, num_envs, device
        space = gym.spaces.Box(0.0, 1.0, (params.features,), np.float32)
        names = [f"player{index}" for index in range(params.groups)]
        self.groups = {name: Group((f"{name}/0",), space, gym.spaces.Discrete(ANSWERS)) for name in names}
        self._question_QF = torch.eye(ANSWERS, params.features, device=device)
        self._copy_E1 = torch.arange(num_envs, device=device).unsqueeze(1)
        self._group_1G = torch.arange(params.groups, device=device).unsqueeze(0)
        self._no_EA = torch.zeros((num_envs, 1), dtype=torch.bool, device=device)
        self._yes_EA = torch.ones_like(self._no_EA)
        self._seed, self._clock = 0, 0
        self._answer_EG = self._drawn()

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Starts new episodes in all copies; see ``ArrayEnv.reset``."""
        if seed is not None:
            self._seed, self._clock = seed, 0
        else:
            self._clock += -self._clock % self.params.horizon
        self._answer_EG = self._drawn()
        return self._observe()

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        """Pays for the answers and asks anew; see ``ArrayEnv.step``."""
        right_EG = (torch.cat([actions[name] for name in self.groups], dim=1) == self._answer_EG).float()
        self._clock += 1
        self._answer_EG = self._drawn()
        cut_EA = self._yes_EA if self._clock % self.params.horizon == 0 else self._no_EA
        obs = self._observe()
        return Transition(
            obs=obs,
            final_obs=obs,
            reward={name: right_EG[:, index : index + 1] for index, name in enumerate(self.groups)},
            terminated=dict.fromkeys(self.groups, self._no_EA),
            truncated=dict.fromkeys(self.groups, cut_EA),
            done=cut_EA[:, 0],
            active={},
        )

    def active(self) -> dict[str, Tensor]:
        """Everybody answers always."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """The seed and the clock, of which everything is a function."""
        return {"seed": self._seed, "clock": self._clock}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._seed, self._clock = state["seed"], state["clock"]
        self._answer_EG = self._drawn()

    def _drawn(self) -> Tensor:
        """The answers to the questions of this moment, int64 (E, G)."""
        return (uniform(self._seed, self._copy_E1, self._clock, self._group_1G) * ANSWERS).long()

    def _observe(self) -> dict[str, Tensor]:
        obs_EGF = self._question_QF[self._answer_EG]
        return {name: obs_EGF[:, index : index + 1] for index, name in enumerate(self.groups)}
