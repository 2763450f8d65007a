"""The columns of a fragment on the environment's device, and their way to the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from policies.rollout import Rollout


@dataclass(frozen=True)
class Columns:
    """One group's; as in ``Rollout``, field by field, but tensors."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    count: Tensor
    final_index: Tensor
    final_obs: Tensor
    steps: int
    logp: Tensor | None = None
    dist_inputs: Tensor | None = None
    value: Tensor | None = None
    final_value: Tensor | None = None
    context: Tensor | None = None

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that are there, by name."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                yield field.name, value


def to_host(fragment: Mapping[str, Columns], runner: int = 0) -> dict[str, Rollout]:
    """Makes rollouts of NumPy arrays of them: without a copy on a CPU, and from another device in one transfer.

    The host waits once, at the end.
    """
    host = {name: {key: _on_host(tensor) for key, tensor in own.tensors()} for name, own in fragment.items()}
    if any(own.obs.is_cuda for own in fragment.values()):
        torch.cuda.current_stream().synchronize()
    return {
        name: Rollout(steps=own.steps, runner=runner, **{key: tensor.numpy() for key, tensor in host[name].items()})
        for name, own in fragment.items()
    }


def _on_host(tensor: Tensor) -> Tensor:
    """Its transfer is under way when this returns: into pinned memory, which torch keeps for the next fragment."""
    if not tensor.is_cuda:
        return tensor
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return pinned.copy_(tensor, non_blocking=True)
