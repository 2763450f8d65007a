"""Replay for networks that look back: each observation is kept once, and windows are put together when they are drawn.

Transitions are rows of a ring. Each tells how many rows back its agent's previous decision of the episode is, so a
window is walked together from the present, bar by bar. Beside two numbers for each transition this costs W - 1 lookups
of the rows drawn, and no memory for windows. Bars that the ring has overwritten count as not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns

from policies.replay import ReplayBuffer
from policies.rollout import Floats, Ints, Rollout
from policies.seen import flagged

BEHIND = "rows_back_to_previous"
AHEAD = "rows_on_to_last"


class WindowReplay(ReplayBuffer):
    """A ``ReplayBuffer`` of records (see ``policies.memory``) whose draws are windows.

    Its rows have two more columns: ``BEHIND``, how many rows before it its agent's previous decision is, 0 if the
    episode had none; and ``AHEAD``, how many rows after it the last decision is whose reward it holds.
    """

    def __init__(self, capacity: int, window: int, *, seed: int) -> None:
        super().__init__(capacity, seed=seed)
        self._window = window

    def sample(self, count: int) -> dict[str, NDArray[Any]]:
        """Draws transitions as ``ReplayBuffer`` does, what was seen in windows (count, W, F + 1)."""
        rows = super().sample(count)
        number_B, behind_B, ahead_B = rows.pop(_NUMBER), rows.pop(BEHIND), rows.pop(AHEAD)
        previous_B = np.where(behind_B > 0, number_B - behind_B, -1)
        return rows | {
            Columns.OBS: self._windows(rows[Columns.OBS], previous_B),
            Columns.NEXT_OBS: self._windows(rows[Columns.NEXT_OBS], number_B + ahead_B),
        }

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Appends transitions; see ``ReplayBuffer.add``. They are numbered as they come."""
        number_B = self.added + np.arange(len(rows[BEHIND]))
        super().add({**rows, _NUMBER: number_B})

    def _windows(self, present_BR: Floats, previous_B: Ints) -> Floats:
        """Windows that end with ``present_BR``, the decision before it being row ``previous_B``, -1 for none."""
        bars, seen = [present_BR], [np.ones(len(present_BR), dtype=bool)]
        oldest = self.added - self.size
        for _ in range(self._window - 1):
            known_B = previous_B >= oldest
            at_B = np.where(known_B, previous_B, oldest) % self.capacity
            bars.append(self._columns[Columns.OBS][at_B])
            seen.append(known_B)
            behind_B = self._columns[BEHIND][at_B]
            previous_B = np.where(known_B & (behind_B > 0), previous_B - behind_B, -1)
        bar_BWR, seen_BW = (torch.from_numpy(np.stack(noted[::-1], axis=1)) for noted in (bars, seen))
        return flagged(bar_BWR, seen_BW).numpy()


_NUMBER = "row_number"


class Trails:
    """Knows the row in which each agent's last decision went into a replay."""

    def __init__(self) -> None:
        self._last: dict[int, Ints] = {}

    def links(self, rollout: Rollout, rewards_B: Floats, first_row: int) -> dict[str, Ints]:
        """``BEHIND`` and ``AHEAD`` of a rollout's complete slots, which become the rows from ``first_row`` on.

        Args:
            rollout: A fragment of records with ages.
            rewards_B: How many rewards each of its rows has summed.
            first_row: Number of its first row.
        """
        valid_SEA = rollout.valid_SEA
        slot_B, copy_B, agent_B = valid_SEA.nonzero()
        row_SEA = first_row + valid_SEA.reshape(-1).cumsum().reshape(valid_SEA.shape) - 1
        before_EA = self._last.get(rollout.runner, np.full(rollout.count.shape, -1))
        previous_SEA = np.concatenate([before_EA[None], row_SEA[:-1]])
        begun_SEA = (rollout.obs[:-1, ..., -1] > 0) & (previous_SEA >= 0)
        behind_SEA = np.where(begun_SEA, row_SEA - previous_SEA, 0)
        last_B = row_SEA[slot_B + rewards_B.astype(np.int64) - 1, copy_B, agent_B]
        newest_EA = np.concatenate([before_EA[None], np.where(valid_SEA, row_SEA, -1)]).max(axis=0)
        self._last[rollout.runner] = newest_EA
        return {BEHIND: behind_SEA[valid_SEA], AHEAD: last_B - row_SEA[valid_SEA]}

    def get_state(self) -> dict[int, Ints]:
        """The rows, of each runner's agents."""
        return dict(self._last)

    def set_state(self, state: Mapping[int, Ints]) -> None:
        """Restores what ``get_state`` gave."""
        self._last = dict(state)
