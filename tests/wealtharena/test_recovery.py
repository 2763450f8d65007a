"""Learners in other processes that are lost: the run goes on from its last checkpoint, by itself."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from wealtharena.errors import UserError
from wealtharena.spec import ExperimentSpec
from wealtharena.team.algorithm import Team
from wealtharena.training import train as module
from wealtharena.training.metrics_log import read_rows
from wealtharena.training.progress import Progress
from wealtharena.training.recovery import MOST_IN_A_ROW, LearnersLostError, Recovery, building, learners_of
from wealtharena.training.run_dir import Mark, RunDir
from wealtharena.training.setup import begin
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import iterate, train

ONE_FAMILY = 'members.right={algorithm: "policies.ppo:PPO", params: {lr: 1.0e-3}}'
STEPS = 8 * 16


class Silent:
    def update(self, progress: Progress, done: float) -> None: ...


def kill(team: Team) -> None:
    """As the machine's out-of-memory killer does."""
    (pid,) = (found.get() for found in team.learner_group.foreach_learner(lambda learner: os.getpid()))
    os.kill(pid, signal.SIGKILL)


def fail(team: Team) -> None:
    """As code of a Learner that is wrong: it would fail again."""

    def wrong(learner: Any) -> None:
        raise ArithmeticError("a loss that cannot be computed")

    (found,) = team.learner_group.foreach_learner(wrong)
    raise found.get()


def numbers(run: RunDir) -> list[dict[str, Any]]:
    """What was logged, without what depends on the clock, and the one column of runs with Learners elsewhere."""
    left_out = {"seconds", "steps_per_s", "recoveries"}
    rows = read_rows(run.metrics / "progress.csv")
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


@pytest.mark.ray
def test_a_run_goes_on_by_itself_when_a_learner_is_killed_but_not_when_it_raises(
    game: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    experiment, alone = begin("game.yaml", [ONE_FAMILY, "stop.iterations=5"], "alone")
    train(experiment, alone, view=Silent(), stop=StopSignal(lambda: None))
    teams: list[Team] = []

    def disturbed(spec: ExperimentSpec, team: Team, mark: Mark, started: float) -> tuple[Progress, Mark]:
        if team not in teams:
            teams.append(team)
        if mark.iteration == 3 and len(teams) == 1:
            kill(team)
        if mark.iteration == 5:
            fail(team)
        return iterate(spec, team, mark, started)

    monkeypatch.setattr(module, "iterate", disturbed)
    experiment, run = begin("game.yaml", [ONE_FAMILY, "stop.iterations=9", "learning.learners=1"], "run")
    with pytest.raises(ArithmeticError, match="a loss that cannot be computed"):
        train(experiment, run, view=Silent(), stop=StopSignal(lambda: None))
    assert len(teams) == 2
    rows = read_rows(run.metrics / "progress.csv")
    assert [int(row["iteration"]) for row in rows] == [1, 2, 3, 4, 5]
    assert [int(row["env_steps"]) for row in rows] == [STEPS * number for number in range(1, 6)]
    # The third iteration was not in the checkpoint, and was done again.
    assert [int(row["recoveries"]) for row in rows] == [0, 0, 1, 1, 1]
    assert numbers(run) == numbers(alone)
    (told,) = [record.getMessage() for record in caplog.records if "learners were lost" in record.getMessage()]
    assert told.startswith("learners were lost (of left+1; ActorDiedError: ")
    assert told.endswith("): the run goes on from iteration 2, the last checkpoint")


def checkpoint(run: RunDir, iteration: int) -> None:
    run.save(Mark(iteration=iteration), lambda folder: None, keep=2)


def test_learners_that_are_lost_again_and_again_without_a_checkpoint_in_between_end_the_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "my run")
    recovery, cause = Recovery(run), RayActorError()
    lost = LearnersLostError("gone")
    lost.__cause__ = cause
    for _ in range(MOST_IN_A_ROW):
        recovery.prepare(lost)
    checkpoint(run, 2)
    for _ in range(MOST_IN_A_ROW):
        recovery.prepare(lost)
    with pytest.raises(UserError) as ended:
        recovery.prepare(lost)
    assert recovery.times == 2 * MOST_IN_A_ROW
    assert ended.value.__cause__ is cause
    for part in (
        f"lost {MOST_IN_A_ROW + 1} times in a row",
        "by gone",
        f"go on: wealtharena train '{tmp_path}/my run' --resume",
    ):
        assert part in str(ended.value)


def test_only_what_came_of_a_lost_learner_is_tried_again() -> None:
    whole: Any = SimpleNamespace(learner_group=SimpleNamespace(lost=list))
    with pytest.raises(UserError, match="a loss that is no number"), learners_of(whole):
        raise UserError("a loss that is no number")
    broken: Any = SimpleNamespace(learner_group=SimpleNamespace(lost=lambda: ["a", "b+1"]))
    with (
        pytest.raises(LearnersLostError, match=r"^of a, b\+1; RuntimeError: Connection closed by peer$"),
        learners_of(broken),
    ):
        raise RuntimeError("Connection closed by peer\nsomewhere in gloo")
    with pytest.raises(LearnersLostError, match="RayActorError: went with its node"), building():
        raise RayActorError(error_msg="went with its node")
    with pytest.raises(RayActorError, match="cannot be built"), building():
        raise RayActorError(error_msg="cannot be built", actor_init_failed=True)


def test_a_run_that_finds_no_room_again_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(bundles: object) -> None:
        raise UserError("the run needs 2 CPU, and free are 1 of 1 CPU")

    monkeypatch.setattr("wealtharena.training.recovery.room", no_room)
    recovery = Recovery(RunDir(tmp_path))
    with pytest.raises(UserError, match=r"^the run needs 2 CPU, and free are 1 of 1 CPU$"):
        recovery.room([]).__enter__()
    recovery.prepare(LearnersLostError("gone"))
    with pytest.raises(
        UserError, match=f"^learners were lost, and the run .* go on: wealtharena train {tmp_path} --res"
    ):
        recovery.room([]).__enter__()
