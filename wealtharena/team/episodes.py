"""Returns and lengths of finished episodes, kept as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from environments.base import Transition


@dataclass(frozen=True)
class Episode:
    """One finished episode: its length in steps, and each group's return, the mean over the group's agents."""

    length: int
    group_return: dict[str, float]


class EpisodeLog:
    """Adds up rewards per copy and group, and hands out what is finished."""

    def __init__(self, agents: Mapping[str, int], num_envs: int, device: str) -> None:
        self._agents = dict(agents)
        self._length = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._total = {group: torch.zeros(num_envs, dtype=torch.float64, device=device) for group in agents}

    def add(self, transition: Transition) -> Iterator[Episode]:
        """Adds a step; yields the episodes it finished."""
        self._length = self._length + 1
        for group, reward in transition.reward.items():
            self._total[group] = self._total[group] + reward.sum(dim=1)
        if transition.done.any():
            yield from self._finished(transition.done)
            going_on = ~transition.done
            self._length = self._length * going_on
            self._total = {group: total * going_on for group, total in self._total.items()}

    def _finished(self, done: Tensor) -> Iterator[Episode]:
        lengths = self._length[done].tolist()
        returns = {group: (total[done] / self._agents[group]).tolist() for group, total in self._total.items()}
        for index, length in enumerate(lengths):
            yield Episode(length, {group: values[index] for group, values in returns.items()})

    def get_state(self) -> dict[str, Any]:
        """The sums of the episodes under way."""
        return {"length": self._length, "total": dict(self._total)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._length = state["length"]
        self._total = dict(state["total"])
