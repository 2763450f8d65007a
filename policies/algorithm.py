"""What an algorithm is to a team: how it acts, what it learns from, and which of RLlib's Learners does the learning.

A new algorithm is one file with one subclass of ``Algorithm``; an experiment file names it ``module:Class``.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import gymnasium as gym
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.models.catalog import Catalog
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from policies.encoders import NETWORK
from policies.errors import MemberError
from policies.learner_options import SKIPPED_UPDATES
from policies.networks import Mlp, Network
from policies.rollout import Rollout

Activation = Literal["tanh", "relu", "silu", "elu"]


class AlgorithmParams(BaseModel):
    """Hyperparameters every algorithm has: frozen, and a key it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gamma: float = Field(0.99, ge=0, le=1, description="discount per decision of the group")
    hidden: tuple[PositiveInt, ...] = Field((64, 64), min_length=1, description="units of each hidden layer")
    activation: Activation = Field("tanh", description="after each hidden layer")
    network: Network = Field(Mlp(), description="what a policy sees, and with which layers")
    normalize_observations: bool = Field(True, description="standardise features by running statistics")
    grad_clip: float | None = Field(0.5, gt=0, description="largest global norm of a gradient; null for no limit")
    lr_steps: int | None = Field(
        None, ge=1, description="environment steps of the team over which learning rates fall linearly; null: they stay"
    )
    lr_left: float = Field(0.0, ge=0, lt=1, description="share of each learning rate that is left after lr_steps")

    @model_validator(mode="after")
    def _a_share_left_needs_a_fall(self) -> Self:
        if self.lr_left and self.lr_steps is None:
            raise ValueError(
                f"lr_left is {self.lr_left} but lr_steps is null, so the learning rate never falls: "
                "give lr_steps too, or leave lr_left out"
            )
        return self

    def annealed(self, rate: float) -> float | list[list[float]]:
        """A learning rate as RLlib takes it: constant, or [[0, rate], [lr_steps, lr_left * rate]], linear between.

        RLlib moves the rate after each iteration's updates, by the environment steps the team has sampled.
        """
        return rate if self.lr_steps is None else [[0, rate], [self.lr_steps, self.lr_left * rate]]


EPISODE_RETURN = "episode_return"


def action_names(action_space: gym.Space[Any]) -> tuple[str, ...]:
    """What the distribution of a group's actions is logged under: a share of each, or mean and deviation of each."""
    if isinstance(action_space, gym.spaces.Discrete):
        return tuple(f"action_{index}" for index in range(int(action_space.n)))
    dimensions = range(math.prod(action_space.shape or ()))
    return tuple(f"action_{figure}_{index}" for figure in ("mean", "std") for index in dimensions)


@dataclass(frozen=True)
class Decision:
    """What a policy did for B rows.

    Attributes:
        action: (B,) int64, or (B, U) float32 in [-1, 1] units.
        logp: (B,) log-probability of the action; None where the algorithm needs none.
        dist_inputs: (B, D) inputs of the action distribution; None where the algorithm needs none.
    """

    action: Tensor
    logp: Tensor | None = None
    dist_inputs: Tensor | None = None


class Trainer(Protocol):
    """The side of learning that is not in RLlib's Learner, of those who share one: their memory and its use.

    Those of other members may learn at the same time in other threads: it draws from generators of its own.
    """

    def learn(self, learners: LearnerGroup, rollouts: Mapping[str, Sequence[Rollout]], env_steps: int) -> list[Any]:
        """Learns from each group's fragments of one iteration. Returns RLlib's results, one for each update."""

    def get_state(self) -> dict[str, Any]:
        """Everything the next update depends on besides the Learner's own state."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""


class Algorithm(abc.ABC):
    """A learning algorithm with its hyperparameters.

    Attributes:
        Params: The model of its hyperparameters.
        on_policy: Whether rollouts must carry log-probabilities and values.
        shares_learner: Whether members with the same hyperparameters learn in one Learner.
        catalog: Who builds the encoders; None: RLlib's own, which build perceptrons.
        networks: Kinds of ``params.network`` that it learns with.
        metrics: The Learner's metric -> the name it is shown under.
        settled: Hyperparameters that a team that has begun to learn cannot change: its weights, or what it remembers,
            were made by them.
        params: The hyperparameters.
    """

    Params: ClassVar[type[AlgorithmParams]]
    on_policy: ClassVar[bool]
    shares_learner: ClassVar[bool] = False
    catalog: ClassVar[type[Catalog] | None] = None
    networks: ClassVar[tuple[str, ...]] = ("mlp",)
    metrics: ClassVar[Mapping[str, str]]
    settled: ClassVar[frozenset[str]] = frozenset({"hidden", "activation", "network", "normalize_observations"})

    params: Any

    def __init__(self, params: AlgorithmParams | None = None) -> None:
        """Takes a validated ``Params``; its defaults where none is given."""
        self.params = self.Params() if params is None else params

    @abc.abstractmethod
    def check(self, group: str, action_space: gym.Space[Any]) -> None:
        """Raises ``MemberError`` if it cannot act in this space."""

    def check_network(self, group: str, agents: int) -> None:
        """Raises ``MemberError`` if it cannot learn with its network in a group of so many agents."""
        kind, known = self.params.network.kind, ", ".join(self.networks)
        given = f"members.{group}.params.network.kind = {kind}"
        if kind not in self.networks:
            raise MemberError(f"{given}: {type(self).__name__} does not learn with it; it does with {known}")
        if kind == "attention" and agents == 1:
            raise MemberError(
                f"{given}: attention is among the agents of a group, and '{group}' has one; choose another"
            )

    @abc.abstractmethod
    def learner_config(self, action_space: gym.Space[Any]) -> AlgorithmConfig:
        """RLlib's configuration of the Learner, hyperparameters included."""

    @abc.abstractmethod
    def module_class(self) -> type[TorchRLModule]:
        """The networks."""

    @abc.abstractmethod
    def trainer(self, groups: Sequence[str], seed: int) -> Trainer:
        """For a new run; of one group, unless its algorithm ``shares_learner``."""

    @abc.abstractmethod
    def explore(self, module: TorchRLModule, obs_BF: Tensor, env_steps: int) -> Decision:
        """Acts while it learns; ``env_steps`` is how many environment steps the team has sampled."""

    @abc.abstractmethod
    def exploit(self, module: TorchRLModule, obs_BF: Tensor) -> Tensor:
        """Acts as well as it knows, without randomness: (B,) int64, or (B, U) float32."""

    def gauges(self, env_steps: int) -> dict[str, float]:
        """Further figures of the moment, such as epsilon."""
        return {}

    def shown_metrics(self, action_space: gym.Space[Any]) -> tuple[str, ...]:
        """The names of all figures that training logs of a group that learns with it."""
        return (EPISODE_RETURN, *self.metrics.values(), SKIPPED_UPDATES, *self.gauges(0), *action_names(action_space))

    def module_spec(
        self, observation_space: gym.Space[Any], action_space: gym.Space[Any], *, inference_only: bool
    ) -> RLModuleSpec:
        """The specification of the networks for these spaces."""
        config = self.learner_config(action_space)
        spec = config.get_default_rl_module_spec()
        spec.module_class = self.module_class()
        spec.catalog_class = self.catalog or spec.catalog_class
        spec.observation_space = observation_space
        spec.action_space = action_space
        spec.inference_only = inference_only and not self.on_policy
        spec.model_config = {**config.model_config, **self.module_settings()}
        return spec

    def module_settings(self) -> dict[str, Any]:
        """What the networks of ``module_class`` take besides RLlib's own settings."""
        return {
            "normalize_observations": self.params.normalize_observations,
            NETWORK: self.params.network.model_dump(mode="json"),
        }
