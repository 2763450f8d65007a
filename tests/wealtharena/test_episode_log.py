"""Returns and lengths of finished episodes: over the ends of fragments, of the last ones alone."""

import pytest
import torch

from environments.base import Transition
from policies.ppo import PPO
from tests.games import TargetGame
from wealtharena.team.config import TeamConfig
from wealtharena.team.episodes import EpisodeLog
from wealtharena.team.runner import ArrayEnvRunner


def step(rewards: dict[str, list[list[float]]], done: list[bool]) -> Transition:
    nothing: dict[str, torch.Tensor] = {}
    reward = {name: torch.tensor(values) for name, values in rewards.items()}
    return Transition(nothing, nothing, reward, nothing, nothing, torch.tensor(done), nothing)


def log(window: int = 100) -> EpisodeLog:
    return EpisodeLog({"a": 2, "b": 1}, 2, "cpu", window=window)


def test_episodes_by_hand():
    found = log()
    found.add(step({"a": [[1, 3], [10, 30]], "b": [[5], [50]]}, [True, False]))
    found.add(step({"a": [[2, 2], [20, 20]], "b": [[7], [70]]}, [False, True]))
    episodes = found.finish()
    assert episodes.count == 2
    assert episodes.length == (1 + 2) / 2
    # Means over a group's agents: 2 and 40 of a, 5 and 120 of b.
    assert episodes.group_return == {"a": (2 + 40) / 2, "b": (5 + 120) / 2}


def test_an_episode_goes_on_over_the_end_of_a_fragment_and_of_a_process():
    first, second = log(), log()
    first.add(step({"a": [[1, 3], [0, 0]], "b": [[5], [0]]}, [False, False]))
    assert first.finish().count == 0
    second.set_state(first.get_state())
    second.add(step({"a": [[1, 1], [0, 0]], "b": [[1], [0]]}, [True, False]))
    episodes = second.finish()
    assert (episodes.count, episodes.length, episodes.group_return) == (1, 2.0, {"a": 3.0, "b": 6.0})


def test_means_are_those_of_the_last_episodes():
    found = log(window=3)
    for reward in (100.0, 1.0, 2.0):
        found.add(step({"a": [[reward] * 2] * 2, "b": [[reward]] * 2}, [True, reward == 2.0]))
    episodes = found.finish()
    # The last three of four: of the second step, and of both copies in the third, one of which is three steps long.
    assert episodes.count == 4
    assert episodes.group_return["b"] == (1 + 2 + 103) / 3
    assert episodes.length == (1 + 1 + 3) / 3


def test_the_runner_tells_what_a_window_of_single_episodes_tells():
    params = {"groups": {"a": {"agents": 2}}, "horizon": 3}
    config = TeamConfig().environment(env=TargetGame, env_config=params).team({"a": PPO()})
    runner = ArrayEnvRunner(config=config.env_runners(num_envs_per_env_runner=60, rollout_fragment_length=7))
    reward = runner.sample()["a"].reward
    told = runner.get_metrics()
    of_episode = [reward[begun : begun + 3, copy].sum() for begun in (0, 3) for copy in range(60)]
    assert told["num_episodes"].peek() == len(of_episode) == 120
    assert told["episode_return_mean"].peek() == pytest.approx(sum(of_episode[-100:]) / 100, rel=1e-6)
    assert told["episode_len_mean"].peek() == 3
    assert told["groups"]["a"]["episode_return"].peek() == pytest.approx(sum(of_episode[-100:]) / 200, rel=1e-6)
