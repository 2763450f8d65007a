"""Laws 11 and 12: a seed decides, what was handed out stays, and copies know nothing of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from environments.market.env import MarketEnv
from tests.environments.laws.information import assert_same, outcome
from tests.environments.laws.worlds import COPIES, Make, world
from tests.environments.markets import random_actions

STEPS = 25


def a_seed_decides(make: Make, seed: int) -> None:
    """11. ``reset(seed)`` gives the same trajectory on the same object and on a new one; nothing is changed later."""
    env = world(make, seed)
    plans = _plans(env, seed)
    handed_out, kept = [], []
    for row in _steps(env, plans, seed):
        handed_out.append(row)
        kept.append({name: value.clone() for name, value in row.items()})
    for again in (env, world(make, seed)):
        assert_same(kept, list(_steps(again, plans, seed)))
    assert_same(kept, handed_out)


def a_copy_is_alone(make: Make, seed: int) -> None:
    """12. A copy of a batch equals the same world stepped alone, whatever the other copies do."""
    env = world(make, seed)
    plans = _plans(env, seed)
    whole = list(_steps(env, plans, seed))
    for few in range(1, COPIES):
        alone = _steps(world(make, seed, num_envs=few), [_copies(plan, slice(few)) for plan in plans], seed)
        assert_same(list(alone), [_copies(row, slice(few)) for row in whole])
    last = slice(COPIES - 1, COPIES)
    mixed = _steps(env, [_others_swapped(plan) for plan in plans], seed)
    assert_same([_copies(row, last) for row in mixed], [_copies(row, last) for row in whole])


def _plans(env: MarketEnv, seed: int) -> list[dict[str, Tensor]]:
    return [random_actions(env, seed + i) for i in range(STEPS)]


def _steps(env: MarketEnv, plans: list[dict[str, Tensor]], seed: int) -> Iterator[dict[str, Tensor]]:
    yield env.reset(seed=seed)
    for plan in plans:
        yield outcome(env, plan)


def _copies(row: Mapping[str, Tensor], copies: slice) -> dict[str, Tensor]:
    return {name: value[copies] for name, value in row.items()}


def _others_swapped(plan: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All copies but the last do what another one did."""
    order = [*reversed(range(COPIES - 1)), COPIES - 1]
    return {name: action[order] for name, action in plan.items()}
