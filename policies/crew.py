"""Who decides together: policies of one shape act in one batched product.

P policies, E copies, A agents of a group, B = E * A rows, F features, D inputs of the action distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from policies.actor_critic import ActorCritic
from policies.algorithm import Algorithm, Decision
from policies.distributions import draw
from policies.modules import ActorCriticModule
from policies.stack import StackedActorCritic, stackable

_FEW_ROWS = 256
"""On a CPU one product after the other is faster from here on: what it works on stays in the cache."""


class Crew(Protocol):
    """Groups that are asked at the same time."""

    @property
    def names(self) -> Sequence[str]:
        """The groups."""

    def explore(self, seen: Mapping[str, Tensor], env_steps: int) -> dict[str, Decision]:
        """What each of them does, its rows in the order (E, A), on what it sees: (B, F), or what its network takes."""


@dataclass
class _Alone:
    """One group, by its algorithm's own ``explore``."""

    names: Sequence[str]
    algorithm: Algorithm
    module: TorchRLModule

    def explore(self, seen: Mapping[str, Tensor], env_steps: int) -> dict[str, Decision]:
        """See ``Crew``."""
        (name,) = self.names
        return {name: self.algorithm.explore(self.module, seen[name], env_steps)}


class _Together:
    """P groups whose actor-critic policies have one shape: what ``ActorCritic.explore`` does, for all of them at once.

    Their modules' parameters live on in the stack: new weights that are loaded into the modules are in it too.
    """

    def __init__(self, modules: Mapping[str, ActorCriticModule]) -> None:
        self.names = tuple(modules)
        self._modules = modules
        self._stack = StackedActorCritic(list(modules.values()))

    def explore(self, seen: Mapping[str, Tensor], env_steps: int) -> dict[str, Decision]:
        """See ``Crew``."""
        rows = [module.normalized({Columns.OBS: seen[name]})[Columns.OBS] for name, module in self._modules.items()]
        dist_inputs_PBD = self._stack.dist_inputs(torch.stack(rows))
        action_PB, logp_PB = draw(dist_inputs_PBD, discrete=self._stack.discrete)
        made = zip(self.names, action_PB, logp_PB, dist_inputs_PBD, strict=True)
        return {name: Decision(action, logp, dist_inputs) for name, action, logp, dist_inputs in made}


def crews(
    algorithms: Mapping[str, Algorithm],
    modules: Mapping[str, TorchRLModule],
    rows: Mapping[str, int],
    device: torch.device | str,
) -> list[Crew]:
    """Puts groups together whose policies have one shape and as many rows; the others stay alone.

    Args:
        algorithms: Of each group.
        modules: As ``algorithms``.
        rows: B of each group.
        device: Where the modules are.
    """
    stacks: dict[object, dict[str, ActorCriticModule]] = {}
    alone: list[Crew] = []
    for name, module in modules.items():
        few = torch.device(device).type != "cpu" or rows[name] <= _FEW_ROWS
        # An algorithm with an ``explore`` of its own is asked by it.
        if few and isinstance(module, ActorCriticModule) and type(algorithms[name]).explore is ActorCritic.explore:
            stacks.setdefault((rows[name], *stackable(module)), {})[name] = module
        else:
            alone.append(_Alone((name,), algorithms[name], module))
    return [*(_Together(own) for own in stacks.values()), *alone]
