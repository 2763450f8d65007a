"""How much each trader was heard, where several speak about the same assets."""

from __future__ import annotations

from typing import Any

from environments.market.env import MarketEnv
from wealtharena.evidence.track import Track


def voices(env: MarketEnv, team: Track) -> dict[str, Any]:
    """Means over the bars and the assets of a class.

    Returns:
        ``kind``: of the fusion; ``classes``: class -> trader -> its weight in the signals. Classes with one trader are
        left out. In a vote the winners share the weight of 1, and nobody has any where there is no majority.
    """
    bars = len(team.returns_T)
    return {
        "kind": env.params.fusion.kind,
        "classes": {
            asset_class: {name: team.voices[name] / bars for name in names}
            for asset_class, names in env.params.shared_classes.items()
        },
    }
