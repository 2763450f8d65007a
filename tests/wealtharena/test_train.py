"""A run: what it leaves behind, how it ends, and that it goes on as if nothing had happened."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.wealtharena.conftest import GAME
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.spec import EarlyStoppingSpec, StopSpec
from wealtharena.team.policy import load_policies
from wealtharena.training import live
from wealtharena.training import train as training
from wealtharena.training.live import LiveView
from wealtharena.training.metrics_log import MetricsLog, read_rows
from wealtharena.training.progress import Progress
from wealtharena.training.run_dir import Mark, RunDir, new_run
from wealtharena.training.stopping import Patience, StopSignal, fraction_done
from wealtharena.training.train import Outcome, train

TIMES = {"seconds", "steps_per_s"}


class Silent:
    def update(self, progress: Progress, done: float) -> None: ...


class ScriptedTeam:
    """Reports the returns it is given, one per iteration, instead of learning."""

    def __init__(self, returns: list[float | None]) -> None:
        self.returns, self.iteration, self.stopped = returns, 0, False

    def train(self) -> dict[str, Any]:
        value = self.returns[self.iteration]
        self.iteration += 1
        left = {"loss": 0.5} if value is None else {"episode_return": value, "loss": float("nan")}
        return {"num_env_steps_sampled_lifetime": 100 * self.iteration, "groups": {"left": left, "right": {}}}

    def save_to_path(self, path: str) -> None:
        Path(path, "weights").write_text(str(self.iteration))

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def stop() -> StopSignal:
    return StopSignal(lambda: None)


def scripted(
    game: Path, monkeypatch: pytest.MonkeyPatch, stop: StopSignal, returns: list[float | None], *overrides: str
) -> tuple[RunDir, Outcome]:
    team = ScriptedTeam(returns)
    builder = type("Config", (), {"build_algo": lambda self: team})()
    monkeypatch.setattr(training, "team_config", lambda experiment: builder)
    run = new_run("game", None)
    outcome = train(load_experiment(str(game), overrides), run, view=Silent(), stop=stop)
    assert team.stopped
    return run, outcome


def iterations(run: RunDir) -> list[int]:
    return [checkpoint.mark.iteration for checkpoint in run.checkpoints()]


# ---- how a run ends, and what it keeps


def test_the_last_checkpoints_and_the_best_one_are_kept(
    game: Path, monkeypatch: pytest.MonkeyPatch, stop: StopSignal
) -> None:
    returns: list[float | None] = [0, 5, 0, 9, 0, 1, 0, 9, 0, 2, 0]
    run, outcome = scripted(game, monkeypatch, stop, returns, "stop={iterations: 11}", "checkpoint.keep=2")
    assert iterations(run) == [8, 10, 11]
    assert (run.path / "checkpoints/best").resolve().name == "iter_000008"  # the newest of equals
    assert (run.path / "checkpoints/latest").resolve().name == "iter_000011"
    assert (run.path / "checkpoints/best/weights").read_text() == "8"
    assert (outcome.reason, outcome.interrupted) == ("the limit in stop is reached", False)


def test_an_iteration_without_an_ended_episode_keeps_the_last_score(
    game: Path, monkeypatch: pytest.MonkeyPatch, stop: StopSignal
) -> None:
    run, _ = scripted(game, monkeypatch, stop, [None, None, 7, None], "stop={iterations: 4}")
    assert [checkpoint.mark.score for checkpoint in run.checkpoints()] == [None, 7]


def test_a_run_that_no_longer_improves_stops_early(
    game: Path, monkeypatch: pytest.MonkeyPatch, stop: StopSignal
) -> None:
    rule = "early_stopping={metric: left/episode_return, patience: 3, min_delta: 0.5}"
    returns: list[float | None] = [1, 2, 2.4, None, 2.5, 2.3, 9, 9]
    run, outcome = scripted(game, monkeypatch, stop, returns, rule, "stop={iterations: 8}")
    assert outcome.mark.iteration == 6  # the third one known that is not above 2 + 0.5
    assert outcome.reason == "no improvement in 3 iterations"
    assert iterations(run)[-1] == 6


def test_a_request_to_stop_ends_the_run_after_the_iteration_with_a_checkpoint(
    game: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with StopSignal(lambda: said.append("stopping")) as stop:
        original = ScriptedTeam.train

        def interrupted(team: ScriptedTeam) -> dict[str, Any]:
            if team.iteration == 2:
                signal.raise_signal(signal.SIGTERM)
            return original(team)

        monkeypatch.setattr(ScriptedTeam, "train", interrupted)
        run, outcome = scripted(game, monkeypatch, stop, [1] * 9, "stop={iterations: 9}")
        assert (outcome.reason, outcome.interrupted, iterations(run)) == ("interrupted", True, [2, 3])
        assert said == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_stopped_before_its_first_iteration_can_still_be_resumed(
    game: Path, monkeypatch: pytest.MonkeyPatch, stop: StopSignal
) -> None:
    stop.requested = True
    run, outcome = scripted(game, monkeypatch, stop, [])
    assert (outcome.interrupted, iterations(run)) == (True, [0])


def test_the_nearest_limit_counts() -> None:
    stop = StopSpec(env_steps=1000, iterations=10, seconds=60)
    assert fraction_done(stop, env_steps=100, iteration=2, seconds=30) == 0.5
    assert fraction_done(StopSpec(iterations=10), env_steps=10**9, iteration=11, seconds=10**9) == 1.0


def test_patience_counts_what_is_not_better_by_enough() -> None:
    rule = EarlyStoppingSpec(patience=2)
    state = Patience()
    for score in (1.0, None, float("nan"), 1.0):
        state = state.after(score, 0.0)
    assert (state.best, state.waited, state.exhausted(rule)) == (1.0, 1, False)
    assert state.after(0.5, 0.0).exhausted(rule)
    assert not state.after(0.5, 0.0).exhausted(None)


# ---- files


def test_a_checkpoint_is_complete_or_absent(tmp_path: Path) -> None:
    run = RunDir(tmp_path)

    def fail(path: Path) -> None:
        (path / "half").write_text("written")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.save(Mark(iteration=1), fail, keep=1)
    assert (run.checkpoints(), run.latest(), run.best()) == ([], None, None)
    run.save(Mark(iteration=1), lambda path: None, keep=1)
    assert not (run.checkpoints()[0].path / "half").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_nothing_and_the_last_good_one(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.save(Mark(iteration=1), lambda path: (path / "weights").write_text("1"), keep=2)

    def fill_the_disk(path: Path) -> None:
        (path / "weights").write_text("half")
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(OSError, match="No space left"):
        run.save(Mark(iteration=2), fill_the_disk, keep=2)
    assert [checkpoint.mark.iteration for checkpoint in run.checkpoints()] == [1]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"iter_000001", "latest", "best"}


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with RunDir(tmp_path).alone(), pytest.raises(UserError, match="another process trains in this folder"):
        RunDir(tmp_path).alone().__enter__()
    with RunDir(tmp_path).alone():
        pass


def test_new_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [str(new_run("a", None).path) for _ in range(2)] == ["runs/a-001", "runs/a-002"]


def test_columns_may_appear_later_and_rows_are_on_disk_at_once(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.write({"iteration": 1, "a": 0.5})
        assert read_rows(log.csv) == [{"iteration": "1", "a": "0.5"}]
        log.write({"iteration": 2, "b/c": 2.0})
        log.write({"iteration": 3, "a": 1.5})
    with log.csv.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["iteration", "a", "b/c"],
            ["1", "0.5", ""],
            ["2", "", "2.0"],
            ["3", "1.5", ""],
        ]


def test_a_log_that_goes_on_has_neither_gap_nor_double(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        for iteration in range(1, 6):
            log.write({"iteration": iteration, "a": 1.0})
    with log.csv.open("a") as file:
        file.write("6,0.")  # the process died here
    time.sleep(1.0)  # TensorBoard orders files by the second in which they were begun
    with MetricsLog(tmp_path, after=3) as log:
        for iteration in (4, 5):
            log.write({"iteration": iteration, "a": 2.0})
    assert [(row["iteration"], row["a"]) for row in read_rows(log.csv)] == [
        ("1", "1.0"), ("2", "1.0"), ("3", "1.0"), ("4", "2.0"), ("5", "2.0")
    ]  # fmt: skip
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("a")] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]


# ---- what is seen


def progress(**groups: dict[str, float]) -> Progress:
    return Progress(iteration=3, env_steps=12_000, seconds=30.0, steps_per_s=400.0, groups=groups)


def test_without_a_terminal_iterations_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    console = Console(file=StringIO(), force_terminal=False, width=40)
    with LiveView(console, {"left": "PPO", "right": "DQN"}) as view:
        view.update(progress(left={}), 0.25)
        view.update(progress(left={"episode_return": 1.25}), 0.25)
        view.update(progress(left={}), 0.5)
    first, second, third = console.file.getvalue().splitlines()
    assert first == "iteration 3  12,000 steps  400 steps/s  25% done, 1:30 left  return: no episode has ended yet"
    assert second.endswith("return: left 1.250")
    assert third.endswith("50% done, 0:30 left  return: left 1.250")


def test_quick_iterations_do_not_fill_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: now[0]))
    console = Console(file=StringIO(), force_terminal=False, width=40)
    with LiveView(console, {"left": "PPO"}) as view:
        for iteration in range(1, 121):  # 8 in a second
            view.update(replace(progress(left={"episode_return": 1.0}), iteration=iteration), 0.5)
            now[0] += 0.125
        view.begin("fold 2 of 2")
        view.update(progress(left={}), 0.5)
    shown = console.file.getvalue()
    lines = shown.splitlines()
    starts = ["iteration 1 ", "iteration 41 ", "iteration 81 ", "iteration 120 ", "fold 2 of 2", "iteration 3 "]
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_on_a_terminal_there_is_a_table_with_a_row_for_each_group() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with LiveView(console, {"left": "PPO", "right": "DQN", "up": "SAC"}) as view:
        left = {"episode_return": 2.0, "entropy": 1.0, "policy_loss": -0.5}
        view.update(progress(left=left, right={"epsilon": 0.3, "q_loss": 4.0}), 0.5)
    shown = console.file.getvalue()
    for part in ("left", "PPO", "2.000", "entropy 1.000", "-0.500", "epsilon 0.300", "4.000", "up", "SAC", "0:30 left"):
        assert part in shown


# ---- the real team


def start(*arguments: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "wealtharena", "train", *arguments],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, rows: int) -> None:
    limit = time.monotonic() + 60
    while len(read_rows(path)) < rows:
        assert time.monotonic() < limit, f"{path} has not got {rows} rows"
        time.sleep(0.05)


def without_times(run: RunDir) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_rows(run.metrics / "progress.csv")]


@pytest.mark.ray
def test_a_resumed_run_equals_one_that_was_never_interrupted(game: Path, local_ray: None, stop: StopSignal) -> None:
    whole, halves = new_run("whole", None), new_run("halves", None)
    train(load_experiment(str(game)), whole, view=Silent(), stop=stop)
    for iterations_so_far in (2, 4):
        halfway = load_experiment(str(game), [f"stop.iterations={iterations_so_far}"])
        outcome = train(halfway, halves, view=Silent(), stop=stop)
    assert outcome.mark.iteration == 4
    assert without_times(whole) == without_times(halves)
    assert {"left/policy_loss", "left/entropy", "right/q_loss", "right/epsilon"} <= without_times(whole)[-1].keys()
    one, other = (load_policies(run.path / "checkpoints/latest") for run in (whole, halves))
    for group in ("left", "right"):
        weights = other[group].module.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in one[group].module.state_dict().items())


@pytest.mark.ray
def test_ctrl_c_leaves_a_run_that_is_evaluated_and_goes_on(game: Path) -> None:
    game.write_text(GAME.replace("iterations: 4", "iterations: 100000"))
    process = start("game.yaml", "--out", "run")
    wait_for(Path("run/metrics/progress.csv"), rows=3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Stopping after this iteration" in errors
    assert "wealtharena train run --resume" in output
    assert Path("run/evaluation.json").exists()
    assert Path("run/report.html").exists()
    run = RunDir(Path("run"))
    rows, latest = read_rows(run.metrics / "progress.csv"), run.latest()
    assert latest is not None
    assert latest.mark.iteration == len(rows) >= 3
    assert yaml.safe_load(run.config.read_text())["stop"]["iterations"] == 100000
