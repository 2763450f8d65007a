"""The crypto desk in a run, on bars of minutes: four roles that learn together, their evaluation, phases and agents."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.synthetic import generate
from environments.market.synthetic_params import SyntheticParams
from wealtharena import load_team
from wealtharena.cli import app
from wealtharena.evidence.check import check_laws, frame_of
from wealtharena.experiment import load_experiment
from wealtharena.training.phases import phases_of

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "tune_configs/crypto_desk.yaml")
ROLES = ("long_term", "short_term", "market_maker", "risk")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with a tiny budget, on three days of bars of five minutes."""
    folder = tmp_path_factory.mktemp("desk")
    table = frame_of(generate(SyntheticParams(assets={"crypto": 2}, bars=3 * 288)))
    first = table["date"].min()
    table["date"] = pd.Timestamp("2024-01-01") + (table["date"] - first) / pd.Timedelta(days=1) * pd.Timedelta("5min")
    table.to_parquet(folder / "minutes.parquet", index=False)
    given = yaml.safe_load(Path(EXAMPLE).read_text(encoding="utf-8"))
    given["environment"]["params"] |= {
        "data": {"path": str(folder / "minutes.parquet")},
        "window": {"start": "2024-01-01", "end": "2024-01-02"},
        "horizon": 64,
    }
    given |= {"sampling": {"envs_per_runner": 4, "fragment": 32}, "stop": {"iterations": 2}}
    given["evaluation"] = {"window": {"start": "2024-01-03"}}
    for member in given["members"].values():
        member["params"] = {"learning_starts": 32, "batch_size": 32, "hidden": [16, 16]}
    file = folder / "crypto_desk.yaml"
    file.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return file


def test_the_example_is_loaded() -> None:
    experiment = load_experiment(EXAMPLE)
    assert tuple(experiment.groups) == ROLES
    assert [experiment.groups[name].every for name in ROLES] == [20, 1, 1, 1]


def test_the_laws_hold_on_bars_of_minutes(desk: Path) -> None:
    verdicts = list(check_laws(load_experiment(str(desk))))
    assert all(verdict.passed for verdict in verdicts), verdicts
    assert "nothing followed" not in verdicts[-1].detail


@pytest.mark.ray
def test_the_desk_from_training_to_report_and_saved_agents(desk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["train", str(desk), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert found["years"] == pytest.approx(287 * 5 / (60 * 24 * 365.25))
    agents = found["agents"]
    assert [agents[name]["role"] for name in ROLES] == ["long_term", "short_term", "market_making", "risk"]
    assert agents["short_term"]["decisions"] == 2 * 287
    assert agents["long_term"]["decisions"] == 2 * 15  # each 20th bar
    assert agents["market_maker"]["actions"]["labels"] == ["bid", "ask"]
    assert agents["market_maker"]["traded"] > 0
    assert agents["risk"]["actions"]["labels"] == ["scale", "stop"]
    assert 0 < agents["risk"]["scale"] < 1
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "What each role did" in text
    team = load_team(out)
    assert team["risk"].asset_class is None
    assert team["market_maker"].asset_class == "crypto"


def test_in_an_individual_phase_the_risk_manager_takes_no_part(desk: Path) -> None:
    phases = "phases=[{name: alone, kind: individual}, {name: together, kind: joint}]"
    experiment = load_experiment(str(desk), [phases])
    alone, together = phases_of(experiment)
    assert [task.members for task in alone.tasks] == [("long_term",), ("short_term",), ("market_maker",)]
    assert "risk" in together.tasks[0].members
    assert isinstance(experiment.params, MarketParams)
    unmanaged = MarketEnv(experiment.params.unmanaged(), num_envs=1)
    assert unmanaged.groups.keys() == {"long_term", "short_term", "market_maker"}
