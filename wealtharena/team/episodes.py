"""Returns and lengths of finished episodes.

E copies, G groups, T steps, M finished episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from environments.base import Transition


@dataclass(frozen=True)
class Episodes:
    """The episodes that a fragment finished.

    Attributes:
        count: How many.
        length: In steps, the mean over the last of them.
        group_return: The mean over the same ones, and over the group's agents.
    """

    count: int
    length: float
    group_return: dict[str, float]


class EpisodeLog:
    """Notes steps, and adds their rewards up per copy and group when the fragment ends."""

    def __init__(self, agents: Mapping[str, int], num_envs: int, device: str, *, window: int) -> None:
        """For groups of so many agents; means are over the last ``window`` episodes."""
        self._agents, self._window = dict(agents), window
        self._length_E = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._total_GE = torch.zeros((len(agents), num_envs), dtype=torch.float64, device=device)
        self._steps: list[Transition] = []

    def add(self, transition: Transition) -> None:
        """Notes a step."""
        self._steps.append(transition)

    def finish(self) -> Episodes:
        """What the steps since the last call finished; means are NaN where that is nothing."""
        done_TE, sofar_TLE = self._take()
        when_M, copy_M = done_TE.nonzero().unbind(dim=1)
        last_ML = sofar_TLE[when_M[-self._window :], :, copy_M[-self._window :]]
        length, *totals = last_ML.mean(dim=0).tolist()
        returns = {name: total / self._agents[name] for name, total in zip(self._agents, totals, strict=True)}
        return Episodes(len(when_M), length, returns)

    def _take(self) -> tuple[Tensor, Tensor]:
        """The steps since the last call: whether they ended an episode (T, E), and its length and rewards so far."""
        steps, self._steps = self._steps, []
        done_TE = torch.stack([step.done for step in steps])
        rewards = (torch.stack([step.reward[name] for step in steps]) for name in self._agents)
        reward_TGE = torch.stack([reward_TEA.sum(dim=-1, dtype=torch.float64) for reward_TEA in rewards], dim=1)
        return done_TE, self._added_up(reward_TGE, self._goes_on(done_TE))

    def _goes_on(self, done_TE: Tensor) -> Tensor:
        """Whether what was added up counts for the next step too, (T, E)."""
        return ~done_TE

    def _added_up(self, reward_TGE: Tensor, goes_on_TE: Tensor) -> Tensor:
        """Length and rewards of the episode under way in each step, (T, 1 + G, E)."""
        sofar = []
        for reward_GE, goes_on_E in zip(reward_TGE, goes_on_TE, strict=True):
            length_E, total_GE = self._length_E + 1, self._total_GE + reward_GE
            sofar.append(torch.cat([length_E.unsqueeze(0), total_GE]))
            self._length_E, self._total_GE = length_E * goes_on_E, total_GE * goes_on_E
        return torch.stack(sofar)

    def get_state(self) -> dict[str, Any]:
        """The sums of the episodes under way."""
        return {"length": self._length_E, "total": dict(zip(self._agents, self._total_GE, strict=True))}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._length_E = state["length"]
        self._total_GE = torch.stack([state["total"][name] for name in self._agents])
