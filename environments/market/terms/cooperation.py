"""Cooperation bonus."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market.rewards import Outcome


class Cooperation:
    """The team's log return, to each of its traders; 0 for the portfolio, which is paid that anyway.

    The shared part of a reward that mixes own and team return (Durugkar, Liebman and Stone 2020, "Balancing individual
    preferences and shared objectives in multiagent reinforcement learning").

    Unit: log return of the portfolio. Range: at least log(1e-6).
    """

    def __call__(self, outcome: Outcome) -> Tensor:
        """The portfolio's log return in each asset's column."""
        team_E1 = outcome.return_EM[:, -1:]
        return torch.cat([team_E1.expand_as(outcome.sleeve_EN), torch.zeros_like(team_E1)], dim=1)
