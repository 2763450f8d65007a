"""A frozen lake of 8 x 8 that is crossed in 16 steps: the task of RLlib's own curriculum example, from three goals."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from pettingzoo import ParallelEnv

LAKE = ("SFFHFFFH", "FFFHFFFF", "FFFFFFFF", "FFFFFFFF", "HFFFFFFF", "HHFFFFHF", "FFFFFHHF", "FHFFFFFF")
NEAR, FAR, FURTHEST = (2, 2), (5, 4), (7, 7)
STEPS = 16


class Lake(ParallelEnv):
    """One skater, who sees its place, one-hot (F = 64), and moves as told; holes end the episode, and so does the goal.

    Only the goal pays, 1. It is row + column steps away: 4, 9, or 14 of the 16. A random walk arrives in one of 4, 137
    and 104,000 episodes.
    """

    def __init__(self, goal: tuple[int, int] = FURTHEST) -> None:
        row, column = goal
        lake = [list(line) for line in LAKE]
        lake[row][column] = "G"
        rows = ["".join(line) for line in lake]
        self._lake: Any = gym.make("FrozenLake-v1", desc=rows, is_slippery=False, max_episode_steps=STEPS)
        self.possible_agents, self.agents = ["skater"], []

    def observation_space(self, agent: str) -> Any:
        return self._lake.observation_space

    def action_space(self, agent: str) -> Any:
        return self._lake.action_space

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.agents = ["skater"]
        return {"skater": self._lake.reset(seed=seed)[0]}, {"skater": {}}

    def step(self, actions: Any) -> tuple[dict[str, Any], ...]:
        place, reward, terminated, truncated, _ = self._lake.step(actions["skater"])
        if terminated or truncated:
            self.agents = []
        told = (place, float(reward), terminated, truncated, {})
        return tuple({"skater": each} for each in told)
