"""Proximal policy optimisation (Schulman et al. 2017), with RLlib's Learner and loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
from pydantic import Field
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from policies.algorithm import Algorithm, AlgorithmParams, Decision, Trainer
from policies.models import default_model
from policies.modules import ActorCriticModule
from policies.on_policy import OnPolicyTrainer, Schedule, exploit, explore
from policies.spaces import require_discrete_or_box


class PPOParams(AlgorithmParams):
    """Hyperparameters of PPO."""

    lr: float = Field(3e-4, gt=0, le=1, description="learning rate of Adam")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="trace decay of the advantages")
    clip: float = Field(0.2, gt=0, lt=1, description="how far the probability ratio may leave 1")
    entropy_coeff: float = Field(0.0, ge=0, description="weight of the entropy bonus")
    value_coeff: float = Field(0.5, ge=0, description="weight of the value loss")
    value_clip: float | None = Field(
        None, gt=0, description="largest squared value error that still has a gradient; null for no limit"
    )
    epochs: int = Field(4, ge=1, description="passes over each iteration's rows")
    minibatch_size: int = Field(512, ge=1, description="rows of one gradient step")


class PPO(Algorithm):
    """PPO for Discrete actions (categorical) and Box actions (Gaussian with a state-independent deviation)."""

    Params = PPOParams
    on_policy = True
    metrics: ClassVar[Mapping[str, str]] = {
        "policy_loss": "policy_loss",
        "vf_loss": "value_loss",
        "vf_explained_var": "value_explained",
        "entropy": "entropy",
        "total_loss": "loss",
    }

    def __init__(self, params: PPOParams | None = None) -> None:
        self.params: PPOParams = params or PPOParams()

    def check(self, group: str, action_space: gym.Space[Any]) -> None:
        """Raises ``MemberError`` unless the actions are Discrete or a bounded Box."""
        require_discrete_or_box(group, "PPO", action_space)

    def learner_config(self, action_space: gym.Space[Any]) -> AlgorithmConfig:
        """RLlib's PPO, without its KL penalty: the clipped objective alone, as in the paper's best variant."""
        params = self.params
        return (
            PPOConfig()
            .training(
                lr=params.lr,
                gamma=params.gamma,
                lambda_=params.gae_lambda,
                clip_param=params.clip,
                entropy_coeff=params.entropy_coeff,
                vf_loss_coeff=params.value_coeff,
                # RLlib's default of 10 starves the critic of its gradient wherever returns exceed a few units.
                vf_clip_param=math.inf if params.value_clip is None else params.value_clip,
                use_kl_loss=False,
                grad_clip=params.grad_clip,
            )
            .rl_module(model_config=default_model(params, free_log_std=isinstance(action_space, gym.spaces.Box)))
        )

    def module_class(self) -> type[TorchRLModule]:
        """Separate policy and value networks."""
        return ActorCriticModule

    def trainer(self, group: str, seed: int) -> Trainer:
        """Minibatch epochs over each iteration's rows."""
        params = self.params
        return OnPolicyTrainer(
            group,
            gamma=params.gamma,
            trace_decay=params.gae_lambda,
            schedule=Schedule(params.epochs, params.minibatch_size),
            seed=seed,
        )

    def explore(self, module: TorchRLModule, obs_BF: Tensor, env_steps: int) -> Decision:
        """Samples from the policy."""
        return explore(module, obs_BF)

    def exploit(self, module: TorchRLModule, obs_BF: Tensor) -> Tensor:
        """The mode of the policy."""
        return exploit(module, obs_BF)
