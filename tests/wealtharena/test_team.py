"""The team as an RLlib Algorithm: every member learns, none through another, and a checkpoint holds everything."""

import time
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from ray import tune

from policies.ppo import PPO, PPOParams
from policies.sac import SAC
from tests.games import TargetGame
from tests.wealtharena.teams import GROUPS, changed, mixed, weights
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.policy import load_policies

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

OWN_METRICS = {
    "p": {"policy_loss", "value_loss", "entropy"},
    "a": {"policy_loss", "value_loss", "entropy"},
    "d": {"q_loss", "q_mean", "q_min", "q_max", "epsilon"},
    "s": {"policy_loss", "q_loss", "q_mean", "q_min", "q_max", "temperature"},
    "slow": {"policy_loss", "value_loss", "entropy"},
}


def test_every_group_reports_its_own_algorithm_and_every_member_learns():
    algo = mixed().build_algo()
    before = weights(algo)
    for _ in range(3):
        result = algo.train()
    after = weights(algo)
    algo.stop()
    for name, expected in OWN_METRICS.items():
        assert expected <= set(result["groups"][name]), name
        assert all(np.isfinite(value) for value in result["groups"][name].values()), name
        assert changed(before[name], after[name]), name
    assert result["num_env_steps_sampled_lifetime"] == 3 * 8 * 10
    assert result["groups"]["d"]["action_0"] + result["groups"]["d"]["action_1"] <= 1.0


def train(algo: Team, iterations: int) -> None:
    for _ in range(iterations):
        algo.train()


def test_three_and_three_more_after_a_restore_is_six_to_the_bit(tmp_path):
    # 33 steps in episodes of 8: at the checkpoint the slow group has decisions open, and episodes are under way.
    config = mixed(rollout_fragment_length=11)
    straight, first = config.copy().build_algo(), config.copy().build_algo()
    train(straight, 6)
    train(first, 3)
    assert first.env_runner.get_state()["sampler"]["recorders"]["slow"]["mask"].all()
    first.save_to_path(tmp_path)
    first.stop()
    torch.manual_seed(123)  # what the process did in between is of no consequence
    second = Team.from_checkpoint(tmp_path)
    train(second, 3)
    expected, found = weights(straight), weights(second)
    for name in GROUPS:
        for key, value in expected[name].items():
            np.testing.assert_array_equal(value, found[name][key], err_msg=f"{name}/{key}")
    temperatures = [
        algo.learner_group.children["s"].get_state()["learner"]["log_temperature"] for algo in (straight, second)
    ]
    np.testing.assert_array_equal(*(state["s"] for state in temperatures))
    assert second.iteration == 6
    straight.stop()
    second.stop()


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    def run(seed: int) -> dict[str, dict[str, np.ndarray]]:
        algo = mixed().debugging(seed=seed).build_algo()
        train(algo, 2)
        found = weights(algo)
        algo.stop()
        return found

    one, again, other = run(1), run(1), run(2)
    for name in GROUPS:
        assert not changed(one[name], again[name]), name
        assert changed(one[name], other[name]), name


@pytest.mark.parametrize("broken", sorted(GROUPS))
def test_with_one_learner_broken_the_others_go_on_learning(broken, monkeypatch):
    algo = mixed().build_algo()
    monkeypatch.setattr(algo.learner_group.children[broken], "update", lambda **kwargs: [])
    before = weights(algo)
    train(algo, 2)
    after = weights(algo)
    algo.stop()
    for name in GROUPS:
        assert changed(before[name], after[name]) == (name != broken), name


FAMILY = {"x": {}, "lone": {}, "y": {"agents": 2}, "z": {}, "arm": {"kind": "continuous"}}


def family() -> TeamConfig:
    """Four PPOs that share a Learner, of which three have networks of one shape, and one with a rate of its own."""
    shared, lone = PPO(PPOParams(lr=1e-3, minibatch_size=32)), PPO(PPOParams(lr=2e-3, minibatch_size=32))
    return (
        TeamConfig()
        .environment(env=TargetGame, env_config={"groups": FAMILY, "horizon": 8})
        .team({name: lone if name == "lone" else shared for name in FAMILY})
        .env_runners(num_envs_per_env_runner=8, rollout_fragment_length=11)
    )


def test_members_with_the_same_hyperparameters_share_a_learner_and_stay_themselves(tmp_path):
    algo = family().build_algo()
    assert algo.learner_group.families == {"x+3": ["x", "y", "z", "arm"], "lone": ["lone"]}
    before = weights(algo)
    train(algo, 3)
    result = algo.train()
    after = weights(algo)
    assert {name: changed(before[name], after[name]) for name in FAMILY} == dict.fromkeys(FAMILY, True)
    assert changed(after["x"], after["z"])
    for name in FAMILY:
        assert {"policy_loss", "value_loss", "value_explained", "entropy", "loss"} <= set(result["groups"][name])
    algo.save_to_path(tmp_path)
    algo.stop()
    policies = load_policies(tmp_path)
    for name, policy in policies.items():
        for key, value in policy.module.get_state().items():
            np.testing.assert_array_equal(value, after[name][key])


def test_a_family_goes_on_after_a_restore_to_the_bit(tmp_path):
    straight, first = family().build_algo(), family().build_algo()
    train(straight, 4)
    train(first, 2)
    first.save_to_path(tmp_path)
    first.stop()
    second = Team.from_checkpoint(tmp_path)
    train(second, 2)
    expected, found = weights(straight), weights(second)
    for name in FAMILY:
        for key, value in expected[name].items():
            np.testing.assert_array_equal(value, found[name][key], err_msg=f"{name}/{key}")
    straight.stop()
    second.stop()


def test_several_learners_of_a_family_hold_the_same_weights():
    algo = family().learners(num_learners=2).build_algo()
    train(algo, 2)
    one, other = algo.learner_group.children["x+3"].foreach_learner(lambda learner: learner.module.get_state())
    for name in ("x", "y", "z", "arm"):
        for key, value in one.get()[name].items():
            np.testing.assert_array_equal(value, other.get()[name][key], err_msg=f"{name}/{key}")
    algo.stop()


@pytest.mark.parametrize(("runners", "learners"), [(2, 0), (2, 1)])
def test_remote_runners_and_learners(runners, learners, tmp_path):
    config = mixed(num_env_runners=runners, rollout_fragment_length=5).learners(num_learners=learners)
    if learners:  # each family has a process of its own, which takes seconds to start: two of them, not five
        alike, other = PPO(PPOParams(lr=1e-3, minibatch_size=64)), config.members["s"]
        config.team({name: other if name == "s" else alike for name in GROUPS})
    algo = config.build_algo()
    before = weights(algo)
    for _ in range(3):
        result = algo.train()
    after = weights(algo)
    assert all(changed(before[name], after[name]) for name in GROUPS)
    assert result["num_env_steps_sampled_lifetime"] == 3 * runners * 8 * 5
    at_runners = algo.env_runner_group.foreach_env_runner(lambda runner: runner.get_state(), local_env_runner=False)
    for state in at_runners:
        for name in GROUPS:
            for key, value in state["rl_module"][name].items():
                np.testing.assert_array_equal(value, after[name][key])
    algo.save_to_path(tmp_path)
    algo.stop()
    restored = Team.from_checkpoint(tmp_path)
    assert not any(changed(after[name], found) for name, found in weights(restored).items())
    assert restored.train()["num_env_steps_sampled_lifetime"] == 4 * runners * 8 * 5
    restored.stop()


def test_policies_are_loaded_without_a_team(tmp_path):
    algo = mixed().build_algo()
    train(algo, 2)
    algo.save_to_path(tmp_path)
    policies = load_policies(tmp_path)
    obs = torch.rand(4, 2, 1)
    expected = algo.env_runner.module["s"].forward_inference({"obs": obs.flatten(0, 1)})["action_dist_inputs"]
    torch.testing.assert_close(policies["s"](obs).flatten(), torch.tanh(expected[:, 0]))
    assert set(policies) == set(GROUPS)
    assert policies["d"](torch.eye(3).expand(2, 3, 3)).shape == (2, 3)
    algo.stop()


def test_loading_policies_from_elsewhere_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint of a team"):
        load_policies(tmp_path)


class Broken(TargetGame):
    """Fails in its third step."""

    calls = 0

    def step(self, actions):
        self.calls += 1
        if self.calls == 3:
            raise ArithmeticError("the third step is one too many")
        return super().step(actions)


@pytest.mark.parametrize("runners", [0, 1])
def test_an_environment_that_raises_stops_the_run_with_its_traceback(runners):
    config = TeamConfig().environment(env=Broken).team({"a": PPO()})
    algo = config.env_runners(num_env_runners=runners, num_envs_per_env_runner=2).build_algo()
    with pytest.raises(RuntimeError, match=r"(?s)sampling failed.*in step.*the third step is one too many"):
        algo.train()
    algo.stop()


class Spoilt(TargetGame):
    """Pays NaN once."""

    def step(self, actions):
        found = super().step(actions)
        found.reward["a"][0, 0] = float("nan")
        return found


def test_a_reward_that_is_no_number_stops_the_run_before_anyone_learns_from_it():
    algo = TeamConfig().environment(env=Spoilt).team({"a": PPO()}).build_algo()
    with pytest.raises(RuntimeError, match=r"(?s)group .a.: the environment gave a reward that is NaN or infinite"):
        algo.train()
    algo.stop()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": SAC()}, r"SAC cannot act in Discrete\(3\)"),
        ({"a": PPO(), "b": PPO()}, r"members \['a', 'b'\] and groups of the environment \['a'\] differ"),
    ],
)
def test_members_that_do_not_fit_are_refused_when_the_team_is_built(members, message):
    with pytest.raises(ValueError, match=message):
        TeamConfig().environment(env=TargetGame).team(members).build_algo()


def test_rllibs_own_evaluation_is_refused():
    config = TeamConfig().environment(env=TargetGame).team({"a": PPO()})
    with pytest.raises(ValueError, match=r"evaluation_interval=2.*wealtharena\.evidence"):
        config.copy().evaluation(evaluation_interval=2).validate()
    algo = config.build_algo()
    with pytest.raises(RuntimeError, match=r"wealtharena\.evidence"):
        algo.evaluate()
    algo.stop()


def test_a_team_without_members_or_with_a_foreign_environment_is_refused():
    with pytest.raises(ValueError, match="no members"):
        TeamConfig().environment(env=TargetGame).validate()
    with pytest.raises(TypeError, match="must be a subclass of"):
        TeamConfig().environment(env=dict).team({"a": PPO()}).validate()


def test_a_team_is_a_tune_trainable(tmp_path):
    tuner = tune.Tuner(
        Team,
        param_space=mixed(),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            stop={"training_iteration": 2},
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
        ),
    )
    result = tuner.fit()[0]
    assert result.metrics["num_env_steps_sampled_lifetime"] == 2 * 8 * 10
    restored = Team.from_checkpoint(result.checkpoint.path)
    assert restored.iteration == 2
    restored.stop()


def test_resources_are_asked_for_the_learners_of_every_family():
    request = Team.default_resource_request(mixed(num_env_runners=2).learners(num_learners=2).to_dict())
    cpus = [bundle.get("CPU", 0) for bundle in request.bundles]
    assert sum(cpus) == 1 + 2 + 2 * len(GROUPS)
    shared = [bundle.get("CPU", 0) for bundle in Team.default_resource_request(family().to_dict()).bundles]
    two = [
        bundle.get("CPU", 0)
        for bundle in Team.default_resource_request(family().learners(num_learners=2).to_dict()).bundles
    ]
    assert sum(two) - sum(shared) == 2 * 2


def test_a_lost_runner_is_replaced_and_the_run_goes_on():
    algo = mixed(num_env_runners=2, rollout_fragment_length=5).build_algo()
    algo.train()
    ray.kill(algo.env_runner_group._worker_manager.actors()[1], no_restart=False)
    for _ in range(20):
        result = algo.train()
        if algo.env_runner_group.num_healthy_remote_workers() == 2:
            break
        time.sleep(0.5)
    steps = result["num_env_steps_sampled_lifetime"]
    assert algo.train()["num_env_steps_sampled_lifetime"] == steps + 2 * 8 * 5
    algo.stop()
