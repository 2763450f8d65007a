"""The Learner of members that learn from replay: all updates of an iteration in one call, each with few operations.

RLlib's Learner takes 12 to 25 ms of Python and small kernels for an update. Here rows become tensors once for all
updates, an optimiser has one parameter, all gradients of an update come from one backward pass, targets follow in one
operation for each network, and metrics are logged once, of the last update, by RLlib's ``compute_loss_for_module``.

P networks of one shape, B rows of a minibatch, N parameters of a network.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.columns import Columns
from torch import Tensor

from policies.gradients import average, clip_each, total
from policies.learner_options import OptionsLearner
from policies.seen import DECIDED
from policies.stack import StackedParameters

DISCOUNT = "discount"
"""A column of our own, (B,): what the value of the next observation counts; 0 where the episode ended."""

Rows = Mapping[str, Tensor]


@dataclass(frozen=True)
class Optimised:
    """Networks of one shape, each with an optimiser of its own.

    Attributes:
        names: RLlib's names of the optimisers, P.
        rate: Their learning rate, or its schedule.
        parameters: The networks'.
    """

    names: Sequence[str]
    rate: Any
    parameters: StackedParameters


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers for the rows of a minibatch; of several Learners each takes those of its own rows.

    Attributes:
        generator: The same at all Learners.
        learner: This one's place among them.
        learners: How many there are.
    """

    generator: torch.Generator
    learner: int = 0
    learners: int = 1

    def normal(self, rows: int, dimensions: int) -> Tensor:
        """(rows, dimensions)."""
        shape = (rows * self.learners, dimensions)
        everyones = torch.randn(shape, generator=self.generator, device=self.generator.device)
        return everyones[rows * self.learner : rows * (self.learner + 1)]


class Outputs(Protocol):
    """What a member's networks say of a minibatch."""

    def named(self) -> dict[str, Tensor]:
        """The same as RLlib's module gives it to RLlib's loss."""


class ReplayNetworks(abc.ABC):
    """A member's networks, stacked.

    Attributes:
        optimised: All that is learnt.
    """

    optimised: Sequence[Optimised]

    @abc.abstractmethod
    def stack_targets(self) -> None:
        """Takes over the parameters of the targets, which RLlib builds last."""

    @abc.abstractmethod
    def follow(self, tau: float) -> None:
        """Moves the targets this share of the way to the networks."""

    @abc.abstractmethod
    def forward(self, rows: Rows, noise: Noise) -> Any:
        """The ``Outputs`` for a minibatch, its observations normalised."""

    @property
    def weights(self) -> list[Tensor]:
        """What gradients are taken in."""
        return [weight for optimised in self.optimised for weight in optimised.parameters.weights]

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """The gradients of a scalar, (P, N) for each of ``optimised``."""
        parts = iter(torch.autograd.grad(loss, self.weights))
        stacks = [optimised.parameters for optimised in self.optimised]
        return [stack.flat(itertools.islice(parts, len(stack.weights))) for stack in stacks]


@dataclass(frozen=True)
class _Plan:
    """How many steps the rows of an update are for, and the seed of their noise."""

    updates: int
    seed: int


class ReplayLearner(OptionsLearner):
    """Steps down the loss with Adam, the gradient of each optimiser clipped by itself, targets in tow.

    Over several Learners the rows are shared out and the gradients averaged.

    Attributes:
        epsilon: Adam's.
    """

    epsilon: ClassVar[float]

    _networks: dict[str, Any]

    @abc.abstractmethod
    def networks_of(self, module_id: str, config: AlgorithmConfig) -> ReplayNetworks:
        """Stacks a member's networks."""

    @abc.abstractmethod
    def loss(self, module_id: str, rows: Rows, out: Any) -> Tensor:
        """What ``compute_loss_for_module`` says of a minibatch.

        Args:
            module_id: The member.
            rows: A minibatch as ``prepared``.
            out: What ``ReplayNetworks.forward`` made of it.
        """

    def build(self) -> None:
        """Builds the Learner as RLlib does, then stacks the targets too."""
        self._networks = {}
        super().build()
        for networks in self._networks.values():
            networks.stack_targets()

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """RLlib's optimisers, each with one parameter and a fused step."""
        networks = self._networks[module_id] = self.networks_of(module_id, config)
        for optimised in networks.optimised:
            for name, row in zip(optimised.names, optimised.parameters.rows, strict=True):
                self.register_optimizer(
                    module_id=module_id,
                    optimizer_name=name,
                    optimizer=torch.optim.Adam([row], eps=self.epsilon, fused=True),
                    params=[row],
                    lr_or_lr_schedule=optimised.rate,
                )

    def _make_modules_ddp_if_necessary(self) -> None:
        """All Learners start from the first one's parameters; ``_step`` averages their gradients in one message."""
        if self.distributed:
            for name in sorted(self._networks):
                for optimised in self._networks[name].optimised:
                    torch.distributed.broadcast(optimised.parameters.matrix_PN, src=0)

    def update(self, *args: Any, updates: int, seed: int, **kwargs: Any) -> Any:
        """RLlib's, but for several updates at once.

        Args:
            *args: As RLlib's.
            updates: How many; their minibatches lie one after the other in the batch.
            seed: Of the noise that they need.
            **kwargs: As RLlib's.
        """
        self._plan = _Plan(updates, seed)
        return super().update(*args, **kwargs)

    def _update(self, batch: Mapping[str, Rows], **kwargs: Any) -> tuple[Any, dict[str, Tensor], Any]:
        return {}, {name: self._learn(name, batch[name]) for name in sorted(batch)}, {}

    def _learn(self, name: str, batch: Rows) -> Tensor:
        """All updates of a member; the loss of the last one."""
        networks, noise, norms = self._networks[name], self._noise(), []
        minibatches = self._minibatches(self.prepared(name, batch))
        for number in range(1, self._plan.updates + 1):
            parts = []
            for rows in itertools.islice(minibatches, self._options.accumulate):
                with self._autocast():
                    out = networks.forward(rows, noise)
                parts.append(networks.gradients(self.loss(name, rows, out) / self._options.accumulate))
            if number == self._plan.updates:
                loss = self._report(name, rows, out)
            norms.append(self._step(name, [total(each) for each in zip(*parts, strict=True)]))
        self._log_norms(name, torch.stack(norms))
        return loss

    def _noise(self) -> Noise:
        generator = torch.Generator(self._device).manual_seed(self._plan.seed)
        if not self.distributed:
            return Noise(generator)
        return Noise(generator, torch.distributed.get_rank(), torch.distributed.get_world_size())

    def prepared(self, name: str, batch: Rows) -> Rows:
        """Rows as losses and networks take them: observations normalised, ``DISCOUNT`` added."""
        module = self.module[name].unwrapped()
        going_B = 1.0 - batch[Columns.TERMINATEDS].float()
        return {**module.normalized(dict(batch)), DISCOUNT: self.config.gamma ** batch["n_step"] * going_B}

    def _minibatches(self, rows: Rows) -> Iterator[Rows]:
        shape = (self._plan.updates * self._options.accumulate, -1)
        apart = {key: torch.unflatten(column, 0, shape).unbind() for key, column in rows.items()}
        return (_decided(dict(zip(apart, columns, strict=True))) for columns in zip(*apart.values(), strict=True))

    def _step(self, name: str, gradients: Sequence[Tensor]) -> Tensor:
        """One step of each optimiser of a member, and of its targets; the norms of the gradients, in their order.

        If one of them is not finite, none of the networks changes, and no optimiser.
        """
        if self.distributed:
            average(gradients)
        norms = torch.cat([clip_each(gradient_PN, self.config.grad_clip) for gradient_PN in gradients])
        if not norms.isfinite().all():
            return norms
        networks = self._networks[name]
        for optimised, gradient_PN in zip(networks.optimised, gradients, strict=True):
            for optimizer, row, gradient_N in zip(optimised.names, optimised.parameters.rows, gradient_PN, strict=True):
                row.grad = gradient_N
                self.get_optimizer(name, optimizer).step()
        networks.follow(self.config.tau)
        return norms

    def _report(self, name: str, rows: Rows, out: Outputs) -> Tensor:
        """The loss of a minibatch by RLlib's own road, which logs its parts."""
        with torch.no_grad():
            return self.compute_loss_for_module(
                module_id=name, config=self.config, batch=dict(rows), fwd_out=out.named()
            )

    def _log_norms(self, name: str, norm_SP: Tensor) -> None:
        """Of all S steps: the norms of each optimiser's gradient in the last one, and how many were skipped."""
        optimizers = [own for optimised in self._networks[name].optimised for own in optimised.names]
        for optimizer, norm in zip(optimizers, norm_SP[-1], strict=True):
            self.metrics.log_value((name, f"gradients_{optimizer}_global_norm"), norm, window=1)
        self._log_steps(name, norm_SP.isfinite().all(dim=1))


def _decided(rows: Rows) -> Rows:
    """The transitions of scenes that there are, (R, ...); what was seen stays as networks take it."""
    if DECIDED not in rows:
        return rows
    seen = {key: rows[key] for key in (Columns.OBS, Columns.NEXT_OBS)}
    return {key: own[rows[DECIDED]] for key, own in rows.items() if key != DECIDED} | seen
