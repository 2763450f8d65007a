"""Random limits of risk, beside the caps that every random market has."""

from __future__ import annotations

from typing import Any

import numpy as np


def guards(seed: int, warmup: int) -> dict[str, Any]:
    """Each limit by chance; of those that look back only what a warmup allows."""
    rng = np.random.default_rng([seed, 7])
    found = _shapes(rng) | (_looking_back(rng, warmup - 1) if warmup > 4 else {})
    chosen = {name: given for name, given in found.items() if rng.random() < 0.4}
    return {"half_life": float(rng.uniform(1, max(1.0, warmup - 1)))} | chosen


def _shapes(rng: np.random.Generator) -> dict[str, Any]:
    start = float(rng.uniform(0.0005, 0.005))
    throttle = {
        "start": start,
        "limit": start + float(rng.uniform(0.005, 0.03)),
        "floor": float(rng.uniform(0.1, 0.9)),
        "recover": start * float(rng.uniform(0, 1)),
    }
    return {
        "max_net": float(rng.uniform(0.01, 0.15)),
        "max_concentration": float(rng.uniform(0.15, 0.9)),
        "drawdown": throttle,
    }


def _looking_back(rng: np.random.Generator, bars: int) -> dict[str, Any]:
    limits = [float(limit) for limit in 10 ** rng.uniform(-3, -1.5, 4)]
    levels = [float(level) for level in rng.uniform(0.55, 1 - 1 / bars, 4)]
    past = {"window": bars}
    return {
        "volatility": {"target": float(rng.uniform(0.05, 0.8)), "max_leverage": float(rng.uniform(0.5, 3))},
        "diversification": float(rng.uniform(0.1, 1)),
        "var_parametric": {"limit": limits[0], "level": levels[0]},
        "cvar_parametric": {"limit": limits[1], "level": levels[1]},
        "var_historical": {"limit": limits[2], "level": levels[2], **past},
        "cvar_historical": {"limit": limits[3], "level": levels[3], **past},
    }
