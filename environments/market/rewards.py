"""Rewards: what the last bar brought, for each trader on its own sleeve and for the allocator on the whole.

Columns M = N + 1: the assets, then the portfolio. Log returns, so that rewards of an episode add up.

A further term is a class in a file of its own, called with an ``Outcome`` and returning (E, M), more is better;
``terms.base.Remembering`` if it must remember. ``reward.terms`` names it and gives its weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from environments.errors import DataError
from environments.market import adaptive
from environments.market.config_reward import OwnTerm, RewardParams
from environments.market.record import MarketRecord
from environments.market.terms.base import Memory, Remembering

Memories = tuple[Memory, ...]
"""What each of ``RewardParams.own_terms`` remembers, and after them, if there is one, the adaptive scale."""

WORST = 1e-6  # the least a portfolio is taken to be worth of what it was a bar before, for the logarithm


def bases(before_E1: Tensor, sleeve_EN: Tensor) -> Tensor:
    """What each column is paid on, in money: float64 (E, M).

    A sleeve counts as at least a thousandth of an equal share, so that an agent without capital is not all noise.

    Args:
        before_E1: float64, the portfolio's value at the last close.
        sleeve_EN: float64, as a share of it.
    """
    floor = 1e-3 / sleeve_EN.shape[1]
    return torch.cat([sleeve_EN.clamp(min=floor) * before_E1, before_E1], dim=1)


def log_returns(pnl_EN: Tensor, gain_E1: Tensor, base_EM: Tensor) -> Tensor:
    """The log return of the portfolio, and what each asset brought of it, on its own base.

    Args:
        pnl_EN: float64, the profit of each asset, in money.
        gain_E1: float64, that of the portfolio, with interest.
        base_EM: float64, see ``bases``.

    Returns:
        float64 (E, M): in shares of the portfolio, the assets and the interest's part add up to its log return.
    """
    return_EM = torch.cat([pnl_EN, gain_E1], dim=1) / base_EM
    return return_EM * log_ratio(return_EM[:, -1:])


def log_ratio(return_E1: Tensor) -> Tensor:
    """log(1 + r) / r: what makes a share of the portfolio's return r one of its log return; 1 at r = 0."""
    return (torch.log1p(return_E1.clamp(min=WORST - 1.0)) / return_E1).nan_to_num(1.0)


@dataclass(frozen=True)
class Luck:
    """What of a bar's profit could not be expected when the order was given.

    Attributes:
        surprise_EN: float64, in money.
        variance_EN: float64, what each position brings to the variance of the bar's profit, in money squared.
    """

    surprise_EN: Tensor
    variance_EN: Tensor


def profits(record: MarketRecord, params: RewardParams, base_EM: Tensor, luck: Luck | None) -> Tensor:
    """The profit of each column in the parameters' unit: log returns, or money.

    Without its luck, a log return is E log(1 + R) = log(1 + E R) - Var R / (2 (1 + E R)^2), to second order.

    Args:
        record: What the bar brought.
        params: The unit.
        base_EM: float64, what each column is paid on, in money.
        luck: What is left out; None: nothing.
    """
    pnl_EN = record.pnl_EN if luck is None else record.pnl_EN - luck.surprise_EN
    gain_E1 = pnl_EN.sum(1, keepdim=True) + record.interest_E.unsqueeze(1)
    if params.unit == "money":
        return torch.cat([pnl_EN, gain_E1], dim=1)
    return_EM = log_returns(pnl_EN, gain_E1, base_EM)
    if luck is None:
        return return_EM
    risk_E1 = luck.variance_EN.sum(1, keepdim=True) / (base_EM[:, -1:] + gain_E1).square()
    return torch.cat([return_EM[:, :-1], return_EM[:, -1:] - 0.5 * risk_E1], dim=1)


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
        base_EM: float64, what each column is paid on, in money (see ``bases``).
        return_EM: float64, log returns, net of costs.
        drawdown_EM: float64, how far below the running peak, in log units.
        deeper_EM: float64, what a loss added to that in this bar, at least 0.
        profit_EM: float64, see ``profits``.
        shares_EN: float64, held at the close.
        last_E: bool, this was the episode's last bar.
    """

    record: MarketRecord
    before_E: Tensor
    sleeve_EN: Tensor
    base_EM: Tensor
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
        return _in_money(amount_EN) / self.base_EM


def begin(params: RewardParams, zero_EM: Tensor, before: Memories = ()) -> Memories:
    """What terms and scale remember when an episode begins.

    Args:
        params: The terms.
        zero_EM: float64 zeros.
        before: What they remembered when the episode before it ended; none: this is the first.
    """
    started = [term.call.begin if isinstance(term.call, Remembering) else _no_memory for term in params.own_terms]
    if params.adaptive is not None:
        started.append(adaptive.begin)
    return tuple(start(zero_EM, memory) for start, memory in zip(started, before or [()] * len(started), strict=True))


def _no_memory(_zero_EM: Tensor, _before: Memory) -> Memory:
    return ()


def reward(outcome: Outcome, params: RewardParams, memories: Memories) -> tuple[Tensor, Memories]:
    """Adds the terms up.

    reward = scale x (profit x profit - cost x costs - drawdown x increase of the drawdown
                      - final_position x shares^2 (at the end) + terms), over its running size if that is asked for.
    Costs are in the profit already: their term is a penalty beyond that, in the unit of the profit.

    Returns:
        reward_EM: float32.
        memories: What terms and scale remember from then on.

    Raises:
        DataError: A term of one's own gives another shape.
    """
    scale, remembered = params.scale, list(memories)
    total_EM = outcome.profit_EM * (scale * params.profit)
    if params.cost:
        total_EM = torch.sub(total_EM, _costs(outcome, params), alpha=scale * params.cost)
    if params.drawdown:
        total_EM = torch.sub(total_EM, outcome.deeper_EM, alpha=scale * params.drawdown)
    if params.final_position:
        total_EM = torch.sub(total_EM, _left(outcome), alpha=scale * params.final_position)
    for i, term in enumerate(params.own_terms):
        value_EM, remembered[i] = _valued(term, outcome, memories[i])
        total_EM = torch.add(total_EM, value_EM, alpha=scale * term.weight)
    if params.adaptive is not None:
        total_EM, remembered[-1] = adaptive.scaled(total_EM, memories[-1], params.adaptive)
    return total_EM.to(torch.float32), tuple(remembered)


def objectives(outcome: Outcome, params: RewardParams, memories: Memories) -> dict[str, Tensor]:
    """The reward as a vector: the profit, and each other term that it has.

    Args:
        outcome: What a bar brought.
        params: The terms.
        memories: As they were before the bar.

    Returns:
        Name -> float64 (E, M), before weights and scale; more is better.
    """
    terms = zip(params.own_terms, memories, strict=False)
    values = {
        "profit": outcome.profit_EM,
        "cost": _costs(outcome, params).neg(),
        "drawdown_increase": outcome.deeper_EM.neg(),
        "final_position": _left(outcome).neg(),
        **{term.name: _valued(term, outcome, memory)[0] for term, memory in terms},
    }
    return {name: values[name] for name in weights(params)}


def weights(params: RewardParams) -> dict[str, float]:
    """The weight of each of ``objectives``."""
    others = {"cost": params.cost, "drawdown_increase": params.drawdown, "final_position": params.final_position}
    built_in = {"profit": params.profit} | {name: weight for name, weight in others.items() if weight}
    return built_in | {term.name: term.weight for term in params.own_terms}


def _costs(outcome: Outcome, params: RewardParams) -> Tensor:
    return _in_money(outcome.record.cost_EN) if params.unit == "money" else outcome.cost_EM


def _left(outcome: Outcome) -> Tensor:
    """Squared shares that are held at the end."""
    return torch.where(outcome.last_E.unsqueeze(1), _in_money(outcome.shares_EN.square()), 0.0)


def _in_money(amount_EN: Tensor) -> Tensor:
    """Amounts and their sum, in columns, as they are."""
    return torch.cat([amount_EN, amount_EN.sum(1, keepdim=True)], dim=1)


def _valued(term: OwnTerm, outcome: Outcome, memory: Memory) -> tuple[Tensor, Memory]:
    """What a term says of a bar, and remembers of it."""
    if isinstance(term.call, Remembering):
        value_EM, memory = term.call(outcome, memory)
    else:
        value_EM = term.call(outcome)
    if value_EM.shape != outcome.return_EM.shape:
        raise DataError(
            f"reward.terms: {term.name} gave shape {tuple(value_EM.shape)}, must be "
            f"{tuple(outcome.return_EM.shape)}: a row for each copy, a column for each asset and one for the portfolio"
        )
    return value_EM, memory
