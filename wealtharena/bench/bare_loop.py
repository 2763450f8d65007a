"""The ceiling: PPO's updates in a plain torch loop, without Ray, RLlib or sampling.

What a team's members do in an iteration, on data that is there already: epochs over minibatches of the same size, the
clipped loss, the critic's loss and the entropy, gradients clipped by their norm, a fused Adam. The networks of M
modules are products of tensors whose first dimension is M: M times one module is the sequential form, once M modules
the stacked one. Both do the same arithmetic.

M modules, B rows of a minibatch, R rows of an iteration, F features, H units, A actions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.ppo import PPOParams


@dataclass(frozen=True)
class Batch:
    """The rows of an iteration; each tensor is (M, R, ...)."""

    obs: Tensor
    action: Tensor
    logp: Tensor
    advantage: Tensor
    value_target: Tensor

    @classmethod
    def drawn(cls, *, modules: int, rows: int, features: int, actions: int, seed: int) -> Batch:
        """Rows such as a policy would leave that knows nothing yet."""
        generator = torch.Generator().manual_seed(seed)
        shape = (modules, rows)
        return cls(
            obs=torch.randn((*shape, features), generator=generator),
            action=torch.randint(actions, shape, generator=generator),
            logp=torch.full(shape, -math.log(actions)),
            advantage=torch.randn(shape, generator=generator),
            value_target=torch.randn(shape, generator=generator),
        )

    def of_modules(self, chosen: slice) -> Batch:
        """The rows of some modules."""
        return Batch(*(column[chosen] for column in vars(self).values()))

    def rows(self, chosen_B: Tensor) -> Batch:
        """Some rows, the same of each module."""
        return Batch(*(column.index_select(1, chosen_B) for column in vars(self).values()))


class Perceptrons(nn.Module):
    """M multilayer perceptrons of one shape."""

    def __init__(self, modules: int, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        shapes = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList(_drawn((modules, *shape), generator) for shape in shapes)
        self.biases = nn.ParameterList(torch.zeros(modules, 1, wide) for _, wide in shapes)

    def forward(self, hidden: Tensor) -> Tensor:
        """(M, B, F) to the last layer's (M, B, ...), which is linear."""
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if index < last:
                hidden = torch.tanh(hidden)
        return hidden


class ActorCritics(nn.Module):
    """M policies over A actions, each with a critic."""

    def __init__(self, modules: int, features: int, actions: int, hidden: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.policy = Perceptrons(modules, (features, *hidden, actions), generator)
        self.critic = Perceptrons(modules, (features, *hidden, 1), generator)

    def loss(self, batch: Batch, params: PPOParams) -> Tensor:
        """PPO's loss of each module, (M,): Schulman et al. 2017, equations 7 and 9."""
        logp_MBA = functional.log_softmax(self.policy(batch.obs), dim=-1)
        logp_MB = logp_MBA.gather(-1, batch.action.unsqueeze(-1)).squeeze(-1)
        ratio_MB = torch.exp(logp_MB - batch.logp)
        clipped_MB = ratio_MB.clamp(1 - params.clip, 1 + params.clip)
        gain_MB = torch.minimum(batch.advantage * ratio_MB, batch.advantage * clipped_MB)
        error_MB = (self.critic(batch.obs).squeeze(-1) - batch.value_target).square()
        if params.value_clip is not None:
            error_MB = error_MB.clamp(max=params.value_clip)
        entropy_MB = -(logp_MBA.exp() * logp_MBA).sum(-1)
        return (params.value_coeff * error_MB - gain_MB - params.entropy_coeff * entropy_MB).mean(1)


class Learner:
    """Updates M modules at the same time."""

    def __init__(self, models: ActorCritics, params: PPOParams) -> None:
        self._models, self._params = models, params
        self._optimiser = torch.optim.Adam(models.parameters(), lr=params.lr, fused=True)

    def learn(self, batch: Batch, generator: torch.Generator) -> None:
        """One iteration's updates."""
        rows = batch.obs.shape[1]
        for _ in range(self._params.epochs):
            shuffled_R = torch.randperm(rows, generator=generator)
            for start in range(0, rows, self._params.minibatch_size):
                self._step(batch.rows(shuffled_R[start : start + self._params.minibatch_size]))

    def _step(self, minibatch: Batch) -> None:
        self._optimiser.zero_grad()
        torch.autograd.backward(self._models.loss(minibatch, self._params).sum())
        if self._params.grad_clip is not None:
            clip_each(self._models, self._params.grad_clip)
        self._optimiser.step()


def clip_each(models: ActorCritics, largest: float) -> None:
    """Scales the gradient of each module to a norm of at most ``largest``."""
    gradients = [parameter.grad for parameter in models.parameters() if parameter.grad is not None]
    square_M = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)
    scale_M = (largest / (square_M.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale_M.view(-1, 1, 1))


class BareLoop:
    """Iterations of updates on the rows of M modules, in one of the two forms."""

    def __init__(self, batch: Batch, params: PPOParams, *, actions: int, stacked: bool) -> None:
        modules, _, features = batch.obs.shape
        width = modules if stacked else 1
        starts = range(0, modules, width)
        self._rows = batch.action.numel()
        self._batches = [batch.of_modules(slice(start, start + width)) for start in starts]
        models = [ActorCritics(width, features, actions, params.hidden, seed=start) for start in starts]
        self._learners = [Learner(model, params) for model in models]
        self._generator = torch.Generator().manual_seed(0)

    def iterate(self) -> int:
        """One iteration's updates; says of how many rows, all modules together."""
        for learner, batch in zip(self._learners, self._batches, strict=True):
            learner.learn(batch, self._generator)
        return self._rows


def _drawn(shape: tuple[int, int, int], generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=generator) / math.sqrt(shape[1]))
