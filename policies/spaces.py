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


def to_environment(action: Tensor, space: gym.Space[Any]) -> Tensor:
    """What the environment gets for a policy's actions.

    Policies act in [-1, 1]^U; a Box is mapped linearly onto its bounds, after clipping. Discrete actions pass
    unchanged.
    """
    if not isinstance(space, gym.spaces.Box):
        return action
    clipped = action.clamp(-1.0, 1.0)
    if np.all(space.low == -1.0) and np.all(space.high == 1.0):
        return clipped
    low, high = (torch.as_tensor(bound, device=action.device) for bound in (space.low, space.high))
    return low + (clipped + 1.0) * 0.5 * (high - low)
