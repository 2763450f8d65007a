"""Random simulated markets that the laws are tried on: processes, sizes, costs, impact, actions and ends are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from environments.base import Transition
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.processes.base import Process
from environments.market.record import MarketRecord
from tests.environments.laws.worlds import coordination, fusion, terms
from tests.environments.markets import FREE, random_actions

COPIES = 3
CLASSES = ("stocks", "crypto", "timber")
PROCESSES = {
    "brownian": "environments.market.processes.brownian:Brownian",
    "signals": "environments.market.processes.signals:SignalDriven",
    "autoregressive": "environments.market.processes.autoregressive:AutoRegressive",
}
ACTIONS = ("trade", "levels", "continuous", "adjust")
WIDE = {"max_position": 20, "max_class": 20, "max_gross": 20}
NO_IMPACT = {"temporary": 0.0, "permanent": 0.0}


def market(params: dict[str, Any], num_envs: int = COPIES) -> MarketEnv:
    return MarketEnv(MarketParams.model_validate(params), num_envs=num_envs)


def world(seed: int, num_envs: int = COPIES, **changes: Any) -> MarketEnv:
    """A random simulated market; what is in ``changes`` is as given there."""
    return market(params(seed) | changes, num_envs)


def params(seed: int) -> dict[str, Any]:
    """A random configuration."""
    rng = np.random.default_rng([seed, 3])
    in_shares = bool(rng.random() < 0.7)
    names = [str(name) for name in rng.choice(CLASSES, size=int(rng.integers(1, 4)), replace=False)]
    sizes = [int(rng.integers(1, 4)) for _ in names]
    shorting = None if rng.random() < 0.6 else [name for name in names if rng.random() < 0.5]
    finite = bool(rng.random() < 0.5)
    given: dict[str, Any] = {
        "data": {
            "simulation": {
                "classes": {
                    name: process(rng, size, geometric=not in_shares or rng.random() < 0.3)
                    for name, size in zip(names, sizes, strict=True)
                },
                "bars_per_year": float(rng.choice([1, 12, 252])),
            }
        },
        "horizon": int(rng.integers(3, 9)),
        "finite": finite,
        "close_out": finite and bool(rng.random() < 0.5),
        "capital": 1e5,
        "sizing": "shares" if in_shares else "weights",
        "allocator": None if in_shares or rng.random() < 0.3 else {"every": int(rng.integers(1, 4))},
        "traders": _traders(rng, names, shorting, in_shares=in_shares),
        "limit_orders": {"rate": 200, "decay": 1.5, "width": 2.0, "units": float(rng.choice([0.5, 1, 2]))},
        "linear_impact": _impacts(rng, sum(sizes), in_shares=in_shares),
        "costs": {name: _costs(rng) for name in names},
        "risk": {"shorting": shorting, **(WIDE if rng.random() < 0.5 else _caps(rng))},
        "cash_rate": float(rng.uniform(-0.05, 0.1)),
        "reward": {
            "unit": str(rng.choice(["log", "money"])),
            "expected": bool(rng.random() < 0.5),
            "final_position": float(rng.uniform(0, 0.1)) * finite,
            "cost": float(rng.uniform(0, 1)),
            "terms": terms(seed),
            "scale": float(rng.choice([1, 100])),
        },
    }
    if in_shares:
        return given | fusion(seed, given)
    return given | fusion(seed, given) | coordination(seed, given, names)


def process(rng: np.random.Generator, assets: int, *, geometric: bool) -> dict[str, Any]:
    """A random process of so many assets, whose prices begin near 100."""
    kind = str(rng.choice(list(PROCESSES)))
    share = 0.01 if geometric else 1.0
    if kind == "brownian":
        given = {
            "assets": assets,
            "mu": (share * rng.normal(size=assets)).tolist(),
            "sigma": (share * rng.uniform(0.5, 3, assets)).tolist(),
            "correlation": correlation(rng, assets).tolist(),
        }
    elif kind == "signals":
        signals = int(rng.integers(1, 3))
        given = {
            "loading": (share * rng.normal(size=(assets, signals))).tolist(),
            "decay": rng.uniform(0.05, 0.9, signals).tolist(),
            "innovation": correlation(rng, signals).tolist(),
            "covariance": (share**2 * correlation(rng, assets)).tolist(),
        }
    else:
        given = {
            "assets": assets,
            "phi": rng.uniform(-0.5, 0.99, assets).tolist(),
            "innovation": (share * rng.uniform(0.3, 2, assets)).tolist(),
        }
    return {"class": PROCESSES[kind], "params": {**given, "geometric": geometric}}


def correlation(rng: np.random.Generator, size: int) -> np.ndarray:
    factor = rng.normal(size=(size, 2 * size))
    covariance = factor @ factor.T
    scale = np.sqrt(np.diag(covariance))
    found = covariance / scale / scale[:, None]
    np.fill_diagonal(found, 1.0)
    return (found + found.T) / 2


def _impacts(rng: np.random.Generator, assets: int, *, in_shares: bool) -> dict[str, Any]:
    """A permanent impact, and a temporary one that is never below it."""
    permanent = impact(rng, assets, 0.01 if in_shares else 1e-4) if rng.random() < 0.6 else 0.0
    excess = impact(rng, assets, 0.05)
    if permanent == 0.0:
        return {"temporary": excess, "permanent": permanent}
    return {"temporary": (_full(permanent, assets) + _full(excess, assets)).tolist(), "permanent": permanent}


def _full(given: Any, assets: int) -> np.ndarray:
    value = np.array(given)
    return value if value.ndim == 2 else np.diag(np.broadcast_to(value, assets))


def impact(rng: np.random.Generator, assets: int, size: float) -> Any:
    """Nothing, a number, a number for each asset, or a matrix with cross impact."""
    forms = (
        0.0,
        size * float(rng.random()),
        (size * rng.random(assets)).tolist(),
        (size * correlation(rng, assets)).tolist(),
    )
    return forms[int(rng.integers(4))]


def _traders(
    rng: np.random.Generator, names: list[str], shorting: list[str] | None, *, in_shares: bool
) -> dict[str, Any]:
    traders = {}
    for name in names:
        short = shorting is None or name in shorting
        size = float(rng.integers(2, 40)) if in_shares else float(rng.uniform(0.3, 1.5))
        start = float(rng.choice([0.0, 0.0, 1.0, rng.uniform(-1.0 if short else 0.0, 1.0)]))
        common = {"asset_class": name, "size": size, "start": start}
        if in_shares and rng.random() < 0.3:
            traders[name] = {**common, "action": "quotes"} | _pay(rng)
            continue
        for number in range(int(rng.choice([1, 1, 1, 2]))):
            action = str(rng.choice(ACTIONS))
            own = {"action": action, "notch": float(rng.uniform(0.1, 1.5)), "levels": int(rng.integers(2, 7))}
            joint = action in ("continuous", "adjust") and bool(rng.random() < 0.5)
            traders[f"{name}{number or ''}"] = {**common, **own, "joint": joint} | _pay(rng)
    return traders


def _pay(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "paid": str(rng.choice(["sleeve", "portfolio"])),
        "risk_aversion": float(rng.choice([0.0, 0.05])),
        "observe": None if rng.random() < 0.7 else ["signal_held", "portfolio_drawdown"],
    }


def _costs(rng: np.random.Generator) -> dict[str, float]:
    drawn = {"spread_bps": 20.0, "commission_bps": 7.0, "borrow_rate": float(rng.uniform(0, 0.3))}
    per_share = float(rng.choice([0.0, rng.uniform(0, 0.5)]))
    return {**FREE, **(drawn if rng.random() < 0.5 else {}), "per_share": per_share}


def _caps(rng: np.random.Generator) -> dict[str, float]:
    return {
        "max_position": float(rng.uniform(0.01, 0.3)),
        "max_class": float(rng.uniform(0.02, 0.5)),
        "max_gross": float(rng.uniform(0.03, 1)),
    }


@dataclass(frozen=True)
class Holding:
    """What is held at a close, as the environment's state tells it."""

    cash_E: Tensor
    shares_EN: Tensor
    price_EN: Tensor
    nav_E: Tensor
    hidden_EK: Tensor


def holding(env: MarketEnv) -> Holding:
    state = env.get_state()["state"]
    book = state["book"]
    return Holding(book["cash_E"], book["shares_EN"], book["price_EN"], state["nav_E"], state["hidden_EK"])


@dataclass(frozen=True)
class Step:
    """One step within an episode: ``after`` is of the same episode where ``on_E`` is set."""

    before: Holding
    after: Holding
    record: MarketRecord
    transition: Transition
    actions: dict[str, Tensor]
    on_E: Tensor


def played(env: MarketEnv, seed: int, steps: int | None = None, env_seed: int | None = None) -> Iterator[Step]:
    """Random steps from a reset on; by default a few episodes. ``env_seed``: of the market, where it is another."""
    env.reset(seed=seed if env_seed is None else env_seed)
    before = holding(env)
    for i in range(steps or 2 * (env.params.horizon or 0) + 2):
        actions = random_actions(env, seed + i)
        transition = env.step(actions)
        after = holding(env)
        yield Step(before, after, env.record, transition, actions, ~transition.done)
        before = after


def per_asset(env: MarketEnv, numbers: Mapping[str, float]) -> Tensor:
    """Class -> number, as a number for each asset: float64 (N,)."""
    listing = env._world.feed.listing
    return torch.tensor([float(numbers[listing.classes[c]]) for c in listing.class_N], dtype=torch.float64)


def quoting(env: MarketEnv) -> Tensor:
    """Which assets are quoted: bool (N,)."""
    return per_asset(env, {trader.asset_class: trader.kind == "quotes" for trader in env._world.traders}) > 0


def processes_of(env: MarketEnv) -> dict[str, Process]:
    """Class -> its process, built anew."""
    simulation = env.params.data.simulation
    assert simulation is not None
    return {name: spec.build(simulation.years, "cpu") for name, spec in simulation.classes.items()}


def square(env: MarketEnv, value: Any) -> Tensor:
    """A number for all assets, one for each or one for each pair, as a matrix: float64 (N, N)."""
    given = torch.tensor(value, dtype=torch.float64)
    return given if given.dim() == 2 else torch.diag(given.expand(len(env._world.feed.listing.symbols)))
