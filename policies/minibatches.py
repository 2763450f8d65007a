"""Which rows each gradient step learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def minibatches(count: int, *, epochs: int, size: int, seed: int, device: torch.device | str) -> Sequence[Tensor]:
    """Passes over ``count`` rows in random order, cut into equal parts.

    There are as many as RLlib would make of ``size`` rows each. They differ in length by a row at most, and no row is
    used more often than another: RLlib fills its last one up.

    Args:
        count: Rows there are.
        epochs: Passes over them, each in an order of its own.
        size: Most rows of a part.
        seed: Of the order.
        device: Where the parts are drawn, and lie.

    Returns:
        Row indices, (B,) each.
    """
    generator = torch.Generator(device).manual_seed(seed)
    order = torch.cat([torch.randperm(count, generator=generator, device=device) for _ in range(epochs)])
    return order.tensor_split(math.ceil(len(order) / size))
