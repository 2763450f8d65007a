"""Where a market's prices come from, as the steps see it: a panel's tables, or a simulation."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from environments.market.alignment import Ints
from environments.market.state import State
from environments.random import Seed


class Listing(Protocol):
    """What is traded; a ``Panel`` is one.

    Attributes:
        symbols: N names, contiguous by class.
        classes: C names.
        class_N: int64, index into ``classes``.
    """

    @property
    def symbols(self) -> tuple[str, ...]:
        """See above."""

    @property
    def classes(self) -> tuple[str, ...]:
        """See above."""

    @property
    def class_N(self) -> Ints:
        """See above."""


@dataclass(frozen=True)
class Rows:
    """What the step from bar t to bar t + 1 needs, of each copy.

    Attributes:
        open_EN: float64, at t + 1.
        close_EN: float64, at t + 1, before any permanent impact of what is traded at the open.
        slope_EN: float64, impact as known at t (see ``execution.impact_slope``); None: there is none.
        per_asset_EN: float64, 1 / listed assets of the asset's class at t.
        years_E: float64, calendar time from t to t + 1.
        active_EN: bool, the asset's agents decide at t.
        listed_EN: bool, at t.
        trades_EN: bool, the asset has a bar of its own at t + 1.
        settles_EN: bool, the asset is closed out at t + 1; None: none ever is.
        expected_EN: float64, what ``close_EN`` was expected to be at t; where that is known.
        hidden_EK: float64, the hidden columns at t + 1; of a panel there are none.
        chance_EN2: float64, uniform in [0, 1): the luck of bids and asks, where there are any.
        low_EN: float64, lowest price of t + 1; where somebody makes a market, as the next two.
        high_EN: float64, highest price of t + 1.
        volatility_EN: float64, per own bar, as known at t.
    """

    open_EN: Tensor
    close_EN: Tensor
    slope_EN: Tensor | None
    per_asset_EN: Tensor
    years_E: Tensor
    active_EN: Tensor
    listed_EN: Tensor
    trades_EN: Tensor
    settles_EN: Tensor | None
    expected_EN: Tensor | None = None
    hidden_EK: Tensor | None = None
    chance_EN2: Tensor | None = None
    low_EN: Tensor | None = None
    high_EN: Tensor | None = None
    volatility_EN: Tensor | None = None


@dataclass(frozen=True)
class Opening:
    """How an episode begins.

    Attributes:
        bar_E: int64, its first bar.
        end_E: int64, the bar at which it ends.
        price_EN: float64, closes at the first bar.
        hidden_EK: float64, hidden columns.
    """

    bar_E: Tensor
    end_E: Tensor
    price_EN: Tensor
    hidden_EK: Tensor


class Feed(abc.ABC):
    """Prices and what is seen of them.

    Attributes:
        overnight: Time passes between a close and the next open, and what is held then accrues; otherwise what is held
            once orders are filled does.
        listing: What is traded.
        window: First and last bar that an episode may touch.
        asset_names: Class -> names of what is seen of each of its assets.
        shared_names: Class -> names of what is seen of it as a whole.
        class_names: Names of what the allocator sees, one class after the other.
        always_N: bool, the asset's agents decide at every bar of the window.
        positive: Prices are above 0.
    """

    overnight: ClassVar[bool]

    listing: Listing
    window: tuple[int, int]
    asset_names: Mapping[str, tuple[str, ...]]
    shared_names: Mapping[str, tuple[str, ...]]
    class_names: tuple[str, ...]
    always_N: Tensor
    positive: bool

    @abc.abstractmethod
    def open(self, seed: Seed, copy_E: Tensor, episode_E: Tensor) -> Opening:
        """The beginning of an episode of each copy.

        Args:
            seed: Of all randomness.
            copy_E: int64, which copies: all of them or a few.
            episode_E: int64, episodes of each of these before this one.
        """

    @abc.abstractmethod
    def rows(self, seed: Seed, state: State) -> Rows:
        """The rows of the step that begins now."""

    @abc.abstractmethod
    def per_asset(self, bar_E: Tensor) -> Tensor:
        """1 / listed assets of each asset's class: float64 (E, N)."""

    @abc.abstractmethod
    def surprise(self, state: State, now: Rows) -> Tensor:
        """The log return from this close to the next one, in volatilities as known now: float64 (E, N)."""

    @abc.abstractmethod
    def variance(self, state: State, position_EN: Tensor) -> Tensor:
        """What each position (in shares) brings to the variance of the coming bar's profit: float64 (E, N).

        Only asked of prices whose law is known.
        """

    @abc.abstractmethod
    def observe(self, state: State, portfolio_EPN: Tensor) -> dict[str, Tensor]:
        """Class -> what its traders see of each asset: float32 (E, n, F), the portfolio's columns last.

        Args:
            state: Of now.
            portfolio_EPN: float32, a row for each of ``observations.TRADER_FEATURES``.
        """

    @abc.abstractmethod
    def observe_shared(self, state: State) -> dict[str, Tensor]:
        """Class -> what is seen of it as a whole: float32 (E, G); a class of which there is nothing is left out."""

    @abc.abstractmethod
    def overview(self, state: State) -> Tensor:
        """What the allocator sees of all classes: float32 (E, F)."""
