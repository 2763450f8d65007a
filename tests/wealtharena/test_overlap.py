"""Sampling while the Learners learn: by which policy, in which order, and that nothing is lost in between."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.rllib.core.columns import Columns

from policies.a2c import A2C, A2CParams
from policies.ppo import PPO, PPOParams
from tests.games import TargetGame, TargetParams
from tests.wealtharena.teams import mixed, weights
from tests.wealtharena.test_learning import ALGORITHMS, greedy_return
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.training.train import team_config

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
COPIES, STEPS = 4, 6


class LoggedParams(TargetParams):
    """Where steps leave a byte each; at which of them the game fails; what a runner's steps after STEPS wait for."""

    log: str
    fails_at: int | None = None
    gate: str | None = None


class LoggedGame(TargetGame):
    """Says in a file how far it is, which another process can read; and can be held up by one."""

    Params = LoggedParams
    steps = 0

    def step(self, actions):
        with open(self.params.log, "ab") as log:
            log.write(b".")
        if os.path.getsize(self.params.log) == self.params.fails_at:
            raise ArithmeticError("one step too many")
        self.steps += 1
        if self.params.gate is not None and self.steps > STEPS:
            wait_for(Path(self.params.gate).exists)
        return super().step(actions)


class SlowParams(TargetParams):
    """Where the first of several environments to step leaves word, and the others a byte for each step."""

    slow: str
    log: str


class SlowGame(TargetGame):
    """One of several waits in its first step until another is in its second fragment."""

    Params = SlowParams
    waits: bool | None = None

    def step(self, actions):
        if self.waits is None:
            with contextlib.suppress(FileExistsError):
                self.waits = not Path(self.params.slow).touch(exist_ok=False)
        if self.waits:
            wait_for(lambda: Path(self.params.log).exists() and Path(self.params.log).stat().st_size > STEPS, 120.0)
        else:
            with open(self.params.log, "ab") as log:
                log.write(b".")
        return super().step(actions)


def logged(tmp_path: Path, **params: Any) -> TeamConfig:
    """PPO and A2C with one remote runner, in a game whose steps can be counted from here."""
    groups = {"p": {"agents": 2}, "a": {"kind": "continuous"}}
    members = {"p": PPO(PPOParams(lr=0.01, minibatch_size=16)), "a": A2C(A2CParams(lr=0.01, minibatch_size=16))}
    return (
        TeamConfig()
        .environment(env=LoggedGame, env_config={"groups": groups, "log": str(tmp_path / "steps"), **params})
        .team(members)
        .env_runners(num_env_runners=1, num_envs_per_env_runner=COPIES, rollout_fragment_length=STEPS)
        .sampling(overlap=True)
    )


def gone(pid: int) -> bool:
    """Whether there is no such process any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(condition, seconds: float = 300.0) -> None:
    """Polls until ``condition()`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def train(algo: Team, iterations: int) -> dict[str, dict[str, np.ndarray]]:
    for _ in range(iterations):
        algo.train()
    return weights(algo)


def assert_same(expected: dict[str, dict[str, np.ndarray]], found: dict[str, dict[str, np.ndarray]]) -> None:
    for name, tensors in expected.items():
        for key, value in tensors.items():
            np.testing.assert_array_equal(value, found[name][key], err_msg=f"{name}/{key}")


class Watched:
    """The updates of a member: waits in each until the next fragment is begun, and keeps what is learnt from."""

    def __init__(self, algo: Team, name: str, log: Path) -> None:
        self.learners, self.name, self.log = algo.learner_group.children[name], name, log
        self.rows: list[Mapping[str, np.ndarray]] = []
        self.shifts: list[np.ndarray] = []
        self.update = self.learners.update
        self.learners.update = self.watched

    def watched(self, *, batch, **kwargs: Any) -> Any:
        self.rows.append(batch.policy_batches[self.name])
        (shift,) = self.learners.foreach_learner(lambda learner: learner.module[self.name].normalizer.shift.clone())
        self.shifts.append(shift.get().numpy())
        wait_for(lambda: self.log.stat().st_size > len(self.rows) * STEPS)
        return self.update(batch=batch, **kwargs)


def logp_of(algo: Team, name: str, state: dict[str, np.ndarray], rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a policy with these weights thinks of the actions in ``rows``."""
    module = deepcopy(algo.env_runner.module[name])
    module.set_state(state)
    with torch.no_grad():
        out = module.forward_exploration({Columns.OBS: torch.from_numpy(rows[Columns.OBS])})
    distribution = module.get_exploration_action_dist_cls().from_logits(out[Columns.ACTION_DIST_INPUTS])
    return distribution.logp(torch.from_numpy(rows[Columns.ACTIONS])).numpy()


def test_a_fragment_is_sampled_while_the_one_before_is_learnt_and_by_the_policy_before_that(tmp_path):
    algo = logged(tmp_path).build_algo()
    members = [Watched(algo, name, tmp_path / "steps") for name in ("p", "a")]
    left = [weights(algo)]
    for _ in range(4):
        result = algo.train()
        left.append(weights(algo))
    assert result["num_env_steps_sampled_lifetime"] == 4 * COPIES * STEPS
    for member in members:
        for index, rows in enumerate(member.rows):
            behaviour, current = left[max(index - 1, 0)][member.name], left[index][member.name]
            found = rows[Columns.ACTION_LOGP]
            np.testing.assert_allclose(logp_of(algo, member.name, behaviour, rows), found, atol=1e-5)
            np.testing.assert_array_equal(member.shifts[index], behaviour["normalizer.shift"])
            assert index == 0 or np.abs(logp_of(algo, member.name, current, rows) - found).max() > 1e-3
    algo.stop()


def test_a_runner_does_not_wait_for_a_slower_one(tmp_path):
    params = {"slow": str(tmp_path / "slow"), "log": str(tmp_path / "log")}
    algo = (
        TeamConfig()
        .environment(env=SlowGame, env_config=params)
        .team({"a": PPO(PPOParams(minibatch_size=16))})
        .env_runners(num_env_runners=2, num_envs_per_env_runner=COPIES, rollout_fragment_length=STEPS)
        .sampling(overlap=True)
        .build_algo()
    )
    assert algo.train()["num_env_steps_sampled_lifetime"] == 2 * COPIES * STEPS
    algo.stop()


@pytest.mark.parametrize("overlap", [True, False])
def test_a_run_with_remote_runners_goes_on_after_a_checkpoint_to_the_bit(overlap, tmp_path):
    config = mixed(num_env_runners=2, rollout_fragment_length=11).sampling(overlap=overlap)
    first = config.copy().build_algo()
    first.save_to_path(tmp_path / "0")
    expected = train(first, 5)
    first.restore_from_path(tmp_path / "0")  # what is under way here is none of the checkpoint's
    train(first, 2)
    first.save_to_path(tmp_path / "2")
    assert_same(expected, train(first, 3))
    at_runners = first.env_runner_group.foreach_env_runner(lambda runner: runner.get_state(), local_env_runner=False)
    first.stop()
    assert len(at_runners) == 2
    if not overlap:  # otherwise they are an iteration behind
        for state in at_runners:
            assert_same(state["rl_module"], expected)
    second = Team.from_checkpoint(tmp_path / "2")
    assert_same(expected, train(second, 3))
    assert second.train()["num_env_steps_sampled_lifetime"] == 6 * 2 * 8 * 11
    second.stop()


def test_a_runner_lost_while_it_samples_is_replaced_and_without_any_the_run_ends(tmp_path):
    gate = tmp_path / "gate"
    config = logged(tmp_path, gate=str(gate)).env_runners(num_env_runners=2)
    algo = config.fault_tolerance(env_runner_restore_timeout_s=1).build_algo()
    of_one, runners = COPIES * STEPS, algo.env_runner_group
    first, _ = runners.foreach_env_runner(lambda _: os.getpid(), local_env_runner=False)
    assert algo.train()["num_env_steps_sampled_lifetime"] == 2 * of_one
    wait_for(lambda: (tmp_path / "steps").stat().st_size == 2 * STEPS + 2)  # both are at the gate
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: gone(first))
    gate.touch()
    assert algo.train()["num_env_steps_sampled_lifetime"] == 3 * of_one
    wait_for(lambda: algo.train() and runners.num_healthy_remote_workers() == 2)
    before = algo.train()["num_env_steps_sampled_lifetime"]
    assert algo.train()["num_env_steps_sampled_lifetime"] == before + 2 * of_one
    gate.unlink()
    for runner in runners._worker_manager.actors().values():
        ray.kill(runner)
    with pytest.raises(RuntimeError, match="all of them are lost, and none came back within 1 s"):
        train(algo, 2)  # what was sampled before may still be there once
    algo.stop()


def test_an_environment_that_raises_meanwhile_begins_anew_when_its_turn_comes(tmp_path):
    algo = logged(tmp_path, fails_at=STEPS + 2).build_algo()
    assert algo.train()["runners"] == {"healthy_runners": 1, "restarts": 0}
    found = algo.train()
    assert found["runners"] == {"healthy_runners": 1, "restarts": 1}
    assert found["num_env_steps_sampled_lifetime"] == 2 * COPIES * STEPS
    algo.stop()


@pytest.mark.learning
def test_on_policy_members_learn_from_fragments_that_are_an_iteration_old():
    """Optimum 8 per episode; random play 2.7, or 3.6 where continuous."""
    kinds = {f"{name}_{kind}": {"kind": kind} for name in ("ppo", "a2c") for kind in ("discrete", "continuous")}
    params = {"groups": kinds, "horizon": 8}
    algo = (
        TeamConfig()
        .environment(env=TargetGame, env_config=params)
        .team({name: ALGORITHMS[name[:3]] for name in kinds})
        .env_runners(num_env_runners=1, num_envs_per_env_runner=16, rollout_fragment_length=16)
        .sampling(overlap=True)
        .build_algo()
    )
    while algo.train()["num_env_steps_sampled_lifetime"] < 16_000:
        pass
    scores = greedy_return(algo, TargetGame(TargetGame.Params(**params), num_envs=64), 8)
    algo.stop()
    assert {name: score / 8 >= 0.95 for name, score in scores.items()} == dict.fromkeys(kinds, True)


def test_overlap_without_remote_runners_is_refused(game):
    with pytest.raises(UserError, match=r"sampling.overlap = True: with sampling.runners = 0 .*\[--set sampling"):
        load_experiment(str(game), ["sampling.overlap=true"])
    experiment = load_experiment(str(game), ["sampling={runners: 1, overlap: true}"])
    assert team_config(experiment).overlap
    with pytest.raises(ValueError, match=r"sampling\(overlap=True\) needs remote runners"):
        mixed().sampling(overlap=True).validate()
