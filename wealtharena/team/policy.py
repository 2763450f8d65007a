"""A trained team's policies, out of a checkpoint and without a cluster."""

from __future__ import annotations

import glob
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from policies.algorithm import Algorithm
from policies.spaces import to_environment

_CONSTRUCTOR = "class_and_ctor_args.pkl"


@dataclass(frozen=True)
class Policy:
    """One group's policy with a frozen normaliser. Called, it acts as well as it knows: no exploration."""

    algorithm: Algorithm
    module: TorchRLModule
    action_space: gym.Space[Any]

    @property
    def features(self) -> int:
        """F, the columns of an observation."""
        return int(self.module.observation_space.shape[0])

    def __call__(self, obs: Tensor) -> Tensor:
        """Actions (E, A) or (E, A, U), in the environment's units, for observations (E, A, F)."""
        with torch.no_grad():
            action = self.algorithm.exploit(self.module, obs.flatten(0, 1))
        return self._in_environment(action, obs)

    def explore(self, obs: Tensor, env_steps: int) -> Tensor:
        """The same, as it acts while it learns; draws from torch's global generator.

        Args:
            obs: float32 (E, A, F).
            env_steps: Of its training so far, for exploration schedules.
        """
        with torch.no_grad():
            action = self.algorithm.explore(self.module, obs.flatten(0, 1), env_steps).action
        return self._in_environment(action, obs)

    def _in_environment(self, action: Tensor, obs: Tensor) -> Tensor:
        return to_environment(action.view(*obs.shape[:2], *action.shape[1:]), self.action_space)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a team's checkpoint."""
    return (folder / _CONSTRUCTOR).is_file() and (folder / COMPONENT_LEARNER_GROUP).is_dir()


def load_config(checkpoint: str | Path) -> Mapping[str, Any]:
    """The settings of the ``TeamConfig`` that a checkpoint was trained with.

    Raises:
        FileNotFoundError: There is no team's checkpoint at this path.
    """
    file = Path(checkpoint).resolve() / _CONSTRUCTOR
    if not file.is_file():
        raise FileNotFoundError(f"{file.parent} holds no checkpoint of a team: it has no {file.name}")
    with file.open("rb") as opened:
        (config,), _ = pickle.load(opened)["ctor_args_and_kwargs"]
    return dict(config)


def load_policies(checkpoint: str | Path) -> dict[str, Policy]:
    """The policies of all groups of a checkpoint: group -> policy.

    RLlib's checkpoints are pickles: load only what you trust.

    Raises:
        FileNotFoundError: if there is no team's checkpoint at this path.
    """
    root = Path(checkpoint).resolve()
    policies = {}
    for name, algorithm in load_config(root)["members"].items():
        (at,) = root.glob(f"{COMPONENT_LEARNER_GROUP}/*/{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}/{glob.escape(name)}")
        module = RLModule.from_checkpoint(at)
        policies[name] = Policy(algorithm, module, module.action_space)
    return policies
