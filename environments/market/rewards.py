"""Rewards: what the last bar brought, for each trader on its own sleeve and for the allocator on the whole.

Columns M = N + 1: the assets, then the portfolio. Log returns, so that rewards of an episode add up.

A term of one's own is a class in a file of one's own, built without arguments, called with an ``Outcome`` and returning
(E, M). ``reward.terms`` names it ``module:Class`` and gives its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from environments.errors import DataError
from environments.market.config_reward import RewardParams
from environments.market.record import MarketRecord

WORST = 1e-6  # the least a portfolio is taken to be worth of what it was a bar before, for the logarithm


def log_returns(pnl_EN: Tensor, before_E: Tensor, after_E: Tensor) -> tuple[Tensor, Tensor]:
    """The portfolio's log return, and what each asset brought of it.

    log_i = pnl_i / before x log(1 + r) / r, with r the portfolio's return: with the interest's part they add up.

    Returns:
        asset_EN: float64.
        portfolio_E: float64, log(after / before).
    """
    return_E = (after_E / before_E).clamp(min=WORST) - 1.0
    portfolio_E = torch.log1p(return_E)
    # Near 0 the ratio is 1 - r/2: below 1e-9 the division would lose digits, and at 0 everything.
    ratio_E = torch.where(return_E.abs() < 1e-9, 1.0, portfolio_E / return_E)
    return pnl_EN * (ratio_E / before_E).unsqueeze(1), portfolio_E


def columns(asset_EN: Tensor, portfolio_E: Tensor, sleeve_EN: Tensor) -> Tensor:
    """Puts assets, each by its sleeve, and the portfolio side by side: (E, M).

    A sleeve counts as at least a thousandth of an equal share, so that an agent without capital is not all noise.
    """
    floor = 1e-3 / sleeve_EN.shape[1]
    return torch.cat([asset_EN / sleeve_EN.clamp(min=floor), portfolio_E.unsqueeze(1)], dim=1)


@dataclass(frozen=True)
class Luck:
    """What of a bar's profit could not be expected when the order was given.

    Attributes:
        surprise_EN: float64, in money.
        variance_EN: float64, what each position brings to the variance of the bar's profit, in money squared.
    """

    surprise_EN: Tensor
    variance_EN: Tensor


def profits(
    record: MarketRecord, params: RewardParams, before_E: Tensor, sleeve_EN: Tensor, luck: Luck | None
) -> Tensor:
    """The profit of each column in the parameters' unit: log returns, or money.

    Without its luck, a log return is E log(1 + R) = log(1 + E R) - Var R / (2 (1 + E R)^2), to second order.

    Args:
        record: What the bar brought.
        params: The unit.
        before_E: float64, the portfolio's value at the last close.
        sleeve_EN: float64, what each position is paid on.
        luck: What is left out; None: nothing.
    """
    pnl_EN = record.pnl_EN if luck is None else record.pnl_EN - luck.surprise_EN
    gain_E = pnl_EN.sum(1) + record.interest_E
    if params.unit == "money":
        return torch.cat([pnl_EN, gain_E.unsqueeze(1)], dim=1)
    asset_EN, portfolio_E = log_returns(pnl_EN, before_E, before_E + gain_E)
    if luck is not None:
        portfolio_E = portfolio_E - 0.5 * luck.variance_EN.sum(1) / (before_E + gain_E).square()
    return columns(asset_EN, portfolio_E, sleeve_EN)


def drawdown(before_EM: Tensor, return_EM: Tensor) -> Tensor:
    """How far below its running peak each column is, in log units: max(0, before - log return)."""
    return (before_EM - return_EM).clamp(min=0.0)


@dataclass(frozen=True)
class Outcome:
    """What a bar brought, in columns: an asset's figures are shares of its sleeve, the portfolio's (last) of its value.

    Attributes:
        record: What the bar brought in money.
        before_E: float64, the portfolio's value at the last close.
        sleeve_EN: float64, what each position is paid on, as a share of that value.
        return_EM: float64, log returns, net of costs.
        drawdown_EM: float64, how far below the running peak, in log units.
        deeper_EM: float64, what that has grown by in this bar; negative where it shrank.
        profit_EM: float64, see ``profits``.
        shares_EN: float64, held at the close.
        last_E: bool, this was the last bar of a finite horizon.
    """

    record: MarketRecord
    before_E: Tensor
    sleeve_EN: Tensor
    return_EM: Tensor
    drawdown_EM: Tensor
    deeper_EM: Tensor
    profit_EM: Tensor
    shares_EN: Tensor
    last_E: Tensor

    @property
    def cost_EM(self) -> Tensor:
        """Spread, impact and commission paid, float64."""
        return self._shares(self.record.cost_EN)

    @property
    def traded_EM(self) -> Tensor:
        """Value bought or sold, float64."""
        return self._shares(self.record.traded_EN)

    @property
    def exposure_EM(self) -> Tensor:
        """Absolute value held at the close, float64."""
        return self._shares(self.record.value_EN.abs())

    def _shares(self, amount_EN: Tensor) -> Tensor:
        share_EN = amount_EN / self.before_E.unsqueeze(1)
        return columns(share_EN, share_EN.sum(1), self.sleeve_EN)


Term = Callable[[Outcome], Tensor]


def reward(outcome: Outcome, params: RewardParams) -> Tensor:
    """Adds the terms up.

    reward = scale x (profit x profit - cost x costs - drawdown x increase of the drawdown
                      - final_position x shares^2 (at the end) + own terms).
    Costs are in the profit already: their term is a penalty beyond that, in the unit of the profit.

    Returns:
        float32 (E, M).

    Raises:
        DataError: A term of one's own gives another shape.
    """
    total_EM = outcome.profit_EM * params.profit
    if params.cost:
        cost_EM = _in_money(outcome.record.cost_EN) if params.unit == "money" else outcome.cost_EM
        total_EM = total_EM - params.cost * cost_EM
    if params.drawdown:
        total_EM = total_EM - params.drawdown * outcome.deeper_EM.clamp(min=0.0)
    if params.final_position:
        left_EM = _in_money(outcome.shares_EN.square())
        total_EM = total_EM - params.final_position * torch.where(outcome.last_E.unsqueeze(1), left_EM, 0.0)
    for term, weight in params.own_terms:
        total_EM = total_EM + weight * _checked(term, outcome)
    return (total_EM * params.scale).to(torch.float32)


def _in_money(amount_EN: Tensor) -> Tensor:
    """Amounts and their sum, in columns, as they are."""
    return torch.cat([amount_EN, amount_EN.sum(1, keepdim=True)], dim=1)


def _checked(term: Term, outcome: Outcome) -> Tensor:
    value_EM = term(outcome)
    if value_EM.shape != outcome.return_EM.shape:
        raise DataError(
            f"reward.terms: {type(term).__name__} gave shape {tuple(value_EM.shape)}, must be "
            f"{tuple(outcome.return_EM.shape)}: a row for each copy, a column for each asset and one for the portfolio"
        )
    return value_EM
