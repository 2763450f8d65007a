"""The risk manager: an agent above the traders that scales what they want, and sets a stop for the portfolio.

Its action (a, b) in [-1, 1]^2 is a scale and a stop, which is a drawdown:
    scale = (a + 1) / 2,  stop = min_stop + (b + 1) / 2 x (max_stop - min_stop)
Both stand until it acts again. All that a signal of 1 holds is multiplied by the scale, before any cap; market makers'
quotes and their largest inventory likewise. Whenever the scale changes, what may be traded is brought to it.

The stop: with V the value at a close and P its peak since the stop was armed,
    1 - V / P > stop:  targets are 0, inventories too, for the decisions of this close and of the next ``rest`` - 1;
    then the stop is armed anew, P = V, and what traders last asked for is held again.
It is looked at where orders are decided on: the close is known, the orders fill at the next open. No fill is at the
stop itself, and a gap is borne in full.

Its reward is the portfolio's, with the bar's log return r, less what risk takes off:
    portfolio's reward - reward.scale x (drawdown x max(0, -r) + risk_aversion / 2 x r^2)
max(0, -r) is what a loss adds to the drawdown. Above one step (``every``) rewards add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from environments.market.config_roles import RISK, RiskManagerParams
from environments.market.missing import left_out
from environments.market.rewards import Outcome
from environments.market.state import State

TINY = 1e-12  # of a deviation, for a division
NAMES = (
    "portfolio_drawdown",  # 1 - value / running peak of the episode
    "gross",  # sum of absolute weights
    "net",  # sum of weights
    "volatility",  # of the portfolio's log return per bar, exponential, in percent
    "recent_return",  # its exponential mean over that volatility, clipped to [-3, 3]
    "scale",  # in force, 0 while the stop rests
    "stop",  # in force, as a share of the peak
    "stop_used",  # drawdown since the stop was armed, as a share of it, at most 3
    "rest",  # bars for which nothing is held yet, as a share of all of them
)


class Watch(NamedTuple):
    """What is remembered, float64 (E, 1) each.

    Attributes:
        scale: As last chosen.
        stop: As last chosen.
        factor: What targets were multiplied by at the last decision.
        below: Drawdown in log units since the stop was armed.
        rest: Bars for which nothing is held yet, the coming one counted.
        mean: Exponential mean of the portfolio's log returns.
        square: Of their squares.
    """

    scale: Tensor
    stop: Tensor
    factor: Tensor
    below: Tensor
    rest: Tensor
    mean: Tensor
    square: Tensor

    def shown(self) -> dict[str, Tensor]:
        """Scale in force, stop, and whether the stop rests: float64 (E,) each."""
        columns = {"scale": self.factor, "stop": self.stop, "resting": (self.rest > 0.0).to(self.rest.dtype)}
        return {name: column_E1.squeeze(1) for name, column_E1 in columns.items()}


@dataclass(frozen=True)
class Oversight:
    """The rules of one market."""

    params: RiskManagerParams

    def begin(self, nav_E: Tensor) -> tuple[Watch, ...]:
        """When an episode begins: the whole is held, with the widest stop."""
        one, zero = torch.ones_like(nav_E).unsqueeze(1), torch.zeros_like(nav_E).unsqueeze(1)
        return (Watch(one, one * self.params.max_stop, one, zero, zero, zero, zero),)

    def acts(self, step_E: Tensor) -> Tensor:
        """Whether it acts after so many steps of an episode: bool (E, 1)."""
        return (step_E % self.params.every == 0).unsqueeze(1)

    def decide(self, before: State, actions: Mapping[str, Tensor]) -> Watch:
        """What holds for the coming bar.

        Raises:
            ValueError: Its action is left out.
        """
        (watch,) = before.watch
        watch = Watch(*watch)
        acts_E1 = self.acts(before.step_E)
        if RISK in actions:
            scale_E1, stop_E1 = self.read(actions[RISK].squeeze(1))
            watch = watch._replace(
                scale=torch.where(acts_E1, scale_E1, watch.scale), stop=torch.where(acts_E1, stop_E1, watch.stop)
            )
        elif bool(acts_E1.any()):
            raise left_out(RISK)
        armed_E1 = watch.rest == 0.0
        hit_E1 = armed_E1 & (drawdown(watch.below) > watch.stop)
        rest_E1 = torch.where(hit_E1, float(self.params.rest), (watch.rest - 1.0).clamp(min=0.0))
        return watch._replace(
            factor=torch.where(rest_E1 > 0.0, 0.0, watch.scale),
            below=torch.where(armed_E1, watch.below, 0.0),
            rest=rest_E1,
        )

    def read(self, action_E2: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and stop of actions, float64 (E, 1) each."""
        part_E2 = (action_E2.to(torch.float64).clamp(-1.0, 1.0) + 1.0) / 2
        least, most = self.params.min_stop, self.params.max_stop
        return part_E2[:, :1], least + part_E2[:, 1:] * (most - least)

    def follow(self, watch: Watch, return_E1: Tensor) -> tuple[Watch, ...]:
        """Takes in what a bar brought.

        Args:
            watch: As decided for it.
            return_E1: float64, log return of the portfolio.
        """
        keep = 0.5 ** (1.0 / self.params.half_life)
        return (
            watch._replace(
                below=(watch.below - return_E1).clamp(min=0.0),
                mean=torch.lerp(return_E1, watch.mean, keep),
                square=torch.lerp(return_E1.square(), watch.square, keep),
            ),
        )

    def observe(self, state: State, drawdown_E1: Tensor) -> Tensor:
        """The columns of ``NAMES``: float64 (E, F)."""
        (watch,) = state.watch
        watch = Watch(*watch)
        deviation_E1 = watch.square.sqrt()
        columns = (
            drawdown_E1,
            state.weight_EN.abs().sum(1, keepdim=True),
            state.weight_EN.sum(1, keepdim=True),
            100.0 * deviation_E1,
            (watch.mean / deviation_E1.clamp(min=TINY)).clamp(-3.0, 3.0),
            watch.factor,
            watch.stop,
            (drawdown(watch.below) / watch.stop).clamp(max=3.0),
            watch.rest / self.params.rest,
        )
        return torch.cat(columns, dim=1)

    def paid(self, outcome: Outcome, reward_E1: Tensor, scale: float) -> Tensor:
        """Its reward, float32 (E, 1), from the portfolio's."""
        return_E1 = outcome.return_EM[:, -1:]
        risk_E1 = self.params.drawdown * outcome.deeper_EM[:, -1:] + self.params.risk_aversion / 2 * return_E1.square()
        return reward_E1 - (scale * risk_E1).to(torch.float32)


def drawdown(below_E1: Tensor) -> Tensor:
    """From log units to a share of the peak."""
    return -torch.expm1(-below_E1)


def features(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what the risk manager sees of the portfolio."""
    return (*NAMES, *(f"exposure/{name}" for name in classes))
