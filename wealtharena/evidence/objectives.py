"""The objectives that a reward adds up, each on its own: what the team and the baselines got of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from environments.market import roster
from environments.market.config import ALLOCATOR
from environments.market.config_roles import RISK
from environments.market.env import MarketEnv
from environments.market.rewards import weights
from wealtharena.evidence.track import Track

PORTFOLIO = slice(-1, None)
"""Its column, the last."""


def objectives(env: MarketEnv, team: Track, others: Sequence[Track]) -> dict[str, Any]:
    """Means over the bars, before weights and scale; more is better.

    Returns:
        ``weights``: objective -> its weight in the reward; ``tracks``: team or baseline -> objective -> that of the
        portfolio; ``groups``: group of the team -> objective -> the mean over the sleeves that its agents are paid for.
    """
    return {
        "weights": weights(env.params.reward),
        "tracks": {track.name: _means(track, PORTFOLIO) for track in (team, *others)},
        "groups": {group: _means(team, columns) for group, columns in _paid_for(env).items()},
    }


def _means(track: Track, columns: slice) -> dict[str, float]:
    bars = len(track.returns_T)
    return {name: float(total_M[columns].mean()) / bars for name, total_M in track.objectives.items()}


def _paid_for(env: MarketEnv) -> Mapping[str, slice]:
    """The columns of what each group is paid for."""
    traders = roster.traders(env.params, env.panel)
    paid = {
        trader.name: PORTFOLIO if trader.params.paid == "portfolio" else trader.assets
        for trader in traders
        if not trader.makes_markets  # paid for what is no column: see ``inventory.paid``
    }
    paid |= {fuser.name: PORTFOLIO if fuser.whole else fuser.assets for desk in env.desks if (fuser := desk.fuser)}
    return paid | {name: PORTFOLIO for name in (ALLOCATOR, RISK) if name in env.groups}
