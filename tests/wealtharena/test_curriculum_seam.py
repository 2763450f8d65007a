"""Nothing learnt crosses the seam of two stages, whoever learns, with other numbers of agents on its two sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor

from environments import base
from environments.base import ArrayEnv, Group, Transition
from environments.staged import StagedEnv
from policies.dqn import DQN, DQNParams
from policies.experience import Experience, SceneExperience, WindowExperience
from policies.networks import Attention, Conv, Gru, Mlp, Network
from policies.on_policy import train_rows
from policies.ppo import PPO, PPOParams
from policies.rollout import Rollout
from wealtharena.team.config import TeamConfig
from wealtharena.team.runner import ArrayEnvRunner


class MarkedParams(base.Params):
    """Whose stage it is, and who plays how long."""

    mark: int = 1
    agents: int = Field(default=1, ge=1)
    horizon: int = Field(default=4, ge=1)


class MarkedGame(ArrayEnv):
    """An agent sees its stage's mark, its episode's number and its step (F = 3), and earns 1 in each step."""

    Params = MarkedParams

    def __init__(self, params: MarkedParams, *, num_envs: int, device: str = "cpu") -> None:
        self.params, self.num_envs, self.device = params, num_envs, device
        box, two = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32), gym.spaces.Discrete(2)
        self.groups = {"a": Group(tuple(f"a/{i}" for i in range(params.agents)), box, two)}
        self.reset()

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        self._step_E, self._episode_E = torch.zeros(self.num_envs), torch.zeros(self.num_envs)
        return self._seen()

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        self._step_E = self._step_E + 1
        final_obs, done_E = self._seen(), self._step_E >= self.params.horizon
        self._step_E, self._episode_E = self._step_E * ~done_E, self._episode_E + done_E
        cut_EA = done_E.unsqueeze(1).expand(-1, self.params.agents)
        nobody = {"a": torch.zeros_like(cut_EA)}
        paid = {"a": torch.ones(self.num_envs, self.params.agents)}
        return Transition(self._seen(), final_obs, paid, nobody, {"a": cut_EA}, done_E, {})

    def _seen(self) -> dict[str, Tensor]:
        columns = [torch.full((self.num_envs,), float(self.params.mark)), self._episode_E, self._step_E]
        return {"a": torch.stack(columns, dim=1).unsqueeze(1).repeat(1, self.params.agents, 1)}

    def get_state(self) -> dict[str, Any]:
        return {"step": self._step_E, "episode": self._episode_E}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._step_E, self._episode_E = state["step"], state["episode"]


STAGES = {
    "one": {"mark": 1, "agents": 2},
    "two": {"mark": 2, "agents": 4, "horizon": 7},
    "three": {"mark": 3, "agents": 3},
}
PLANS = [(6, 0, 0), (6, 0, 0), (2, 4, 0), (1, 1, 4), (0, 6, 0), (0, 6, 0), (2, 2, 2), (6, 0, 0)]


def runner(algorithm: Any, fragment: int) -> ArrayEnvRunner:
    config = (
        TeamConfig()
        .environment(env=StagedEnv, env_config={"env": MarkedGame, "stages": STAGES})
        .team({"a": algorithm})
        .env_runners(num_envs_per_env_runner=6, rollout_fragment_length=fragment)
    )
    return ArrayEnvRunner(config=config)


def rollouts(algorithm: Any, fragment: int = 5) -> list[Rollout]:
    sampler = runner(algorithm, fragment)
    return [sampler.sample(copies=plan)["a"] for plan in PLANS]


NETWORKS = [Mlp(), Conv(window=4, units=4, kernel=2), Gru(window=3, units=4), Attention(units=4, heads=1)]


@pytest.mark.parametrize("network", NETWORKS, ids=[each.kind for each in NETWORKS])
@pytest.mark.parametrize("fragment", [5, 16])
def test_no_replayed_transition_crosses_the_seam(network: Network, fragment: int):
    """Three-step transitions, and what a network sees with them, are of one stage and one episode."""
    params = DQNParams(network=network, n_step=3, gamma=1.0)
    kind = {"mlp": Experience, "attention": SceneExperience}.get(network.kind, WindowExperience)
    experience = kind(params, seed=0)
    for rollout in rollouts(DQN(params), fragment):
        experience.add(rollout)
    rows = experience.sample(400)
    if network.kind == "attention":
        there = rows["decided"]
        before, after = rows["obs"][there], rows["new_obs"][there]
    else:
        before, after, there = rows["obs"], rows["new_obs"], np.ones(len(rows["obs"]), dtype=bool)
    if before.ndim == 3:  # windows: every bar that was seen is of the same stage and episode as the last one
        for window in (before, after):
            seen = window[..., -1] > 0
            assert (np.where(seen[..., None], window[..., :2] - window[:, -1:, :2], 0.0) == 0).all()
        before, after = before[:, -1], after[:, -1]
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    np.testing.assert_array_equal(after[:, 2] - before[:, 2], rows["n_step"][there])
    np.testing.assert_array_equal(rows["rewards"][there], rows["n_step"][there])
    assert set(before[:, 0]) == {1.0, 2.0, 3.0}


@pytest.mark.parametrize("fragment", [5, 16])
def test_advantages_do_not_cross_the_seam(fragment: int):
    """With a critic that says nothing of value, a return to go ends with its episode or its fragment."""
    for rollout in rollouts(PPO(PPOParams()), fragment):
        assert rollout.value is not None
        assert rollout.final_value is not None
        rollout.value[:], rollout.final_value[:] = 0.0, 0.0
        rows = train_rows([rollout], gamma=1.0, trace_decay=1.0)
        to_go = rows["value_targets"]
        left = np.where(rows["obs"][:, 0] == 2.0, 7, 4) - rows["obs"][:, 2]
        assert (to_go <= left).all()
        assert (to_go >= 1).all()


def test_rollouts_hold_only_agents_that_are_there():
    played = set()
    for rollout in rollouts(PPO(PPOParams())):
        marks = rollout.obs[:-1][rollout.valid_SEA][:, 0]
        _, _, agent_B = rollout.valid_SEA.nonzero()
        played |= set(zip(marks.tolist(), agent_B.tolist(), strict=True))
    assert played == {(1.0, 0), (1.0, 1), *((2.0, a) for a in range(4)), *((3.0, a) for a in range(3))}


def test_episodes_are_told_by_their_stage():
    sampler, told = runner(PPO(PPOParams()), 5), []
    for plan in PLANS:
        sampler.sample(copies=plan)
        assert sampler.ended is not None
        told.append(sampler.ended)
    stage_M = np.concatenate([ended.stage for ended in told])
    length_M = np.concatenate([ended.length for ended in told])
    np.testing.assert_array_equal(length_M, np.array([4, 7, 4])[stage_M])
    np.testing.assert_array_equal(np.concatenate([ended.group_return["a"] for ended in told]), length_M)
    assert set(stage_M) == {0, 1, 2}


def test_what_is_told_of_returns_is_of_the_last_stage():
    sampler = runner(PPO(PPOParams()), 8)
    sampler.sample(copies=(6, 0, 0))
    assert "groups" not in sampler.get_metrics()
    sampler.sample(copies=(3, 0, 3))
    sampler.sample(copies=(3, 0, 3))
    told = sampler.get_metrics()
    assert told["num_episodes"].peek() == 12
    assert told["groups"]["a"]["episode_return"].peek() == 4
