"""A trained team's policies, out of a checkpoint and without a cluster."""

from __future__ import annotations

import glob
import pickle
from collections.abc import Callable, Mapping
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
from policies.memory import Memory, memory_of
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
        """Actions (E, A) or (E, A, U), in the environment's units, for the first observations (E, A, F) of episodes."""
        return self.player(*obs.shape[:2], device=obs.device).act(obs)

    def player(self, copies: int, agents: int, *, device: torch.device | str = "cpu") -> Player:
        """Agents that have this policy, at the beginning of episodes; they remember what it needs."""
        network = self.algorithm.params.network
        return Player(self, memory_of(network, self.features, copies, agents, str(device), recording=False))


class Player:
    """A group of agents that act, in E copies, through whole episodes."""

    def __init__(self, policy: Policy, memory: Memory) -> None:
        self._policy, self._memory = policy, memory

    def act(self, obs: Tensor, active: Tensor | None = None) -> Tensor:
        """Actions (E, A) or (E, A, U), in the environment's units: as well as it knows.

        Args:
            obs: float32 (E, A, F).
            active: Who decides, bool (E, A): the others neither see this nor remember it; None: all.
        """
        return self._act(obs, active, lambda rows: self._policy.algorithm.exploit(self._policy.module, rows))

    def explore(self, obs: Tensor, env_steps: int, active: Tensor | None = None) -> Tensor:
        """The same, as it acts while it learns; draws from torch's global generator.

        Args:
            obs: float32 (E, A, F).
            env_steps: Of its training so far, for exploration schedules.
            active: As of ``act``.
        """
        policy = self._policy
        return self._act(obs, active, lambda rows: policy.algorithm.explore(policy.module, rows, env_steps).action)

    def _act(self, obs: Tensor, active: Tensor | None, decide: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.no_grad():
            record = self._memory.record(obs, active)
            action = decide(self._memory.rows(record))
            self._memory.keep(record, active, self._policy.module)
        return to_environment(action.view(*obs.shape[:2], *action.shape[1:]), self._policy.action_space)

    def forget(self, ended: Tensor) -> None:
        """Agents whose episode ended, bool (E, A), begin anew."""
        self._memory.forget(ended)


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
