"""Bad input gets one clear line and exit code 2, before anything is trained or written."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
from typer.testing import CliRunner, Result

from wealtharena.cli import app

Damage = Callable[[pd.DataFrame], pd.DataFrame]


def train(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["train", "small.yaml", *arguments])


def assert_refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert all(part in result.stderr for part in parts), result.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["prices.parquet", "small.yaml"]
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        # an unknown key at any depth
        ("seeds=1", ["seeds", "did you mean 'seed'"]),
        ("stop.steps=1", ["stop.steps", "unknown key", "env_steps, iterations, seconds"]),
        ("environment.params.windows=1", ["environment.params.windows", "did you mean 'window'"]),
        ("environment.params.risk.max_grss=1", ["environment.params.risk.max_grss", "did you mean 'max_gross'"]),
        ("environment.params.costs.stocks.spread=1", ["environment.params.costs.stocks.spread", "'spread_bps'"]),
        ("members.stocks.params.clip_param=0.2", ["members.stocks.params.clip_param", "did you mean 'clip'"]),
        ("members.stocks.algoritm=x", ["members.stocks.algoritm", "did you mean 'algorithm'"]),
        ("evaluation.window.from=2020-01-01", ["evaluation.window.from", "start, end"]),
        # a wrong type
        ("seed=first", ["seed = 'first'", "valid integer"]),
        ("members.stocks.params.lr=fast", ["members.stocks.params.lr = 'fast'", "valid number"]),
        ("environment.params.window.end=soon", ["environment.params.window.end = 'soon'", "valid date"]),
        ("members=[a, b]", ["members = ['a', 'b']", "valid dictionary"]),
        ("environment.params.horizon=yes", ["environment.params.horizon = True", "must be a number"]),
        # a value out of range
        ("members.stocks.params.clip=-1", ["members.stocks.params.clip = -1", "greater than 0"]),
        ("members.stocks.params.gamma=7", ["members.stocks.params.gamma = 7", "less than or equal to 1"]),
        ("members.stocks.params.hidden=[0]", ["members.stocks.params.hidden", "greater than 0"]),
        ("checkpoint.metric=stocks/entropi", ["checkpoint.metric", "'entropy'", "it logs episode_return"]),
        ("seed=!!timestamp soon", ["seed", "is not valid YAML"]),
        (
            "environment.params.risk.max_position=-0.5",
            ["environment.params.risk.max_position = -0.5", "greater than 0"],
        ),
        ("environment.params.data={}", ["environment.params.data", "none of path, synthetic and simulation given"]),
        ("environment.params.data.synthetic={}", ["environment.params.data", "path and synthetic given"]),
        # an algorithm that cannot act there
        ("members.crypto.algorithm=policies.dqn:DQN", ["members.crypto", "DQN cannot act in Box", "Discrete"]),
        ("members.stocks.algorithm=policies.sac:SAC", ["members.stocks", "SAC", "Discrete"]),
        # groups and members
        (
            "members.bonds={algorithm: 'policies.ppo:PPO'}",
            ["members.bonds", "no such group", "stocks, crypto, allocator"],
        ),
        ("environment.params.allocator=null", ["members.allocator", "no such group"]),
        ("members={stocks: {algorithm: 'policies.ppo:PPO'}}", ["members", "no member for crypto, allocator"]),
        # symbols
        ("environment.params.traders={b: {asset_class: bonds}}", ["bonds", "stocks, crypto"]),
        # files
        ("environment.params.data.path=price.parquet", ["price.parquet", "no such file", "data.path"]),
        ("environment.params.data.path=small.yaml", ["small.yaml", "data.path", ".parquet or .csv"]),
        # windows
        ("evaluation.window.start=2015-06-30", ["evaluation.window", "2015-06-30", "overlaps the training window"]),
        ("environment.params.window.end=null", ["evaluation.window", "overlaps the training window"]),
        ("evaluation.window=null", ["evaluation.window", "is missing"]),
        ("evaluation.window.end=2030-01-01", ["2030-01-01", "evaluation.window"]),
        ("environment.params.window.start=2001-01-01", ["2001-01-01", "environment.params"]),
        ("environment.params.horizon=2000", ["2000", "horizon"]),
    ],
)
def test_a_bad_value_is_refused(market: Path, override: str, parts: list[str]) -> None:
    assert_refused(train("--set", override), *parts)


def _drop(column: str) -> Damage:
    return lambda frame: frame.drop(columns=column)


def _put(column: str, value: float) -> Damage:
    return lambda frame: frame.assign(**{column: np.where(np.arange(len(frame)) == 7, value, frame[column])})


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda frame: frame.iloc[:0], ["no rows"]),
        (_drop("volume"), ["volume", "missing"]),
        (_drop("asset_class"), ["asset_class", "missing"]),
        (lambda frame: pd.concat([frame, frame.iloc[[7]]]), ["1 row that repeat a (date, symbol)"]),
        (_put("close", 0.0), ["close", "0"]),
        (_put("low", -1.0), ["low", "-1"]),
        (_put("high", 1e-9), ["high", "low"]),
        (_put("open", np.nan), ["open", "NaN"]),
        (_put("volume", -5.0), ["volume", "-5"]),
    ],
)
def test_a_bad_price_file_is_refused(market: Path, prices: pd.DataFrame, damage: Damage, parts: list[str]) -> None:
    damage(prices).to_parquet("prices.parquet", index=False)
    assert_refused(train(), "prices.parquet", "environment.params", *parts)


@pytest.mark.parametrize("kept", [0, 4, 1000])
def test_an_empty_or_truncated_parquet_file_is_refused(market: Path, kept: int) -> None:
    file = Path("prices.parquet")
    file.write_bytes(file.read_bytes()[:kept])
    assert_refused(train(), "prices.parquet", "Parquet")


def test_unsorted_dates_are_sorted_and_that_is_said(market: Path, prices: pd.DataFrame) -> None:
    prices.sample(frac=1.0, random_state=0).to_parquet("prices.parquet", index=False)
    result = CliRunner().invoke(app, ["check", "small.yaml"])
    assert result.exit_code == 0, result.output
    assert "rows were out of date order: sorted" in result.stdout


@pytest.mark.parametrize("file", ["config.yaml", "anything.txt"])
def test_a_folder_that_holds_something_is_refused(market: Path, tmp_path: Path, file: str) -> None:
    out = tmp_path.parent / f"{tmp_path.name}-out"
    out.mkdir()
    (out / file).write_text("precious")
    assert_refused(
        train("--out", str(out)), f"--out {out}", "--resume" if file == "config.yaml" else "not an empty folder"
    )
    assert (out / file).read_text() == "precious"


def test_an_out_that_cannot_be_made_is_refused(market: Path) -> None:
    assert_refused(train("--out", "small.yaml"), "--out small.yaml", "not an empty folder")
    assert_refused(train("--out", "small.yaml/run"), "--out small.yaml", "cannot be made")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--resume"], ["--resume", "say which run"]),
        (["--resume", "--out", "nowhere"], ["nowhere", "holds no run"]),
    ],
)
def test_a_run_that_is_not_there_cannot_be_resumed(market: Path, arguments: list[str], parts: list[str]) -> None:
    assert_refused(train(*arguments), *parts)


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_folder_without_a_run_is_refused(market: Path, command: str) -> None:
    assert_refused(CliRunner().invoke(app, [command, "nowhere"]), "nowhere", "holds no run")


def test_a_second_ctrl_c_is_said_and_has_its_code(market: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wealtharena.cli.begin", interrupt)
    result = train()
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_verbose_adds_the_traceback(market: Path) -> None:
    result = train("--set", "seed=-1", "--verbose")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: seed = -1")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["train", "small.yaml", "--set", "sede=1"], "did you mean 'seed'"), (["check", "smal.yaml"], "'small.yaml'")],
)
def test_the_installed_program_does_the_same(market: Path, arguments: list[str], part: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "wealtharena", *arguments],
        env={"PYTHONPATH": str(root), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert part in done.stderr
