"""A trained team's policies, out of a checkpoint and without a cluster."""

from __future__ import annotations

import glob
import pickle
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


@dataclass(frozen=True)
class Policy:
    """One group's policy, acting as well as it knows: no exploration, frozen normaliser."""

    algorithm: Algorithm
    module: TorchRLModule
    action_space: gym.Space[Any]

    def __call__(self, obs: Tensor) -> Tensor:
        """Actions (E, A) or (E, A, U), in the environment's units, for observations (E, A, F)."""
        with torch.no_grad():
            action = self.algorithm.exploit(self.module, obs.flatten(0, 1))
        return to_environment(action.view(*obs.shape[:2], *action.shape[1:]), self.action_space)


def load_policies(checkpoint: str | Path) -> dict[str, Policy]:
    """The policies of all groups of a checkpoint: group -> policy.

    RLlib's checkpoints are pickles: load only what you trust.

    Raises:
        FileNotFoundError: if there is no team's checkpoint at this path.
    """
    root = Path(checkpoint).resolve()
    ctor_file = root / "class_and_ctor_args.pkl"
    if not ctor_file.is_file():
        raise FileNotFoundError(f"{root} holds no checkpoint of a team: it has no {ctor_file.name}")
    with ctor_file.open("rb") as file:
        (config,), _ = pickle.load(file)["ctor_args_and_kwargs"]
    policies = {}
    for name, algorithm in config["members"].items():
        (at,) = root.glob(f"{COMPONENT_LEARNER_GROUP}/*/{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}/{glob.escape(name)}")
        module = RLModule.from_checkpoint(at)
        policies[name] = Policy(algorithm, module, module.action_space)
    return policies
