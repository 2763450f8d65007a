"""Proximal policy optimisation (Schulman et al. 2017), with RLlib's loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import torch
from pydantic import Field
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from policies.actor_critic import ActorCritic, ActorCriticParams
from policies.actor_critic_learner import ActorCriticLearner
from policies.models import default_model
from policies.on_policy import Schedule


class PPOParams(ActorCriticParams):
    """Hyperparameters of PPO.

    Many passes over small minibatches learn from few samples (``bench samples``); fewer and larger ones take less time.
    The bonus keeps so many passes from settling too soon on one of a few actions.
    """

    lr: float = Field(1e-3, gt=0, le=1, description="learning rate of Adam")
    minibatch_size: int = Field(128, ge=1, description="rows of one gradient step")
    clip: float = Field(0.2, gt=0, lt=1, description="how far the probability ratio may leave 1")
    value_clip: float | None = Field(
        None, gt=0, description="largest squared value error that still has a gradient; null for no limit"
    )
    epochs: int = Field(10, ge=1, description="passes over each iteration's rows")
    entropy_coeff: float = Field(0.02, ge=0, description="weight of the entropy bonus")


class PPOLearner(ActorCriticLearner, PPOTorchLearner):
    """RLlib's PPO, for stacked members."""

    columns = (Columns.ACTION_LOGP, Postprocessing.ADVANTAGES, Postprocessing.VALUE_TARGETS)

    def row_loss(self, logp_PB: Tensor, entropy_PB: Tensor, value_PB: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """Schulman et al. 2017, equations 7 and 9."""
        config, advantage_PB = self.config, rows[Postprocessing.ADVANTAGES]
        ratio_PB = torch.exp(logp_PB - rows[Columns.ACTION_LOGP])
        clipped_PB = ratio_PB.clamp(1 - config.clip_param, 1 + config.clip_param)
        gain_PB = torch.minimum(advantage_PB * ratio_PB, advantage_PB * clipped_PB)
        error_PB = (value_PB - rows[Postprocessing.VALUE_TARGETS]).square().clamp(max=config.vf_clip_param)
        return config.vf_loss_coeff * error_PB - gain_PB - config.entropy_coeff * entropy_PB


class PPO(ActorCritic):
    """PPO for Discrete actions (categorical) and Box actions (Gaussian with a state-independent deviation)."""

    Params = PPOParams
    shares_learner = True
    metrics: ClassVar[Mapping[str, str]] = {
        "policy_loss": "policy_loss",
        "vf_loss": "value_loss",
        "vf_explained_var": "value_explained",
        "entropy": "entropy",
        "total_loss": "loss",
    }

    params: PPOParams

    def learner_config(self, action_space: gym.Space[Any]) -> AlgorithmConfig:
        """RLlib's PPO, without its KL penalty: the clipped objective alone, as in the paper's best variant."""
        params = self.params
        return (
            PPOConfig()
            .learners(learner_class=PPOLearner)
            .training(
                lr=params.annealed(params.lr),
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

    def schedule(self) -> Schedule:
        """Minibatch epochs over each iteration's rows."""
        return Schedule(self.params.epochs, self.params.minibatch_size)
