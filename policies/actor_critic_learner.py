"""The Learner of on-policy actor-critic members: all passes over an iteration's rows in one call, members stacked.

RLlib's Learner takes milliseconds of Python for each minibatch of each module. Here rows become tensors once an update,
minibatches are gathered on the device, members of one shape learn in one computation, and metrics are logged once, of
the last minibatch, by the loss as RLlib knows it (``compute_loss_for_module``).

P members of one shape, B rows of a minibatch, N parameters of a member.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.utils.metrics import ALL_MODULES
from torch import Tensor

from policies.distributions import categorical, gaussian
from policies.gradients import average, clip_each, total
from policies.learner_options import OptionsLearner
from policies.minibatches import minibatches
from policies.seen import DECIDED
from policies.stack import StackedActorCritic, stackable

Rows = Mapping[str, Tensor]


@dataclass(frozen=True)
class _Plan:
    """How an update uses its rows."""

    epochs: int
    minibatch_size: int
    seeds: Mapping[str, int]


@dataclass(frozen=True)
class _Stack:
    """Members of one shape, which learn in one computation."""

    names: Sequence[str]
    networks: StackedActorCritic

    @property
    def distribution(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Log-probabilities and entropies from distribution inputs and actions."""
        return categorical if self.networks.discrete else gaussian


class ActorCriticLearner(OptionsLearner):
    """Steps down the mean of ``row_loss`` with Adam, each member's gradient clipped by itself.

    Over several Learners the rows are shared out and the gradients averaged.

    Attributes:
        columns: What ``row_loss`` reads of the rows.
    """

    columns: ClassVar[Sequence[str]]

    @abc.abstractmethod
    def row_loss(self, logp_PB: Tensor, entropy_PB: Tensor, value_PB: Tensor, rows: Rows) -> Tensor:
        """The loss of each row, (P, B). Its mean over B is what ``compute_loss_for_module`` says of a member.

        Args:
            logp_PB: Log-probability of the action taken.
            entropy_PB: Entropy of the policy.
            value_PB: What the critic says.
            rows: ``columns``, (P, B, ...) each.
        """

    def configure_optimizers(self) -> None:
        """Stacks the members; one Adam, its step a fused kernel, has a row of parameters for each of them."""
        modules = {name: self.module[name] for name in sorted(self.module.keys())}
        by_kind: dict[tuple[object, ...], list[str]] = {}
        for name, module in modules.items():
            by_kind.setdefault(stackable(module), []).append(name)
        self._stacks = [
            _Stack(names, StackedActorCritic([modules[name] for name in names])) for names in by_kind.values()
        ]
        self._alone = {
            name: _Stack([name], stack.networks.part(index))
            for stack in self._stacks
            for index, name in enumerate(stack.names)
        }
        rows = [row for stack in self._stacks for row in stack.networks.rows]
        self._optimizer = torch.optim.Adam(rows, fused=True)
        self.register_optimizer(
            module_id=ALL_MODULES, optimizer=self._optimizer, params=rows, lr_or_lr_schedule=self.config.lr
        )

    def _make_modules_ddp_if_necessary(self) -> None:
        """All Learners start from the first one's parameters; ``_step`` averages their gradients in one message."""
        if self.distributed:
            for alone in self._alone.values():
                torch.distributed.broadcast(alone.networks.rows[0].data, src=0)

    def update(
        self,
        *args: Any,
        num_epochs: int,
        minibatch_size: int,
        seeds: Mapping[str, int],
        shuffle_batch_per_epoch: bool = True,
        **kwargs: Any,
    ) -> Any:
        """RLlib's, but that all minibatches are in one call of ``_update``.

        Args:
            *args: As RLlib's.
            num_epochs: Passes over the rows.
            minibatch_size: Most rows of a gradient step; of all Learners together.
            seeds: member -> seed of the order of its rows.
            shuffle_batch_per_epoch: It always is.
            **kwargs: As RLlib's.
        """
        self._plan = _Plan(num_epochs, minibatch_size, seeds)
        return super().update(*args, **kwargs)

    def _update(self, batch: Mapping[str, Rows], **kwargs: Any) -> tuple[Any, dict[str, Tensor], Any]:
        counts = self._counts(batch)
        losses: dict[str, Tensor] = {}
        for stack in self._together(counts):
            losses |= self._learn(stack, [batch[name] for name in stack.names], counts[stack.names[0]])
        return {}, losses, {}

    def _counts(self, batch: Mapping[str, Rows]) -> dict[str, int]:
        """How many rows each member learns from; if Learners got different numbers, the smallest, so that all step."""
        names = sorted(batch)
        counts = torch.tensor([len(batch[name][Columns.OBS]) for name in names], device=self._device)
        if self.distributed:
            torch.distributed.all_reduce(counts, op=torch.distributed.ReduceOp.MIN)
        return {name: count for name, count in zip(names, counts.tolist(), strict=True) if count}

    def _together(self, counts: Mapping[str, int]) -> Iterator[_Stack]:
        """Whole stacks, if all of their members have as many rows; members one after the other, if not."""
        for stack in self._stacks:
            present = [name for name in stack.names if name in counts]
            if present == stack.names and len({counts[name] for name in present}) == 1:
                yield stack
            else:
                yield from (self._alone[name] for name in present)

    def _learn(self, stack: _Stack, batches: Sequence[Rows], count: int) -> dict[str, Tensor]:
        """All gradient steps of an update; the losses of the last one."""
        rows = self._stacked_rows(stack.names, batches, count)
        self._optimizer.zero_grad()  # members that do not learn now have no gradient, and stay as they are
        order = list(zip(*(self._order(name, count, rows) for name in stack.names), strict=True))
        accumulate = self._options.accumulate
        *steps, last = [order[begun : begun + accumulate] for begun in range(0, len(order), accumulate)]
        norms = [self._step(stack, rows, step, count) for step in steps]
        named = zip(stack.names, batches, last[-1], strict=True)
        losses = {name: self._report(name, _taken_alone(rows, index)) for name, rows, index in named}
        norms.append(self._step(stack, rows, last, count))
        self._log_norms(stack.names, torch.stack(norms, dim=1))
        return losses

    def _stacked_rows(self, names: Sequence[str], batches: Sequence[Rows], count: int) -> Rows:
        """The columns (P * count, ...) that a step reads; observations as they enter the networks."""
        obs = [
            self.module[name].unwrapped().normalized({Columns.OBS: batch[Columns.OBS]})[Columns.OBS][:count]
            for name, batch in zip(names, batches, strict=True)
        ]
        keys = (Columns.ACTIONS, *self.columns, *({DECIDED} & batches[0].keys()))
        rest = {key: torch.cat([batch[key][:count] for batch in batches]) for key in keys}
        return {Columns.OBS: torch.cat(obs), **rest}

    def _order(self, name: str, count: int, rows: Rows) -> Sequence[Tensor]:
        plan = self._plan
        decisions = rows[DECIDED].shape[1] if DECIDED in rows else 1
        size = max(1, plan.minibatch_size // (max(1, self.config.num_learners) * decisions))
        return minibatches(count, epochs=plan.epochs, size=size, seed=plan.seeds[name], device=self._device)

    def _step(self, stack: _Stack, rows: Rows, step: Sequence[Sequence[Tensor]], count: int) -> Tensor:
        """One gradient step of each member, on all rows of some minibatches; the norms of their gradients, (P,).

        A member whose gradient is not finite makes no step: its weights and its optimiser stay as they are.
        """
        whole = sum(len(index[0]) for index in step)
        gradient_PN = total(
            [self._gradient(stack, _taken(rows, index, count), weight=len(index[0]) / whole) for index in step]
        )
        if self.distributed:
            average([gradient_PN])
        norm_P = clip_each(gradient_PN, self.config.grad_clip)
        for row, gradient_N, finite in zip(stack.networks.rows, gradient_PN, norm_P.isfinite().tolist(), strict=True):
            row.grad = gradient_N if finite else None
        self._optimizer.step()
        return norm_P

    def _gradient(self, stack: _Stack, rows: Rows, *, weight: float) -> Tensor:
        """What a minibatch of this weight among others adds to the gradient of each member, (P, N)."""
        with self._autocast():
            dist_inputs_PBD, value_PB = stack.networks(rows[Columns.OBS])
        logp_PB, entropy_PB = stack.distribution(dist_inputs_PBD, rows[Columns.ACTIONS])
        loss_PB = self.row_loss(logp_PB, entropy_PB, value_PB, rows)
        return stack.networks.gradient(weight * loss_PB.mean(dim=1).sum())

    def _report(self, name: str, rows: Rows) -> Tensor:
        """The loss of a minibatch by RLlib's own road, which logs its parts."""
        with torch.no_grad():
            fwd_out = self.module[name].unwrapped().forward_train({Columns.OBS: rows[Columns.OBS]})
            if DECIDED in rows:
                rows, fwd_out = _decided(_by_decision(rows, 0)), _decided({**fwd_out, DECIDED: rows[DECIDED].flatten()})
            return self.compute_loss_for_module(module_id=name, config=self.config, batch=rows, fwd_out=fwd_out)

    def _log_norms(self, names: Sequence[str], norm_PS: Tensor) -> None:
        """Of all S steps of an update: the norms in the last one, and how many were skipped."""
        for name, norm_S in zip(names, norm_PS, strict=True):
            self.metrics.log_value((name, "gradients_default_optimizer_global_norm"), norm_S[-1], window=1)
            self._log_steps(name, norm_S.isfinite())


def _taken(rows: Rows, index: Sequence[Tensor], count: int) -> Rows:
    """The rows (P, B, ...) with these indices among each member's own ``count``."""
    flat = torch.cat([own_B + member * count for member, own_B in enumerate(index)])
    shape = (len(index), len(index[0]))
    taken = {key: torch.unflatten(column.index_select(0, flat), 0, shape) for key, column in rows.items()}
    return _by_decision(taken, 1) if DECIDED in taken else taken


def _by_decision(rows: Rows, units: int) -> Rows:
    """Columns of units, from (..., N, K, ...) to (..., N * K, ...); what was seen stays as networks take it."""
    return {key: own if key == Columns.OBS else own.flatten(units, units + 1) for key, own in rows.items()}


def _decided(rows: Rows) -> dict[str, Tensor]:
    """Columns (B, ...) without the decisions that there are not, and without what was seen."""
    return {key: own[rows[DECIDED]] for key, own in rows.items() if key not in (Columns.OBS, DECIDED)}


def _means(loss_PB: Tensor, rows: Rows) -> Tensor:
    """The mean of each member's rows, (P,)."""
    if DECIDED not in rows:
        return loss_PB.mean(dim=1)
    return torch.where(rows[DECIDED], loss_PB, 0.0).sum(dim=1) / rows[DECIDED].sum(dim=1).clamp(min=1)


def _taken_alone(rows: Rows, index_B: Tensor) -> dict[str, Tensor]:
    return {key: rows[key].index_select(0, index_B) for key in rows}
