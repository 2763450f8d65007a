"""The Learner of SAC: RLlib's, with stacked critics, and with the temperature in its state.

P = 2 critics, B rows, F features, U action dimensions, D inputs of the action distribution, I inputs of a critic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from typing import Any

import gymnasium as gym
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.utils.numpy import MAX_LOG_NN_OUTPUT, MIN_LOG_NN_OUTPUT
from torch import Tensor, nn
from torch.nn import functional

from policies.encoders import layers_of
from policies.modules import SoftActorCriticModule
from policies.replay_learner import Noise, Optimised, ReplayLearner, ReplayNetworks, Rows
from policies.sac_loss import ContinuousOutputs, DiscreteOutputs
from policies.stack import StackedParameters, StackedTowers, require_linear

_TEMPERATURE = "log_temperature"


class SACNetworks(ReplayNetworks):
    """A policy, twin critics and their targets, and a temperature."""

    def __init__(self, module: SoftActorCriticModule, log_temperature: nn.Parameter, config: AlgorithmConfig) -> None:
        policy = _layers(module.pi_encoder, module.pi)
        critics = [_layers(module.qf_encoder, module.qf), _layers(module.qf_twin_encoder, module.qf_twin)]
        require_linear(module, itertools.chain(policy, *critics))
        self._module = module
        self._policy, self._critics = StackedTowers([policy]), StackedTowers(critics)
        self._temperature = StackedParameters([[log_temperature]])
        self.optimised = (
            Optimised(("policy",), config.actor_lr, self._policy.parameters),
            Optimised(("qf", "qf_twin"), config.critic_lr, self._critics.parameters),
            Optimised(("alpha",), config.alpha_lr, self._temperature),
        )

    @property
    def log_temperature(self) -> Tensor:
        """A scalar."""
        return self._temperature.weights[0].squeeze()

    def stack_targets(self) -> None:
        """Of both critics."""
        module = self._module
        self._targets = StackedTowers(
            [
                _layers(module.target_qf_encoder, module.target_qf),
                _layers(module.target_qf_twin_encoder, module.target_qf_twin),
            ]
        )

    def follow(self, tau: float) -> None:
        """Polyak averaging of both critics."""
        self._targets.parameters.matrix_PN.lerp_(self._critics.parameters.matrix_PN, tau)

    def forward(self, rows: Rows, noise: Noise) -> ContinuousOutputs | DiscreteOutputs:
        """By the kind of the actions."""
        if isinstance(self._module.action_space, gym.spaces.Discrete):
            return self._discrete(rows[Columns.OBS], rows[Columns.NEXT_OBS])
        return self._continuous(rows[Columns.OBS], rows[Columns.ACTIONS], rows[Columns.NEXT_OBS], noise)

    def _continuous(self, obs_BF: Tensor, action_BU: Tensor, next_obs_BF: Tensor, noise: Noise) -> ContinuousOutputs:
        drawn_BU, drawn_logp_B = self._draw(obs_BF, noise)
        value_PB1 = self._critics(obs_BF, action_BU)
        drawn_PB1 = self._critics(obs_BF, drawn_BU, frozen=True)
        with torch.no_grad():
            next_BU, next_logp_B = self._draw(next_obs_BF, noise)
            next_PB1 = self._targets(next_obs_BF, next_BU)
        lesser_B, next_B = drawn_PB1.squeeze(-1).amin(dim=0), next_PB1.squeeze(-1).amin(dim=0)
        return ContinuousOutputs(value_PB1.squeeze(-1), lesser_B, drawn_logp_B, next_B, next_logp_B)

    def _draw(self, obs_BF: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Actions from the policy, and their log-probabilities."""
        dist_inputs_BD = self._policy(obs_BF).squeeze(0)
        return squashed_gaussian(dist_inputs_BD, noise.normal(len(dist_inputs_BD), dist_inputs_BD.shape[-1] // 2))

    def _discrete(self, obs_BF: Tensor, next_obs_BF: Tensor) -> DiscreteOutputs:
        logp_BA = self._policy(obs_BF).squeeze(0).log_softmax(dim=-1)
        value_PBA = self._critics(obs_BF)
        with torch.no_grad():
            next_logp_BA = self._policy(next_obs_BF).squeeze(0).log_softmax(dim=-1)
            next_value_BA = self._targets(next_obs_BF).amin(dim=0)
        return DiscreteOutputs(value_PBA, logp_BA, next_value_BA, next_logp_BA)


def _layers(encoder: Any, head: Any) -> list[nn.Module]:
    return [*layers_of(encoder), *head.net.mlp]


def squashed_gaussian(dist_inputs_BD: Tensor, noise_BU: Tensor) -> tuple[Tensor, Tensor]:
    """Actions tanh(mean + deviation * noise), and their log-probabilities.

    The density of the tanh is corrected for in its stable form: log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)).

    Args:
        dist_inputs_BD: U means and U log deviations, which are held inside RLlib's bounds.
        noise_BU: Standard normal.

    Returns:
        (B, U) and (B,).
    """
    mean_BU, log_std_BU = dist_inputs_BD.chunk(2, dim=-1)
    log_std_BU = log_std_BU.clamp(MIN_LOG_NN_OUTPUT, MAX_LOG_NN_OUTPUT)
    raw_BU = mean_BU + log_std_BU.exp() * noise_BU
    density_BU = -0.5 * noise_BU.square() - log_std_BU - 0.5 * math.log(2 * math.pi)
    correction_BU = 2.0 * (math.log(2.0) - raw_BU - functional.softplus(-2.0 * raw_BU))
    return torch.tanh(raw_BU), (density_BU - correction_BU).sum(dim=-1)


class SACLearner(ReplayLearner, SACTorchLearner):
    """RLlib's SAC with the temperature in its state: RLlib saves the temperature's optimiser alone."""

    epsilon = 1e-7

    def networks_of(self, module_id: str, config: AlgorithmConfig) -> SACNetworks:
        """Policy, twin critics, temperature."""
        return SACNetworks(self.module[module_id].unwrapped(), self.curr_log_alpha[module_id], config)

    def loss(self, module_id: str, rows: Rows, out: ContinuousOutputs | DiscreteOutputs) -> Tensor:
        """Of critics, policy and temperature together: each has parameters of its own, so none disturbs another."""
        return out.loss(rows, self._networks[module_id].log_temperature, self.target_entropy[module_id])

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The Learner's state, and each module's log temperature."""
        state: dict[str, Any] = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(_TEMPERATURE, components, not_components):
            state[_TEMPERATURE] = {
                module_id: self.curr_log_alpha[module_id].detach().cpu().numpy()
                for module_id in self.module.keys()  # noqa: SIM118  (a MultiRLModule iterates otherwise)
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores in place: the temperature's optimiser holds on to the tensor."""
        super().set_state(state)
        for module_id, value in state.get(_TEMPERATURE, {}).items():
            log_temperature = self.curr_log_alpha[module_id]
            log_temperature.data.copy_(torch.as_tensor(value, device=log_temperature.device))
