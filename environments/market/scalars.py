"""Numbers as tensors, made once: an operation that is given a Python number makes a tensor of it each time."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def scalar(value: float, device: torch.device) -> Tensor:
    """A float64 of no dimensions; never written to."""
    return torch.tensor(value, dtype=torch.float64, device=device)
