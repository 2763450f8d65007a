"""Sweeps on Ray Tune, small: what they leave behind, how they end, and that they go on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.wealtharena.conftest import GAME
from wealtharena.cli import app
from wealtharena.document import read_document
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.training.metrics_log import read_rows
from wealtharena.training.progress import Progress
from wealtharena.training.resources import placement
from wealtharena.training.run_dir import RunDir
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import train
from wealtharena.tuning.check import Sweep, sweep_of
from wealtharena.tuning.comparison import compare_trials
from wealtharena.tuning.folder import SweepDir
from wealtharena.tuning.outcome import checkpoint_of, judge_best, summarise
from wealtharena.tuning.report import render, write_sweep_report
from wealtharena.tuning.sweep import run_sweep
from wealtharena.tuning.view import SweepView

ROOT = Path(__file__).parents[2]
TINY = [
    "environment.params.data.synthetic.bars=700",
    "environment.params.window={end: 2016-06-30}",
    "evaluation={window: {start: 2016-07-01}}",
    "environment.params.horizon=15",
    "sampling={envs_per_runner: 4, fragment: 16}",
    "stop={iterations: 4}",
    "checkpoint={every: 1, metric: allocator/episode_return}",
]
SWEEP = GAME.replace("iterations: 4", "iterations: 12") + (
    "tune: {trials: 1, concurrency: 1, metric: left/episode_return, space: {seed: {grid: [0, 1, 2]}}}\n"
)


class Unseen:
    def update(self, progress: Progress, done: float) -> None: ...


def swept(config: str, folder: Path, *overrides: str) -> tuple[Sweep, SweepDir, dict[str, Any]]:
    """Runs a sweep in this process."""
    made = sweep_of(read_document(config, overrides))
    folder.mkdir()
    found = SweepDir(folder)
    view = SweepView(made.metric, sign=made.tune.sign, trials=made.count)
    run_sweep(made, found, [view], resume=False)
    return made, found, summarise(made, found)


def tiny(name: str, folder: Path, *more: str) -> tuple[Sweep, SweepDir, dict[str, Any]]:
    return swept(str(ROOT / "tune_configs" / name), folder, *TINY, *more)


def iterations(folder: SweepDir, trial: str) -> list[int]:
    return [int(row["iteration"]) for row in read_rows(folder.trial(trial).metrics / "progress.csv")]


# ---- the files of tune_configs


def test_asha(tmp_path: Path, local_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder, summary = tiny(
        "sweep_asha.yaml",
        tmp_path / "asha",
        "tune.trials=4",
        "tune.concurrency=1",
        "tune.scheduler={kind: asha, grace: 1, reduction: 2}",
    )
    assert summary["rungs"] == [1, 2, 4]
    assert summary["ran"] == 4
    assert summary["unfinished"] == 0
    last = {trial["name"]: trial["iteration"] for trial in summary["trials"]}
    assert set(last.values()) <= {1, 2, 3, 4}
    assert all(iterations(folder, name) == list(range(1, end + 1)) for name, end in last.items())
    said = capsys.readouterr().out
    assert "[0/4] trial_0000  iteration 1  64 steps  allocator/episode_return" in said
    assert "trial_0000  ended: " in said

    # Every trial is a file that can be trained; the best is a run, judged as the best of four.
    for trial in summary["trials"]:
        load_experiment(str(folder.trial(trial["name"]).config))
    content = judge_best(folder, summary)
    assert content["trials"]["count"] == 4
    best = load_experiment(str(folder.best_config))
    assert best.spec.evaluation.trials == 4
    lr = next(trial for trial in summary["trials"] if trial["name"] == summary["best"])["values"]
    assert best.members["stocks"].params.lr == lr["members.stocks.params.lr"]
    assert folder.best.latest() is not None
    assert (folder.best.path / "report.html").is_file()

    page = write_sweep_report(folder).read_text(encoding="utf-8")
    assert page == render(folder)
    for text in ("rung 2", "parcoords", "stocks.lr", "The best configuration", "counting", "best/report.html"):
        assert text.lower() in page.lower(), text
    assert "https://" not in page.split("<body>")[1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of PB2, which has so few scores
@pytest.mark.parametrize("kind", ["pbt", "pb2"])
def test_a_population(kind: str, tmp_path: Path, local_ray: None) -> None:
    _, folder, summary = tiny(
        "sweep_pbt.yaml",
        tmp_path / kind,
        "stop={iterations: 8}",  # a trial that is ahead has nothing to give before its second comparison
        "tune.trials=2",
        f"tune.scheduler={{kind: {kind}, interval: 2, quantile: 0.5, resample: 0}}",
    )
    assert [trial["status"] for trial in summary["trials"]] == ["finished", "finished"]
    changed = [trial for trial in summary["trials"] if trial["changes"]]
    assert changed
    for trial in changed:
        last = trial["changes"][-1]
        assert last["values"] == trial["values"]
        config = yaml.safe_load(folder.trial(trial["name"]).config.read_text())
        reward = config["environment"]["params"]["reward"]
        assert reward["drawdown"] == trial["values"]["environment.params.reward.drawdown"]
        assert reward["terms"]["volatility"] == trial["values"]["environment.params.reward.terms.volatility"]
        assert config["members"]["crypto"]["params"]["actor_lr"] == trial["values"]["members.crypto.params.actor_lr"]
    judge_best(folder, summary)
    assert "weights of the reward" in render(folder)
    assert "goes on from trial_" in render(folder)


def test_optuna(tmp_path: Path, local_ray: None) -> None:
    made, folder, summary = tiny(
        "sweep_optuna.yaml",
        tmp_path / "optuna",
        "tune.trials=3",
        "tune.concurrency=1",
        "tune.searcher={kind: optuna, startup: 2}",
        "stop={iterations: 2}",
    )
    assert [name for name, _ in folder.trials()] == ["trial_0000", "trial_0001", "trial_0002"]
    for trial in summary["trials"]:
        values = trial["values"]
        assert values.keys() == made.space.dimensions.keys()
        assert values["members.stocks.params.hidden"] in ([32, 32], [64, 64], [128, 128])
        assert 2 <= values["members.stocks.params.epochs"] <= 8
        assert 1e-4 <= values["members.crypto.params.actor_lr"] <= 3e-3


def test_the_ablation(tmp_path: Path, local_ray: None) -> None:
    made, folder, summary = tiny(
        "ablation.yaml",
        tmp_path / "ablation",
        "checkpoint.metric=team_return",
        "stop={iterations: 1}",
        "tune.concurrency=1",
        "tune.space.seed={grid: [0, 1]}",
        "tune.space.market.cases={planted: {}}",
        "tune.space.fusion.cases={voting: {environment.params.fusion: {kind: voting}}}",
        "tune.space.coordination.cases={decentralized: {environment.params.coordination: {kind: decentralized}}, "
        "hierarchical: {members.allocator: {algorithm: 'policies.ppo:PPO'}}}",
    )
    assert made.tune.compare is not None
    assert summary["ran"] == 4
    content = compare_trials(made.tune.compare, folder, summary, at_once=1)
    (setting,) = content["settings"]
    (test,) = content["tests"]
    assert test.endswith(", after costs")
    assert (content["score"], content["judged"], setting["setting"]) == ("Sharpe ratio", 4, "planted")
    assert [row["dimension"] for row in setting["dimensions"]] == ["coordination", "fusion"]
    first, other = setting["dimensions"][0]["levels"]
    assert (first["level"], first["runs"], first["verdict"]) == ("decentralized", 2, None)
    assert (other["level"], other["pairs"]) == ("hierarchical", 2)
    assert other["verdict"] in ("helps", "hurts", "no difference shown")
    page = render(folder)
    assert "What helps, and what does not" in page
    assert other["verdict"] in page
    assert test in page


def test_the_whole_ablation_is_checked_and_counted() -> None:
    made = sweep_of(read_document(str(ROOT / "tune_configs/ablation.yaml")))
    assert made.count == 2 * 3 * 4 * 3
    assert made.points is not None
    first, last = (made.space.applied(made.points[place]).data for place in (0, -1))
    assert first["members"].keys() == {"stocks", "volume", "range", "etf"}
    assert last["members"].keys() == first["members"].keys() | {"stocks_fuser"}


def test_many_gpus_are_asked_for_and_the_rest_of_it_runs() -> None:
    path = str(ROOT / "tune_configs/multi_node_gpu.yaml")
    there = {"CPU": 48.0, "GPU": 4.0}
    experiment = load_experiment(path)
    assert placement(experiment, there) == "4 families at the same time, on 1 GPU, in 1 processes each"
    assert experiment.spec.sampling.runners + 1 <= there["CPU"]


def test_what_many_gpus_train_is_trained_here_too(tmp_path: Path) -> None:
    here = ["sampling={runners: 0, envs_per_runner: 4, fragment: 16}", "learning={learners: 0}", "stop={iterations: 2}"]
    experiment = load_experiment(str(ROOT / "tune_configs/multi_node_gpu.yaml"), here)
    outcome = train(experiment, RunDir(tmp_path), view=Unseen(), stop=StopSignal(lambda: None))
    assert outcome.mark.iteration == 2


# ---- how trials end


def test_a_trial_that_fails_is_told_and_is_not_the_best(
    tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.yaml").write_text(
        GAME.replace("tests.games:TargetGame", "tests.wealtharena.tuned_games:FailingGame")
        + "tune: {max_failures: 0, concurrency: 1, space: {environment.params.fails: {grid: [true, false]}}}\n"
    )
    _, folder, summary = swept(str(tmp_path / "bad.yaml"), tmp_path / "bad", "stop.iterations=2")
    good, bad = summary["trials"]
    assert (good["name"], good["status"]) == ("trial_0001", "finished")
    assert (bad["name"], bad["status"]) == ("trial_0000", "failed")
    assert "the game is broken" in bad["error"]
    assert (summary["best"], summary["ran"], summary["unfinished"]) == ("trial_0001", 1, 0)
    assert "the game is broken" in render(folder)


def test_more_than_there_is_room_for(tmp_path: Path, local_ray: None) -> None:
    (tmp_path / "game.yaml").write_text(SWEEP)
    with pytest.raises(UserError, match="and the cluster has 24; lower them, or use a larger cluster"):
        swept(str(tmp_path / "game.yaml"), tmp_path / "big", "sampling.runners=24")


def test_a_budget_of_time_ends_all_trials(tmp_path: Path, local_ray: None) -> None:
    (tmp_path / "game.yaml").write_text(SWEEP)
    begun = time.perf_counter()
    _, _, summary = swept(str(tmp_path / "game.yaml"), tmp_path / "t", "stop.iterations=10000", "tune.time_budget=1")
    assert time.perf_counter() - begun < 60
    assert all(trial["status"] == "stopped" for trial in summary["trials"])


# ---- interrupted, and gone on with


def command(folder: Path, *more: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    words = [sys.executable, "-m", "wealtharena", "tune", *more]
    return subprocess.Popen(words, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def test_a_sweep_goes_on_after_its_driver_was_killed_and_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "game.yaml").write_text(SWEEP)
    folder = SweepDir(tmp_path / "out")

    killed = command(tmp_path, "game.yaml", "--out", "out")
    wait_for(killed, lambda: len(iterations(folder, "trial_0001")) >= 5)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    first = (folder.trial("trial_0000").metrics / "progress.csv").read_bytes()

    # Of what there is, there is a report.
    assert not folder.report.exists()
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["report", "out"])
    assert told.exit_code == 0, told.output
    assert "Report: out/sweep.html" in told.stdout
    assert json.loads(folder.summary.read_text())["unfinished"] == 2
    assert "trial_0001" in folder.report.read_text(encoding="utf-8")

    interrupted = command(tmp_path, "out", "--resume")
    wait_for(interrupted, lambda: len(iterations(folder, "trial_0002")) >= 3)
    interrupted.send_signal(signal.SIGINT)
    said = interrupted.communicate(timeout=120)[0]
    assert interrupted.returncode == 130, said
    assert "To go on: wealtharena tune out --resume" in said
    assert json.loads(folder.summary.read_text())["unfinished"] == 1
    assert folder.report.is_file()

    resumed = command(tmp_path, "out", "--resume")
    said = resumed.communicate(timeout=240)[0]
    assert resumed.returncode == 0, said
    assert [name for name, _ in folder.trials()] == ["trial_0000", "trial_0001", "trial_0002"]
    assert all(iterations(folder, name) == list(range(1, 13)) for name, _ in folder.trials())
    assert (folder.trial("trial_0000").metrics / "progress.csv").read_bytes() == first  # it was not run again
    summary = json.loads(folder.summary.read_text())
    assert {trial["values"]["seed"] for trial in summary["trials"]} == {0, 1, 2}
    assert (summary["ran"], summary["unfinished"]) == (3, 0)
    assert checkpoint_of(folder, "trial_0002") is not None
