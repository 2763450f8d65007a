"""The columnar replay buffer: a ring of transitions whose memory is allocated as it fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST_ALLOCATION = 4096


class ReplayBuffer:
    """Keeps the last ``capacity`` transitions as columns and draws uniformly from them.

    Attributes:
        capacity: Most transitions kept; the oldest are overwritten.
        size: Transitions held now.
        added: Transitions ever added.
    """

    def __init__(self, capacity: int, *, seed: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.added = 0
        self._columns: dict[str, NDArray[Any]] = {}
        self._generator = np.random.default_rng(seed)

    @property
    def allocated(self) -> int:
        """Transitions there is memory for."""
        return len(next(iter(self._columns.values()))) if self._columns else 0

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Appends B transitions: column name -> (B, ...), the same columns in every call."""
        count = len(next(iter(rows.values())))
        kept = {name: column[-self.capacity :] for name, column in rows.items()}
        skipped = count - len(next(iter(kept.values())))
        self._reserve(min(self.capacity, self.added + count), kept)
        index_B = (self.added + skipped + np.arange(count - skipped)) % self.capacity
        for name, column in kept.items():
            self._columns[name][index_B] = column
        self.added += count
        self.size = min(self.capacity, self.added)

    def sample(self, count: int) -> dict[str, NDArray[Any]]:
        """Draws ``count`` transitions uniformly, with replacement: column name -> (count, ...)."""
        if not self.size:
            raise ValueError("sample() on an empty replay buffer: add() transitions first")
        index_B = self._generator.integers(self.size, size=count)
        return {name: column[index_B] for name, column in self._columns.items()}

    def get_state(self) -> dict[str, Any]:
        """Everything the next draw depends on."""
        return {
            "columns": {name: column[: self.size].copy() for name, column in self._columns.items()},
            "added": self.added,
            "generator": self._generator.bit_generator.state,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave; the capacity is this buffer's own and must hold as many as were kept."""
        size = len(next(iter(state["columns"].values()))) if state["columns"] else 0
        if size > self.capacity or (size < min(self.capacity, state["added"])):
            raise ValueError(
                f"the saved replay holds {size} transitions of {state['added']} added, which does not fit a capacity "
                f"of {self.capacity}; restore with the replay_size it was saved with"
            )
        self._columns = {name: column.copy() for name, column in state["columns"].items()}
        self.added = state["added"]
        self.size = size
        self._generator.bit_generator.state = state["generator"]

    def _reserve(self, rows: int, like: Mapping[str, NDArray[Any]]) -> None:
        if rows <= self.allocated:
            return
        target = min(self.capacity, max(rows, 2 * self.allocated, _FIRST_ALLOCATION))
        for name, column in like.items():
            grown = np.zeros((target, *column.shape[1:]), dtype=column.dtype)
            if name in self._columns:
                grown[: self.size] = self._columns[name][: self.size]
            self._columns[name] = grown
