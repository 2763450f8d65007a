"""What a trader says, as a signal in [lowest, 1]: the share of its size it wants to hold, short below 0.

Where shorting is off, ``lowest`` is 0, otherwise -1.
Columns M: the agents of all traders, one trader after the other; a joint agent has a column for each of its assets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from environments.market.config_traders import TraderParams

HOLD = 1


def action_space(trader: TraderParams, assets: int) -> gym.spaces.Discrete[Any] | gym.spaces.Box:
    """The action space of one agent of a trader that covers so many assets."""
    kind = trader.kind
    if kind == "quotes":
        return gym.spaces.Box(-1.0, 1.0, (2,))
    if kind in ("continuous", "adjust"):
        return gym.spaces.Box(-1.0, 1.0, (assets if trader.joint else 1,))
    return gym.spaces.Discrete(3 if kind == "trade" else trader.levels)


@dataclass(frozen=True)
class Dialect:
    """How actions are read: signal = held (where it counts) + offset + gain x action, clipped to [lowest, 1].

    ``trade``: 0 Sell, 1 Hold, 2 Buy: from what is held, one notch down or up. ``levels``: 0, 1, ..., evenly from
    ``lowest`` to 1. ``continuous``: [-1, 1] onto [``lowest``, 1]. ``adjust``: from what is held, up to a notch down
    or up. ``quotes``: what is held; no order is given.

    Attributes:
        holds_M: float64, 1 where what is held counts, otherwise 0.
        silent_M: float64, the action that asks for nothing; NaN: there is none.
        offset_M: float64.
        gain_M: float64.
        lowest_M: float64.
        highest_M: float64, 1.
    """

    holds_M: Tensor
    silent_M: Tensor
    offset_M: Tensor
    gain_M: Tensor
    lowest_M: Tensor
    highest_M: Tensor

    def read(self, action_EM: Tensor, held_EM: Tensor) -> tuple[Tensor, Tensor]:
        """Reads the actions of all agents.

        Args:
            action_EM: float64; 0 of those who quote.
            held_EM: float64, the signal held now.

        Returns:
            signal_EM: float64; for Hold what is held.
            asks_EM: bool, False for Hold and for quotes: no order is wanted.
        """
        base_EM = torch.addcmul(self.offset_M, held_EM, self.holds_M)
        signal_EM = torch.addcmul(base_EM, action_EM, self.gain_M)
        return torch.clamp(signal_EM, self.lowest_M, self.highest_M), action_EM != self.silent_M

    def push(self, action_EM: Tensor) -> Tensor:
        """The direction of each action, float64: a target, or a change of what is held; 0 is none."""
        return torch.addcmul(self.offset_M, action_EM, self.gain_M)

    def standing(self, said_EM: Tensor, held_EM: Tensor) -> Tensor:
        """The direction of what was said before, float64: the target, or the change that is left of what is held."""
        return torch.addcmul(said_EM, held_EM, self.holds_M, value=-1)


def dialect(agents: Iterable[tuple[TraderParams, float]], device: str) -> Dialect:
    """Builds the dialect of agents from each one's trader and lowest signal."""
    silent = {"trade": float(HOLD), "quotes": 0.0}
    rows = [
        (
            float(trader.kind in ("trade", "adjust", "quotes")),
            silent.get(trader.kind, torch.nan),
            *_line(trader, lowest),
            lowest,
            1.0,
        )
        for trader, lowest in agents
    ]
    return Dialect(*torch.tensor(rows, dtype=torch.float64, device=device).T.contiguous().unbind(0))


def _line(trader: TraderParams, lowest: float) -> tuple[float, float]:
    """Offset and gain."""
    match trader.kind:
        case "trade":
            return -HOLD * trader.notch, trader.notch
        case "levels":
            return lowest, (1.0 - lowest) / (trader.levels - 1)
        case "continuous":
            return (1.0 + lowest) / 2, (1.0 - lowest) / 2
        case "adjust":
            return 0.0, trader.notch
        case "quotes":
            return 0.0, 0.0
