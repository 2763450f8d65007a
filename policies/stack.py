"""Networks of one shape, stacked: the products of P modules are one batched product, and each module stays its own.

P modules, B rows, F features, D inputs of the action distribution, N parameters of a module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gymnasium as gym
import torch
from torch import Tensor, nn

from policies.modules import ActorCriticModule


class StackedActorCritic:
    """What P actor-critic modules of one shape compute, as one computation.

    Their parameters are rows of one matrix: a module's own parameters are views of its row, and so are the batched
    weights here. Whichever of them is written to, all see it.

    Attributes:
        rows: P parameters (N,), a module's each; what an optimiser steps.
    """

    def __init__(self, modules: Sequence[ActorCriticModule]) -> None:
        """Takes over the parameters of ``modules``, which keep their values.

        Raises:
            TypeError: A module has parameters outside the linear layers of its towers.
        """
        for module in modules:
            _require_known_layers(module)
        matrix_PN = torch.stack([torch.cat([_laid_out(own) for own in each.parameters()]) for each in modules])
        for module, row_N in zip(modules, matrix_PN, strict=True):
            _live_in(row_N, module)
        self._set_up(modules[0], matrix_PN, [nn.Parameter(row_N) for row_N in matrix_PN])

    @property
    def discrete(self) -> bool:
        """Whether the actions are Discrete."""
        return isinstance(self._template.action_space, gym.spaces.Discrete)

    def part(self, index: int) -> StackedActorCritic:
        """One of the modules, as a stack of its own in the same memory."""
        part = object.__new__(StackedActorCritic)
        one = slice(index, index + 1)
        part._set_up(self._template, self._matrix_PN[one], self.rows[one])
        return part

    def _set_up(self, template: ActorCriticModule, matrix_PN: Tensor, rows: list[nn.Parameter]) -> None:
        self._template, self._matrix_PN, self.rows = template, matrix_PN, rows
        own = list(template.parameters())
        columns = torch.split(matrix_PN, [parameter.numel() for parameter in own], dim=1)
        self._weights = [
            torch.unflatten(column, 1, parameter.mT.shape if parameter.ndim == 2 else parameter.shape)
            .detach()
            .requires_grad_()
            for column, parameter in zip(columns, own, strict=True)
        ]
        self._weight_of = dict(zip(own, self._weights, strict=True))

    def __call__(self, obs_PBF: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs of the action distributions (P, B, D) and values (P, B), of observations that are normalised."""
        actor, critic = self._template.towers()
        dist_inputs_PBD = self._through(actor, obs_PBF)
        if self._template.log_std is not None:
            log_std_PU = self._template.clipped_log_std(self._weight_of[self._template.log_std])
            dist_inputs_PBD = torch.cat([dist_inputs_PBD, log_std_PU.unsqueeze(1).expand_as(dist_inputs_PBD)], dim=-1)
        return dist_inputs_PBD, self._through(critic, obs_PBF).squeeze(-1)

    def _through(self, layers: Iterable[nn.Module], hidden: Tensor) -> Tensor:
        for layer in layers:
            if isinstance(layer, nn.Linear):
                bias, weight = self._weight_of[layer.bias], self._weight_of[layer.weight]
                hidden = torch.baddbmm(bias.unsqueeze(1), hidden, weight)
            else:
                hidden = layer(hidden)
        return hidden

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a scalar in all parameters, (P, N)."""
        gradients = torch.autograd.grad(loss, self._weights)
        return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def stackable(module: ActorCriticModule) -> tuple[object, ...]:
    """What modules must have in common to be stacked: layers, shapes, and the kind of their actions."""
    layers = [type(layer) for tower in module.towers() for layer in tower]
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    return (type(module), type(module.action_space), *layers, *shapes)


def _laid_out(parameter: Tensor) -> Tensor:
    """As it lies in its row: weights as (in, out), the way a batched product takes them and gives their gradient."""
    return (parameter.mT if parameter.ndim == 2 else parameter).detach().flatten()


def _live_in(row_N: Tensor, module: nn.Module) -> None:
    """Makes a module's parameters views of the row that holds their values."""
    own = list(module.parameters())
    for parameter, part in zip(own, torch.split(row_N, [parameter.numel() for parameter in own]), strict=True):
        parameter.data = part.view(parameter.mT.shape).mT if parameter.ndim == 2 else part


def _require_known_layers(module: ActorCriticModule) -> None:
    linear = [layer for tower in module.towers() for layer in tower if isinstance(layer, nn.Linear)]
    known = {id(parameter) for layer in linear for parameter in layer.parameters()} | {id(module.log_std)}
    strange = [name for name, parameter in module.named_parameters() if id(parameter) not in known]
    if strange:
        raise TypeError(
            f"{type(module).__name__} has parameters outside the linear layers of its towers, which cannot be stacked: "
            f"{strange}; an algorithm with such networks needs a Learner that is no ActorCriticLearner"
        )
