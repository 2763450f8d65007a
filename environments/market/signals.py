"""What a trader says, as a signal in [lowest, 1]: the share of its sleeve it wants to hold, short below 0.

A sleeve is what an asset gets of its class's budget. Where shorting is off, ``lowest`` is 0, otherwise -1.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from environments.market.config import Action

NOTCH = 0.5


def action_space(kind: Action) -> gym.spaces.Discrete[Any] | gym.spaces.Box:
    """The action space of one agent."""
    if kind == "continuous":
        return gym.spaces.Box(-1.0, 1.0, (1,))
    return gym.spaces.Discrete(3 if kind == "trade" else 5)


def read(kind: Action, action: Tensor, held_EA: Tensor, lowest: float) -> tuple[Tensor, Tensor]:
    """Reads the actions of one group.

    Args:
        kind: ``trade``: 0 Sell, 1 Hold, 2 Buy, one notch down or up from what is held; ``levels``: 0..4, evenly from
            ``lowest`` to 1; ``continuous``: [-1, 1] onto [``lowest``, 1], clipped.
        action: int64 (E, A), or float (E, A, 1) for ``continuous``.
        held_EA: float64, the signal held now.
        lowest: 0 or -1.

    Returns:
        signal_EA: float64 in [``lowest``, 1]; for Hold what is held.
        moved_EA: bool, False for Hold: no order is wanted.
    """
    if kind == "trade":
        step_EA = (action.to(torch.float64) - 1.0) * NOTCH
        return (held_EA + step_EA).clamp(lowest, 1.0), action != 1
    if kind == "levels":
        signal_EA = lowest + action.to(torch.float64) * ((1.0 - lowest) / 4)
    else:
        unit_EA = action.squeeze(-1).to(torch.float64).clamp(-1.0, 1.0)
        signal_EA = lowest + (unit_EA + 1.0) * ((1.0 - lowest) / 2)
    return signal_EA, torch.ones_like(held_EA, dtype=torch.bool)
