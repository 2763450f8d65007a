from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from environments.base import ArrayEnv
from environments.checks import check_array_env
from tests.games import ChainGame, ChainParams, SlowGame, SlowParams, TargetGame, TargetParams

TWO_KINDS = {"groups": {"a": {"agents": 2}, "b": {"kind": "continuous"}}, "horizon": 5}


@pytest.mark.parametrize(
    ("game", "params"),
    [
        (TargetGame, {}),
        (TargetGame, TWO_KINDS),
        (SlowGame, {"horizon": 14}),
        (ChainGame, {"agents": 2, "length": 2}),
        (ChainGame, {"ends": "truncated", "kind": "continuous"}),
    ],
)
def test_games_keep_the_laws(game: type[ArrayEnv], params: dict[str, Any]) -> None:
    check_array_env(game, params)


def answers(env: TargetGame, obs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The best actions: name the context, or repeat the number."""
    kinds = {name: group.kind for name, group in env.params.groups.items()}
    return {name: obs[name].argmax(-1) if kind == "discrete" else obs[name] for name, kind in kinds.items()}


def test_target_optimum_is_one_per_decision() -> None:
    env = TargetGame(TargetParams.model_validate(TWO_KINDS), num_envs=3)
    obs, total = env.reset(seed=1), torch.zeros(3)
    for t in range(5):
        transition = env.step(answers(env, obs))
        obs, total = transition.obs, total + transition.reward["a"][:, 0] + transition.reward["b"][:, 0]
        assert transition.done.all() == (t == 4)
    assert torch.equal(total, torch.full((3,), 10.0))


def test_random_play_earns_what_the_docstring_says() -> None:
    env = TargetGame(TargetParams.model_validate(TWO_KINDS), num_envs=4096)
    env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    action_a = torch.randint(3, (4096, 2), generator=generator)
    action_b = torch.rand(4096, 1, 1, generator=generator) * 2 - 1
    reward = env.step({"a": action_a, "b": action_b}).reward
    assert reward["a"].mean().item() == pytest.approx(1 / 3, abs=0.02)
    assert reward["b"].mean().item() == pytest.approx(1 - (0.64 + 1) / 3, abs=0.02)


def test_slow_group_decides_each_fourth_step_and_is_paid_before_the_next() -> None:
    env = SlowGame(SlowParams(), num_envs=1)
    obs = env.reset(seed=0)
    paid, deciding = [], []
    for _ in range(16):
        deciding.append(bool(env.active()["slow"][0, 0]))
        transition = env.step(answers(env, obs))
        obs = transition.obs
        paid.append(transition.reward["slow"][0, 0].item())
    assert deciding == [True, False, False, False] * 4
    assert paid == [0, 0, 0, 1] * 4
    assert transition.done.all()


def test_an_action_of_an_inactive_agent_changes_nothing() -> None:
    env = SlowGame(SlowParams(), num_envs=1)
    obs = env.reset(seed=0)
    right = answers(env, obs)["slow"]
    env.step({"fast": torch.zeros(1, 1, dtype=torch.int64), "slow": right})
    for action in ((right + 1) % 3, (right + 2) % 3):
        env.step({"fast": right, "slow": action})
    assert env.step({"fast": right}).reward["slow"].item() == 1.0


@pytest.mark.parametrize(("ends", "laps"), [("terminated", 1), ("truncated", 3)])
def test_chain_pays_one_per_lap(ends: str, laps: int) -> None:
    env = ChainGame(ChainParams.model_validate({"ends": ends}), num_envs=1)
    env.reset()
    total, steps, done = 0.0, 0, False
    while not done:
        transition = env.step({"walkers": torch.ones(1, 1, dtype=torch.int64)})
        total, steps, done = total + transition.reward["walkers"].item(), steps + 1, bool(transition.done[0])
    assert (total, steps) == ((1, 4) if ends == "terminated" else (laps, 14))
    assert transition.terminated["walkers"].item() == (ends == "terminated")
    assert transition.truncated["walkers"].item() == (ends == "truncated")
    cut_at = [0.0, 0.0, 1.0, 0.0] if ends == "truncated" else [0.0] * 4
    assert transition.final_obs["walkers"].flatten().tolist() == cut_at


def test_chain_going_back_starts_again() -> None:
    env = ChainGame(ChainParams(kind="continuous"), num_envs=1)
    env.reset()
    places = []
    for action in (0.5, 0.5, -0.5, 0.5):
        obs = env.step({"walkers": torch.full((1, 1, 1), action)}).obs["walkers"]
        places.append(int(obs.argmax()))
    assert places == [1, 2, 0, 1]


@pytest.mark.parametrize("ends", ["terminated", "truncated"])
def test_chain_values_solve_the_bellman_equation(ends: str) -> None:
    gamma, length = 0.9, 4
    cycle = 1.0 if ends == "terminated" else 1 / (1 - gamma**length)
    value = [gamma ** (length - 1 - p) * cycle for p in range(length)]
    beyond = 0.0 if ends == "terminated" else value[0]
    for p in range(length):
        go = gamma * value[p + 1] if p + 1 < length else 1 + gamma * beyond
        assert value[p] == pytest.approx(max(go, gamma * value[0]))


def test_games_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="lenght"):
        ChainParams.model_validate({"lenght": 3})
