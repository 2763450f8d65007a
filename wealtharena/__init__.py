"""WealthArena: teams of reinforcement-learning agents on Ray RLlib.

Everything here is public and stays; what it is made of is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wealtharena.agents.agent import Agent
    from wealtharena.agents.agent_team import AgentTeam, load_team
    from wealtharena.errors import UserError

__all__ = ["Agent", "AgentTeam", "UserError", "load_team"]

_HOMES = {
    "Agent": "wealtharena.agents.agent",
    "AgentTeam": "wealtharena.agents.agent_team",
    "UserError": "wealtharena.errors",
    "load_team": "wealtharena.agents.agent_team",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'wealtharena' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
