"""Advantage actor-critic (Mnih et al. 2016), with a Learner of our own: RLlib has none on the new API stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import torch
from pydantic import Field
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from policies.actor_critic import ActorCritic, ActorCriticParams
from policies.actor_critic_learner import ActorCriticLearner
from policies.models import default_model
from policies.on_policy import Schedule


class A2CParams(ActorCriticParams):
    """Hyperparameters of A2C; every row is used once.

    Small minibatches learn from few samples (``bench samples``); larger ones take less time.
    """

    lr: float = Field(7e-4, gt=0, le=1, description="learning rate of Adam")
    minibatch_size: int = Field(64, ge=1, description="rows of one gradient step")
    initial_log_std: float = Field(
        -1.0, ge=-5, le=1, description="log deviation of continuous actions at the start, in half ranges of the action"
    )


class A2CTorchLearner(ActorCriticLearner):
    """Policy gradient with a learned baseline (Mnih et al. 2016, section 4): -A log pi(a|s) + c_v (V - R)^2 - c_e H.

    Rows weigh min(1, pi(a|s) / mu(a|s)) in the first term, mu being the policy that sampled them, as in V-trace
    (Espeholt et al. 2018, section 4.2): unweighted, it is the gradient of a return only as long as pi is mu: no longer
    from the second minibatch on. A bad action would push the policy away however far it has gone.
    """

    columns = (Columns.ACTION_LOGP, Postprocessing.ADVANTAGES, Postprocessing.VALUE_TARGETS)

    def row_loss(self, logp_PB: Tensor, entropy_PB: Tensor, value_PB: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """The formula, row by row."""
        config = self.config
        gain_PB = self._weighted(rows[Postprocessing.ADVANTAGES], logp_PB, rows) * logp_PB
        error_PB = (value_PB - rows[Postprocessing.VALUE_TARGETS]).square()
        return config.vf_loss_coeff * error_PB - gain_PB - config.entropy_coeff * entropy_PB

    @staticmethod
    def _weighted(advantage: Tensor, logp: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        ratio = torch.exp(logp.detach() - rows[Columns.ACTION_LOGP])
        return advantage * ratio.clamp(max=1.0)

    def compute_loss_for_module(
        self, *, module_id: str, config: PPOConfig, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """The loss of one minibatch; logs its parts under the module's id."""
        module = self.module[module_id].unwrapped()
        policy = module.get_train_action_dist_cls().from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        value_B = module.compute_values(batch, embeddings=fwd_out[Columns.EMBEDDINGS])

        logp_B = policy.logp(batch[Columns.ACTIONS])
        policy_loss = -(self._weighted(batch[Postprocessing.ADVANTAGES], logp_B, batch) * logp_B).mean()
        value_loss = (value_B - batch[Postprocessing.VALUE_TARGETS]).square().mean()
        entropy = policy.entropy().mean()
        self.metrics.log_dict(
            {POLICY_LOSS_KEY: policy_loss, VF_LOSS_KEY: value_loss, ENTROPY_KEY: entropy}, key=module_id, window=1
        )
        return policy_loss + config.vf_loss_coeff * value_loss - config.entropy_coeff * entropy

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        """The module must have a critic."""
        return [ValueFunctionAPI]


class A2C(ActorCritic):
    """A2C for Discrete and Box actions: one pass over each iteration's rows, each row used once."""

    Params = A2CParams
    shares_learner = True
    metrics: ClassVar[Mapping[str, str]] = {
        POLICY_LOSS_KEY: "policy_loss",
        VF_LOSS_KEY: "value_loss",
        ENTROPY_KEY: "entropy",
        "total_loss": "loss",
    }

    params: A2CParams

    def learner_config(self, action_space: gym.Space[Any]) -> AlgorithmConfig:
        """RLlib's PPO configuration carries the coefficients; the loss is A2C's."""
        params = self.params
        return (
            PPOConfig()
            .learners(learner_class=A2CTorchLearner)
            .training(
                lr=params.annealed(params.lr),
                gamma=params.gamma,
                lambda_=params.gae_lambda,
                entropy_coeff=params.entropy_coeff,
                vf_loss_coeff=params.value_coeff,
                use_kl_loss=False,
                grad_clip=params.grad_clip,
            )
            .rl_module(model_config=default_model(params, free_log_std=isinstance(action_space, gym.spaces.Box)))
        )

    def schedule(self) -> Schedule:
        """One pass over each iteration's rows."""
        return Schedule(epochs=1, minibatch_size=self.params.minibatch_size)
