"""Each law is broken once, and the check says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from environments.base import ArrayEnv, Transition
from environments.checks import check_array_env
from environments.market.env import MarketEnv
from tests.games import ChainGame, SlowGame, TargetGame


class ObsOfDoubles(TargetGame):
    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        return {name: obs.double() for name, obs in super().reset(seed=seed).items()}


class OutOfItsSpace(TargetGame):
    def _observe(self, step_E: Tensor, episode_E: Tensor) -> dict[str, Tensor]:
        return {name: obs + 0.5 for name, obs in super()._observe(step_E, episode_E).items()}


class Unseeded(TargetGame):
    calls = 0

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        type(self).calls += 1
        return super().reset(seed=type(self).calls)


class ReusesItsBuffer(TargetGame):
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        transition = super().step(actions)
        self.__dict__.setdefault("buffer", transition.reward["a"])[:] = transition.reward["a"]
        return dataclasses.replace(transition, reward={"a": self.__dict__["buffer"]})


class KnowsItsNumber(TargetGame):
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        transition = super().step(actions)
        return dataclasses.replace(transition, reward={"a": transition.reward["a"] / self.num_envs})


class Envious(TargetGame):
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        transition = super().step(actions)
        return dataclasses.replace(transition, reward={"a": transition.reward["a"].cumsum(0)})


class Forgetful(TargetGame):
    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state({**state, "step_E": torch.zeros_like(state["step_E"])})


class LosesTheLastObservation(TargetGame):
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        transition = super().step(actions)
        return dataclasses.replace(transition, final_obs={"a": 1 - transition.final_obs["a"]})


class NeverSaysWho(TargetGame):
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        transition = super().step(actions)
        return dataclasses.replace(transition, truncated=transition.terminated)


class Undead(ChainGame):
    def active(self) -> dict[str, Tensor]:
        return {name: torch.ones_like(active_EA) for name, active_EA in super().active().items()}


class Hasty(SlowGame):
    def active(self) -> dict[str, Tensor]:
        return {name: torch.ones_like(active_EA) for name, active_EA in super().active().items()}


def test_the_market_keeps_the_laws() -> None:
    assets = {"stocks": 2, "crypto": 2, "currencies": 1}
    synthetic = {"assets": assets, "bars": 150, "late_start": 0.6}
    check_array_env(MarketEnv, {"data": {"synthetic": synthetic}, "horizon": 12, "warmup": 20})


@pytest.mark.parametrize(
    ("game", "params", "message"),
    [
        (ObsOfDoubles, {}, r"reset\(\) of a is torch.float64"),
        (OutOfItsSpace, {}, r"reset\(\) of a leaves its space"),
        (Unseeded, {}, "a second reset"),
        (ReusesItsBuffer, {}, "a later step changed what was handed out before: first seen in reward/a"),
        (KnowsItsNumber, {}, "the first copies of 3 are not those of 1"),
        (Envious, {}, "copy 1 depends on what other copies do"),
        (Forgetful, {}, "the same object goes on in another way after set_state"),
        (LosesTheLastObservation, {}, "step 0: a: final_obs is not obs in a copy that goes on"),
        (NeverSaysWho, {}, "a copy is done, but an agent has not ended"),
        (Undead, {"agents": 2, "length": 2}, "an agent that ended is active"),
        (Hasty, {}, "slow: active between its decisions, each 4"),
    ],
)
def test_a_broken_law_is_told(game: type[ArrayEnv], params: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_array_env(game, params)
