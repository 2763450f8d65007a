"""Prices driven by signals that fade (Garleanu and Pedersen 2013, "Dynamic Trading with Predictable Returns", eq. 1-2).

    dP = B f + u             u ~ N(0, Sigma)       arithmetic
    P' = P (1 + B f) exp(u - diag(Sigma) / 2)      geometric
    f' = (I - Phi) f + e     e ~ N(0, Omega)

f is known before the price change that it drives. In a geometric price, 1 + B f is at least ``MIN_GROWTH``. All
parameters are per bar, whatever the bar's length.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor

from environments import base
from environments.market.processes.base import Process
from environments.market.processes.matrices import (
    Matrix,
    PerAsset,
    Row,
    applied,
    covariance,
    rectangle,
    spectral_radius,
    square,
    stationary,
    vector,
)

MIN_GROWTH = 1e-3  # of a geometric price, the least that its signals leave within a bar: it stays positive


class SignalParams(base.Params):
    """Of N assets and K signals: N is the number of rows of ``loading``, K that of its columns.

    Attributes:
        price: At the start; one for all, or one for each asset.
        loading: B, N x K; a number where both are 1.
        decay: Phi, K x K, or K numbers (its diagonal), or one for all signals.
        innovation: Omega, the covariance of the signals' shocks, in the same forms as ``decay``.
        covariance: Sigma, the covariance of the assets' own shocks, N x N, or N variances, or one for all.
        geometric: Whether signals and shocks are returns, not price changes. Prices stay positive then.
    """

    price: PerAsset = 100.0
    loading: float | tuple[Row, ...] = 1.0
    decay: Matrix = 0.1
    innovation: Matrix = 0.0019
    covariance: Matrix = 1.0
    geometric: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """N and K."""
        return (1, 1) if isinstance(self.loading, float) else (len(self.loading), len(self.loading[0]))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.loading, tuple) and not (self.loading and self.loading[0]):
            raise ValueError("loading is empty; give a row for each asset and in it a number for each signal")
        assets, signals = self.shape
        self.loadings()
        price_N = vector("price", self.price, assets)
        covariance("covariance", self.covariance, assets)
        covariance("innovation", self.innovation, signals)
        if (radius := spectral_radius(self.transition())) >= 1.0:
            raise ValueError(f"decay makes I - decay grow (spectral radius {radius:g}); signals fade only below 1")
        if self.geometric and not (price_N > 0).all():
            raise ValueError(f"price is {self.price}; a geometric price starts above 0")
        return self

    def loadings(self) -> Tensor:
        """B, float64 (N, K)."""
        rows = ((self.loading,),) if isinstance(self.loading, float) else self.loading
        return rectangle("loading", rows, *self.shape)

    def transition(self) -> Tensor:
        """I - Phi, float64 (K, K)."""
        return torch.eye(self.shape[1], dtype=torch.float64) - square("decay", self.decay, self.shape[1])


class SignalDriven(Process):
    """See the module. Agents see each signal in units of its stationary deviation."""

    Params = SignalParams
    features = ()

    def __init__(self, params: SignalParams, *, years: float, device: str) -> None:
        self.assets, self.hidden = params.shape
        self.draws = self.hidden + self.assets
        self.positive = params.geometric
        self.shared = tuple(f"signal_{k + 1}" for k in range(self.hidden))
        transition_KK = params.transition()
        innovation_KK = covariance("innovation", params.innovation, self.hidden)
        stationary_KK = stationary(transition_KK, innovation_KK)
        covariance_NN = covariance("covariance", params.covariance, self.assets)
        self._start_N = vector("price", params.price, self.assets).to(device)
        self._loading_NK = params.loadings().to(device)
        self._transition_KK = transition_KK.to(device)
        self._covariance_NN = covariance_NN.to(device)
        self._deviation_K = stationary_KK.diagonal().sqrt().to(device)
        self._first_KK = torch.linalg.cholesky(stationary_KK).to(device)
        self._shock_KK = torch.linalg.cholesky(innovation_KK).to(device)
        self._shock_NN = torch.linalg.cholesky(covariance_NN).to(device)

    def start(self, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """The same prices in every copy; the signals as they are at any time."""
        hidden_EK = applied(self._first_KK, normal_EX[:, : self.hidden])
        return self._start_N.expand(len(normal_EX), -1).clone(), hidden_EK

    def step(self, price_EN: Tensor, hidden_EK: Tensor, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """The price change follows from the signals of now; the signals then fade."""
        shock_EN = applied(self._shock_NN, normal_EX[:, self.hidden :])
        next_EK = applied(self._transition_KK, hidden_EK) + applied(self._shock_KK, normal_EX[:, : self.hidden])
        expected_EN = self.expected(price_EN, hidden_EK)
        if self.positive:
            return expected_EN * (shock_EN - self._covariance_NN.diagonal() / 2).exp(), next_EK
        return expected_EN + shock_EN, next_EK

    def expected(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """P + B f, or P (1 + B f)."""
        drift_EN = applied(self._loading_NK, hidden_EK)
        return price_EN * (1.0 + drift_EN).clamp(min=MIN_GROWTH) if self.positive else price_EN + drift_EN

    def variance(self, position_EN: Tensor, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """Cov is Sigma, or that of lognormal prices."""
        if not self.positive:
            return position_EN * applied(self._covariance_NN, position_EN)
        value_EN = position_EN * self.expected(price_EN, hidden_EK)
        return value_EN * applied(self._covariance_NN.expm1(), value_EN)

    def observe(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """Nothing is to be seen of one asset alone."""
        return price_EN.new_empty((*price_EN.shape, 0))

    def observe_shared(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """The signals, in their stationary deviations: (E, K)."""
        return hidden_EK / self._deviation_K
