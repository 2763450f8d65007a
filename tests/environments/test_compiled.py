"""Compiled steps: the same game as plain ones, to rounding, and told where it cannot be had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from environments.errors import DataError
from environments.market import compiled
from environments.market import env as market_env
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from tests.environments.laws import simulations, worlds
from tests.environments.laws.information import assert_same, outcome
from tests.environments.markets import market, random_actions

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's compiler, about torch

STEPS = 30
CXX = os.environ.get("CXX", "g++")
WITH_A_COMPILER = pytest.mark.skipif(shutil.which(CXX) is None, reason=f"needs the C++ compiler {CXX}")
"""Which torch calls for its own generated code; ``compile`` refuses a machine without it."""


def simulated(seed: int, **changes: Any) -> MarketEnv:
    return simulations.world(seed, **changes)


def of_a_panel(seed: int, **changes: Any) -> MarketEnv:
    return worlds.world(market, seed, **changes)


Make = Callable[..., MarketEnv]
MAKES = pytest.mark.parametrize("make", [of_a_panel, simulated], ids=lambda make: make.__name__)


@pytest.fixture
def only_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was traced is run as it is: all but torch's compiler, in a second rather than in half a minute."""
    monkeypatch.setattr(compiled, "compiled_graph", lambda graph, _: graph)
    monkeypatch.setattr(market_env, "check_compiler", lambda _: None)


def assert_close(ones: dict[str, Tensor], others: dict[str, Tensor], what: str) -> None:
    """Equal to rounding, in units of the largest number."""
    assert ones.keys() == others.keys()
    for name, one in ones.items():
        assert one.dtype == others[name].dtype
        error = 1e-6 if one.dtype == torch.float32 else 1e-9
        size = max([1.0, *one.double().flatten().abs().tolist()])
        torch.testing.assert_close(others[name], one, rtol=0, atol=error * size, msg=f"{name} differs {what}")


def assert_the_same_game(plain: MarketEnv, other: MarketEnv, seed: int) -> None:
    assert_same([plain.reset(seed=seed)], [other.reset(seed=seed)])
    for i in range(STEPS):
        actions = random_actions(plain, seed + i)
        assert_close(outcome(plain, actions), outcome(other, actions), f"at step {i}")
        assert_same([plain.active()], [other.active()])
        assert_close(plain.objectives(), other.objectives(), f"at step {i}")


@MAKES
@pytest.mark.parametrize("seed", range(8))
def test_what_is_traced_is_the_same_game(make: Make, seed: int, only_traced: None) -> None:
    assert_the_same_game(make(seed), make(seed, compile=True), seed)


@WITH_A_COMPILER
def test_what_is_compiled_is_the_same_game() -> None:
    assert_the_same_game(of_a_panel(3), of_a_panel(3, compile=True), 3)


# ---- one compiled market, and what must hold of it


@pytest.fixture(scope="module")
def env() -> Iterator[MarketEnv]:
    """Three copies, compiled once: a second compilation is an error."""
    data = {"synthetic": {"assets": {"stocks": 2, "crypto": 3}, "bars": 150}}
    params = {"data": data, "horizon": 9, "warmup": 5, "cash_rate": 0.02, "compile": True}
    env = MarketEnv(MarketParams.model_validate(params), num_envs=3)
    env.reset(seed=0)
    env.step(random_actions(env, 0))
    with mock.patch.object(compiled, "compiled_graph", side_effect=AssertionError("compiled twice")):
        yield env


def play(env: MarketEnv, steps: int = STEPS, first: int = 0) -> list[dict[str, Tensor]]:
    return [outcome(env, random_actions(env, first + i)) for i in range(steps)]


@WITH_A_COMPILER
def test_the_accounts_of_a_compiled_market_balance(env: MarketEnv) -> None:
    env.reset(seed=1)
    nav_E = torch.full((3,), env.params.capital, dtype=torch.float64)
    for row in play(env):
        expected_E = nav_E + row["pnl_EN"].sum(1) + row["interest_E"]
        torch.testing.assert_close(row["nav_E"], expected_E, rtol=1e-9, atol=0)
        nav_E = torch.where(row["done"], env.params.capital, row["nav_E"])


@WITH_A_COMPILER
def test_a_seed_decides_a_compiled_market_and_nothing_told_is_changed(env: MarketEnv) -> None:
    env.reset(seed=2)
    told = play(env)
    kept = [{name: value.clone() for name, value in row.items()} for row in told]
    env.reset(seed=2)
    assert_same(kept, play(env))
    assert_same(kept, told)
    env.reset(seed=3)
    assert not torch.equal(play(env)[-1]["nav_E"], kept[-1]["nav_E"])


@WITH_A_COMPILER
def test_a_state_goes_on_to_the_bit_in_a_compiled_market(env: MarketEnv) -> None:
    env.reset(seed=4)
    play(env, 7)
    state = env.get_state()
    told = play(env, first=7)
    env.reset(seed=5)
    env.set_state(state)
    assert_same(told, play(env, first=7))


@WITH_A_COMPILER
def test_a_copy_of_a_compiled_market_knows_nothing_of_the_others(env: MarketEnv) -> None:
    env.reset(seed=6)
    told = play(env)
    env.reset(seed=6)
    for i, row in enumerate(told):
        actions = {name: action.clone() for name, action in random_actions(env, i).items()}
        for action in actions.values():
            action[:2] = action[:2].flip(0)
        found = outcome(env, actions)
        assert_same([{name: value[2:] for name, value in row.items()}], [{n: v[2:] for n, v in found.items()}])


@WITH_A_COMPILER
def test_targets_are_traded_between_compiled_steps(env: MarketEnv) -> None:
    env.reset(seed=7)
    env.step(random_actions(env, 0))
    record = env.trade(torch.full((3, 5), 0.1), torch.ones(3, 5, dtype=torch.bool))
    row = play(env, 1)[0]
    expected_E = record.nav_E + row["pnl_EN"].sum(1) + row["interest_E"]
    torch.testing.assert_close(row["nav_E"], expected_E, rtol=1e-9, atol=0)


@WITH_A_COMPILER
def test_a_compiled_market_refuses_what_is_not_finite(env: MarketEnv) -> None:
    env.reset(seed=0)
    actions = random_actions(env, 0)
    actions["crypto"][1, 0] = torch.nan
    with pytest.raises(ValueError, match="an action of copy 1 was NaN"):
        env.step(actions)
    env.reset(seed=0)


@WITH_A_COMPILER
def test_a_group_may_be_left_out_where_nobody_decides(env: MarketEnv) -> None:
    """The allocator, between its decisions."""
    env.reset(seed=0)
    actions = random_actions(env, 0)
    allocator = actions.pop("allocator")
    with pytest.raises(ValueError, match="no actions for group 'allocator'"):
        env.step(actions)
    env.step(actions | {"allocator": allocator})
    env.step(actions)


# ---- what is refused


def tiny(**params: Any) -> MarketEnv:
    data = {"synthetic": {"assets": {"stocks": 1}, "bars": 90}}
    return MarketEnv(MarketParams.model_validate({"data": data, "horizon": 5, "warmup": 5, **params}), num_envs=1)


def test_without_a_compiler_it_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DataError, match=r"compile: true needs a C\+\+ compiler, and no-such-compiler is not there"):
        tiny(compile=True)
    tiny()


def test_another_device_is_refused() -> None:
    params = MarketParams.model_validate({"data": {"synthetic": {}}, "compile": True})
    with pytest.raises(DataError, match="compile: true is for the CPU, and the device is meta"):
        MarketEnv(params, num_envs=1, device="meta")


def test_what_torch_cannot_compile_is_told(only_traced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compiled_graph", mock.Mock(side_effect=RuntimeError("no <omp.h>\nand so on")))
    env = tiny(compile=True)
    env.reset(seed=0)
    with pytest.raises(DataError, match=r"torch could not compile the step \(no <omp.h>\); set compile: false"):
        env.step(random_actions(env, 0))


def test_actions_of_another_shape_are_refused(only_traced: None) -> None:
    env = tiny(compile=True)
    env.reset(seed=0)
    actions = random_actions(env, 0)
    with pytest.raises(ValueError, match=r"actions of group 'stocks' have shape \(1, 2\), must be \(1, 1\)"):
        env.step(actions | {"stocks": torch.zeros(1, 2)})
