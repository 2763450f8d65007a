"""The networks of ``policies.networks`` as RLlib's encoders: in front of RLlib's heads, wherever it has an encoder.

A catalog is where RLlib's modules ask for encoders: of policies, of critics and of their targets alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import TypeAdapter
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT, Encoder
from ray.rllib.core.models.catalog import Catalog
from ray.rllib.core.models.configs import MLPEncoderConfig, ModelConfig
from ray.rllib.core.models.torch.base import TorchModel
from torch import Tensor, nn

from policies.networks import Mlp, Network, Summarising
from policies.state_action import StateActionCatalog

NETWORK = "network"
_SETTINGS: TypeAdapter[Mlp | Summarising] = TypeAdapter(Network)


@dataclass
class NetworkEncoderConfig(ModelConfig):
    """Of an encoder: a core, and RLlib's perceptron that takes what the core makes.

    Attributes:
        network: Settings of the core.
        features: F of an observation.
        hidden: Of the perceptron; its inputs are H + F, and U more for those that take actions too.
    """

    network: Summarising | None = None
    features: int = 0
    hidden: MLPEncoderConfig | None = None

    @property
    def output_dims(self) -> tuple[int, ...]:
        """Those of the perceptron."""
        assert self.hidden is not None
        return tuple(self.hidden.output_dims)

    def build(self, framework: str) -> NetworkEncoder:
        """An encoder with weights of its own."""
        return NetworkEncoder(self)


class NetworkEncoder(TorchModel, Encoder):
    """From what was seen (see ``Core.summary``) to what RLlib's heads take, (B, hidden).

    With actions (B, U) in the batch, and room for them, it encodes both: Q(s, a).
    """

    def __init__(self, config: NetworkEncoderConfig) -> None:
        TorchModel.__init__(self, config)
        Encoder.__init__(self, config)
        assert config.network is not None
        assert config.hidden is not None
        self.core = config.network.build(config.features)
        self.hidden = config.hidden.build(framework="torch")
        self._takes_actions = config.hidden.input_dims[0] > config.network.units + config.features

    def _forward(self, inputs: Mapping[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        seen = self.core(inputs[Columns.OBS])
        if self._takes_actions:
            seen = torch.cat([seen, inputs[Columns.ACTIONS]], dim=-1)
        return {ENCODER_OUT: self.hidden({Columns.OBS: seen})[ENCODER_OUT]}


def settings_of(model_config: Mapping[str, Any]) -> Mlp | Summarising:
    """The network's settings in a module's configuration; a perceptron where it names none."""
    return _SETTINGS.validate_python(model_config.get(NETWORK, Mlp()))


def perceptron_of(encoder: Any) -> nn.Sequential:
    """The perceptron in an encoder: all of it, or what comes after a core."""
    perceptron: nn.Sequential = (encoder.hidden if isinstance(encoder, NetworkEncoder) else encoder).net.mlp
    return perceptron


def layers_of(encoder: Any) -> list[nn.Module]:
    """An encoder's layers: a core if it has one, then those of a perceptron."""
    return [*([encoder.core] if isinstance(encoder, NetworkEncoder) else []), *perceptron_of(encoder)]


class NetworkCatalog(Catalog):
    """Gives RLlib's modules the encoder that their configuration names under ``network``."""

    @classmethod
    def _get_encoder_config(
        cls, observation_space: gym.Space[Any], model_config_dict: dict[str, Any], action_space: Any = None
    ) -> ModelConfig:
        network = settings_of(model_config_dict)
        if isinstance(network, Mlp):
            return super()._get_encoder_config(observation_space, model_config_dict, action_space)
        assert observation_space.shape is not None
        (features,) = observation_space.shape
        entering = gym.spaces.Box(-np.inf, np.inf, (network.units + features,), np.float32)
        hidden = super()._get_encoder_config(entering, model_config_dict)
        return NetworkEncoderConfig((features,), network=network, features=features, hidden=hidden)


class ActorCriticCatalog(NetworkCatalog, PPOCatalog):
    """Encoders of a policy and of its critic, one each."""


class QCatalog(NetworkCatalog, DQNCatalog):
    """The encoder of a Q network."""


class SoftActorCriticCatalog(NetworkCatalog, StateActionCatalog):
    """Encoders of a policy and of critics, which take continuous actions beside the summary."""

    def _build_qf_encoder_continuous(self, framework: str) -> Any:
        config = self._encoder_config
        if not isinstance(config, NetworkEncoderConfig):
            return super()._build_qf_encoder_continuous(framework)
        assert config.hidden is not None
        entering = config.hidden.input_dims[0] + self.action_space.shape[0]
        hidden = dataclasses.replace(config.hidden, input_dims=(entering,))
        return dataclasses.replace(config, hidden=hidden).build(framework)
