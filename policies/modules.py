"""The networks: RLlib's default modules behind an observation normaliser that is saved with the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor, nn

from policies.encoders import NetworkEncoder, layers_of, perceptron_of
from policies.networks import RecurrentCore
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
        """Normalises the first F columns of observations (..., F) or of what else networks take; others stay."""
        features = len(self.shift)
        normal = ((obs[..., :features] - self.shift) * self.scale).clamp(-_CLIP, _CLIP)
        return normal if obs.shape[-1] == features else torch.cat([normal, obs[..., features:]], dim=-1)

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

    def train(self, mode: bool = True) -> Self:
        """Keeps the mode to itself: RLlib flips it with every call, layer by layer, and no layer here depends on it."""
        self.training = mode
        return self

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


def _tanh_in_place(hidden: Tensor) -> Tensor:
    return hidden.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)


class _TanhInPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor) -> Tensor:
        ctx.mark_dirty(_tanh_in_place(hidden))
        ctx.save_for_backward(hidden)
        return hidden

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradient, out)


_tanh_with_gradient: Callable[[Tensor], Tensor] = _TanhInPlace.apply


class Tanh(nn.Module):
    """tanh(x) = 2 sigmoid(2x) - 1, written over x: a quarter of the time that torch takes on a CPU, and 2e-7 off."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Element by element."""
        if hidden.is_cuda:
            return torch.tanh(hidden)
        return _tanh_with_gradient(hidden) if hidden.requires_grad else _tanh_in_place(hidden)


def start_in_the_middle(policy: nn.Module) -> None:
    """Makes a policy's last layer small, and its bias zero: RLlib leaves both as torch draws them."""
    layers = [layer for layer in policy.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        layers[-1].weight.mul_(_POLICY_HEAD_SCALE)
        layers[-1].bias.zero_()


class ActorCriticModule(NormalizedModule, DefaultPPOTorchRLModule):
    """Separate policy and value networks.

    The policy starts nearly constant, in the middle of what it can do (Andrychowicz et al. 2021, section 3.2). The mean
    of continuous actions can be kept within their bounds: beyond them all actions are clipped to the same, so that
    nothing tells the policy to come back (Fujita and Maeda 2018, "Clipped action policy gradient", section 1).
    """

    def setup(self) -> None:
        """Builds the networks and sets where the policy starts."""
        super().setup()
        for place, encoder in enumerate((self.encoder.actor_encoder, self.encoder.critic_encoder)):
            if isinstance(encoder, NetworkEncoder) and isinstance(encoder.core, RecurrentCore):
                encoder.core.place = place
            perceptron = perceptron_of(encoder)
            for index, layer in enumerate(perceptron):
                if isinstance(layer, nn.Tanh):
                    perceptron[index] = Tanh()
        start_in_the_middle(self.pi)
        if self.log_std is not None:
            nn.init.constant_(self.log_std, self.model_config["initial_log_std"])
            if self.model_config["squash_mean"]:
                self.pi.net.mlp.append(Tanh())

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Acting takes the policy's layers alone; RLlib's would go through the critic's as well."""
        embeddings = self.encoder.actor_encoder(batch)[ENCODER_OUT]
        return {Columns.ACTION_DIST_INPUTS: self.pi(embeddings)}

    def compute_values(self, batch: dict[str, Any], embeddings: Any | None = None) -> Tensor:
        """The critic's values, (B,); from the critic's embeddings where a loss has them already."""
        return super().compute_values(self.normalized(batch) if embeddings is None else batch, embeddings)

    def towers(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The layers from normalised observations to the policy's outputs, and to the value."""
        actor, critic = layers_of(self.encoder.actor_encoder), layers_of(self.encoder.critic_encoder)
        return [*actor, *self.pi.net.mlp], [*critic, *self.vf.net.mlp]

    def states_after(self, rows: Tensor) -> Tensor:
        """The states (B, 2 H) of a recurrent policy and critic after the decisions on ``rows`` (B, 1, F + 2 H)."""
        seen = self.normalized({Columns.OBS: rows})[Columns.OBS]
        cores = (self.encoder.actor_encoder.core, self.encoder.critic_encoder.core)
        return torch.cat([core.after(seen) for core in cores], dim=-1)

    @property
    def log_std(self) -> nn.Parameter | None:
        """Log deviations of continuous actions, (U,)."""
        return getattr(self.pi, "log_std", None)

    def clipped_log_std(self, log_std: Tensor) -> Tensor:
        """Log deviations inside the bounds that RLlib's head sets them."""
        bound = self.pi.log_std_clip_param_const
        return log_std.clamp(-bound, bound) if self.pi.clip_log_std else log_std


class SoftActorCriticModule(NormalizedModule, DefaultSACTorchRLModule):
    """Policy, twin Q networks and their targets."""


class QModule(NormalizedModule, DefaultDQNTorchRLModule):
    """Dueling Q network and its target, epsilon-greedy when it explores."""
