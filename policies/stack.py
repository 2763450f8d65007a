"""Networks of one shape, stacked: the products of P networks are one batched product, and each network stays its own.

P networks, B rows, F features, D inputs of the action distribution, N parameters of a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.func import functional_call

from policies.modules import ActorCriticModule
from policies.networks import Core


class StackedParameters:
    """The parameters of P networks of one shape, as the rows of one matrix.

    A network's own parameters are views of its row, and so are the batched weights here. Whichever of them is written
    to, all see it.

    Attributes:
        matrix_PN: All of them.
        rows: P parameters (N,), a network's each; what an optimiser steps.
        weights: (P, ...) for each parameter of a network; what gradients are taken in.
    """

    def __init__(self, networks: Sequence[Sequence[nn.Parameter]]) -> None:
        """Takes over the parameters of ``networks``, which keep their values; (1,) or (out, in) each."""
        matrix_PN = torch.stack([torch.cat([_laid_out(own) for own in each]) for each in networks])
        for own, row_N in zip(networks, matrix_PN, strict=True):
            _live_in(row_N, own)
        self._set_up(networks[0], matrix_PN, [nn.Parameter(row_N) for row_N in matrix_PN])

    def part(self, index: int) -> StackedParameters:
        """One of the networks, as a stack of its own in the same memory."""
        part = object.__new__(StackedParameters)
        one = slice(index, index + 1)
        part._set_up(self._template, self.matrix_PN[one], self.rows[one])
        return part

    def _set_up(self, template: Sequence[nn.Parameter], matrix_PN: Tensor, rows: list[nn.Parameter]) -> None:
        self._template, self.matrix_PN, self.rows = template, matrix_PN, rows
        columns = torch.split(matrix_PN, [parameter.numel() for parameter in template], dim=1)
        self.weights = [
            torch.unflatten(column, 1, parameter.mT.shape if parameter.ndim == 2 else parameter.shape)
            .detach()
            .requires_grad_()
            for column, parameter in zip(columns, template, strict=True)
        ]
        self._weight_of: dict[Tensor, Tensor] = dict(zip(template, self.weights, strict=True))

    def of(self, parameter: Tensor) -> Tensor:
        """All networks' weights (P, ...) in the place of a parameter of the first."""
        return self._weight_of[parameter]

    def through(self, layers: Iterable[nn.Module], hidden: Tensor, *, frozen: bool = False) -> Tensor:
        """What all networks make of their inputs, (P, B, in) to (P, B, out).

        Args:
            layers: Of the first network; those that are not linear have no parameters.
            hidden: The inputs.
            frozen: Gradients pass through to the inputs, but not to the weights.
        """
        for layer in layers:
            if isinstance(layer, nn.Linear):
                bias, weight = self.of(layer.bias), self.of(layer.weight)
                if frozen:
                    bias, weight = bias.detach(), weight.detach()
                hidden = torch.baddbmm(bias.unsqueeze(1), hidden, weight)
            elif isinstance(layer, Core):
                hidden = self._through_core(layer, hidden, frozen=frozen)
            else:
                hidden = layer(hidden)
        return hidden

    def _through_core(self, core: Core, seen: Tensor, *, frozen: bool) -> Tensor:
        """Network after network: what a core does is no product that could be batched."""
        weights = {name: self.of(own).mT if own.ndim == 2 else self.of(own) for name, own in core.named_parameters()}
        if frozen:
            weights = {name: weight.detach() for name, weight in weights.items()}
        alone = ({name: weight[index] for name, weight in weights.items()} for index in range(len(seen)))
        return torch.stack([functional_call(core, own, (rows,)) for own, rows in zip(alone, seen, strict=True)])

    def flat(self, gradients: Iterable[Tensor]) -> Tensor:
        """Gradients in ``weights`` as they lie in ``rows``, (P, N)."""
        return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


class StackedTowers:
    """P networks of linear layers and activations, of one shape.

    Attributes:
        parameters: The networks'.
    """

    def __init__(self, networks: Sequence[Sequence[nn.Module]]) -> None:
        """Takes over the parameters of the layers, which keep their values."""
        self._layers = networks[0]
        self.parameters = StackedParameters([parameters_of(layers) for layers in networks])

    def __call__(self, seen: Tensor, action_BU: Tensor | None = None, *, frozen: bool = False) -> Tensor:
        """What all networks make of the same rows, (P, B, out); see ``StackedParameters.through``.

        Args:
            seen: Observations (B, F), or what else the networks' cores take.
            action_BU: Goes into the first linear layer, beside what was seen.
            frozen: Gradients pass through to the inputs, but not to the weights.
        """
        layers = list(self._layers)
        cores = [layers.pop(0)] if isinstance(layers[0], Core) else []
        hidden = self.parameters.through(cores, seen.expand(len(self.parameters.rows), *seen.shape), frozen=frozen)
        if action_BU is not None:
            hidden = torch.cat([hidden, action_BU.expand(len(hidden), *action_BU.shape)], dim=-1)
        return self.parameters.through(layers, hidden, frozen=frozen).float()


class StackedActorCritic:
    """What P actor-critic modules of one shape compute, as one computation.

    Attributes:
        parameters: The modules'.
    """

    def __init__(self, modules: Sequence[ActorCriticModule]) -> None:
        """Takes over the parameters of ``modules``, which keep their values.

        Raises:
            TypeError: A module has parameters outside the linear layers of its towers.
        """
        for module in modules:
            layers = [layer for tower in module.towers() for layer in tower]
            require_linear(module, layers, besides=[module.log_std])
        self._template = modules[0]
        self.parameters = StackedParameters([list(module.parameters()) for module in modules])

    @property
    def rows(self) -> list[nn.Parameter]:
        """P parameters (N,), a module's each; what an optimiser steps."""
        return self.parameters.rows

    @property
    def discrete(self) -> bool:
        """Whether the actions are Discrete."""
        return isinstance(self._template.action_space, gym.spaces.Discrete)

    def part(self, index: int) -> StackedActorCritic:
        """One of the modules, as a stack of its own in the same memory."""
        part = object.__new__(StackedActorCritic)
        part._template, part.parameters = self._template, self.parameters.part(index)
        return part

    def __call__(self, obs_PBF: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs of the action distributions (P, B, D) and values (P, B), of observations that are normalised."""
        _, critic = self._template.towers()
        return self.dist_inputs(obs_PBF), self.parameters.through(critic, obs_PBF).squeeze(-1).float()

    def dist_inputs(self, obs_PBF: Tensor) -> Tensor:
        """Inputs of the action distributions alone, (P, B, D)."""
        actor, _ = self._template.towers()
        dist_inputs_PBD = self.parameters.through(actor, obs_PBF)
        if self._template.log_std is not None:
            log_std_PU = self._template.clipped_log_std(self.parameters.of(self._template.log_std))
            dist_inputs_PBD = torch.cat([dist_inputs_PBD, log_std_PU.unsqueeze(1).expand_as(dist_inputs_PBD)], dim=-1)
        return dist_inputs_PBD.float()

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a scalar in all parameters, (P, N)."""
        return self.parameters.flat(torch.autograd.grad(loss, self.parameters.weights))


def stackable(module: ActorCriticModule) -> tuple[object, ...]:
    """What modules must have in common to be stacked: layers, shapes, and the kind of their actions."""
    towers = [layer for tower in module.towers() for layer in tower]
    layers = [layer.network if isinstance(layer, Core) else type(layer) for layer in towers]
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    return (type(module), type(module.action_space), *layers, *shapes)


def parameters_of(layers: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters of all layers, in their order."""
    return [parameter for layer in layers for parameter in layer.parameters()]


def require_linear(
    module: nn.Module, layers: Iterable[nn.Module], *, besides: Iterable[nn.Parameter | None] = ()
) -> None:
    """Raises ``TypeError`` if a module is to learn parameters that a stack would leave where they are.

    Args:
        module: What is to be stacked.
        layers: Of its towers.
        besides: Parameters of the stack that are in no layer.
    """
    stacked = [layer for layer in layers if isinstance(layer, nn.Linear | Core)]
    known = {id(parameter) for layer in stacked for parameter in layer.parameters()} | {id(own) for own in besides}
    learnt = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    strange = [name for name, parameter in learnt.items() if id(parameter) not in known]
    if strange:
        raise TypeError(
            f"{type(module).__name__} has parameters outside the linear layers of its towers, which cannot be stacked: "
            f"{strange}; an algorithm with such networks needs a Learner that stacks none"
        )


def _laid_out(parameter: Tensor) -> Tensor:
    """As it lies in its row: weights as (in, out), the way a batched product takes them and gives their gradient."""
    return (parameter.mT if parameter.ndim == 2 else parameter).detach().flatten()


def _live_in(row_N: Tensor, network: Sequence[nn.Parameter]) -> None:
    """Makes a network's parameters views of the row that holds their values."""
    for parameter, part in zip(network, torch.split(row_N, [own.numel() for own in network]), strict=True):
        parameter.data = part.view(parameter.mT.shape).mT if parameter.ndim == 2 else part.view(parameter.shape)
