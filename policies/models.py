"""RLlib's model configuration from an algorithm's hyperparameters."""

from __future__ import annotations

from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from policies.algorithm import AlgorithmParams


def default_model(params: AlgorithmParams, *, free_log_std: bool = False) -> DefaultModelConfig:
    """A multilayer perceptron of ``params.hidden``; the heads on top of it are linear."""
    return DefaultModelConfig(
        fcnet_hiddens=list(params.hidden),
        fcnet_activation=params.activation,
        fcnet_kernel_initializer="orthogonal_",
        fcnet_kernel_initializer_kwargs={"gain": 2**0.5},
        fcnet_bias_initializer="zeros_",
        free_log_std=free_log_std,
        vf_share_layers=False,
    )
