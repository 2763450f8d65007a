"""Which action spaces an algorithm takes, and the units its actions are in."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from policies.errors import MemberError


def require_discrete(group: str, algorithm: str, space: gym.Space[Any]) -> None:
    """Raises ``MemberError`` unless the space is Discrete."""
    if not isinstance(space, gym.spaces.Discrete):
        raise MemberError(
            f"members.{group}.algorithm: {algorithm} cannot act in {space}: it needs Discrete actions; "
            f"choose PPO, A2C or SAC for group '{group}', or give it discrete actions in environment.params"
        )


def require_box(group: str, algorithm: str, space: gym.Space[Any], remedy: str) -> None:
    """Raises ``MemberError`` unless the space is a bounded Box of one dimension."""
    if not _is_bounded_box(space):
        raise MemberError(
            f"members.{group}.algorithm: {algorithm} cannot act in {space}: it needs a bounded Box of shape (U,); "
            f"{remedy}"
        )


def require_discrete_or_box(group: str, algorithm: str, space: gym.Space[Any]) -> None:
    """Raises ``MemberError`` unless the space is Discrete or a bounded Box of one dimension."""
    if not (isinstance(space, gym.spaces.Discrete) or _is_bounded_box(space)):
        raise MemberError(
            f"members.{group}.algorithm: {algorithm} cannot act in {space}: it needs Discrete actions or a bounded "
            f"Box of shape (U,); change the actions of group '{group}' in environment.params"
        )


def _is_bounded_box(space: gym.Space[Any]) -> bool:
    return isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.is_bounded()


class EnvironmentUnits:
    """What an environment gets for a policy's actions.

    Policies act in [-1, 1]^U; a Box is mapped linearly onto its bounds, after clipping. Discrete actions pass
    unchanged.
    """

    def __init__(self, space: gym.Space[Any], device: torch.device | str) -> None:
        """For actions in ``space`` that lie on ``device``."""
        self._clips = isinstance(space, gym.spaces.Box)
        self._bounds: tuple[Tensor, Tensor] | None = None
        if isinstance(space, gym.spaces.Box) and not (np.all(space.low == -1.0) and np.all(space.high == 1.0)):
            self._bounds = torch.as_tensor(space.low, device=device), torch.as_tensor(space.high, device=device)

    def __call__(self, action: Tensor) -> Tensor:
        """Of actions (..., U), or Discrete ones (...)."""
        if not self._clips:
            return action
        clipped = action.clamp(-1.0, 1.0)
        if self._bounds is None:
            return clipped
        low, high = self._bounds
        return low + (clipped + 1.0) * 0.5 * (high - low)


def to_environment(action: Tensor, space: gym.Space[Any]) -> Tensor:
    """``EnvironmentUnits``, once."""
    return EnvironmentUnits(space, action.device)(action)
