"""Policies that act together act as each would alone, and follow the weights that are loaded into their modules."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from policies.a2c import A2C
from policies.algorithm import Decision
from policies.crew import crews
from policies.dqn import DQN
from policies.ppo import PPO, PPOParams

OBS = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
DISCRETE, BOX = gym.spaces.Discrete(4), gym.spaces.Box(-1.0, 1.0, (2,), np.float32)


class Stubborn(PPO):
    """Always does the same."""

    def explore(self, module, obs_BF, env_steps) -> Decision:
        return replace(super().explore(module, obs_BF, env_steps), action=torch.zeros(len(obs_BF), dtype=torch.int64))


def modules_of(algorithms, space):
    return {
        name: algorithm.module_spec(OBS, space, inference_only=False).build() for name, algorithm in algorithms.items()
    }


def by_names(algorithms, space, rows, device="cpu"):
    return {crew.names for crew in crews(algorithms, modules_of(algorithms, space), rows, device)}


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
def test_policies_that_act_together_act_as_each_alone(space):
    algorithms = {"a": PPO(), "b": A2C(), "c": PPO(PPOParams(lr=1e-3))}
    modules, obs = modules_of(algorithms, space), {name: torch.randn(10, 3) for name in algorithms}
    (crew,) = crews(algorithms, modules, dict.fromkeys(algorithms, 10), "cpu")
    for own in modules.values():  # what is learned later is in the stack as well
        own.normalizer.shift.fill_(0.3)
        own.set_state({key: value + 0.1 for key, value in own.get_state().items()})
    with torch.no_grad():
        found = crew.explore(obs, 0)
    assert list(found) == ["a", "b", "c"]
    for name, decision in found.items():
        alone = modules[name].forward_exploration({"obs": obs[name]})["action_dist_inputs"]
        torch.testing.assert_close(decision.dist_inputs, alone, atol=1e-6, rtol=1e-6)
        theirs = modules[name].get_exploration_action_dist_cls().from_logits(alone)
        torch.testing.assert_close(decision.logp, theirs.logp(decision.action), atol=1e-5, rtol=1e-5)
        assert decision.action.dtype == (torch.int64 if space is DISCRETE else torch.float32)


def test_who_acts_together():
    small = PPO(PPOParams(hidden=(8,)))
    algorithms = {"a": PPO(), "b": PPO(), "small": small, "own": Stubborn(), "other": DQN(), "more": PPO()}
    rows = dict.fromkeys(algorithms, 10) | {"more": 20}
    assert by_names(algorithms, DISCRETE, rows) == {("a", "b"), ("small",), ("own",), ("other",), ("more",)}


def test_on_a_cpu_large_groups_act_one_after_the_other():
    algorithms = {"a": PPO(), "b": PPO()}
    assert by_names(algorithms, DISCRETE, {"a": 5000, "b": 5000}) == {("a",), ("b",)}
    assert by_names(algorithms, DISCRETE, {"a": 5000, "b": 5000}, "meta") == {("a", "b")}


def test_an_algorithm_that_explores_in_its_own_way_is_asked():
    algorithms = {"a": Stubborn(), "b": Stubborn()}
    asked = crews(algorithms, modules_of(algorithms, DISCRETE), {"a": 10, "b": 10}, "cpu")
    for crew in asked:
        (decision,) = crew.explore({name: torch.randn(10, 3) for name in crew.names}, 0).values()
        assert not decision.action.any()
