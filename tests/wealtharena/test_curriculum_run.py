"""A run with a curriculum: its metrics, its best checkpoint, and a team that goes back a stage; remote samplers too."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from environments.staged import StagedEnv
from policies.ppo import PPO, PPOParams
from tests.games import TargetGame
from tests.wealtharena.conftest import GAME
from tests.wealtharena.test_train import Silent
from wealtharena.experiment import load_experiment
from wealtharena.spec_curriculum import CurriculumSpec
from wealtharena.team.config import TeamConfig
from wealtharena.training.run_dir import RunDir, new_run
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import train

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

TEMPLATE = str(Path(__file__).parents[2] / "tune_configs" / "curriculum_trading.yaml")
CURRICULUM = """\
curriculum:
  stages:
    short: {horizon: 2, groups: {right: {agents: 1}}}
    long: {}
  success: {metric: right/episode_return, at_least: 0.0}
  rule: {kind: promotion, promote_above: 0.9, patience: 1}
"""


def rows(run: RunDir) -> list[dict[str, str]]:
    with (run.metrics / "progress.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_goes_through_its_stages_and_is_resumed_in_them(game: Path):
    """Every episode is a success: after 100 of 2 steps, in the second iteration of 16 x 8, the stage changes."""
    game.write_text(GAME + CURRICULUM)
    stop = StopSignal(lambda: None)
    straight, run = new_run("straight", None), new_run("game", None)
    train(load_experiment(str(game)), straight, view=Silent(), stop=stop)
    train(load_experiment(str(game), ["stop.iterations=2"]), run, view=Silent(), stop=stop)
    assert run.checkpoints()[-1].mark.score is None  # nothing is known of the last stage yet
    train(load_experiment(str(game)), run, view=Silent(), stop=stop)
    times = {"seconds", "steps_per_s"}
    found, expected = (
        [{name: value for name, value in row.items() if name not in times} for row in rows(each)]
        for each in (run, straight)
    )
    assert found == expected
    assert [row["curriculum/stage"] for row in found] == ["1.0", "2.0", "2.0", "2.0"]
    assert [bool(row["team_return"]) for row in found] == [False, False, True, True]
    assert found[-1]["curriculum/share/long"] == "1.0"
    assert run.checkpoints()[-1].mark.score == pytest.approx(float(found[-1]["team_return"]))
    events = EventAccumulator(str(run.metrics))
    events.Reload()
    assert {"curriculum/stage", "curriculum/episodes/short", "curriculum/return/long"} <= set(events.Tags()["scalars"])


SMALL = (
    "curriculum.rule={kind: schedule, env_steps: [256, 512, 768, 1024]}",
    "curriculum.replay=0.25",
    "environment.params.horizon=15",
    "sampling={envs_per_runner: 16, fragment: 16}",
    "members.crypto.params={learning_starts: 64, batch_size: 32}",
    "stop={iterations: 7}",
)


def test_the_template_is_trained_in_all_of_its_stages():
    run = new_run("template", None)
    train(load_experiment(TEMPLATE, SMALL), run, view=Silent(), stop=StopSignal(lambda: None))
    (*_, last) = rows(run)
    stages = ("basic", "multi-asset", "volatile", "crisis", "master")
    assert last["curriculum/stage"] == "5.0"
    assert [float(last[f"curriculum/share/{stage}"]) for stage in stages] == [0.0625] * 4 + [0.75]
    assert all(float(last[f"curriculum/episodes/{stage}"]) > 0 for stage in stages)


def going(rule: dict[str, Any], **env_runners: Any) -> TeamConfig:
    """Stages whose episodes take 9 steps and 3."""
    stages = {"first": {"groups": {"a": {}}, "horizon": 9}, "second": {"groups": {"a": {"agents": 2}}, "horizon": 3}}
    spec = {"stages": {"first": {"": 9}, "second": {}}, "success": {"metric": "episode_length"}, "rule": rule}
    return (
        TeamConfig()
        .environment(env=StagedEnv, env_config={"env": TargetGame, "stages": stages})
        .curriculum(CurriculumSpec.model_validate(spec))
        .team({"a": PPO(PPOParams(minibatch_size=64))})
        .env_runners(**{"num_envs_per_env_runner": 20, "rollout_fragment_length": 18, **env_runners})
    )


def test_a_team_goes_on_and_back():
    """Lengths of 9 pass the bar in the third iteration, after 100 episodes; lengths of 3 then fail the other one."""
    rule = {"kind": "promotion", "promote_above": 5.0, "regress_below": 4.0, "patience": 1, "grace": 0}
    algo = going(rule).build_algo()
    found = [algo.train()["curriculum"] for _ in range(4)]
    algo.stop()
    assert [figures["stage"] for figures in found] == [1, 1, 2, 1]
    assert [figures["regressions"] for figures in found] == [0, 0, 0, 1]


@pytest.mark.parametrize("overlap", [False, True])
def test_remote_samplers_change_their_stages_too(overlap: bool):
    """One iteration later where sampling overlaps: the next fragments were begun before the last ones were seen."""
    config = going({"kind": "schedule", "env_steps": [700]}, num_env_runners=2).sampling(overlap=overlap)
    algo = config.build_algo()
    found = [algo.train()["curriculum"] for _ in range(4)]
    stages = algo.env_runner_group.foreach_env_runner(
        lambda runner: runner.env.stage_E.tolist(), local_env_runner=False
    )
    algo.stop()
    assert [figures["stage"] for figures in found] == [2.0] * 4
    assert stages == [[1] * 20] * 2
    second = [figures["episodes/second"] for figures in found]
    assert (second[1] == 0) == overlap
    assert second[-1] > 0
