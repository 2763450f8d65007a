"""Features by class, from the experiment file to the agents that learn on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from environments.market.features.sets import BY_CLASS, COLUMNS, SETS
from environments.market.synthetic import generate
from environments.market.synthetic_params import SyntheticParams
from tests.wealtharena.test_train import Silent
from wealtharena import Agent, UserError, load_team
from wealtharena.evidence.check import frame_of
from wealtharena.experiment import load_experiment
from wealtharena.training.run_dir import new_run
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import train
from wealtharena.training.trained import policies_for

ROOT = Path(__file__).parents[2]
ASSETS = {"currencies": 2, "etf": 2}

EXPERIMENT = """\
name: classes
environment:
  class: environments.market.env:MarketEnv
  params:
    data: {path: prices.parquet}
    window: {end: 2015-06-30}
    horizon: 20
    warmup: 20
    features: by_class
members:
  currencies: {algorithm: "policies.dqn:DQN", params: {hidden: [8, 8]}}
  etf: {algorithm: "policies.ppo:PPO", params: {hidden: [8, 8]}}
  allocator: {algorithm: "policies.ppo:PPO", params: {hidden: [8, 8]}}
sampling: {envs_per_runner: 4, fragment: 16}
stop: {iterations: 1}
evaluation: {window: {start: 2015-07-01}}
"""


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    """300 days of two pairs of currencies and two ETFs, with all of the columns that features of currencies read."""
    return frame_of(generate(SyntheticParams(assets=ASSETS, bars=300, extras=True)))


@pytest.fixture
def config(tmp_path: Path, prices: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The experiment with its price file, in the working directory."""
    monkeypatch.chdir(tmp_path)
    prices.to_parquet(tmp_path / "prices.parquet", index=False)
    (tmp_path / "classes.yaml").write_text(EXPERIMENT)
    return tmp_path / "classes.yaml"


def test_the_example_names_the_sets_of_all_classes() -> None:
    experiment = load_experiment(str(ROOT / "tune_configs/by_class.yaml"))
    for group, sets in BY_CLASS.items():
        seen = experiment.provenance[group].features or ()
        assert seen[:-6] == tuple(name for each in sets for name in SETS[each])
    assert experiment.notes == ()
    resolved = experiment.resolved()
    assert resolved["environment"]["params"]["features"] == "by_class"


def test_a_choice_is_resolved_as_it_was_given(config: Path) -> None:
    chosen = {"etf": ["standard", "sector_rotation"], "currencies": ["carry", "adx"]}
    experiment = load_experiment(
        str(config), [f"environment.params.features={yaml.safe_dump(chosen, default_flow_style=True)}"]
    )
    config.write_text(yaml.safe_dump(experiment.resolved()))
    again = load_experiment(str(config))
    assert again.provenance == experiment.provenance
    assert (again.provenance["currencies"].features or ())[:5] == (*SETS["carry"], "adx")


def test_what_is_left_out_is_noted(config: Path, prices: pd.DataFrame) -> None:
    prices.drop(columns="growth_differential").to_parquet("prices.parquet", index=False)
    said = "features: currencies goes without growth_differential_level: the data has no column growth_differential"
    assert load_experiment(str(config)).notes == (said,)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (
            "by_clas",
            "environment.params.features = 'by_clas': must be alike, by_class, or class -> names of what it sees",
        ),
        (
            "{etf: [momentun]}",
            "environment.params.features: etf: 'momentun' is no feature; there are the sets standard",
        ),
        ("{etf: [yields]}", "features.etf: 'yields' needs the column dividend_yield, bond_yield of the data, whose"),
    ],
)
def test_a_wrong_choice_is_one_line(config: Path, features: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        load_experiment(str(config), [f"environment.params.features={features}"])
    assert str(refused.value).startswith(said)
    assert "--set" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_team_learns_on_features_by_class_and_wants_them_again(config: Path, prices: pd.DataFrame) -> None:
    folder = new_run("classes", None)
    train(load_experiment(str(config)), folder, view=Silent(), stop=StopSignal(lambda: None))
    team = load_team(folder.path)
    assert {*SETS["carry"]} <= {*(team["currencies"].feature_names or ())}
    assert {*SETS["sector_rotation"]} <= {*(team["etf"].feature_names or ())}
    seen = {name: np.zeros((2, agent.learned.policy.features), np.float32) for name, agent in team.items()}
    assert {name: len(action) for name, action in team.predict(seen).items()} == dict.fromkeys(team, 2)

    prices.drop(columns="carry").to_parquet("other.parquet", index=False)
    other = load_experiment(str(config), ["environment.params.data.path=other.parquet"])
    said = (
        r"group currencies: it learned on 27 features and this data gives it 23 \(without carry_level, .*\): bring the "
    )
    with pytest.raises(UserError, match=said + "same classes and extra columns that it was trained on"):
        policies_for(other, folder.path / "checkpoints/best")


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_an_agent_alone_sees_what_its_class_does(tmp_path: Path, prices: pd.DataFrame) -> None:
    market: dict[str, Any] = {"horizon": 20, "warmup": 20, "features": "by_class"}
    agent = Agent.create("currencies", params={"hidden": [8, 8]})
    agent.train(prices, env_steps=16, copies=2, fragment=8, market=market)
    names = agent.feature_names or ()
    assert names[:-6] == tuple(name for each in BY_CLASS["currencies"] for name in SETS[each])
    agent.save(tmp_path / "agent")
    loaded = Agent.load(tmp_path / "agent")
    assert loaded.feature_names == names
    with pytest.raises(
        UserError, match=r"agent 'currencies': it learned on 27 features .* gives it 19 \(without carry"
    ):
        loaded.train(prices.drop(columns=[*COLUMNS][:4]), env_steps=16, copies=2, fragment=8, market=market)
