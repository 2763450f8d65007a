"""Prices that return to a level: the deviation x is a first-order autoregression (Vasicek 1977, in discrete time).

    x' = phi x + N(0, innovation^2)
    P = level + x           arithmetic
    P = level exp(x)        geometric

Prices move by what x moves, so a price that trading pushed away stays pushed. All parameters are per bar, whatever the
bar's length.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from torch import Tensor

from environments import base
from environments.market.processes.base import Process
from environments.market.processes.matrices import PerAsset, vector


class AutoRegressiveParams(base.Params):
    """Of N assets that move on their own; each parameter one for all, or one for each asset.

    Attributes:
        assets: N.
        level: What prices return to.
        phi: The share of a deviation that is left one bar later.
        innovation: Standard deviation of a bar's shock, in money (arithmetic) or as a log return (geometric).
        geometric: Whether it is the logarithm that deviates. Prices stay positive then.
    """

    assets: Annotated[int, Field(ge=1)] = 1
    level: PerAsset = 100.0
    phi: PerAsset = 0.95
    innovation: PerAsset = 1.0
    geometric: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        level_N = vector("level", self.level, self.assets)
        if not (vector("phi", self.phi, self.assets).abs() < 1).all():
            raise ValueError(f"phi is {self.phi}; a deviation fades only with phi above -1 and below 1")
        if not (vector("innovation", self.innovation, self.assets) > 0).all():
            raise ValueError(f"innovation is {self.innovation}; it is a standard deviation above 0")
        if self.geometric and not (level_N > 0).all():
            raise ValueError(f"level is {self.level}; the level of a geometric price is above 0")
        return self


class AutoRegressive(Process):
    """See the module. Agents see each asset's deviation in units of its stationary one."""

    Params = AutoRegressiveParams
    features = ("deviation",)
    shared = ()

    def __init__(self, params: AutoRegressiveParams, *, years: float, device: str) -> None:
        self.assets = self.hidden = self.draws = params.assets
        self.positive = params.geometric
        phi_N = vector("phi", params.phi, params.assets)
        innovation_N = vector("innovation", params.innovation, params.assets)
        self._level_N = vector("level", params.level, params.assets).to(device)
        self._phi_N = phi_N.to(device)
        self._innovation_N = innovation_N.to(device)
        self._deviation_N = (innovation_N / (1 - phi_N.square()).sqrt()).to(device)

    def start(self, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """Deviations as they are at any time."""
        hidden_EN = self._deviation_N * normal_EX
        return (self._level_N * hidden_EN.exp() if self.positive else self._level_N + hidden_EN), hidden_EN

    def step(self, price_EN: Tensor, hidden_EK: Tensor, normal_EX: Tensor) -> tuple[Tensor, Tensor]:
        """The price moves by what its deviation moves."""
        next_EN = self._phi_N * hidden_EK + self._innovation_N * normal_EX
        move_EN = next_EN - hidden_EK
        return (price_EN * move_EN.exp() if self.positive else price_EN + move_EN), next_EN

    def expected(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """P + (phi - 1) x, or P exp((phi - 1) x + innovation^2 / 2)."""
        drift_EN = (self._phi_N - 1.0) * hidden_EK
        if self.positive:
            return price_EN * (drift_EN + self._innovation_N.square() / 2).exp()
        return price_EN + drift_EN

    def variance(self, position_EN: Tensor, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """The assets move on their own: only the diagonal of Cov counts."""
        if not self.positive:
            return (position_EN * self._innovation_N).square()
        value_EN = position_EN * self.expected(price_EN, hidden_EK)
        return value_EN.square() * self._innovation_N.square().expm1()

    def observe(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """The deviation x in units of its stationary one: (E, N, 1)."""
        return (hidden_EK / self._deviation_N).unsqueeze(-1)

    def observe_shared(self, price_EN: Tensor, hidden_EK: Tensor) -> Tensor:
        """Nothing."""
        return price_EN.new_empty((len(price_EN), 0))
