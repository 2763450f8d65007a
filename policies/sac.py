"""Soft actor-critic (Haarnoja et al. 2018) with twin Q networks and automatic temperature: RLlib's Learner and loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import torch
from pydantic import Field, PositiveInt
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from policies.algorithm import Activation, Algorithm, Decision, Trainer
from policies.encoders import SoftActorCriticCatalog
from policies.models import default_model
from policies.modules import SoftActorCriticModule
from policies.off_policy import SETTLED, ReplayParams, ReplayTrainer
from policies.sac_learner import SACLearner
from policies.spaces import require_box, require_discrete_or_box


class SACParams(ReplayParams):
    """Hyperparameters of SAC."""

    hidden: tuple[PositiveInt, ...] = Field((128, 128), min_length=1, description="units of each hidden layer")
    activation: Activation = Field("relu", description="after each hidden layer")
    actor_lr: float = Field(3e-4, gt=0, le=1, description="learning rate of the policy")
    critic_lr: float = Field(3e-4, gt=0, le=1, description="learning rate of the Q networks")
    temperature_lr: float = Field(3e-4, gt=0, le=1, description="learning rate of the temperature")
    initial_temperature: float = Field(0.2, gt=0, description="weight of the entropy at the start")
    target_entropy: float | None = Field(
        None,
        description="entropy the temperature aims at; null: -U for continuous actions, log(n)/2 for n discrete ones",
    )
    discrete: bool = Field(False, description="allow Discrete actions (Christodoulou 2019)")


class SAC(Algorithm):
    """SAC for continuous actions (squashed Gaussian); for discrete ones if ``discrete`` is set."""

    Params = SACParams
    on_policy = False
    catalog = SoftActorCriticCatalog
    networks = ("mlp", "conv", "gru", "transformer", "attention")
    settled = Algorithm.settled | SETTLED | {"discrete", "initial_temperature"}
    metrics: ClassVar[Mapping[str, str]] = {
        "policy_loss": "policy_loss",
        "qf_loss": "q_loss",
        "qf_mean": "q_mean",
        "qf_min": "q_min",
        "qf_max": "q_max",
        "alpha_value": "temperature",
        "total_loss": "loss",
    }

    params: SACParams

    def check(self, group: str, action_space: gym.Space[Any]) -> None:
        """Raises ``MemberError`` for discrete actions unless ``discrete`` is set, and for an unbounded Box."""
        if self.params.discrete:
            require_discrete_or_box(group, "SAC", action_space)
        else:
            remedy = f"choose PPO, A2C or DQN for group '{group}', or set members.{group}.params.discrete: true"
            require_box(group, "SAC", action_space, remedy)

    def learner_config(self, action_space: gym.Space[Any]) -> AlgorithmConfig:
        """RLlib's SAC; our Learner moves the targets after every step, RLlib's rule for them never does."""
        params = self.params
        return (
            SACConfig()
            .learners(learner_class=SACLearner)
            .training(
                actor_lr=params.annealed(params.actor_lr),
                critic_lr=params.annealed(params.critic_lr),
                alpha_lr=params.annealed(params.temperature_lr),
                initial_alpha=params.initial_temperature,
                target_entropy=self._target_entropy(action_space),
                gamma=params.gamma,
                tau=params.tau,
                target_network_update_freq=math.inf,
                twin_q=True,
                n_step=params.n_step,
                grad_clip=params.grad_clip,
            )
            .rl_module(model_config=default_model(params))
        )

    def _target_entropy(self, action_space: gym.Space[Any]) -> float:
        if self.params.target_entropy is not None:
            return self.params.target_entropy
        if isinstance(action_space, gym.spaces.Discrete):
            return 0.5 * math.log(action_space.n)
        return -float(math.prod(action_space.shape or ()))

    def module_class(self) -> type[TorchRLModule]:
        """Policy, twin Q networks and targets."""
        return SoftActorCriticModule

    def trainer(self, groups: Sequence[str], seed: int) -> Trainer:
        """Updates on replayed transitions."""
        return ReplayTrainer(groups, self.params, seed=seed)

    def explore(self, module: TorchRLModule, obs_BF: Tensor, env_steps: int) -> Decision:
        """Samples from the policy."""
        dist_inputs = module.forward_exploration({Columns.OBS: obs_BF})[Columns.ACTION_DIST_INPUTS]
        return Decision(module.get_exploration_action_dist_cls().from_logits(dist_inputs).sample())

    def exploit(self, module: TorchRLModule, obs_BF: Tensor) -> Tensor:
        """The squashed mean, or the most likely action.

        RLlib's squashed Gaussian is not squashed in its deterministic form, so the mean is squashed here.
        """
        dist_inputs = module.forward_inference({Columns.OBS: obs_BF})[Columns.ACTION_DIST_INPUTS]
        if isinstance(module.action_space, gym.spaces.Discrete):
            return dist_inputs.argmax(dim=-1)
        mean_BU, _ = dist_inputs.chunk(2, dim=-1)
        return torch.tanh(mean_BU)
