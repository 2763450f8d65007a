"""What one agent is worth on prices that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from wealtharena.agents.alone import require_alike
from wealtharena.agents.parts import Learned, Profile
from wealtharena.agents.recipe import user_errors
from wealtharena.errors import UserError
from wealtharena.evidence.evaluate import evaluate_market
from wealtharena.team.provenance import provenance_of


def evaluate_alone(profile: Profile, learned: Learned, market: MarketParams) -> Mapping[str, Any]:
    """Walks once through the market's window, beside the baselines; see ``evidence.evaluate``.

    Raises:
        UserError: The market does not go with what was learned, or has dates in common with it.
    """
    if not market.dated:
        raise UserError("data: a simulation has no dates to be tested on; name a price file")
    with user_errors():
        world = MarketEnv(market, num_envs=1)
    require_alike(profile.name, learned, world)
    for test in provenance_of(world)[profile.name].windows:
        if seen := learned.provenance.overlapping(test):
            raise UserError(
                f"agent {profile.name!r}: was trained on {seen}, which overlaps the test ({test}); "
                "give a window outside of it"
            )
    policies = {profile.name: learned.policy}
    return evaluate_market(MarketEnv, market, policies, seeds=(profile.seed,)).content
