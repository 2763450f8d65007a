"""Tally: what the agents of one group did and earned while they were evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import gymnasium as gym
import numpy as np
from torch import Tensor

from environments.base import Group
from wealtharena.evidence.track import FloatArray

BINS = 9
"""Bins of the histogram of a continuous action: an odd number, so that one of them is around the middle."""


class Tally:
    """Counts of one group's actions and the sum of its rewards, over all copies, agents and steps.

    Actions count where the agent was active (it decided); rewards count on every step.
    """

    def __init__(self, group: Group) -> None:
        self._space = group.action_space
        self._agents = len(group.agent_ids)
        self._actions: list[FloatArray] = []
        self._reward = 0.0
        self._agent_steps = 0

    def add(self, action: Tensor, reward_EA: Tensor, active_EA: Tensor | None) -> None:
        """Adds one step: actions (E, A) or (E, A, U), and who was active (all of them where None)."""
        chosen = action if active_EA is None else action[active_EA]
        width = 1 if isinstance(self._space, gym.spaces.Discrete) else int(self._space.shape[0])
        self._actions.append(chosen.detach().cpu().numpy().astype(np.float64).reshape(-1, width))
        self._reward += float(reward_EA.double().sum())
        self._agent_steps += reward_EA.numel()

    def __add__(self, other: Tally) -> Tally:
        """What both counted, of one group in two tests."""
        both = copy(self)
        both._actions = [*self._actions, *other._actions]
        both._reward = self._reward + other._reward
        both._agent_steps = self._agent_steps + other._agent_steps
        return both

    def as_dict(self, labels: Sequence[str] | None = None) -> dict[str, Any]:
        """Agents, decisions, mean reward per agent and step, and the distribution of the actions.

        ``labels`` say what each discrete action, or each dimension of a continuous one, means.
        """
        action_BU = np.concatenate(self._actions) if self._actions else np.zeros((0, 1))
        return {
            "agents": self._agents,
            "decisions": len(action_BU),
            "reward_per_step": self._reward / self._agent_steps if self._agent_steps else None,
            "actions": self._distribution(action_BU) | {"labels": labels and list(labels)} if len(action_BU) else None,
        }

    def _distribution(self, action_BU: FloatArray) -> dict[str, Any]:
        if isinstance(self._space, gym.spaces.Discrete):
            index_B = action_BU[:, 0].astype(np.int64) - int(self._space.start)
            counts = np.bincount(index_B, minlength=int(self._space.n))
            return {"kind": "discrete", "shares": (counts / counts.sum()).tolist()}
        edges = np.linspace(*_ends(self._space, action_BU), BINS + 1)
        clipped_BU = np.clip(action_BU, edges[0], edges[-1])
        shares_U = [np.histogram(column, edges)[0] / len(column) for column in clipped_BU.T]
        return {
            "kind": "continuous",
            "mean": clipped_BU.mean(axis=0).tolist(),
            "std": clipped_BU.std(axis=0).tolist(),
            "edges": edges.tolist(),
            "shares": [share.tolist() for share in shares_U],
        }


def _ends(space: gym.spaces.Box, action_BU: FloatArray) -> tuple[float, float]:
    """The range of the actions: that of the space, or where it has no bounds that of the actions taken."""
    low, high = float(space.low.min()), float(space.high.max())
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    return float(action_BU.min()) - 1e-9, float(action_BU.max()) + 1e-9
