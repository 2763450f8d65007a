"""What happens to a gradient between the backward pass and the optimiser: averaged over Learners, clipped, or refused.

P members or networks, N parameters of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def total(gradients: Sequence[Tensor]) -> Tensor:
    """The sum of gradients of one shape."""
    return gradients[0] if len(gradients) == 1 else torch.stack(list(gradients)).sum(dim=0)


def average(gradients: Sequence[Tensor]) -> None:
    """Replaces gradients by their means over all Learners, in one message."""
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(joined)
    joined /= torch.distributed.get_world_size()
    for gradient, mean in zip(gradients, torch.split(joined, [each.numel() for each in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def clip_each(gradient_PN: Tensor, largest: float | None) -> Tensor:
    """Scales each row, in place, to a norm of at most ``largest``, as RLlib does.

    Returns:
        The norms before, (P,). No step is to be made along a row whose norm is not finite.
    """
    norm_P = torch.linalg.vector_norm(gradient_PN, dim=1)
    if largest is not None:
        gradient_PN *= (largest / (norm_P + 1e-6).clamp(min=largest)).unsqueeze(1)
    return norm_P
