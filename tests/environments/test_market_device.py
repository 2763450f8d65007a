"""On a device other than the CPU no step looks at what its tensors hold: the host would have to wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from tests.environments.laws import simulations, worlds
from tests.environments.laws.information import assert_same, outcome
from tests.environments.markets import by_hand, market, random_actions

LOOKS = ("_local_scalar_dense", "nonzero", "masked_select", "item", "equal", "lift_fresh", "unique")
STEPS = 30


class NoLooks(TorchDispatchMode):
    """Refuses what asks for a tensor's numbers, has a shape that depends on them, or brings numbers of the host."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1]
        )
        if name in LOOKS or masks:
            raise AssertionError(f"{name}: a step looked at a tensor")
        return func(*args, **(kwargs or {}))


def as_on_a_device(env: MarketEnv) -> MarketEnv:
    """The branch of other devices, on the CPU."""
    env._world = replace(env._world, on_host=False)
    return env


def simulated(seed: int) -> MarketEnv:
    return simulations.world(seed)


def of_a_panel(seed: int) -> MarketEnv:
    return worlds.world(market, seed)


MAKES = pytest.mark.parametrize("make", [of_a_panel, simulated], ids=lambda make: make.__name__)
SEEDS = pytest.mark.parametrize("seed", range(6))


@MAKES
@SEEDS
def test_no_step_looks_at_its_tensors(make: Callable[[int], MarketEnv], seed: int):
    env = as_on_a_device(make(seed))
    env.reset(seed=seed)
    env.step(random_actions(env, seed))  # what is made once, with the first step, may come from the host
    for i in range(STEPS):
        actions = random_actions(env, seed + i)
        with NoLooks():
            env.step(actions)


@MAKES
@SEEDS
def test_every_device_plays_the_same_game(make: Callable[[int], MarketEnv], seed: int):
    here, there = make(seed), as_on_a_device(make(seed))
    assert_same([here.reset(seed=seed)], [there.reset(seed=seed)])
    for i in range(STEPS):
        actions = random_actions(here, seed + i)
        assert_same([outcome(here, actions)], [outcome(there, actions)])
        assert_same([here.active()], [there.active()])


def two_assets() -> MarketEnv:
    panel = by_hand({"crypto/A": ([10.0] * 9, [10.0] * 9), "crypto/B": ([20.0] * 9, [21.0] * 9)})
    return market(panel, num_envs=3, warmup=1, horizon=None, allocator=None)


@pytest.mark.parametrize("asks", [MarketEnv.reset, MarketEnv.get_state], ids=["reset", "get_state"])
def test_an_action_that_was_nan_is_told_when_the_host_looks(asks: Callable[[MarketEnv], object]):
    env = as_on_a_device(two_assets())
    env.reset(seed=0)
    action = torch.zeros(3, 2, 1)
    action[1, 0] = torch.nan
    env.step({"crypto": action})
    env.step({"crypto": torch.zeros(3, 2, 1)})
    with pytest.raises(ValueError, match="an action of copy 1 was NaN"):
        asks(env)
    env.reset(seed=0)  # told once


def test_a_group_that_is_left_out_makes_it_look():
    env = as_on_a_device(two_assets())
    env.reset(seed=0)
    with pytest.raises(ValueError, match="no actions for group 'crypto'"):
        env.step({})


@contextmanager
def no_waiting() -> Iterator[None]:
    """CUDA itself refuses to make the host wait."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_step_on_cuda_never_makes_the_host_wait():
    params = {"data": {"synthetic": {"assets": {"stocks": 2, "crypto": 2}, "bars": 200}}, "horizon": 8}
    env = MarketEnv(MarketParams.model_validate(params), num_envs=16, device="cuda")
    plans = [{name: action.cuda() for name, action in random_actions(env, i).items()} for i in range(STEPS)]
    env.reset(seed=0)
    env.step(plans[0])
    with no_waiting():
        for actions in plans:
            env.step(actions)
    assert env._running().nav_E.device.type == "cuda"
