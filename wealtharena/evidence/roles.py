"""What each role did in a test: who decides how often, what market makers earned, what the risk manager let be held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.market.config_roles import RISK
from environments.market.env import MarketEnv
from environments.market.roster import Trader
from wealtharena.evidence.track import Track

SUMS = ("pnl", "captured", "traded")
"""Of what a group did: amounts that add up over the bars; anything else is a mean."""
DIMENSIONS: Mapping[str, list[str]] = {"market_making": ["bid", "ask"], RISK: ["scale", "stop"]}
"""Role -> what the dimensions of its actions mean."""


def role(trader: Trader) -> dict[str, Any]:
    """Of a trader, its role and its clock, where the file gives it any."""
    params = trader.params
    return {"role": params.role, "every": params.clock} if params.role is not None or params.clock > 1 else {}


def above(env: MarketEnv, name: str) -> dict[str, Any]:
    """Of a group above the traders; only the risk manager has a role."""
    manager = env.params.risk_manager
    return {"role": RISK, "every": manager.every} if name == RISK and manager is not None else {}


def behaviour(team: Track, name: str) -> dict[str, float]:
    """What market makers (as shares of the capital) and the risk manager did: sums, or means over the bars."""
    bars = len(team.returns_T)
    return {
        what: total if what in SUMS else total / bars
        for (group, what), total in team.behaviour.items()
        if group == name
    }
