"""The contract of a price process: one file with one subclass makes a new one."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from torch import Tensor

from environments import base


class Process(abc.ABC):
    """Prices of N assets, bar by bar, and the K hidden columns (signals) that drive them, in E copies.

    All tensors are float64. A process draws nothing itself: it is given standard normal numbers, so that a copy's path
    follows from its seed alone. Rows must not depend on E: sum products, multiply no matrices.

    Attributes:
        assets: N.
        hidden: K; may be 0.
        draws: X, the standard normal numbers that a bar (or the start) uses up.
        features: Names of what is seen of each asset.
        shared: Names of what is seen of the class as a whole.
        positive: Prices stay above 0, so that what is held can be sized as a share of the portfolio.
    """

    Params: ClassVar[type[base.Params]]

    assets: int
    hidden: int
    draws: int
    features: tuple[str, ...]
    shared: tuple[str, ...]
    positive: bool

    @abc.abstractmethod
    def __init__(self, params: Any, *, years: float, device: str) -> None:
        """Takes a validated ``Params`` and the length of a bar, in the unit of time of the parameters."""

    @abc.abstractmethod
    def start(self, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """Prices (E, N) and hidden columns (E, K) at the start of an episode."""

    @abc.abstractmethod
    def step(self, price_EN: Tensor, hidden_EK: Tensor, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """Prices and hidden columns one bar later."""

    @abc.abstractmethod
    def expected(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """What the next prices are expected to be, all of the present being known: (E, N)."""

    @abc.abstractmethod
    def variance(self, position_EN: Tensor, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """What each position brings to the variance of the next bar's profit: x_i (Cov x)_i, (E, N).

        Args:
            position_EN: x, in shares.
            price_EN: Of now; Cov is that of the next bar's price changes, all of the present being known.
            hidden_EK: Of now.
        """

    @abc.abstractmethod
    def observe(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """The ``features``, numbers of order 1: (E, N, F)."""

    @abc.abstractmethod
    def observe_shared(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """The ``shared`` features, numbers of order 1: (E, G)."""
