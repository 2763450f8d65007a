"""What goes wrong in a run: numbers that are none, runners and nodes that die, disks that are full."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.rllib.core.learner.learner import Learner

from policies.ppo import PPO, PPOParams
from tests.games import TargetGame
from tests.wealtharena.teams import GROUPS, changed, mixed, weights
from wealtharena.errors import UserError
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.soundness import Soundness
from wealtharena.training.metrics_log import read_rows
from wealtharena.training.progress import Progress
from wealtharena.training.run_dir import RunDir
from wealtharena.training.setup import begin, resume
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import Outcome, train

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def spoil(learner: Learner) -> None:
    """Makes every loss of a Learner NaN."""
    name = "row_loss" if hasattr(learner, "row_loss") else "loss"
    whole = getattr(learner, name)
    setattr(learner, name, lambda *args: whole(*args) * float("nan"))


def one_more_or_two(team: Team) -> None:
    """A member that learns from replay makes no update in the first iteration."""
    team.train()
    team.train()


@pytest.mark.parametrize(("spoilt", "rates"), [("p", ("lr", "0.001")), ("s", ("critic_lr", "0.0003"))])
def test_updates_without_a_gradient_are_skipped_and_counted_and_the_third_such_iteration_stops_the_run(spoilt, rates):
    team = mixed().build_algo()
    team.learner_group.children[spoilt].foreach_learner(spoil)
    team.train()
    before = weights(team)
    found = team.train()["groups"]
    after = weights(team)
    with pytest.raises(UserError) as stopped:
        one_more_or_two(team)
    team.stop()
    for name in GROUPS:
        assert (found[name]["skipped_updates"] > 0) == (name == spoilt)
        assert changed(before[name], after[name]) == (name != spoilt)
        assert all(np.isfinite(value).all() for value in after[name].values())
    message = str(stopped.value)
    assert f"members.{spoilt} (" in message
    assert f"members.{spoilt}.params.{rates[0]} ({rates[1]})" in message
    assert f"members.{spoilt}.params.grad_clip (" in message
    assert "(no number: the gradient alone)" in message  # RLlib's road, which reports the losses, was not spoilt
    assert "\n" not in message


def test_three_bad_iterations_in_a_row_stop_a_run_and_the_losses_are_named():
    soundness = Soundness({"p": PPO(PPOParams(grad_clip=None))})
    bad = {"p": {"updates": 4, "skipped_updates": 3, "policy_loss": 0.1, "vf_loss": float("inf"), "total_loss": np.nan}}
    half = {"p": {**bad["p"], "skipped_updates": 2}}
    for figures in (bad, bad, half, bad, {}, {"p": {"updates": 0}}, bad):
        soundness.see(figures)
    with pytest.raises(UserError, match=r"\(no number: value_loss, loss\).*params\.grad_clip \(no limit\)"):
        soundness.see(bad)


class Blind(TargetGame):
    """Shows NaN once, to a group that learns from replay."""

    def step(self, actions):
        found = super().step(actions)
        found.obs["a"][0, 0, 0] = torch.nan
        return found


def test_an_observation_that_is_no_number_reaches_no_normaliser():
    team = mixed().environment(env=Blind, env_config={"groups": GROUPS, "horizon": 8}).build_algo()
    with pytest.raises((RuntimeError, ValueError), match="NaN or infinite"):
        team.train()
    assert all(np.isfinite(value).all() for own in weights(team).values() for value in own.values())
    team.stop()


class Shaky(TargetGame):
    """Raises in its fortieth step, wherever it is; a fresh copy begins to count anew."""

    calls = 0

    def step(self, actions):
        self.calls += 1
        if self.calls == 40:
            raise ArithmeticError("a step that is not one")
        return super().step(actions)


FRAGMENT, COPIES = 12, 4


def remote(environment: type[TargetGame], runners: int) -> Team:
    """PPO with remote runners."""
    config = TeamConfig().environment(env=environment).team({"a": PPO(PPOParams(hidden=(8,), minibatch_size=32))})
    return config.env_runners(
        num_env_runners=runners, num_envs_per_env_runner=COPIES, rollout_fragment_length=FRAGMENT
    ).build_algo()


def test_an_environment_that_raises_now_and_then_begins_anew_at_once_and_is_counted(caplog):
    team = remote(Shaky, 1)
    found = [team.train() for _ in range(7)]
    team.stop()
    assert [result["runners"]["restarts"] for result in found] == [0, 0, 0, 1, 1, 1, 2]
    # The fragment that failed is sampled again: every iteration has as many steps as it learns from.
    steps = [result["num_env_steps_sampled_lifetime"] for result in found]
    assert steps == [number * FRAGMENT * COPIES for number in range(1, 8)]
    assert "runner 1 failed and begins anew, its fragment is lost: ArithmeticError: a step that is not" in caplog.text


def test_a_runner_that_is_killed_costs_its_fragment_alone_and_comes_back_with_the_weights_of_the_team():
    team = remote(TargetGame, 2)
    team.train()
    runners, of_one = team.env_runner_group, FRAGMENT * COPIES
    victim, other = runners.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    os.kill(victim, signal.SIGKILL)
    begun = time.perf_counter()
    found = team.train()
    assert time.perf_counter() - begun < 5
    assert found["num_env_steps_sampled_lifetime"] == 3 * of_one
    while (found := team.train())["runners"]["healthy_runners"] < 2:
        time.sleep(0.2)
    before = found["num_env_steps_sampled_lifetime"]
    assert found["runners"]["restarts"] == 1
    assert team.train()["num_env_steps_sampled_lifetime"] == before + 2 * of_one
    states = runners.foreach_env_runner(
        lambda runner: (os.getpid(), runner.obs["a"], runner.get_state(components="rl_module")["rl_module"]["a"]),
        local_env_runner=False,
    )
    assert other in {pid for pid, *_ in states}
    assert victim not in {pid for pid, *_ in states}
    for key, value in states[0][2].items():
        np.testing.assert_array_equal(value, states[1][2][key])
    team.stop()


def test_a_runner_in_another_process_gives_no_fragment_before_it_knows_the_weights():
    """One that was lost and is there again between two iterations: nobody was told."""
    team = remote(TargetGame, 2)
    team.train()

    def forget(runner):
        if runner.index == 1:
            runner.enrolled = False
            runner.module.foreach_module(lambda _, module: [weight.data.fill_(0) for weight in module.parameters()])

    team.env_runner_group.foreach_env_runner(forget, local_env_runner=False)
    found = team.train()
    assert found["num_env_steps_sampled_lifetime"] == 3 * FRAGMENT * COPIES
    assert found["runners"] == {"healthy_runners": 2, "restarts": 1}
    assert team.train()["num_env_steps_sampled_lifetime"] == 5 * FRAGMENT * COPIES
    times = team.env_runner_group.foreach_env_runner(lambda runner: runner.times, local_env_runner=False)
    assert times == [1, 0]
    team.stop()


# ---- the driver and its disk


class Silent:
    def update(self, progress: Progress, done: float) -> None: ...


def trained(run: RunDir, *overrides: str) -> Outcome:
    experiment, _ = resume(str(run.path), overrides, None)
    return train(experiment, run, view=Silent(), stop=StopSignal(lambda: None))


def test_a_run_whose_driver_was_killed_goes_on_without_a_gap_or_a_double_row(game):
    command = [sys.executable, "-m", "wealtharena", "train", "game.yaml", "--out", "run"]
    command += ["--set", "stop.iterations=100000"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = RunDir(Path("run"))
    end = time.monotonic() + 300
    while len(read_rows(run.metrics / "progress.csv")) < 3:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen = len(read_rows(run.metrics / "progress.csv"))
    latest = run.latest()
    assert latest is not None
    assert 2 <= latest.mark.iteration <= seen
    last = seen + 1
    outcome = trained(run, f"stop.iterations={last}")
    rows = read_rows(run.metrics / "progress.csv")
    assert outcome.mark.iteration == last
    assert [int(row["iteration"]) for row in rows] == list(range(1, last + 1))
    assert [int(row["env_steps"]) for row in rows] == [8 * 16 * number for number in range(1, last + 1)]


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "place",
    [
        "ray.rllib.core.learner.learner_group.LearnerGroup.get_state",
        "ray.cloudpickle.dump",
        "wealtharena.training.train.write_provenance",
        "wealtharena.training.run_dir.Mark.model_dump_json",
        "pathlib.Path.rename",
    ],
    ids=["weights", "state", "provenance", "mark", "rename"],
)
def test_a_disk_that_is_full_leaves_the_last_good_checkpoint_from_which_the_run_goes_on(game, place, monkeypatch):
    experiment, run = begin("game.yaml", ["stop.iterations=2"], "run")
    train(experiment, run, view=Silent(), stop=StopSignal(lambda: None))
    with monkeypatch.context() as broken:
        broken.setattr(place, full)
        with pytest.raises(OSError, match="No space left on device"):
            trained(run, "stop.iterations=4")
    assert [checkpoint.mark.iteration for checkpoint in run.checkpoints()] == [2]
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == {"iter_000002", "latest", "best"}
    assert trained(run, "stop.iterations=4").mark.iteration == 4
