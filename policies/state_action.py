"""The critic of continuous SAC: one multilayer perceptron over state and action side by side, as in the paper.

RLlib's encodes the two apart and fuses them in layers of 256 units, whatever ``hidden`` says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from torch import Tensor, nn


class StateActionEncoder(nn.Module):
    """The hidden layers of Q(s, a) (Haarnoja et al. 2018, appendix D)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From observations (B, F) and actions (B, U) to what the last hidden layer makes of them, (B, H)."""
        return {ENCODER_OUT: self.net(torch.cat([batch[Columns.OBS], batch[Columns.ACTIONS]], dim=-1))}


class StateActionCatalog(SACCatalog):
    """RLlib's choice of networks for SAC, but for the encoder of continuous critics."""

    def _build_qf_encoder_continuous(self, framework: str) -> nn.Module:
        features = self._encoder_config.input_dims[0] + self.action_space.shape[0]
        config = dataclasses.replace(self._encoder_config, input_dims=(features,))
        return StateActionEncoder(config.build(framework=framework).net)
