"""What agents see: features of prices, computed once for all bars, and the state of the portfolio.

Every number is known at the close of the bar.
"""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.feed import Feed

TRADER_FEATURES = (
    "signal_held",  # what is held, or stands as an order, as a share of the sleeve
    "sleeve",  # the sleeve: 1 is an equal share of the portfolio
    "unrealised_return",  # since the position was opened, before costs, clipped to [-1, 1]
    "order_pending",  # 1 while an order waits for the asset's next bar
    "portfolio_drawdown",  # 1 - value / running peak
    "class_exposure",  # sum of absolute weights in the class
)

CONSENSUS = "consensus"  # mean of what the asset's traders said last, as a share of a full position
TIME_LEFT = "time_left"  # of a finite horizon: 1 at the start, 0 at the end


TINY = 1e-100  # a price, for a division: one that is 0 gives no NaN


def allocator_features(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what the allocator sees of the portfolio."""
    budgets = (f"budget/{name}" for name in (*classes, "cash"))
    return (*budgets, *(f"exposure/{name}" for name in classes), "portfolio_drawdown", "gross")


def performance_features(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of how the classes have performed (see ``coordination.performance``)."""
    return tuple(f"performance/{name}" for name in classes)


def coordination_features(asset_class: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what traders of a class see of the others: budget, exposures, performances."""
    others = (f"exposure/{name}" for name in classes if name != asset_class)
    return ("class_budget", *others, *performance_features(classes))


def seen_of(asset_class: str, feed: Feed, params: MarketParams) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of what is seen of each asset of a class, and of the class as a whole."""
    own, shared = (*feed.asset_names[asset_class], *TRADER_FEATURES), feed.shared_names[asset_class]
    if params.observes_coordination:
        own, shared = (*own, CONSENSUS), (*shared, *coordination_features(asset_class, feed.listing.classes))
    return own, (*shared, TIME_LEFT) if params.finite else shared


def unrealised(shares_EN: Tensor, price_EN: Tensor, entry_EN: Tensor, *, positive: bool = False) -> Tensor:
    """Return of each position since it was opened, clipped to [-1, 1]; 0 where nothing is held.

    Of the size of the price it was opened at: simulated prices may be 0 or below (not ``positive``).
    """
    size_EN = entry_EN if positive else entry_EN.abs().clamp(min=TINY)
    return ((price_EN - entry_EN) / size_EN).clamp(-1.0, 1.0) * shares_EN.sign()


def of_allocator(
    market_EF: Tensor, budget_EK: Tensor, exposure_EC: Tensor, drawdown_E1: Tensor, rank_EC: Tensor
) -> Tensor:
    """What the allocator sees, the classes' performances last, if there are any: float32 (E, 1, F)."""
    gross_E1 = exposure_EC.sum(1, keepdim=True)
    portfolio = torch.cat([budget_EK, exposure_EC, drawdown_E1, gross_E1, rank_EC], dim=1).to(torch.float32)
    return torch.cat([market_EF, portfolio], dim=1).unsqueeze(1)
