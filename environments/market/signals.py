"""What a trader says, as a signal in [lowest, 1]: the share of its sleeve it wants to hold, short below 0.

A sleeve is what an asset gets of its class's budget. Where shorting is off, ``lowest`` is 0, otherwise -1.
Columns M: the agents of all traders, one trader after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from environments.market.config import Action

NOTCH = 0.5
HOLD = 1


def action_space(kind: Action) -> gym.spaces.Discrete[Any] | gym.spaces.Box:
    """The action space of one agent."""
    if kind == "continuous":
        return gym.spaces.Box(-1.0, 1.0, (1,))
    return gym.spaces.Discrete(3 if kind == "trade" else 5)


@dataclass(frozen=True)
class Dialect:
    """How actions are read: signal = held (where it counts) + offset + gain x action, clipped to [lowest, 1].

    ``trade``: 0 Sell, 1 Hold, 2 Buy: from what is held, one notch down or up. ``levels``: 0..4, evenly from ``lowest``
    to 1. ``continuous``: [-1, 1] onto [``lowest``, 1].

    Attributes:
        trades_M: bool, what is held counts, and an action may be to hold.
        offset_M: float64.
        gain_M: float64.
        lowest_M: float64.
    """

    trades_M: Tensor
    offset_M: Tensor
    gain_M: Tensor
    lowest_M: Tensor

    def read(self, action_EM: Tensor, held_EM: Tensor) -> tuple[Tensor, Tensor]:
        """Reads the actions of all agents.

        Args:
            action_EM: float64.
            held_EM: float64, the signal held now.

        Returns:
            signal_EM: float64; for Hold what is held.
            asks_EM: bool, False for Hold: no order is wanted.
        """
        base_EM = torch.where(self.trades_M, held_EM, 0.0) + self.offset_M
        signal_EM = torch.addcmul(base_EM, action_EM, self.gain_M).clamp(max=1.0)
        return torch.maximum(signal_EM, self.lowest_M), (action_EM != HOLD) | ~self.trades_M


def dialect(agents: Iterable[tuple[Action, float]], device: str) -> Dialect:
    """Builds the dialect of agents from each one's kind of action and lowest signal."""
    rows = [(kind == "trade", *_line(kind, lowest), lowest) for kind, lowest in agents]
    trades_M, *numbers = torch.tensor(rows, dtype=torch.float64, device=device).unbind(1)
    return Dialect(trades_M.bool(), *numbers)


def _line(kind: Action, lowest: float) -> tuple[float, float]:
    """Offset and gain."""
    if kind == "trade":
        return -HOLD * NOTCH, NOTCH
    if kind == "levels":
        return lowest, (1.0 - lowest) / 4
    return (1.0 + lowest) / 2, (1.0 - lowest) / 2
