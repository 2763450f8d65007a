"""Law 13: every limit of risk holds at every decision, reckoned anew from the panel's closes and what is recorded."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from environments.market.config_risk import DrawdownParams, RiskParams
from environments.market.env import MarketEnv
from environments.market.orders import Orders
from environments.market.panel import Panel
from environments.market.risk_balance import DUST
from tests.environments.laws.guards import guards
from tests.environments.laws.worlds import STEPS, Make, by_orders, params, prices, quote_fees, world
from tests.environments.markets import random_actions

Floats = npt.NDArray[np.float64]
SLACK = 1e-9
WARMUP = 8  # of own bars: 7 returns to look back on


def limits_hold(make: Make, seed: int) -> None:
    """13. Targets keep every limit, those of assets that cannot trade now among them; fills keep net exposure."""
    caps = params(seed, ("stocks",))["risk"] | {"shorting": None}
    env = world(make, seed, risk={**caps, **guards(seed, WARMUP)}, warmup=WARMUP)
    env.reset(seed=seed)
    risk, past = env.params.risk, _Past(env.panel, env.params.risk)
    before = env.get_state()["state"]
    peak_E, exposure_E = before["nav_E"], torch.ones(env.num_envs, dtype=torch.float64)
    for i in range(STEPS):
        listed_EN = env.listed_EN()
        done_E = env.step(random_actions(env, seed + i)).done
        assert env._outcome is not None
        orders = env._outcome()[2]
        peak_E = torch.maximum(peak_E, before["nav_E"])
        exposure_E = _exposure(risk.drawdown, 1 - before["nav_E"] / peak_E, exposure_E)
        _positions_are_sized(orders, past, before, exposure_E)
        _all_are_rescaled(orders, before, exposure_E, listed_EN)
        for weight_N, bar, exposure in zip(orders.target_EN.numpy(), before["bar_E"], exposure_E, strict=True):
            _book_is_within(weight_N, past, int(bar), float(exposure))
        _fills_keep_net(env, before)
        before = env.get_state()["state"]
        peak_E = torch.where(done_E, before["nav_E"], peak_E)
        exposure_E = torch.where(done_E, 1.0, exposure_E)


def _exposure(params: DrawdownParams | None, drawdown_E: Tensor, before_E: Tensor) -> Tensor:
    if params is None:
        return before_E
    line_E = np.interp(drawdown_E, [params.start, params.limit], [1.0, params.floor])
    return torch.where(drawdown_E <= params.recover, 1.0, torch.minimum(before_E, torch.from_numpy(line_E)))


class _Past:
    """Forecasts, from a panel's closes by their definition."""

    def __init__(self, panel: Panel, risk: RiskParams) -> None:
        self.panel, self.risk = panel, risk
        self.known_TN = np.zeros_like(panel.traded_TN)
        self.known_TN[1:] = panel.traded_TN.cumsum(0)[:-1] > 0
        self.return_TN = np.zeros_like(panel.close_TN)
        self.return_TN[1:] = panel.close_TN[1:] / panel.close_TN[:-1] - 1
        self.return_TN[~self.known_TN] = 0
        self.years_T = np.diff(panel.dates_T, prepend=panel.dates_T[:1]) / np.timedelta64(365, "D")

    def _weights(self, bar: int) -> Floats:
        return 0.5 ** (np.arange(bar, -1, -1) / self.risk.half_life)

    def covariance(self, bar: int) -> Floats:
        weight_T, return_TN = self._weights(bar), self.return_TN[: bar + 1]
        size_N = np.maximum(weight_T @ self.known_TN[: bar + 1], 1e-100)
        found: Floats = (return_TN.T * weight_T) @ return_TN / np.sqrt(np.outer(size_N, size_N))
        return found

    def volatility(self, bar: int) -> Floats:
        weight_T = self._weights(bar)
        years_N = weight_T @ (self.known_TN * self.years_T[:, None])[: bar + 1]
        found: Floats = np.sqrt(weight_T @ self.return_TN[: bar + 1] ** 2 / np.maximum(years_N, 1e-100))
        return found

    def losses(self, bar: int, weight_N: Floats, window: int) -> Floats:
        found: Floats = -self.return_TN[bar + 1 - window : bar + 1] @ weight_N
        return found


def _book_is_within(weight_N: Floats, past: _Past, bar: int, exposure: float) -> None:
    risk, size_N = past.risk, np.abs(weight_N)
    assert size_N.max() <= risk.max_position + SLACK
    assert np.bincount(past.panel.class_N, size_N).max() <= risk.max_class + SLACK
    assert size_N.sum() <= risk.max_gross * exposure + SLACK
    if risk.max_net is not None:
        assert abs(weight_N.sum()) <= risk.max_net + SLACK
    if risk.max_concentration is not None and size_N.any():
        most = max(risk.max_concentration, 1 / max(np.count_nonzero(size_N >= DUST), 1))
        assert ((size_N / size_N.sum()) ** 2).sum() <= most + SLACK
    for name, tail in risk.parametric.items():
        deviation = np.sqrt(weight_N @ past.covariance(bar) @ weight_N)
        assert _normal(name, tail.level) * deviation <= tail.limit * (1 + SLACK)
    for name, history in risk.historical.items():
        if bar >= history.window:
            loss_W = past.losses(bar, weight_N, history.window)
            assert _empirical(name, history.level, loss_W) <= history.limit * (1 + SLACK)


def _normal(name: str, level: float) -> float:
    """In standard deviations; the mean beyond the quantile by numbers, not by its formula."""
    quantile = NormalDist().inv_cdf(level)
    if name.startswith("var"):
        return quantile
    beyond = np.linspace(quantile, quantile + 12, 100_001)
    density = np.exp(-(beyond**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.trapezoid(beyond * density, beyond) / (1 - level)) * (1 - 1e-6)


def _empirical(name: str, level: float, loss_W: Floats) -> float:
    """The least loss with ``level`` of all up to it; the least of c + mean(max(0, L - c)) / (1 - level)."""
    if name.startswith("var"):
        return float(min(loss for loss in loss_W if (loss_W <= loss).mean() >= level - 1e-12))
    return float(min(c + np.maximum(loss_W - c, 0).mean() / (1 - level) for c in loss_W))


def _positions_are_sized(orders: Orders, past: _Past, before: dict[str, Any], exposure_E: Tensor) -> None:
    """What is sized now is at most its signal x its sleeve x what each limit leaves of it."""
    assert orders.ruling is not None
    risk, sized_EN, bars = past.risk, orders.ruling.sized.resized_EN, before["bar_E"].tolist()
    full_EN = orders.sleeve_EN * exposure_E[:, None]
    if risk.volatility is not None:
        volatility_EN = torch.from_numpy(np.stack([past.volatility(bar) for bar in bars]))
        full_EN = full_EN * (risk.volatility.target / volatility_EN).clamp(max=risk.volatility.max_leverage)
    wanted_EN = torch.where(sized_EN, orders.signal_EN * full_EN, before["stand_EN"])
    left_EN = np.stack([_left(past, bar, weight_N) for bar, weight_N in zip(bars, wanted_EN.numpy(), strict=True)])
    most_EN = wanted_EN.abs() * torch.from_numpy(left_EN) + SLACK
    if orders.quoting is not None:
        most_EN = most_EN + (orders.quoting.kept_EN * before["book"]["price_EN"] / before["nav_E"][:, None]).abs()
    assert (orders.target_EN.abs() <= most_EN)[sized_EN].all()


def _left(past: _Past, bar: int, weight_N: Floats) -> Floats:
    """What diversification leaves of each bet."""
    covariance_NN, left_N = past.covariance(bar), np.ones_like(weight_N)
    for i, weight in enumerate(weight_N):
        rest_N = np.where(np.arange(len(weight_N)) == i, 0.0, weight_N)
        both = covariance_NN[i, i] * weight**2 * (rest_N @ covariance_NN @ rest_N)
        if both > 1e-24:
            correlation = weight * (covariance_NN[i] @ rest_N) / np.sqrt(both)
            left_N[i] = max(1 - past.risk.diversification * max(correlation, 0), 0.01)
    return left_N


def _all_are_rescaled(orders: Orders, before: dict[str, Any], exposure_E: Tensor, listed_EN: Tensor) -> None:
    """Where the exposure that drawdown allows has changed, whatever may be traded is sized anew."""
    assert orders.ruling is not None
    if before["reins"]:
        ((before_E1,),) = before["reins"]
        moved_EN = ((exposure_E[:, None] - before_E1).abs() > SLACK) & listed_EN
        assert orders.ruling.sized.resized_EN[moved_EN].all()


def _fills_keep_net(env: MarketEnv, before: dict[str, Any]) -> None:
    """Net exposure at the open is within its limit, unless what does not fill alone is not, with all costs paid."""
    most, record = env.params.risk.max_net, env.record
    if most is None:
        return
    last_EN, open_EN, close_EN = prices(env.panel, record.bar_E)
    value_EN = record.value_EN / close_EN * open_EN
    cost_EN = record.cost_EN - quote_fees(env, record)
    gap_E = (before["book"]["shares_EN"] * (open_EN - last_EN) - cost_EN + record.carry_EN).sum(1)
    paid_E = (before["nav_E"] + gap_E + record.interest_E).clamp(min=0)
    stuck_E = torch.where(by_orders(record) > 0, 0.0, value_EN).sum(1).abs()
    room_E = SLACK * (paid_E + env.params.capital)
    assert (value_EN.sum(1).abs() <= torch.maximum(most * paid_E, stuck_E) + room_E).all()
