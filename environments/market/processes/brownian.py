"""Brownian motion, arithmetic or geometric (Black and Scholes 1973; Merton 1969), of correlated assets.

dP = mu dt + sigma dW        arithmetic
dP / P = mu dt + sigma dW    geometric, stepped exactly: P' = P exp((mu - sigma^2 / 2) dt + sigma (W' - W))
"""

from __future__ import annotations

import math
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from environments import base
from environments.market.processes.base import Process
from environments.market.processes.matrices import PerAsset, Row, applied, covariance, vector


class BrownianParams(base.Params):
    """Of N assets, all per unit of time.

    Attributes:
        assets: N.
        price: At the start; one for all, or one for each asset.
        mu: Drift, in money (arithmetic) or as a share of the price (geometric).
        sigma: Standard deviation of that.
        correlation: N x N, with ones on the diagonal; none: the assets move on their own.
        geometric: Whether it is returns, not price changes, that are alike over time. Prices stay positive then.
    """

    assets: Annotated[int, Field(ge=1)] = 1
    price: PerAsset = 100.0
    mu: PerAsset = 0.0
    sigma: PerAsset = 1.0
    correlation: tuple[Row, ...] | None = None
    geometric: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        price_N = vector("price", self.price, self.assets)
        vector("mu", self.mu, self.assets)
        if not (vector("sigma", self.sigma, self.assets) >= 0).all():
            raise ValueError(f"sigma is {self.sigma}; it is a standard deviation, at least 0")
        if self.geometric and not (price_N > 0).all():
            raise ValueError(f"price is {self.price}; a geometric price starts above 0")
        if not torch.allclose(self.correlations().diagonal(), torch.ones((), dtype=torch.float64)):
            raise ValueError("correlation must have ones on its diagonal; the standard deviations belong in sigma")
        return self

    def correlations(self) -> Tensor:
        """The correlation matrix, float64 (N, N)."""
        return covariance("correlation", 1.0 if self.correlation is None else self.correlation, self.assets)


class Brownian(Process):
    """See the module."""

    Params = BrownianParams
    hidden = 0
    features = ()
    shared = ()

    def __init__(self, params: BrownianParams, *, years: float, device: str) -> None:
        self.assets = self.draws = params.assets
        self.positive = params.geometric
        sigma_N = vector("sigma", params.sigma, params.assets) * math.sqrt(years)
        correlation_NN = params.correlations()
        self._start_N = vector("price", params.price, params.assets).to(device)
        self._drift_N = (vector("mu", params.mu, params.assets) * years).to(device)
        self._variance_N = sigma_N.square().to(device)
        self._covariance_NN = (sigma_N * correlation_NN * sigma_N[:, None]).to(device)
        self._root_NN = (sigma_N[:, None] * torch.linalg.cholesky(correlation_NN)).to(device)

    def start(self, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """The same prices in every copy; nothing is hidden."""
        return self._start_N.expand(len(normal_EX), -1).clone(), normal_EX[:, :0]

    def step(self, price_EN: Tensor, hidden_EK: Tensor, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """Exact for a bar of any length."""
        shock_EN = applied(self._root_NN, normal_EX)
        if self.positive:
            return self.expected(price_EN, hidden_EK) * (shock_EN - self._variance_N / 2).exp(), hidden_EK
        return self.expected(price_EN, hidden_EK) + shock_EN, hidden_EK

    def expected(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """P + mu dt, or P exp(mu dt)."""
        return price_EN * self._drift_N.exp() if self.positive else price_EN + self._drift_N

    def variance(self, position_EN: Tensor, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """Cov is that of normal price changes, or of lognormal prices."""
        if not self.positive:
            return position_EN * applied(self._covariance_NN, position_EN)
        value_EN = position_EN * self.expected(price_EN, hidden_EK)
        return value_EN * applied(self._covariance_NN.expm1(), value_EN)

    def observe(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """Nothing is to be seen: what comes does not depend on what was."""
        return price_EN.new_empty((*price_EN.shape, 0))

    def observe_shared(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """Nothing."""
        return price_EN.new_empty((len(price_EN), 0))
