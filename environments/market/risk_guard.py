"""What risk does to a decision, in this order; each step only cuts what the ones before it left.

What a signal of 1 holds, where a position is sized (``risk_sizing``): volatility, drawdown, diversification.
The book of all targets, those of assets that cannot trade now among them: position, class and gross exposure
(``risk.capped``), net exposure, concentration (``risk_balance``), then VaR and CVaR (``risk_tail``). Cutting the
largest positions may upset the balance of longs and shorts once more: then the whole book is scaled down to
``max_net``, which, as scaling to VaR and CVaR, leaves every other limit kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from environments.market import risk, risk_balance, risk_sizing, risk_tail
from environments.market.config_risk import RiskParams
from environments.market.rewards import Memories
from environments.market.risk import Classes, Limits
from environments.market.risk_forecast import Forecast
from environments.market.sizing import Sizing
from environments.market.state import State

ROUNDING = 1e-12  # a limit that changes a weight by less gives no order, and did not bind


@dataclass(frozen=True)
class Sized:
    """How positions are sized.

    Attributes:
        full_EN: float64, the amount of a signal of 1.
        resized_EN: bool, positions that are sized now; the others stay as they stand.
        caps: On targets, and on what is held after fills.
        reins: What risk remembers: with ``drawdown`` the exposure in force, float64 (E, 1).
        factors: Name -> what a full position was multiplied by, float64 (E, N) or (E, 1).
    """

    full_EN: Tensor
    resized_EN: Tensor
    caps: Limits
    reins: Memories
    factors: Mapping[str, Tensor] = field(default_factory=dict)


class Cut(NamedTuple):
    """A limit's name, and the book before and after it: float64 (E, N), weights."""

    name: str
    before_EN: Tensor
    after_EN: Tensor


@dataclass(frozen=True)
class Guard:
    """All limits but the caps on positions, classes and gross exposure, which always hold.

    Attributes:
        params: Of risk.
        forecast: The risk of the coming bar.
        sizing: What amounts are.
    """

    params: RiskParams
    forecast: Forecast
    sizing: Sizing

    def begin(self, nav_E: Tensor) -> Memories:
        """What is remembered when an episode begins."""
        return () if self.params.drawdown is None else ((torch.ones_like(nav_E).unsqueeze(1),),)

    def size(self, before: State, signal_EN: Tensor, sized: Sized, listed_EN: Tensor) -> Sized:
        """Sizes positions by volatility, drawdown and diversification.

        When the exposure that drawdown allows changes, everything that may be traded is brought to scale.

        Args:
            before: At the close of now.
            signal_EN: float64, what is wanted of each asset.
            sized: As it would be without.
            listed_EN: bool, what may be sized.
        """
        params, factors = self.params, {}
        full_EN, resized_EN, caps, reins = sized.full_EN, sized.resized_EN, sized.caps, sized.reins
        if params.volatility is not None:
            factors["volatility"] = risk_sizing.by_volatility(self.forecast.volatility(before), params.volatility)
            full_EN = full_EN * factors["volatility"]
        if params.drawdown is not None:
            drawdown_E1 = -torch.expm1(-before.drawdown_EM[:, -1:])
            ((exposure_E1,),) = reins
            factors["drawdown"] = risk_sizing.by_drawdown(drawdown_E1, exposure_E1, params.drawdown)
            full_EN = full_EN * factors["drawdown"]
            resized_EN = resized_EN | ((factors["drawdown"] != exposure_E1) & listed_EN)
            caps, reins = replace(caps, max_gross=caps.max_gross * factors["drawdown"]), ((factors["drawdown"],),)
        if params.diversification:
            wanted_EN = torch.where(resized_EN, signal_EN * full_EN, before.stand_EN)
            factors["diversification"] = self._diversification(before, wanted_EN)
            full_EN = full_EN * factors["diversification"]
        return Sized(full_EN, resized_EN, caps, reins, factors)

    def _diversification(self, before: State, wanted_EN: Tensor) -> Tensor:
        weight_EN = self.sizing.weights(wanted_EN, before.book.price_EN, before.nav_E)
        shared_EN = self.forecast.shared(before, weight_EN)
        own_EN = weight_EN.square() * self.forecast.variance(before)
        return risk_sizing.by_diversification(shared_EN, own_EN, self.params.diversification)

    def limit(self, before: State, weight_EN: Tensor) -> tuple[Tensor, tuple[Cut, ...]]:
        """Brings a book that is within the caps within all other limits.

        Returns:
            weight_EN: float64, no weight larger than before, none of the other sign.
            cuts: What each limit did.
        """
        cuts = []
        for name, cut in self._shapes():
            cuts.append(Cut(name, weight_EN, cut(weight_EN)))
            weight_EN = cuts[-1].after_EN
        scales = risk_tail.scales(self.params, *self._tails(before, weight_EN))
        cuts += [Cut(name, weight_EN, weight_EN * scale_E.unsqueeze(1)) for name, scale_E in scales.items()]
        if scales:
            weight_EN = weight_EN * torch.stack([*scales.values()]).amin(0).unsqueeze(1)
        return weight_EN, tuple(cuts)

    def _shapes(self) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
        max_net, most = self.params.max_net, self.params.max_concentration
        if max_net is not None:
            yield "net", partial(risk_balance.balanced, max_net=max_net)
        if most is not None:
            yield "concentration", partial(risk_balance.spread_out, most=most)
        if max_net is not None and most is not None:
            yield "net", partial(risk_balance.scaled_to_net, max_net=max_net)

    def _tails(self, before: State, weight_EN: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What the limits on VaR and CVaR look at, where there are any."""
        variance_EN = self.forecast.shared(before, weight_EN) if self.params.parametric else None
        loss_EW = self.forecast.losses(before, weight_EN) if self.params.historical else None
        return variance_EN, loss_EW


@dataclass(frozen=True)
class Ruling:
    """What risk made of a decision.

    Attributes:
        signal_EN: float64, what was wanted of each asset.
        wanted_EN: float64, the book of targets before any limit on it, as weights.
        sized: How positions were sized.
        cuts: What each limit of the guard did to the book.
    """

    signal_EN: Tensor
    wanted_EN: Tensor
    sized: Sized
    cuts: tuple[Cut, ...]

    def bound(self, classes: Classes) -> dict[str, Tensor]:
        """Name of each limit that is on -> where it bound: bool (E,).

        What sizes positions bound where it made one that was sized smaller; ``drawdown`` wherever exposure is below 1;
        any other limit where it cut a weight.
        """
        sized_EN = self.sized.resized_EN & (self.signal_EN != 0.0)
        found = {
            name: ((factor < 1.0 - ROUNDING) & (sized_EN | (name == "drawdown"))).any(1)
            for name, factor in self.sized.factors.items()
        }
        found |= risk.bound(self.wanted_EN, classes, self.sized.caps, ROUNDING)
        for name, before_EN, after_EN in self.cuts:
            bound_E = ((before_EN - after_EN).abs() > ROUNDING).any(1)
            found[name] = found[name] | bound_E if name in found else bound_E
        return found
