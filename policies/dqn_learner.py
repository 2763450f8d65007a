"""The Learner of DQN: RLlib's loss on a network whose parameters are one vector.

B rows, F features, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import DEFAULT_OPTIMIZER
from torch import Tensor, nn
from torch.nn import functional

from policies.encoders import layers_of
from policies.modules import QModule
from policies.replay_learner import DISCOUNT, Noise, Optimised, ReplayLearner, ReplayNetworks, Rows
from policies.stack import StackedParameters, parameters_of, require_linear


@dataclass(frozen=True)
class QOutputs:
    """What DQN's networks say of a minibatch.

    Attributes:
        value_BA: Of all actions.
        next_value_BA: In the next observation; None where the target alone chooses.
        next_target_BA: The target's values there.
    """

    value_BA: Tensor
    next_value_BA: Tensor | None
    next_target_BA: Tensor

    def named(self) -> dict[str, Tensor]:
        """As RLlib's module names them."""
        named = {QF_PREDS: self.value_BA, QF_TARGET_NEXT_PREDS: self.next_target_BA}
        return named if self.next_value_BA is None else {**named, QF_NEXT_PREDS: self.next_value_BA}

    def loss(self, rows: Rows) -> Tensor:
        """Huber's loss of the temporal difference (Mnih et al. 2015; van Hasselt et al. 2016, equation 4)."""
        chooser_BA = self.next_target_BA if self.next_value_BA is None else self.next_value_BA
        next_B = self.next_target_BA.gather(-1, chooser_BA.argmax(dim=-1, keepdim=True)).squeeze(-1)
        taken_B = self.value_BA.gather(-1, rows[Columns.ACTIONS].long().unsqueeze(-1)).squeeze(-1)
        target_B = rows[Columns.REWARDS] + rows[DISCOUNT] * next_B
        return (rows["weights"] * functional.huber_loss(taken_B, target_B, reduction="none")).mean()


class _Dueling:
    """A Q network: layers that all share, and two heads where it is dueling (Wang et al. 2016, equation 9)."""

    def __init__(self, encoder: Any, advantages: Any, value: Any | None) -> None:
        self._shared, self._advantages = layers_of(encoder), list(advantages.net.mlp)
        self._value: Sequence[nn.Module] | None = None if value is None else list(value.net.mlp)
        self.parameters = StackedParameters([parameters_of(self.layers)])

    @property
    def layers(self) -> list[nn.Module]:
        """All of them."""
        return [*self._shared, *self._advantages, *(self._value or ())]

    def __call__(self, obs_BF: Tensor) -> Tensor:
        through = self.parameters.through
        hidden_1BH = through(self._shared, obs_BF.unsqueeze(0))
        value_BA = through(self._advantages, hidden_1BH).squeeze(0).float()
        if self._value is None:
            return value_BA
        return value_BA - value_BA.mean(dim=-1, keepdim=True) + through(self._value, hidden_1BH).squeeze(0).float()


class QNetworks(ReplayNetworks):
    """A Q network and its target."""

    def __init__(self, module: QModule, config: AlgorithmConfig) -> None:
        self._module = module
        self._online = _Dueling(module.encoder, module.af, module.vf if module.uses_dueling else None)
        require_linear(module, self._online.layers)
        self.optimised = (Optimised((DEFAULT_OPTIMIZER,), config.lr, self._online.parameters),)

    def stack_targets(self) -> None:
        """Its target."""
        encoder, advantages, *value = (target for _, target in self._module.get_target_network_pairs())
        self._target = _Dueling(encoder, advantages, value[0] if value else None)

    def follow(self, tau: float) -> None:
        """Polyak averaging."""
        self._target.parameters.matrix_PN.lerp_(self._online.parameters.matrix_PN, tau)

    def forward(self, rows: Rows, noise: Noise) -> QOutputs:
        """Values before and after; there is no chance in it."""
        value_BA, next_value_BA = self._online(rows[Columns.OBS]), None
        with torch.no_grad():
            if self._module.uses_double_q:
                next_value_BA = self._online(rows[Columns.NEXT_OBS])
            return QOutputs(value_BA, next_value_BA, self._target(rows[Columns.NEXT_OBS]))


class DQNLearner(ReplayLearner, DQNTorchLearner):
    """RLlib's DQN."""

    epsilon = 1e-8

    def networks_of(self, module_id: str, config: AlgorithmConfig) -> QNetworks:
        """Of this member."""
        return QNetworks(self.module[module_id].unwrapped(), config)

    def loss(self, module_id: str, rows: Rows, out: QOutputs) -> Tensor:
        """The same for all members."""
        return out.loss(rows)
