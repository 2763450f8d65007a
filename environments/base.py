"""The one contract of every environment: E copies of a world, stepped together.

Dimensions live in names: E copies, A agents of a group, F features of an observation, U action dimensions.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class Params(BaseModel):
    """Base of an environment's parameters: frozen, and a key it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Group:
    """Agents that share one policy and one pair of spaces.

    Attributes:
        agent_ids: A names, unique in the environment, such as ``stocks/AAPL``.
        observation_space: Of one agent: a Box of shape (F,), float32.
        action_space: Of one agent: Discrete, or a Box of shape (U,).
        every: The group decides each ``every``-th step of an episode; its reward is what came in between.
    """

    agent_ids: tuple[str, ...]
    observation_space: gym.spaces.Box
    action_space: gym.spaces.Discrete[Any] | gym.spaces.Box
    every: int = 1


@dataclass(frozen=True)
class Transition:
    """What one step of E copies brought. No tensor in it is changed by a later step.

    Attributes:
        obs: group -> float32 (E, A, F), what the next decision sees (after the automatic reset of finished copies).
        final_obs: group -> float32 (E, A, F), the same before the automatic reset; equal to ``obs`` where a copy goes
            on.
        reward: group -> float32 (E, A), for this step.
        terminated: group -> bool (E, A): the agent's episode ended for good; nothing follows, so nothing is
            bootstrapped.
        truncated: group -> bool (E, A): the agent's episode was cut off (a time limit); its value is bootstrapped
            from ``final_obs``.
        done: bool (E,): the copy finished and was reset.
        active: group -> bool (E, A): who decides on ``obs``. A group that is absent here is active in full.
    """

    obs: dict[str, Tensor]
    final_obs: dict[str, Tensor]
    reward: dict[str, Tensor]
    terminated: dict[str, Tensor]
    truncated: dict[str, Tensor]
    done: Tensor
    active: dict[str, Tensor]


class ArrayEnv(abc.ABC):
    """E copies of a world, stepped together as torch tensors.

    A finished copy (all of its agents terminated or truncated) resets itself within ``step``.
    All randomness follows from ``reset(seed=...)``: the same seed gives the same trajectory to the bit,
    and copy i does not depend on E. A subclass names its parameters' model in ``Params``.

    Attributes:
        in_flight: Parameters that may change in the middle of an episode: ``set_state`` takes the state of an
            environment in which they were others.
    """

    Params: ClassVar[type[BaseModel]]
    in_flight: ClassVar[tuple[str, ...]] = ()

    groups: Mapping[str, Group]
    num_envs: int
    device: str

    @abc.abstractmethod
    def __init__(self, params: Any, *, num_envs: int, device: str = "cpu") -> None:
        """Builds E = ``num_envs`` copies on ``device`` from a validated ``Params``."""

    @abc.abstractmethod
    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Starts new episodes in all copies. Returns group -> float32 (E, A, F).

        Without a seed the random stream goes on; the first reset without one uses seed 0.
        """

    @abc.abstractmethod
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        """Steps all copies.

        Args:
            actions: group -> int64 (E, A) for Discrete, float32 (E, A, U) for Box. The rows of inactive agents are
                ignored;
                a group none of whose agents is active may be left out.
        """

    def active(self) -> dict[str, Tensor]:
        """Who decides on the current observations: group -> bool (E, A). A group that is absent is active in full."""
        return {}

    def figures(self) -> dict[str, Tensor]:
        """How the copies stand, for those who watch a training: name -> (E,); nothing unless a subclass says so."""
        return {}

    @abc.abstractmethod
    def get_state(self) -> dict[str, Any]:
        """Everything the next step depends on, so that a restored run goes on to the bit."""

    @abc.abstractmethod
    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
