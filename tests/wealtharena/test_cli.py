"""The commands, as somebody meets them."""

import json
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from wealtharena.cli import app
from wealtharena.document import read_document
from wealtharena.experiment import load_experiment

ROOT = Path(__file__).parents[2]
PANEL = Path(os.environ.get("WEALTHARENA_PANEL", ROOT.parent / "shared/data/panel_2015_2021h1.parquet"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_help_names_every_command_and_where_to_start() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for part in ("train", "evaluate", "report", "check", "--version", "wealtharena train quickstart"):
        assert part in result.stdout


@pytest.mark.parametrize("command", ["train", "evaluate", "report", "check"])
def test_the_help_of_a_command_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"wealtharena {command} " in result.stdout
    assert "Example" in result.stdout


def test_version_is_told() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("wealtharena")


def test_the_quickstart_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_document("quickstart").data == read_document(str(ROOT / "tune_configs/quickstart.yaml")).data


def test_the_quickstart_is_a_team_of_four_algorithms() -> None:
    experiment = load_experiment(str(ROOT / "tune_configs/quickstart.yaml"))
    assert {group: type(member).__name__ for group, member in experiment.members.items()} == {
        "stocks": "PPO",
        "crypto": "SAC",
        "etf": "A2C",
        "currencies": "DQN",
        "reits": "PPO",
        "allocator": "PPO",
    }


@pytest.mark.skipif(not PANEL.is_file(), reason="the real price panel is not there")
def test_the_real_panel_is_an_experiment() -> None:
    config = str(ROOT / "tune_configs/real_panel.yaml")
    experiment = load_experiment(config, [f"environment.params.data.path={PANEL}"])
    assert experiment.train_dates == ("2015-01-01", "2019-06-30")
    assert experiment.test_dates == ("2019-07-01", "2021-06-30")


@pytest.mark.ray
def test_a_run_from_prices_to_report(market: Path) -> None:
    first = run("train", "small.yaml", "--set", "seed=3", "--out", "out")
    assert first.exit_code == 0, first.output
    for part in (
        "environments.market.env:MarketEnv",
        "2015-01-01 to 2015-06-30",
        "SAC",
        "Equal weight",
        "out/report.html",
    ):
        assert part in first.stdout
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == [
        "checkpoints",
        "config.yaml",
        "evaluation.json",
        "evaluation_tracks.parquet",
        "logs",
        "metrics",
        "report.html",
    ]
    assert yaml.safe_load(Path("out/config.yaml").read_text())["seed"] == 3
    found = json.loads(Path("out/evaluation.json").read_text())
    assert found["windows"] == {
        "train": {"start": "2015-01-01", "end": "2015-06-30"},
        "test": {"start": "2015-07-01", "end": "2015-10-27"},
    }

    # A run goes on only as what it was.
    refused = run("train", "out", "--resume", "--set", "members.stocks.params.lr=1e-2")
    assert refused.exit_code == 2
    assert "members.stocks.params.lr was 0.001 when the run began and is 0.01 now" in refused.stderr
    refused = run("train", "small.yaml", "--resume", "--out", "out")
    assert "seed was 3 when the run began and is 0 now" in refused.stderr
    refused = run("train", "small.yaml", "--out", "out")
    assert "already holds a run" in refused.stderr

    # Other prices, another checkpoint: the run's own evaluation stays.
    again = run(
        "evaluate", "out/checkpoints/latest", "--data", "prices.parquet", "--set", "evaluation.window.end=2015-09-30"
    )
    assert again.exit_code == 0, again.output
    other = json.loads(Path("out/evaluations/iter_000002-001/evaluation.json").read_text())
    assert other["windows"]["test"] == {"start": "2015-07-01", "end": "2015-09-30"}
    assert json.loads(Path("out/evaluation.json").read_text()) == found
    same = run("evaluate", "out", "--out", "elsewhere")
    assert same.exit_code == 0, same.output
    assert json.loads(Path("elsewhere/evaluation.json").read_text()) == found

    Path("out/report.html").unlink()
    assert run("report", "out").exit_code == 0
    assert Path("out/report.html").is_file()


def test_an_evaluation_over_the_training_window_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: x")
    (tmp_path / "checkpoints" / "iter_000001").mkdir(parents=True)
    (tmp_path / "checkpoints" / "iter_000001" / "mark.json").write_text("{}")
    result = run("evaluate", str(tmp_path), "--set", "environment.params.window.end=2000-01-01")
    assert result.exit_code == 2
    assert "that is the window it was trained on; set evaluation.window" in result.stderr


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: x")
    (tmp_path / "checkpoints" / "iter_000001").mkdir(parents=True)
    (tmp_path / "checkpoints" / "iter_000001" / "mark.json").write_text('{"iteration": ')
    result = run("evaluate", str(tmp_path))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "iter_000001: is damaged (mark.json)" in result.stderr
