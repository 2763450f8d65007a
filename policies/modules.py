"""The networks: RLlib's default modules behind an observation normaliser that is saved with the policy."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor, nn

from policies.statistics import RunningStatistics

_POLICY_HEAD_SCALE = 0.01
_CLIP = 10.0


class ObservationNormalizer(nn.Module):
    """Standardises features by a shift and a scale, and clips them to +-10.

    Both are buffers: they travel with the weights to the samplers, are saved with the module, and only ``use``
        changes them,
    so they are frozen in evaluation.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, obs: Tensor) -> Tensor:
        """Normalises observations of shape (..., F)."""
        return ((obs - self.shift) * self.scale).clamp(-_CLIP, _CLIP)

    def use(self, statistics: RunningStatistics) -> None:
        """Normalises by these statistics from now on."""
        self.shift.copy_(statistics.mean_F)
        self.scale.copy_(statistics.scale_F)


class NormalizedModule(TorchRLModule):
    """Normalises what enters a module from outside.

    Mixed in front of one of RLlib's modules, at its public entry points: what these call among themselves lies below
    this
    class and sees observations that are normalised already.
    """

    def setup(self) -> None:
        """RLlib builds the networks here; the normaliser comes with them."""
        super().setup()
        self.normalizer: ObservationNormalizer | None = None
        if self.model_config["normalize_observations"]:
            self.normalizer = ObservationNormalizer(self.observation_space.shape[0])

    def normalized(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with its observations normalised; the given one is left as it is."""
        if self.normalizer is None:
            return batch
        entering = [key for key in (Columns.OBS, Columns.NEXT_OBS) if key in batch]
        return {**batch, **{key: self.normalizer(batch[key]) for key in entering}}

    def forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """RLlib's entry point for acting without exploration."""
        return super().forward_inference(self.normalized(batch), **kwargs)

    def forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """RLlib's entry point for acting with exploration."""
        return super().forward_exploration(self.normalized(batch), **kwargs)

    def forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """RLlib's entry point for computing a loss."""
        return super().forward_train(self.normalized(batch), **kwargs)


class ActorCriticModule(NormalizedModule, DefaultPPOTorchRLModule):
    """Separate policy and value networks; the policy starts nearly constant (Andrychowicz et al. 2021, section 3.2)."""

    def setup(self) -> None:
        """Builds the networks and makes the policy's last layer small."""
        super().setup()
        layers = [layer for layer in self.pi.modules() if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            layers[-1].weight.mul_(_POLICY_HEAD_SCALE)
            if hasattr(self.pi, "log_std"):
                self.pi.log_std.fill_(self.model_config["initial_log_std"])

    def compute_values(self, batch: dict[str, Any], embeddings: Any | None = None) -> Tensor:
        """The critic's values, (B,); from the critic's embeddings where a loss has them already."""
        return super().compute_values(self.normalized(batch) if embeddings is None else batch, embeddings)


class SoftActorCriticModule(NormalizedModule, DefaultSACTorchRLModule):
    """Policy, twin Q networks and their targets."""


class QModule(NormalizedModule, DefaultDQNTorchRLModule):
    """Dueling Q network and its target, epsilon-greedy when it explores."""
