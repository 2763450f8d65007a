"""Capital: from the allocator's action to budgets of classes, from budgets to the sleeve of each asset."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from environments.market.risk import Classes


def budgets(action_EK: Tensor, sharpness: float) -> Tensor:
    """Budgets of the classes and of cash (last): softmax(sharpness x clip(action, -1, 1)), float64, rows sum to 1."""
    return torch.softmax(sharpness * action_EK.to(torch.float64).clamp(-1.0, 1.0), dim=1)


def equal_budgets(classes: int, *, with_cash: bool) -> Tensor:
    """Equal budgets, cash (last) among them or left with none: float64 (K,)."""
    budget_K = torch.ones(classes + 1, dtype=torch.float64)
    budget_K[-1] = float(with_cash)
    return budget_K / budget_K.sum()


def fixed_budgets(shares: Mapping[str, float], classes: tuple[str, ...]) -> Tensor:
    """Class -> share of the capital, the rest being cash (last): float64 (K,)."""
    given = [shares[name] for name in classes]
    return torch.tensor([*given, max(0.0, 1.0 - math.fsum(given))], dtype=torch.float64)


def sleeves(budget_EK: Tensor, classes: Classes, per_asset_EN: Tensor) -> Tensor:
    """The sleeve of each asset: its class's budget divided by the assets listed in the class.

    Args:
        budget_EK: float64.
        classes: Which asset is of which class.
        per_asset_EN: float64, 1 / the number of listed assets of the asset's class.

    Returns:
        float64 (E, N), a share of the portfolio's value.
    """
    return classes.spread(budget_EK) * per_asset_EN
