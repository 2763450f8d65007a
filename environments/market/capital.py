"""Who gets how much capital: the budgets of the classes, and from them, or from the signals, each asset's sleeve."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from environments.market import allocation, coordination
from environments.market.config import ALLOCATOR
from environments.market.config_coordination import Centralized
from environments.market.feed import Rows
from environments.market.missing import left_out
from environments.market.state import State
from environments.market.world import World


def opened(world: World, per_asset_EN: Tensor) -> tuple[Tensor, Tensor]:
    """Budgets (E, K) and sleeves (E, N) when an episode begins.

    Args:
        world: The market.
        per_asset_EN: float64, 1 / the number of listed assets of the asset's class.
    """
    if isinstance(world.params.coordination, Centralized):
        return _one_book(world, world.start_N.expand_as(per_asset_EN), world.params.coordination.gross)
    budget_EK = world.budget_K.expand(len(per_asset_EN), -1)
    return budget_EK, allocation.sleeves(budget_EK, world.classes, per_asset_EN)


def divided(
    world: World, before: State, now: Rows, actions: Mapping[str, Tensor], signal_EN: Tensor, moved_EN: Tensor
) -> tuple[Tensor, Tensor]:
    """Budgets (E, K) and sleeves (E, N) of a decision.

    Args:
        world: The market.
        before: The state at the decision.
        now: Of the step that begins.
        actions: Of all groups; only an allocator's are read.
        signal_EN: float64, what is wanted of each asset, or held where nothing is asked for.
        moved_EN: bool, where something is asked for: one book stays as it is until then.
    """
    if not isinstance(world.params.coordination, Centralized):
        budget_EK = _budgets(world, before, actions)
        return budget_EK, allocation.sleeves(budget_EK, world.classes, now.per_asset_EN)
    budget_EK, sleeve_EN = _one_book(world, signal_EN, world.params.coordination.gross)
    asked_E1 = moved_EN.any(1, keepdim=True)
    return torch.where(asked_E1, budget_EK, before.budget_EK), torch.where(asked_E1, sleeve_EN, before.sleeve_EN)


def _budgets(world: World, before: State, actions: Mapping[str, Tensor]) -> Tensor:
    """Those of the allocator or of the performance, where it is time for new ones."""
    allocator, rule = world.params.allocator, world.params.adaptive_budgets
    if allocator is None and rule is None:
        return before.budget_EK
    given = allocator is None or ALLOCATOR in actions
    if (world.on_host or not given) and not bool(before.acts_E1.any()):
        return before.budget_EK
    if not given:
        raise left_out(ALLOCATOR)
    if allocator is not None:
        budget_EK = allocation.budgets(actions[ALLOCATOR].squeeze(1), allocator.sharpness)
    elif rule is not None:
        seen_EC = coordination.performance(before.class_mean_EC, before.class_variance_EC)
        budget_EK = coordination.performance_budgets(seen_EC, rule)
    return torch.where(before.acts_E1, budget_EK, before.budget_EK)


def _one_book(world: World, signal_EN: Tensor, gross: float) -> tuple[Tensor, Tensor]:
    """The shares of the classes in one book, what is left as cash, and its sleeves."""
    size_EN = signal_EN.abs() * world.sizing.size_N
    sleeve_E1 = coordination.one_book(size_EN, gross)
    budget_EC = world.classes.sums(size_EN) * sleeve_E1
    budget_EK = torch.cat([budget_EC, 1.0 - budget_EC.sum(1, keepdim=True)], dim=1)
    return budget_EK, sleeve_E1.expand_as(signal_EN)
