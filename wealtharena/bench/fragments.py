"""What a fragment holds, counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wealtharena.team.runner import Fragment


def agent_steps(fragment: Fragment) -> int:
    """How many complete decisions there are in it."""
    return sum(int(rollout.count.sum()) for rollout in fragment.values())


def stored_bytes(fragment: Fragment) -> int:
    """Of all of its columns."""
    return sum(column.nbytes for column in _columns(fragment))


def copied_bytes(fragment: Fragment) -> int:
    """Of the columns that are no views of Ray's object store, whose arrays cannot be written to."""
    return sum(column.nbytes for column in _columns(fragment) if column.flags.writeable)


def _columns(fragment: Fragment) -> Iterator[NDArray[Any]]:
    for rollout in fragment.values():
        yield from (column for column in vars(rollout).values() if isinstance(column, np.ndarray))
