"""Learners in processes of their own: families at the same time, and several of a family as one."""

import sys
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import ray
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from policies.a2c import A2C, A2CParams
from policies.algorithm import Algorithm
from policies.dqn import DQN, DQNParams
from policies.learner_options import LearnerOptions
from policies.minibatches import minibatches
from policies.off_policy import ReplayTrainer
from policies.ppo import PPO, PPOParams
from policies.sac import SAC, SACParams
from tests.games import TargetGame
from tests.wealtharena.teams import changed, weights
from wealtharena.team.config import TeamConfig
from wealtharena.team.learning import learn

OBSERVATIONS = gym.spaces.Box(-1, 1, (3,), np.float32)
DISCRETE, BOX = gym.spaces.Discrete(4), gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
SMALL: dict[str, Any] = {"hidden": (16, 8), "grad_clip": 0.5}
ON_POLICY = {
    "ppo": (PPO(PPOParams(lr=1e-2, **SMALL)), {"a": DISCRETE, "b": DISCRETE, "c": BOX}),
    "a2c": (A2C(A2CParams(lr=1e-2, **SMALL)), {"a": DISCRETE}),
}
REPLAY = {"tau": 0.1, "batch_size": 32, **SMALL}
OFF_POLICY = {
    "sac": (SAC(SACParams(actor_lr=1e-2, critic_lr=2e-2, temperature_lr=3e-2, **REPLAY)), BOX),
    "dqn": (DQN(DQNParams(lr=1e-2, **REPLAY)), DISCRETE),
}


def group_of(algorithm: Algorithm, spaces: dict[str, gym.Space[Any]], learners: int) -> LearnerGroup:
    """A family's Learners, as a team builds them."""
    team = TeamConfig().team(dict.fromkeys(spaces, algorithm)).learners(num_learners=learners)
    specs = {name: algorithm.module_spec(OBSERVATIONS, space, inference_only=False) for name, space in spaces.items()}
    config = team.family_config(list(spaces), next(iter(spaces.values())))
    return LearnerGroup(config=config, module_spec=MultiRLModuleSpec(rl_module_specs=specs))


def on_policy_rows(space: gym.Space[Any], count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    discrete = space is DISCRETE
    rows = {
        "obs": rng.normal(size=(count, 3)),
        "actions": rng.integers(4, size=count) if discrete else rng.normal(size=(count, 2)),
        "rewards": rng.normal(size=count),
        "action_logp": rng.normal(-1.4, 0.3, size=count),
        "action_dist_inputs": rng.normal(size=(count, 4)),
        "advantages": rng.normal(size=count),
        "value_targets": rng.normal(size=count),
    }
    return {key: column.astype(np.float32) if column.dtype == np.float64 else column for key, column in rows.items()}


def transitions(space: gym.Space[Any], count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    rows = {
        "obs": rng.normal(size=(count, 3)),
        "new_obs": rng.normal(size=(count, 3)),
        "actions": rng.integers(4, size=count) if space is DISCRETE else np.tanh(rng.normal(size=(count, 2))),
        "rewards": rng.normal(size=count),
        "terminateds": rng.random(count) < 0.3,
        "truncateds": np.zeros(count, dtype=bool),
        "n_step": np.ones(count),
    }
    return {key: column.astype(np.float32) if column.dtype == np.float64 else column for key, column in rows.items()}


def state_of(learners: LearnerGroup) -> dict[str, np.ndarray]:
    """Every number that the first Learner has learnt."""
    state = learners.get_state()["learner"]
    temperatures = {f"temperature/{name}": value for name, value in state.get("log_temperature", {}).items()}
    named = {f"{name}/{key}": value for name, own in state["rl_module"].items() for key, value in own.items()}
    return {**named, **temperatures}


def assert_learners_agree(learners: LearnerGroup) -> None:
    """To the bit, the coefficient of PPO's KL penalty included, which every Learner adapts for itself."""
    found = learners.foreach_learner(
        lambda learner: {
            **{
                f"{name}/{key}": value for name, own in learner.module.get_state().items() for key, value in own.items()
            },
            **{name: value.detach().numpy() for name, value in getattr(learner, "curr_log_alpha", {}).items()},
            "kl": np.array([float(value) for value in getattr(learner, "curr_kl_coeffs_per_module", {}).values()]),
            "device": np.array(str(learner.device)),
        }
    )
    one, other = (result.get() for result in found)
    assert str(one["device"]) == "cpu"
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def mean_loss(results: list[dict[str, Any]], name: str) -> float:
    """Over the Learners: each says what the loss of its own rows is."""
    return float(np.mean([float(result[name]["total_loss"]) for result in results]))


def assert_close(found: LearnerGroup, expected: LearnerGroup) -> None:
    theirs = state_of(expected)
    for key, value in state_of(found).items():
        np.testing.assert_allclose(value, theirs[key], atol=2e-5, rtol=1e-4, err_msg=key)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", ON_POLICY)
def test_two_learners_step_as_one_on_the_rows_of_both(name):
    algorithm, spaces = ON_POLICY[name]
    one, two = group_of(algorithm, spaces, 0), group_of(algorithm, spaces, 2)
    two.set_state(one.get_state())
    timesteps = {"num_env_steps_sampled_lifetime": 1}
    for call in range(2):
        rows = {member: on_policy_rows(space, 48, 10 * call + i) for i, (member, space) in enumerate(spaces.items())}
        seeds = dict.fromkeys(rows, call)
        batch = MultiAgentBatch({member: SampleBatch(own) for member, own in rows.items()}, env_steps=48)
        both = two.update(batch=batch, timesteps=timesteps, num_epochs=2, minibatch_size=16, seeds=seeds)
        # Each takes half of the rows, and eight of sixteen for a step: so one Learner gets the same sixteen for a step.
        for part in minibatches(24, epochs=2, size=8, seed=call, device="cpu"):
            index = np.concatenate([part.numpy(), 24 + part.numpy()])
            taken = {member: SampleBatch({key: own[key][index] for key in own}) for member, own in rows.items()}
            batch = MultiAgentBatch(taken, env_steps=len(index))
            alone = one.update(batch=batch, timesteps=timesteps, num_epochs=1, minibatch_size=len(index), seeds=seeds)
        for member in spaces:
            assert mean_loss(both, member) == pytest.approx(mean_loss(alone, member), rel=1e-4, abs=1e-5)
    assert_close(two, one)
    assert_learners_agree(two)
    two.shutdown()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", OFF_POLICY)
def test_two_learners_update_from_replay_as_one(name):
    algorithm, space = OFF_POLICY[name]
    one, two = (group_of(algorithm, {"a": space}, learners) for learners in (0, 2))
    two.set_state(one.get_state())
    trainers = [algorithm.trainer(["a"], seed=3) for _ in range(2)]
    for _ in range(2):
        losses = []
        for trainer, learners in zip(trainers, (one, two), strict=True):
            assert isinstance(trainer, ReplayTrainer)
            trainer._experience._buffer.add(transitions(space, 100))
            results = trainer._update(learners, 5, 1, env_steps=1)
            losses.append(mean_loss(results, "a"))
        assert losses[0] == pytest.approx(losses[1], rel=1e-4, abs=1e-5)
    assert_close(two, one)
    assert_learners_agree(two)
    two.shutdown()


MANY = ("ash", "beech", "cedar", "elm", "fir", "larch", "oak", "pine")


def orders_of_learners_that_agree() -> list[list[str]]:
    """Updates two Learners of many members; gives the order in which each of them goes through a set of their names."""
    learners = group_of(PPO(PPOParams(lr=1e-2, **SMALL)), dict.fromkeys(MANY, DISCRETE), 2)
    rows = {name: SampleBatch(on_policy_rows(DISCRETE, 32, seed)) for seed, name in enumerate(MANY)}
    seeds, timesteps = dict.fromkeys(MANY, 0), {"num_env_steps_sampled_lifetime": 1}
    batch = MultiAgentBatch(rows, env_steps=32)
    learners.update(batch=batch, timesteps=timesteps, num_epochs=1, minibatch_size=16, seeds=seeds)
    assert_learners_agree(learners)
    orders = [found.get() for found in learners.foreach_learner(lambda learner: list(set(MANY)))]
    learners.shutdown()
    return orders


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_learners_with_different_hash_seeds_hold_the_same_weights(tmp_path):
    """Gradients are averaged between the same members, whatever the order of a set of names in either process."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONHASHSEED=$$ exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    apart = ray.remote(num_cpus=1, runtime_env={"py_executable": str(python)})(orders_of_learners_that_agree)
    one, other = ray.get(apart.remote())
    assert one != other
    assert sorted(one) == sorted(other) == sorted(MANY)


def test_lessons_at_once_wait_for_one_another_and_keep_their_order():
    meeting = threading.Barrier(3, timeout=20)

    def lesson(name: str) -> Any:
        return lambda: [meeting.wait() >= 0 and name]

    learnt = learn({name: lesson(name) for name in ("x", "y", "z")}, at_once=True)
    assert {name: own.results for name, own in learnt.items()} == {"x": ["x"], "y": ["y"], "z": ["z"]}
    assert list(learnt) == ["x", "y", "z"]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_lesson_that_fails_ends_the_iteration_with_its_own_error(at_once):
    def broken() -> list[Any]:
        raise ArithmeticError("this family cannot learn")

    with pytest.raises(ArithmeticError, match="this family cannot learn"):
        learn({"x": lambda: [], "y": broken}, at_once=at_once)


def test_lessons_in_turn_stay_in_this_thread():
    here = threading.current_thread()
    learnt = learn({name: lambda: [threading.current_thread()] for name in "xy"}, at_once=False)
    assert all(own.results == [here] and own.seconds >= 0 for own in learnt.values())


def team(**learners: Any) -> TeamConfig:
    return (
        TeamConfig()
        .environment(env=TargetGame, env_config={"groups": {"p": {}, "s": {"kind": "continuous"}}, "horizon": 8})
        .team({"p": PPO(PPOParams(hidden=(8,))), "s": SAC(SACParams(hidden=(8,), learning_starts=40, batch_size=16))})
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=16)
        .learners(**learners)
    )


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_families_that_learn_at_once_learn_the_same_in_every_run():
    found = []
    for _ in range(2):
        algo = team(num_learners=1).build_algo()
        before = weights(algo)
        for _ in range(3):
            result = algo.train()
        found.append(weights(algo))
        assert all(changed(before[name], found[-1][name]) for name in "ps")
        assert {"learn_p", "learn_s"} <= result["timers"].keys()
        algo.stop()
    for name in "ps":
        for key, value in found[0][name].items():
            np.testing.assert_array_equal(value, found[1][name][key], err_msg=f"{name}/{key}")


@pytest.mark.ray
@pytest.mark.learning
@pytest.mark.usefixtures("local_ray")
def test_bf16_learns_what_float32_learns():
    """Optimum 8 per episode; random play 2.7, or 3.6 where continuous."""
    config = team(num_learners=0).computing(LearnerOptions(precision="bf16", accumulate=2))
    config.team(
        {
            "p": PPO(PPOParams(lr=1e-3, minibatch_size=64, gamma=0.9)),
            "s": SAC(SACParams(actor_lr=3e-3, critic_lr=3e-3, temperature_lr=3e-3, hidden=(32, 32), learning_starts=200,
                               batch_size=64, updates_per_step=1.0, gamma=0.9, tau=0.02)),
        }
    ).env_runners(num_envs_per_env_runner=16, rollout_fragment_length=16)  # fmt: skip
    algo = config.build_algo()
    for _ in range(60):
        result = algo.train()
    algo.stop()
    assert result["groups"]["p"]["episode_return"] >= 6.5
    assert result["groups"]["s"]["episode_return"] >= 7.2
