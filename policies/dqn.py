"""Deep Q-learning (Mnih et al. 2015) with RLlib's Learner and loss.

Double (van Hasselt et al. 2016), dueling (Wang et al. 2016) and n-step, with a target network that follows slowly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
from pydantic import Field
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from policies.algorithm import Activation, Algorithm, Decision, Trainer
from policies.dqn_learner import DQNLearner
from policies.encoders import QCatalog
from policies.models import default_model
from policies.modules import QModule
from policies.off_policy import SETTLED, ReplayParams, ReplayTrainer
from policies.spaces import require_discrete


class DQNParams(ReplayParams):
    """Hyperparameters of DQN."""

    activation: Activation = Field("relu", description="after each hidden layer")
    lr: float = Field(5e-4, gt=0, le=1, description="learning rate of Adam")
    tau: float = Field(0.01, gt=0, le=1, description="share of the way the target moves in each update")
    double: bool = Field(True, description="choose the next action with the online network")
    dueling: bool = Field(True, description="separate streams for value and advantages")
    epsilon_start: float = Field(1.0, ge=0, le=1, description="share of random actions at the start")
    epsilon_end: float = Field(0.05, ge=0, le=1, description="share of random actions after epsilon_steps")
    epsilon_steps: int = Field(50_000, ge=1, description="environment steps until epsilon_end, linearly")


class DQN(Algorithm):
    """DQN for Discrete actions, epsilon-greedy."""

    Params = DQNParams
    on_policy = False
    catalog = QCatalog
    networks = ("mlp", "conv", "gru", "transformer", "attention")
    settled = Algorithm.settled | SETTLED | {"dueling"}
    metrics: ClassVar[Mapping[str, str]] = {
        "qf_loss": "q_loss",
        "qf_mean": "q_mean",
        "qf_min": "q_min",
        "qf_max": "q_max",
        "total_loss": "loss",
    }

    params: DQNParams

    def check(self, group: str, action_space: gym.Space[Any]) -> None:
        """Raises ``MemberError`` unless the actions are Discrete."""
        require_discrete(group, "DQN", action_space)

    def learner_config(self, action_space: gym.Space[Any]) -> AlgorithmConfig:
        """RLlib's DQN; our Learner moves the target after every step, RLlib's rule for it never does."""
        params = self.params
        return (
            DQNConfig()
            .learners(learner_class=DQNLearner)
            .training(
                lr=params.annealed(params.lr),
                gamma=params.gamma,
                tau=params.tau,
                target_network_update_freq=math.inf,
                double_q=params.double,
                dueling=params.dueling,
                n_step=params.n_step,
                num_atoms=1,
                epsilon=self._schedule(),
                grad_clip=params.grad_clip,
                td_error_loss_fn="huber",
            )
            .rl_module(model_config=default_model(params))
        )

    def _schedule(self) -> list[list[float]]:
        params = self.params
        return [[0, params.epsilon_start], [params.epsilon_steps, params.epsilon_end]]

    def module_class(self) -> type[TorchRLModule]:
        """Q network and target."""
        return QModule

    def trainer(self, groups: Sequence[str], seed: int) -> Trainer:
        """Updates on replayed transitions."""
        return ReplayTrainer(groups, self.params, seed=seed)

    def explore(self, module: TorchRLModule, obs_BF: Tensor, env_steps: int) -> Decision:
        """Greedy, but for a random action with probability epsilon."""
        return Decision(module.forward_exploration({Columns.OBS: obs_BF}, t=env_steps)[Columns.ACTIONS])

    def exploit(self, module: TorchRLModule, obs_BF: Tensor) -> Tensor:
        """The action of the highest value."""
        return module.forward_inference({Columns.OBS: obs_BF})[Columns.ACTIONS]

    def gauges(self, env_steps: int) -> dict[str, float]:
        """Epsilon as it stands."""
        params = self.params
        share = min(1.0, env_steps / params.epsilon_steps)
        return {"epsilon": params.epsilon_start + share * (params.epsilon_end - params.epsilon_start)}
