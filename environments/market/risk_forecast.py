"""What is known at a close of the risk of the coming bar.

Of a panel, with exponential weights and mean 0 (RiskMetrics Technical Document, 4th ed. 1996, sec. 5.2):

    G_t = q G_{t-1} + (1 - q) r_t r_t'      q = 0.5^(1 / half_life), r_t simple returns from close to close
    C_t,ij = G_t,ij / sqrt(W_t,i W_t,j)     W_t,i the weight of the bars since the asset's second own bar
    v_t,i = sqrt(G_t,ii / Y_t,i)            Y_t,i the same weighted time, in years

All bars of the union calendar count; where an asset has none of its own its return is 0, and what it missed comes with
its next bar. Dividing by W makes variances unbiased however young the asset is, and leaves C positive semidefinite
(it is D G D); a covariance with a younger asset is pulled towards 0. Simulated prices know their own covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from environments.errors import DataError
from environments.market.alignment import Bools, Floats
from environments.market.config_risk import RiskParams
from environments.market.feed import Feed
from environments.market.history import age_TN, year_fraction_T
from environments.market.panel import Panel
from environments.market.state import State

MAX_BYTES = 2**31  # of all covariances


class Forecast(Protocol):
    """The risk of the coming bar. Weights are shares of the portfolio's value."""

    def volatility(self, state: State) -> Tensor:
        """Standard deviation of each asset's return, per year: float64 (E, N); 0 where nothing is known."""

    def variance(self, state: State) -> Tensor:
        """C_ii, of the coming bar: float64 (E, N)."""

    def shared(self, state: State, weight_EN: Tensor) -> Tensor:
        """What each position brings to the variance of the book, w_i (C w)_i: float64 (E, N)."""

    def losses(self, state: State, weight_EN: Tensor) -> Tensor:
        """What these weights would have lost in each of the last bars, the last one first: float64 (E, W)."""


@dataclass(frozen=True)
class PanelForecast:
    """Tables over the bars of the window, the same for all copies.

    Attributes:
        first: The bar of the first row of all but ``return_TN``.
        volatility_TN: float64, per year.
        covariance_TNN: float64, of a bar; without rows where nothing asks for it.
        return_TN: float64, over all bars.
        window: Bars that ``losses`` looks at.
    """

    first: int
    volatility_TN: Tensor
    covariance_TNN: Tensor
    return_TN: Tensor
    window: int

    def volatility(self, state: State) -> Tensor:
        """See ``Forecast``."""
        return self.volatility_TN.index_select(0, state.bar_E - self.first)

    def variance(self, state: State) -> Tensor:
        """See ``Forecast``."""
        return self._covariance(state).diagonal(dim1=1, dim2=2)

    def shared(self, state: State, weight_EN: Tensor) -> Tensor:
        """See ``Forecast``; sums of products, so that a copy does not depend on E."""
        return weight_EN * (self._covariance(state) * weight_EN.unsqueeze(1)).sum(2)

    def losses(self, state: State, weight_EN: Tensor) -> Tensor:
        """See ``Forecast``; before the first bar nothing was lost."""
        ago_W = torch.arange(self.window, device=weight_EN.device)
        bar_EW = (state.bar_E.unsqueeze(1) - ago_W).clamp(min=0)
        return -(self.return_TN[bar_EW] * weight_EN.unsqueeze(1)).sum(2)

    def _covariance(self, state: State) -> Tensor:
        return self.covariance_TNN.index_select(0, state.bar_E - self.first)


@dataclass(frozen=True)
class KnownForecast:
    """Of simulated prices, whose law is known.

    Attributes:
        feed: Tells the variance of a book of shares.
        years: Length of a bar.
    """

    feed: Feed
    years: float

    def volatility(self, state: State) -> Tensor:
        """See ``Forecast``."""
        return (self.variance(state) / self.years).sqrt()

    def variance(self, state: State) -> Tensor:
        """See ``Forecast``; asked of one asset after the other."""
        price_EN = state.book.price_EN
        alone = [self.feed.variance(state, one_N.expand_as(price_EN)).sum(1) for one_N in _one_each(price_EN)]
        return (torch.stack(alone, dim=1) / price_EN.square()).nan_to_num(0.0, posinf=0.0)

    def shared(self, state: State, weight_EN: Tensor) -> Tensor:
        """See ``Forecast``."""
        value_EN = weight_EN * state.nav_E.unsqueeze(1)
        shares_EN = (value_EN / state.book.price_EN).nan_to_num(0.0, posinf=0.0, neginf=0.0)
        return self.feed.variance(state, shares_EN) / state.nav_E.square().unsqueeze(1)

    def losses(self, state: State, weight_EN: Tensor) -> Tensor:
        """Simulated prices have no past: ``MarketParams`` refuses what would ask."""
        raise NotImplementedError("a simulation does not say what was lost in its last bars")


def _one_each(price_EN: Tensor) -> Tensor:
    return torch.eye(price_EN.shape[1], dtype=torch.float64, device=price_EN.device)


def forecast(feed: Feed, params: RiskParams, years: float, device: str) -> Forecast:
    """What the limits of ``params`` ask of the prices of a feed.

    Args:
        feed: Where prices come from.
        params: Of risk.
        years: Length of a bar, of simulated prices.
        device: Where tensors live.

    Raises:
        DataError: The covariances of all bars would not fit.
    """
    if not isinstance(feed.listing, Panel):
        return KnownForecast(feed, years)
    return _of_panel(feed.listing, feed.window, params, device)


def _of_panel(panel: Panel, window: tuple[int, int], params: RiskParams, device: str) -> PanelForecast:
    decay = 0.5 ** (1.0 / params.half_life)
    first, last = window
    assets = len(panel.symbols)
    covariance = np.empty((0, assets, assets))
    if params.parametric or params.diversification:
        _check_size(last + 1 - first, assets)
        covariance = covariance_TNN(panel, decay, first)

    def tensor(table: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(table)).to(device)

    return PanelForecast(
        first=first,
        volatility_TN=tensor(volatility_TN(panel, decay)[first:]),
        covariance_TNN=tensor(covariance),
        return_TN=tensor(returns_TN(panel)),
        window=max((tail.window for tail in params.historical.values()), default=0),
    )


def _check_size(bars: int, assets: int) -> None:
    if (size := 8 * bars * assets**2) > MAX_BYTES:
        raise DataError(
            f"risk: the covariances of {assets} assets at {bars} bars take {size / 2**30:.1f} GiB, and "
            f"{MAX_BYTES / 2**30:g} are allowed; shorten window, or leave var_parametric, cvar_parametric and "
            "diversification away (var_historical and cvar_historical keep none)"
        )


def returns_TN(panel: Panel) -> Floats:
    """Simple returns from close to close, 0 up to an asset's first own bar: float64 (T, N)."""
    return_TN = np.zeros_like(panel.close_TN)
    return_TN[1:] = panel.close_TN[1:] / panel.close_TN[:-1] - 1.0
    return np.where(_known_TN(panel), return_TN, 0.0)


def volatility_TN(panel: Panel, decay: float) -> Floats:
    """Standard deviations per year: float64 (T, N), 0 while nothing is known."""
    years_T1 = np.concatenate([[0.0], year_fraction_T(panel)[:-1]])[:, None]
    time_TN = np.where(_known_TN(panel), years_T1, 0.0)
    square_TN, spent_TN = (_faded(value_TN, decay) for value_TN in (returns_TN(panel) ** 2, time_TN))
    return np.sqrt(np.divide(square_TN, spent_TN, out=np.zeros_like(square_TN), where=spent_TN > 0))


def covariance_TNN(panel: Panel, decay: float, first: int) -> Floats:
    """Covariances of a bar's returns, from bar ``first`` on: float64 (T - first, N, N), 0 while nothing is known."""
    weight_TN = _faded(_known_TN(panel).astype(np.float64), decay)
    scale_TN = 1.0 / np.sqrt(np.where(weight_TN > 0, weight_TN, np.inf))
    bars, assets = panel.close_TN.shape
    found_TNN, running_NN = np.empty((bars - first, assets, assets)), np.zeros((assets, assets))
    for bar, return_N in enumerate(returns_TN(panel)):
        running_NN = decay * running_NN + (1.0 - decay) * np.outer(return_N, return_N)
        if bar >= first:
            found_TNN[bar - first] = running_NN * np.outer(scale_TN[bar], scale_TN[bar])
    return found_TNN


def _known_TN(panel: Panel) -> Bools:
    """Where an asset has a return: it had a bar of its own before."""
    return np.concatenate([np.zeros_like(panel.traded_TN[:1]), age_TN(panel)[:-1] > 0])


def _faded(value_TN: Floats, decay: float) -> Floats:
    """Exponentially weighted sums of what was up to bar t: float64 (T, N)."""
    found_TN, running_N = np.empty_like(value_TN), np.zeros(value_TN.shape[1])
    for bar, value_N in enumerate(value_TN):
        found_TN[bar] = running_N = decay * running_N + (1.0 - decay) * value_N
    return found_TN
