"""Exploration bonus."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from environments.base import Params as Parameters
from environments.market.rewards import Outcome
from environments.market.terms.base import Memory, Remembering, averaged, kept, nothing_yet

LEVELS = (0.5, 1.5, 3.0)  # of a bar's return in running deviations; not 1, which the first bar is up to rounding
LEAST = 1e-12  # of a deviation, for a division


class Exploration(Remembering):
    """1 / sqrt(n), n the bars so far in which the column was where it is now, this one with them.

    Where it is: how much it holds (``positions`` equal parts of a signed exposure from -1 to 1, more counts as that)
    and how lively it is (the bar's absolute return in running deviations: up to 0.5, 1.5, 3, above). Counts of states
    (Strehl and Littman 2008, "An analysis of model-based interval estimation for Markov decision processes"; Bellemare
    et al. 2016, "Unifying count-based exploration and intrinsic motivation"). Each copy counts for itself, for none may
    act on another, and over all its episodes.

    Unit: none. Range: above 0, at most 1.
    """

    class Params(Parameters):
        """Parameters.

        Attributes:
            positions: Into how many parts the exposure is cut.
            half_life: In bars, of the running deviation.
        """

        positions: int = Field(11, ge=1, le=101)
        half_life: float = Field(60.0, gt=0)

    def __init__(self, params: Params) -> None:
        self._positions, self._keep = params.positions, kept(params.half_life)

    def begin(self, zero_EM: Tensor, before: Memory) -> Memory:
        """The mean square is new with each episode; the counts go on."""
        if before:
            return *nothing_yet(zero_EM), before[-1]
        places = self._positions * (len(LEVELS) + 1)
        return *nothing_yet(zero_EM), zero_EM.unsqueeze(-1).expand(-1, -1, places)

    def __call__(self, outcome: Outcome, memory: Memory) -> tuple[Tensor, Memory]:
        """How new the place of each column is."""
        mean, count_EMB = memory[:2], memory[2]
        mean = averaged(mean, outcome.return_EM.square(), self._keep)
        loud_EM = outcome.return_EM.abs() / mean[0].sqrt().clamp(min=LEAST)
        lively_EM = torch.stack([loud_EM > level for level in LEVELS]).sum(0)
        place_EM1 = (self._position(outcome) * (len(LEVELS) + 1) + lively_EM).unsqueeze(-1)
        here_EMB = place_EM1 == torch.arange(count_EMB.shape[-1], device=count_EMB.device)
        count_EMB = count_EMB + here_EMB
        return count_EMB.gather(-1, place_EM1).squeeze(-1).rsqrt(), (*mean, count_EMB)

    def _position(self, outcome: Outcome) -> Tensor:
        """Which part of the exposure the column is in: int64 (E, M)."""
        value_EN = outcome.record.value_EN
        signed_EM = torch.cat([value_EN, value_EN.sum(1, keepdim=True)], dim=1) / outcome.base_EM
        part_EM = ((signed_EM + 1.0) * (0.5 * self._positions)).floor()
        return part_EM.clamp(0, self._positions - 1).long()
