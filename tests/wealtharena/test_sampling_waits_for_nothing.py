"""Within a fragment nothing asks a tensor for its contents: on a CUDA device every such question is a wait."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from policies.ppo import PPO
from tests.games import ChainGame, SlowGame, TargetGame
from wealtharena.team.config import TeamConfig
from wealtharena.team.runner import ArrayEnvRunner

aten = torch.ops.aten
WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.is_nonzero, aten.equal, aten._unique2}
GAMES = {
    "dense": (TargetGame, {"groups": {"a": {"agents": 2}, "b": {"agents": 2}}}),
    "slow": (SlowGame, {}),
    "ends": (ChainGame, {"agents": 2}),
    "continuous": (TargetGame, {"groups": {"a": {"kind": "continuous", "agents": 2}}}),
}


class NoQuestions(TorchDispatchMode):
    """Refuses operations whose result, or its shape, the host must know."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        asks = func.overloadpacket in WAITS
        if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
            asks = any(index is not None and index.dtype == torch.bool for index in args[1])
        if asks:
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def runner_of(game: str, **env_runners: Any) -> ArrayEnvRunner:
    env, params = GAMES[game]
    groups = env(env.Params.model_validate(params), num_envs=1).groups
    config = TeamConfig().environment(env=env, env_config=params).team({name: PPO() for name in groups})
    return ArrayEnvRunner(
        config=config.env_runners(num_envs_per_env_runner=4, rollout_fragment_length=24, **env_runners)
    )


def watch(runner: ArrayEnvRunner, monkeypatch: pytest.MonkeyPatch, begin: Any, end: Any) -> None:
    """Puts ``begin`` and ``end`` around what the runner does in a step, but for the environment's own part."""

    def outside(env_step: Any, actions: Any) -> Any:
        end()
        try:
            return env_step(actions)
        finally:
            begin()

    def inside(step: Any, env_steps: int) -> None:
        begin()
        try:
            step(env_steps)
        finally:
            end()

    monkeypatch.setattr(runner.env, "step", partial(outside, runner.env.step))
    monkeypatch.setattr(runner, "_step", partial(inside, runner._step))


@pytest.mark.parametrize("game", GAMES)
def test_nothing_is_asked_within_a_fragment(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, mode = runner_of(game), NoQuestions()
    runner.device = "elsewhere"  # on a CPU it may ask whether anyone decides at all
    watch(runner, monkeypatch, mode.__enter__, lambda: mode.__exit__(None, None, None))
    fragment = runner.sample()
    assert all(rollout.count.any() for rollout in fragment.values())


def test_a_question_is_noticed() -> None:
    with NoQuestions():
        for question in (torch.Tensor.nonzero, torch.Tensor.item, lambda one: one[one > 0], bool):
            with pytest.raises(AssertionError, match="waits for the device"):
                question(torch.ones(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("game", ["dense", "continuous"])
def test_nothing_waits_on_a_device(game: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of(game, num_gpus_per_env_runner=1)
    runner.sample()
    strict, free = (partial(torch.cuda.set_sync_debug_mode, mode) for mode in ("error", "default"))
    watch(runner, monkeypatch, strict, free)
    fragment = runner.sample()
    assert all(isinstance(rollout.obs, np.ndarray) for rollout in fragment.values())
