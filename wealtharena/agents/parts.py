"""What an agent is made of: who it is, and what it has learned."""

from __future__ import annotations

from dataclasses import dataclass

from environments.market.config_traders import TraderParams
from policies.algorithm import Algorithm
from wealtharena.team.policy import Policy
from wealtharena.team.provenance import Provenance


@dataclass(frozen=True)
class Profile:
    """Who an agent is; it stays so.

    Attributes:
        name: Of its group in a team.
        trader: What it trades, and how it acts; None for an agent that trades no class, as the allocator.
        algorithm: What it learns with.
        seed: Of its training, and of what it draws when it does not act deterministically.
    """

    name: str
    trader: TraderParams | None
    algorithm: Algorithm
    seed: int


@dataclass(frozen=True)
class Learned:
    """What training made of it.

    Attributes:
        policy: Networks and normaliser.
        provenance: The columns and the dates that it was trained on.
        env_steps: Steps of the environment that it was trained on, over all copies.
    """

    policy: Policy
    provenance: Provenance
    env_steps: int
