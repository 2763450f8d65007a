from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from pettingzoo import ParallelEnv
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from environments.checks import check_array_env
from environments.errors import DataError
from environments.loop import LoopEnv, LoopParams

CARTPOLES = {
    "env": "ray.rllib.examples.envs.classes.multi_agent:MultiAgentCartPole",
    "kwargs": {"config": {"num_agents": 4}},
    "groups": {"left": [0, 1], "right": ["[23]"]},
}
HERE = __name__
SPREAD = {"env": "mpe2.simple_spread_v3:parallel_env", "groups": {"team": ["agent_*"]}}
SPREAD_CONTINUOUS = {**SPREAD, "kwargs": {"continuous_actions": True, "max_cycles": 7}}


def loop(params: dict[str, Any], num_envs: int = 1) -> LoopEnv:
    return LoopEnv(LoopParams.model_validate(params), num_envs=num_envs)


@pytest.mark.parametrize("params", [CARTPOLES, SPREAD, SPREAD_CONTINUOUS], ids=["cartpoles", "spread", "continuous"])
def test_foreign_environments_keep_the_laws(params: dict[str, Any]) -> None:
    """With them that a restored run goes on to the bit, over the ends of episodes."""
    check_array_env(LoopEnv, params, steps=60)


def test_the_parameters_survive_a_config_file() -> None:
    params = LoopParams.model_validate(CARTPOLES)
    assert LoopParams.model_validate(params.model_dump(mode="json")) == params


def test_four_cartpoles_in_two_groups() -> None:
    env = loop(CARTPOLES, 2)
    assert env.groups["left"].agent_ids == ("left/0", "left/1")
    assert env.groups["right"].agent_ids == ("right/2", "right/3")
    foreign = gym.make("CartPole-v1")
    assert np.array_equal(env.groups["left"].observation_space.high, foreign.observation_space.high)
    assert env.groups["left"].action_space == gym.spaces.Discrete(2)


def test_cartpole_is_the_foreign_one() -> None:
    """Step by step the numbers of the CartPole that is wrapped."""
    env = loop({**CARTPOLES, "kwargs": {"config": {"num_agents": 1}}, "groups": {"one": ["*"]}})
    first = env.reset(seed=3)["one"][0, 0]
    foreign = gym.make("CartPole-v1").unwrapped
    foreign.reset(seed=0)
    foreign.state = first.double().numpy()
    for _ in range(5):
        obs, reward, *_ = foreign.step(1)
        transition = env.step({"one": torch.ones(1, 1, dtype=torch.int64)})
        assert torch.allclose(transition.obs["one"][0, 0], torch.as_tensor(obs), atol=1e-6)
        assert transition.reward["one"].item() == reward


class Scripted(MultiAgentEnv):
    """``cut`` is truncated in step 2, ``slow`` acts each second step, all who are left are terminated in step 4."""

    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = ["cut", "slow", "fast"]
        self.observation_spaces = {a: gym.spaces.Box(-9.0, 9.0, (2, 1)) for a in self.possible_agents}
        self.action_spaces = {a: gym.spaces.Discrete(3, start=-1) for a in self.possible_agents}
        self.given: list[dict[str, Any]] = []

    def _obs(self, *agents: str) -> dict[str, Any]:
        return {agent: np.full((2, 1), self.t, np.float32) for agent in agents}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.t = 0
        return self._obs("cut", "slow", "fast"), {}

    def step(self, action_dict: dict[str, Any]) -> Any:
        self.t += 1
        self.given.append(action_dict)
        agents = ["fast"] + ["slow"] * (self.t % 2 == 0) + ["cut"] * (self.t <= 2)
        reward = {"fast": 1.0, "slow": 10.0} | ({"cut": 100.0} if self.t <= 2 else {})
        flags = {"__all__": self.t == 4}
        return self._obs(*agents), reward, flags, {"__all__": False, "cut": self.t == 2}, {}


SCRIPTED = {"env": f"{HERE}:Scripted", "groups": {"g": ["*"]}}


def test_early_ends_turns_and_rewards() -> None:
    env = loop(SCRIPTED)
    env.reset(seed=0)
    steps = [env.step({"g": torch.tensor([[0, 1, 2]])}) for _ in range(4)]
    assert [step.active["g"][0].tolist() for step in steps] == [
        [True, False, True],
        [False, True, True],
        [False, False, True],
        [True, True, True],
    ]
    assert [step.reward["g"][0].tolist() for step in steps] == [[100, 10, 1], [100, 10, 1], [0, 10, 1], [0, 10, 1]]
    assert [step.truncated["g"][0].tolist() for step in steps] == [[False] * 3, [True, False, False]] + [
        [False] * 3
    ] * 2
    assert [step.terminated["g"][0].tolist() for step in steps] == [[False] * 3] * 3 + [[False, True, True]]
    assert [step.done.item() for step in steps] == [False, False, False, True]
    assert [step.final_obs["g"][0, :, 0].tolist() for step in steps] == [[1, 0, 1], [2, 2, 2], [0, 0, 3], [0, 4, 4]]
    assert steps[-1].obs["g"][0, :, 0].tolist() == [0, 0, 0]


class FlaggedTwice(Scripted):
    """Where ``cut`` is cut, it is terminated as well."""

    def step(self, action_dict: dict[str, Any]) -> Any:
        obs, reward, terminated, truncated, infos = super().step(action_dict)
        return obs, reward, {**terminated, "cut": truncated["cut"]}, truncated, infos


def test_terminated_is_stronger_than_truncated() -> None:
    env = loop({**SCRIPTED, "env": f"{HERE}:FlaggedTwice"})
    env.reset(seed=0)
    _, step = (env.step({"g": torch.tensor([[0, 1, 2]])}) for _ in range(2))
    assert step.terminated["g"][0].tolist() == [True, False, False]
    assert not step.truncated["g"].any()


def test_only_acting_agents_are_given_actions() -> None:
    env = loop({**SCRIPTED, "env": f"{HERE}:Scripted"})
    env.reset(seed=0)
    for _ in range(4):
        env.step({"g": torch.tensor([[0, 1, 2]])})
    (foreign,) = (world._env for world in env._worlds)
    assert foreign.given == [
        {"cut": -1, "slow": 0, "fast": 1},
        {"cut": -1, "fast": 1},
        {"slow": 0, "fast": 1},
        {"fast": 1},
    ]


class Odd(ParallelEnv):
    """One agent that echoes its action, an integer from -1 to 1, or a Box; its spaces are what it is made with."""

    def __init__(self, observation: gym.Space[Any], action: gym.Space[Any], agents: tuple[str, ...] = ("a",)) -> None:
        self.possible_agents, self._spaces = list(agents), (observation, action)
        self.seeds: list[int | None] = []
        self.given: list[Any] = []

    def observation_space(self, agent: str) -> Any:
        return self._spaces[0] if agent == "a" else gym.spaces.Box(0, 1, (5,))

    def action_space(self, agent: str) -> Any:
        return self._spaces[1]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.agents = list(self.possible_agents)
        self.seeds.append(seed)
        return {agent: self.observation_space(agent).sample() for agent in self.agents}, {}

    def step(self, actions: dict[str, Any]) -> Any:
        self.given.append(actions["a"])
        obs, names, self.agents = {"a": 4}, self.agents, []
        return obs, dict.fromkeys(names, 1.0), dict.fromkeys(names, False), dict.fromkeys(names, True), {}


def odd(observation: gym.Space[Any], action: gym.Space[Any], **kwargs: Any) -> dict[str, Any]:
    return {
        "env": f"{HERE}:Odd",
        "kwargs": {"observation": observation, "action": action, **kwargs},
        "groups": {"g": ["a"]},
    }


def test_discrete_observations_become_one_hot() -> None:
    env = loop(odd(gym.spaces.Discrete(4, start=2), gym.spaces.Discrete(2)))
    assert env.groups["g"].observation_space == gym.spaces.Box(0, 1, (4,), np.float32)
    env.reset(seed=0)
    transition = env.step({"g": torch.zeros(1, 1, dtype=torch.int64)})
    assert transition.final_obs["g"].tolist() == [[[0, 0, 1, 0]]]
    assert transition.truncated["g"].all()
    assert not transition.terminated["g"].any()


def test_box_actions_are_clipped_and_shaped() -> None:
    env = loop(odd(gym.spaces.Discrete(6), gym.spaces.Box(-1.0, 2.0, (2, 1), np.float64)))
    env.reset(seed=0)
    env.step({"g": torch.tensor([[[-7.0, 7.0]]])})
    given = env._worlds[0]._env.given[0]
    assert given.tolist() == [[-1.0], [2.0]]
    assert given.dtype == np.float64


def test_a_copy_is_seeded_once_and_by_its_number_alone() -> None:
    env, wide = (loop(odd(gym.spaces.Discrete(6), gym.spaces.Discrete(2)), num_envs) for num_envs in (2, 3))
    for each in (env, wide):
        each.reset(seed=5)
        each.step({"g": torch.zeros(each.num_envs, 1, dtype=torch.int64)})
    seeds, wide_seeds = ([world._env.seeds for world in each._worlds] for each in (env, wide))
    assert wide_seeds[:2] == seeds
    assert [copy_seeds[1:] for copy_seeds in wide_seeds] == [[None]] * 3
    assert len({copy_seeds[0] for copy_seeds in wide_seeds}) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": {"left": [0, 1], "right": [2]}}, "agent 3 is in no group"),
        ({"groups": {"left": ["*"], "right": [2]}}, r"agent 2 is in 2 groups \(left, right\)"),
        ({"groups": {"left": ["*"], "right": ["x*"]}}, r"groups.right: its patterns \['x\*'\] match none"),
        (
            {"env": "builtins:dict"},
            "env dict gave a dict: it must give an RLlib MultiAgentEnv or a PettingZoo ParallelEnv",
        ),
        ({"kwargs": {"count": 4}}, "cannot be called with kwargs {'count': 4}: .*unexpected keyword"),
        ({"env": "math:pi"}, "is 3.14.*; it must name a class, or a function"),
        ({"env": "no.such:Thing"}, "cannot be imported: No module named 'no'"),
        ({"env": "mpe2.simple_spread_v3:Env"}, "cannot be imported: .* no attribute 'Env'"),
        ({"env": "CartPole-v1"}, "should match pattern"),
        (odd(gym.spaces.MultiDiscrete([2, 2]), gym.spaces.Discrete(2)), "space MultiDiscrete.*allowed are Box and"),
        (odd(gym.spaces.Discrete(2), gym.spaces.MultiBinary(2)), "space MultiBinary.*allowed are Box and Discrete"),
        (
            {**odd(gym.spaces.Discrete(2), gym.spaces.Discrete(2), agents=("a", "b")), "groups": {"g": ["*"]}},
            "groups.g: agent 'b' has spaces .* must have the same",
        ),
        ({**odd(gym.spaces.Discrete(2), gym.spaces.Discrete(2), agents=())}, "env Odd has no possible_agents"),
    ],
)
def test_what_cannot_be_looped_is_refused(change: dict[str, Any], message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message):
            loop({**CARTPOLES, **change})


def test_a_state_of_other_copies_is_refused() -> None:
    env, other = loop(CARTPOLES, 2), loop(CARTPOLES, 1)
    env.reset(seed=0)
    with pytest.raises(DataError, match="the state holds 2 copies, this LoopEnv has num_envs=1"):
        other.set_state(env.get_state())


class Unpicklable(Scripted):
    def __reduce__(self) -> Any:
        raise TypeError("a socket is open")


def test_what_cannot_be_pickled_is_told() -> None:
    env = loop({**SCRIPTED, "env": f"{HERE}:Unpicklable"})
    env.reset(seed=0)
    with pytest.raises(DataError, match=r"cannot be saved.*a socket is open"):
        env.get_state()
