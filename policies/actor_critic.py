"""What on-policy actor-critic algorithms share: networks, acting, and how each iteration's rows are used.

An algorithm adds its hyperparameters, its Learner and its ``schedule``.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from pydantic import Field
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from policies.algorithm import Algorithm, AlgorithmParams, Decision, Trainer
from policies.distributions import draw
from policies.encoders import ActorCriticCatalog
from policies.modules import ActorCriticModule
from policies.on_policy import OnPolicyTrainer, Schedule
from policies.spaces import require_discrete_or_box


class ActorCriticParams(AlgorithmParams):
    """Hyperparameters of an on-policy actor-critic algorithm."""

    lr: float = Field(3e-4, gt=0, le=1, description="learning rate of Adam")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="trace decay of the advantages")
    entropy_coeff: float = Field(0.0, ge=0, description="weight of the entropy bonus")
    value_coeff: float = Field(0.5, ge=0, description="weight of the value loss")
    minibatch_size: int = Field(512, ge=1, description="rows of one gradient step")
    initial_log_std: float = Field(
        -0.5, ge=-5, le=1, description="log deviation of continuous actions at the start, in half ranges of the action"
    )
    squash_mean: bool = Field(
        True, description="keep the mean of continuous actions within their bounds, by tanh; false: it may leave them"
    )


class ActorCritic(Algorithm):
    """Acts by a stochastic policy (categorical, or Gaussian with a state-independent deviation) beside a critic."""

    on_policy = True
    catalog = ActorCriticCatalog
    networks = ("mlp", "conv", "gru", "transformer", "recurrent", "attention")
    settled = Algorithm.settled | {"initial_log_std", "squash_mean"}

    params: ActorCriticParams

    @abc.abstractmethod
    def schedule(self) -> Schedule:
        """How often, and in what portions, each iteration's rows are used."""

    def check(self, group: str, action_space: gym.Space[Any]) -> None:
        """Raises ``MemberError`` unless the actions are Discrete or a bounded Box."""
        require_discrete_or_box(group, type(self).__name__, action_space)

    def module_class(self) -> type[TorchRLModule]:
        """Separate policy and value networks."""
        return ActorCriticModule

    def module_settings(self) -> dict[str, Any]:
        """How continuous actions scatter, besides what all networks take."""
        return super().module_settings() | self.params.model_dump(include={"initial_log_std", "squash_mean"})

    def trainer(self, groups: Sequence[str], seed: int) -> Trainer:
        """Generalised advantages of the latest rollouts, used as ``schedule`` says."""
        return OnPolicyTrainer(
            groups,
            network=self.params.network,
            gamma=self.params.gamma,
            trace_decay=self.params.gae_lambda,
            schedule=self.schedule(),
            seed=seed,
        )

    def explore(self, module: TorchRLModule, obs_BF: Tensor, env_steps: int) -> Decision:
        """Samples from the policy."""
        dist_inputs = module.forward_exploration({Columns.OBS: obs_BF})[Columns.ACTION_DIST_INPUTS]
        action, logp = draw(dist_inputs, discrete=isinstance(module.action_space, gym.spaces.Discrete))
        return Decision(action, logp, dist_inputs)

    def exploit(self, module: TorchRLModule, obs_BF: Tensor) -> Tensor:
        """The most likely action, or the mean of a continuous one."""
        dist_inputs = module.forward_inference({Columns.OBS: obs_BF})[Columns.ACTION_DIST_INPUTS]
        return module.get_inference_action_dist_cls().from_logits(dist_inputs).to_deterministic().sample()
