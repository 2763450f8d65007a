"""Agents as objects: what they do is what a run's policy does, and goes with them to disk and into other teams."""

import copy
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import ray
import torch

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.synthetic import generate
from environments.market.synthetic_params import SyntheticParams
from tests.wealtharena.test_train import Silent
from wealtharena import Agent, AgentTeam, UserError, load_team
from wealtharena.agents import agent as agent_module
from wealtharena.agents.files import write_folder
from wealtharena.evidence.check import frame_of
from wealtharena.evidence.evaluate import evaluate_market
from wealtharena.experiment import load_experiment
from wealtharena.team.policy import load_policies
from wealtharena.training.metrics_log import read_rows
from wealtharena.training.run_dir import new_run
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import train

pytestmark = pytest.mark.ray

SMALL: Mapping[str, Any] = {"copies": 4, "fragment": 16, "market": {"horizon": 20, "warmup": 20}}
NETS = {"hidden": [8, 8]}


@cache
def bars() -> pd.DataFrame:
    """300 days of two stocks and a cryptocurrency."""
    return frame_of(generate(SyntheticParams(assets={"stocks": 2, "crypto": 1}, bars=300)))


@cache
def trained(asset_class: str, algorithm: str | None = None) -> Agent:
    """An agent after one iteration. Tests that train it further take a copy from disk."""
    return Agent.create(asset_class, algorithm=algorithm, params=NETS, seed=3).train(bars(), env_steps=64, **SMALL)


def observations(agent: Agent, *shape: int) -> npt.NDArray[np.float32]:
    features = agent.learned.policy.features
    return np.random.default_rng(5).normal(size=(*shape, features)).astype(np.float32)


def same_networks(one: Agent, other: Agent) -> bool:
    states = [agent.learned.policy.module.state_dict() for agent in (one, other)]
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


# ---- Ray


def test_a_training_brings_its_own_ray_and_a_prediction_needs_none(tmp_path: Path) -> None:
    assert not ray.is_initialized()
    agent = Agent.create("stocks", params=NETS)
    before = torch.get_num_threads()
    agent.train(env_steps=16, copies=2, fragment=8, market={"horizon": 8})
    assert not ray.is_initialized()
    assert torch.get_num_threads() == before
    agent.save(tmp_path / "agent")
    seen = observations(agent, 3)
    assert np.array_equal(Agent.load(tmp_path / "agent").predict(seen), agent.predict(seen))
    assert not ray.is_initialized()


# ---- training


@pytest.mark.usefixtures("local_ray")
def test_a_training_is_that_of_a_run_with_this_class_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = bars()
    frame[frame["asset_class"] == "stocks"].to_parquet("stocks.parquet", index=False)
    Path("alone.yaml").write_text(
        """\
name: alone
seed: 3
environment:
  class: environments.market.env:MarketEnv
  params: {data: {path: stocks.parquet}, window: {end: 2015-06-30}, horizon: 20, warmup: 20, allocator: null}
members: {stocks: {algorithm: "policies.ppo:PPO", params: {hidden: [8, 8]}}}
sampling: {envs_per_runner: 4, fragment: 16}
stop: {iterations: 2}
evaluation: {window: {start: 2015-07-01}}
"""
    )
    run, experiment = new_run("alone", None), load_experiment("alone.yaml")
    train(experiment, run, view=Silent(), stop=StopSignal(lambda: None))
    assert float(read_rows(run.metrics / "progress.csv")[-1]["episode_length"]) == 20
    agent = Agent.create("stocks", params=NETS, seed=3)
    assert agent.train(frame, env_steps=128, window=(None, "2015-06-30"), **SMALL) is agent
    of_run = load_team(run.path)["stocks"]
    assert same_networks(agent, of_run)
    assert agent.env_steps == of_run.env_steps == 128
    assert agent.feature_names == of_run.feature_names
    assert agent.learned.provenance == of_run.learned.provenance
    assert str(agent.learned.provenance.windows[0]) == "2015-01-02 to 2015-06-30"  # weekdays
    assert list(agent.learning_curve["env_steps"]) == [64, 128]
    assert {"episode_return", "entropy", "loss", "action_0"} <= set(agent.learning_curve)

    assert isinstance(experiment.test_params, MarketParams)
    tested = evaluate_market(MarketEnv, experiment.test_params, load_policies(run.path / "checkpoints/best"))
    rules = {"market": {"horizon": None, "warmup": 20}}
    assert agent.evaluate(frame, window=("2015-07-01", None), **rules)["team"] == tested.content["team"]
    with pytest.raises(
        UserError, match=r"was trained on 2015-01-02 to 2015-06-30, which overlaps the test .2015-06-30 to"
    ):
        agent.evaluate(frame, window=("2015-06-30", None), **rules)
    with pytest.raises(UserError, match=r"gives it 20 .new: extra_sentiment"):
        agent.evaluate(frame.assign(sentiment=0.5), window=("2015-07-01", None), **rules)


@pytest.mark.usefixtures("local_ray")
def test_a_second_training_goes_on_and_so_does_one_after_loading(tmp_path: Path) -> None:
    params = {**NETS, "epsilon_steps": 256, "epsilon_end": 0.0, "learning_starts": 32, "batch_size": 16}
    agent = Agent.create("currencies", algorithm="policies.dqn:DQN", params=params)
    made_up = {"synthetic": {"assets": {"currencies": 2}, "bars": 200}}
    agent.train(made_up, env_steps=64, **SMALL)
    agent.save(tmp_path / "agent")
    first = agent.learned
    agent.train(made_up, env_steps=64, **SMALL)
    assert list(agent.learning_curve["epsilon"]) == [0.75, 0.5]
    assert list(agent.learning_curve["env_steps"]) == [64, 128]
    loaded = Agent.load(tmp_path / "agent").train(made_up, env_steps=64, **SMALL)
    assert list(loaded.learning_curve["epsilon"]) == [0.5]
    assert loaded.env_steps == 128
    shifts = [each.policy.module.normalizer.shift for each in (first, agent.learned, loaded.learned)]
    assert not torch.equal(shifts[0], shifts[1])
    assert (shifts[0] - shifts[2]).abs().max() < 2.0  # one more iteration moves the means, and does not replace them


@pytest.mark.usefixtures("local_ray")
def test_a_training_that_fails_leaves_the_agent_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained("stocks").save(tmp_path / "agent")
    agent = Agent.load(tmp_path / "agent")
    agent.train(bars(), env_steps=64, **SMALL)
    before, curve = agent.learned, agent.learning_curve
    twin = copy.copy(agent).train(bars(), env_steps=64, **SMALL)
    with monkeypatch.context() as patch:

        def broken(*args: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr("wealtharena.agents.learning._result", broken)
        with pytest.raises(KeyboardInterrupt):
            agent.train(bars(), env_steps=64, **SMALL)
    assert agent.learned is before
    assert agent.learning_curve.equals(curve)
    assert same_networks(agent.train(bars(), env_steps=64, **SMALL), twin)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": 7}, "data = 7: must be a price file .Parquet or CSV., a pandas DataFrame"),
        ({"data": "nowhere.parquet"}, "nowhere.parquet: no such file"),
        ({"window": "2015"}, "window = '2015': must be two dates, .first, last."),
        ({"window": ("2015-05-01", "2015-04-01")}, "window: start 2015-05-01 is not before end 2015-04-01"),
        ({"market": {"horzon": 5}}, "horzon: unknown key; did you mean 'horizon'"),
        ({"market": {"allocator": {}}}, "market: allocator follows from the agent and from data and window"),
        ({"env_steps": 0}, "env_steps = 0: must be at least 1"),
        ({"copies": 0}, "copies = 0: must be at least 1"),
    ],
)
def test_what_cannot_be_trained_on_is_said_before_anything_starts(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Agent.create("stocks").train(**{"data": bars(), **given})
    assert not Path("stocks.parquet").exists()


def test_prices_without_the_class_are_refused() -> None:
    with pytest.raises(UserError, match="data: holds no assets of class 'etf'; its classes are stocks, crypto"):
        Agent.create("etf").train(bars())


def test_bad_rows_are_named_as_the_callers() -> None:
    with pytest.raises(UserError, match=r"^data: .*high"):
        Agent.create("stocks").train(bars().assign(high=0.5))


@pytest.mark.usefixtures("local_ray")
def test_other_columns_than_those_learned_on_are_named(tmp_path: Path) -> None:
    trained("stocks").save(tmp_path / "agent")
    agent = Agent.load(tmp_path / "agent")
    with pytest.raises(
        UserError, match=r"agent 'stocks': it learned on \d+ features .* gives it \d+ \(new: extra_sentiment"
    ):
        agent.train(bars().assign(sentiment=0.5), **SMALL)


# ---- making one


def test_the_algorithms_are_those_of_the_quickstart_with_default_hyperparameters() -> None:
    quickstart = load_experiment("quickstart")
    for group, algorithm in quickstart.members.items():
        if group != "allocator":
            agent = Agent.create(group)
            assert type(agent.algorithm) is type(algorithm)
            assert agent.algorithm.params == type(algorithm).Params()
            assert (agent.name, agent.asset_class, agent.env_steps) == (group, group, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"algorithm": "policies.pp:PPO"}, "algorithm = 'policies.pp:PPO': there is no module policies.pp; did you"),
        ({"algorithm": "PPO"}, "algorithm = 'PPO': must read module:Class"),
        ({"algorithm": "policies.sac:SAC"}, "SAC cannot act in Discrete"),
        ({"params": {"lrr": 1}}, r"params.lrr: unknown key; did you mean 'lr'. \(known here: .*Agent.create"),
        ({"params": {"lr": 7}}, "params.lr = 7: must be less than or equal to 1"),
        ({"trader": {"action": "dance"}}, "trader.action = 'dance': must be 'trade', 'levels'"),
        ({"seed": -1}, "seed = -1: must be greater than or equal to 0"),
        ({"name": "my stocks"}, "name = 'my stocks'"),
    ],
)
def test_an_agent_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Agent.create("stocks", **given)


def test_an_allocator_cannot_be_trained_alone() -> None:
    with pytest.raises(UserError, match="divides capital among classes; train a team"):
        Agent.create("allocator")


# ---- predicting


def test_before_training_there_is_nothing_to_ask_or_save(tmp_path: Path) -> None:
    agent = Agent.create("stocks")
    for asked in (
        lambda: agent.predict(np.zeros(3)),
        lambda: agent.save(tmp_path / "agent"),
        lambda: agent.action_space,
    ):
        with pytest.raises(UserError, match=r"agent 'stocks' has not been trained: call train\(\) first"):
            asked()
    assert not (tmp_path / "agent").exists()


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("asset_class", ["stocks", "crypto"])
def test_actions_have_the_shape_of_what_is_seen(asset_class: str) -> None:
    agent = trained(asset_class)
    actions = () if asset_class == "stocks" else (1,)
    dtype = np.int64 if asset_class == "stocks" else np.float32
    seen = observations(agent, 2, 3)
    whole = agent.predict(seen)
    assert whole.shape == (2, 3, *actions)
    assert whole.dtype == dtype
    assert np.allclose(agent.predict(seen[0]), whole[0], atol=1e-6)
    assert agent.predict(seen[1, 2]).shape == actions
    assert np.allclose(agent.predict(torch.from_numpy(seen)), whole, atol=1e-6)
    assert np.allclose(agent.predict(seen[1, 2].astype(np.float64).tolist()), whole[1, 2], atol=1e-6)
    assert agent.predict(seen[:0]).shape == (0, 3, *actions)
    for action in whole.reshape(-1, *actions):
        assert agent.action_space.contains(action)


@pytest.mark.usefixtures("local_ray")
def test_a_policy_set_by_hand_does_what_was_worked_out(tmp_path: Path) -> None:
    trained("crypto").save(tmp_path / "crypto")
    agent = Agent.load(tmp_path / "crypto")
    last = [layer for layer in agent.learned.policy.module.pi.modules() if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.5493061, -20.0]))  # atanh(0.5); RLlib raises log deviations to -5 or so
    seen = observations(agent, 4)
    assert np.allclose(agent.predict(seen), 0.5)
    drawn = agent.predict(seen, deterministic=False)
    assert np.allclose(drawn, 0.5, atol=0.04)  # 6 deviations
    assert len(np.unique(drawn)) == 4


@pytest.mark.usefixtures("local_ray")
def test_draws_follow_from_the_seed_and_leave_the_process_alone(tmp_path: Path) -> None:
    trained("stocks").save(tmp_path / "agent")
    agents = [Agent.load(tmp_path / "agent") for _ in range(2)]
    seen = observations(agents[0], 64)
    state = torch.get_rng_state()
    first = agents[0].predict(seen, deterministic=False)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert np.array_equal(agents[1].predict(seen, deterministic=False), first)
    assert set(first.tolist()) == {0, 1, 2}  # a policy that has hardly learned draws all of them
    assert not np.array_equal(agents[0].predict(seen, deterministic=False), first)
    assert np.array_equal(agents[0].predict(seen), agents[1].predict(seen))


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda seen: seen[..., :-1], r"shape \(2, \d+\), and its last axis must hold the \d+ features .*: return_1, "),
        (lambda seen: np.float32(1.0), r"shape \(\), and its last axis"),
        (lambda seen: np.where(seen > 1, np.nan, seen), "holds NaN or infinite numbers"),
        (lambda seen: "all in", "is no array of numbers"),
    ],
)
def test_an_observation_that_cannot_be_is_refused(change: Any, message: str) -> None:
    agent = trained("stocks")
    with pytest.raises(UserError, match=f"agent 'stocks': the observation .*{message}"):
        agent.predict(change(observations(agent, 2)))


# ---- saving and loading


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("asset_class", "algorithm"),
    [("stocks", None), ("crypto", None), ("stocks", "policies.a2c:A2C"), ("stocks", "policies.dqn:DQN")],
)
def test_an_agent_comes_back_to_the_bit(tmp_path: Path, asset_class: str, algorithm: str | None) -> None:
    agent = trained(asset_class, algorithm)
    agent.save(tmp_path / "deep/agent")
    loaded = Agent.load(tmp_path / "deep/agent")
    assert np.array_equal(loaded.predict(observations(agent, 2, 9)), agent.predict(observations(agent, 2, 9)))
    assert same_networks(loaded, agent)
    assert repr(loaded) == repr(agent)
    assert (loaded.profile.trader, loaded.profile.seed) == (agent.profile.trader, 3)
    assert loaded.algorithm.params == agent.algorithm.params
    assert loaded.learned.provenance == agent.learned.provenance
    assert [each.name for each in tmp_path.joinpath("deep").iterdir()] == ["agent"]


@pytest.mark.usefixtures("local_ray")
def test_what_is_there_stays_unless_it_is_an_agent_that_may_go(tmp_path: Path) -> None:
    place, agent = tmp_path / "agent", trained("stocks")
    place.mkdir()
    agent.save(place)  # empty
    with pytest.raises(UserError, match=r"agent: exists; name another folder, or .* overwrite=True"):
        agent.save(place)
    trained("crypto").save(place, overwrite=True)
    assert Agent.load(place).name == "crypto"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/only_copy.tex").write_text("...")
    with pytest.raises(UserError, match="thesis: holds something else than what is to be saved, and stays"):
        agent.save(tmp_path / "thesis", overwrite=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["agent", "thesis"]


@pytest.mark.usefixtures("local_ray")
def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "agent"
    trained("stocks").save(place)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(agent_module, "write_agent", full)
    with pytest.raises(UserError, match="agent: cannot be written: No space left on device"):
        trained("crypto").save(place, overwrite=True)
    assert Agent.load(place).name == "stocks"
    assert [each.name for each in tmp_path.iterdir()] == ["agent"]


def test_a_rename_that_fails_puts_back_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rename = tmp_path / "agent", Path.rename
    place.mkdir()
    (place / "old").touch()

    def failing(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UserError, match="agent: cannot be written: Input/output error"):
        write_folder(place, lambda folder: (folder / "new").touch(), replaceable=lambda folder: True, overwrite=True)
    assert [each.name for each in place.iterdir()] == ["old"]
    assert [each.name for each in tmp_path.iterdir()] == ["agent"]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda place: (place / "agent.json").write_text("{}"), "agent.json: is damaged, or of another version .*name"),
        (lambda place: (place / "agent.json").unlink(), "holds no saved agent; of a team take one with load_team"),
        (
            lambda place: (place / "networks/module_state.pkl").write_bytes(b"x"),
            "networks: the networks cannot be read",
        ),
    ],
)
def test_a_damaged_agent_is_not_loaded(tmp_path: Path, damage: Any, message: str) -> None:
    trained("stocks").save(tmp_path / "agent")
    damage(tmp_path / "agent")
    with pytest.raises(UserError, match=message):
        Agent.load(tmp_path / "agent")


def test_nothing_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: holds no saved agent$"):
        Agent.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"nowhere: holds no run, no checkpoint and no saved team$"):
        load_team(tmp_path / "nowhere")


# ---- teams


@pytest.fixture
def run(market: Path, local_ray: None) -> Path:
    """A run of stocks, crypto and an allocator, two iterations long."""
    folder = new_run("small", None)
    overrides = [f"members.{name}.params.hidden=[8, 8]" for name in ("stocks", "crypto", "allocator")]
    train(load_experiment(str(market), overrides), folder, view=Silent(), stop=StopSignal(lambda: None))
    return folder.path


def test_a_team_comes_out_of_a_run_and_back_from_disk(run: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.parquet").unlink()  # of no use to a policy
    team = load_team(run)
    assert list(team) == ["stocks", "crypto", "allocator"]
    assert (team["stocks"].asset_class, team["allocator"].asset_class, team["crypto"].env_steps) == (
        "stocks",
        None,
        128,
    )
    seen = {name: observations(agent, 1, 2) for name, agent in team.items()}
    policies = load_policies(run / "checkpoints/best")
    actions = team.predict(seen)
    assert all(np.array_equal(actions[name], policies[name](torch.from_numpy(seen[name])).numpy()) for name in seen)
    assert list(team.predict({"crypto": seen["crypto"]})) == ["crypto"]
    with pytest.raises(
        UserError, match=r"no group 'stock'; did you mean 'stocks'. \(its groups: stocks, crypto, alloc"
    ):
        team.predict({"stock": seen["stocks"]})
    team.save(tmp_path / "team")
    loaded = load_team(tmp_path / "team")
    assert set(loaded) == set(team)
    assert all(same_networks(loaded[name], team[name]) for name in team)
    assert all(loaded[name].feature_names == team[name].feature_names for name in team)
    with pytest.raises(UserError, match="team: exists"):
        team.save(tmp_path / "team")
    with pytest.raises(UserError, match=re.escape("of a team take one with load_team(path)[group]")):
        Agent.load(tmp_path / "team")
    with pytest.raises(
        UserError, match="agent 'allocator' trades no class of assets, so it cannot be trained or tested alone"
    ):
        team["allocator"].train(bars())


def test_a_policy_goes_from_one_team_into_another(run: Path, tmp_path: Path) -> None:
    team, other = load_team(run), trained("stocks", "policies.a2c:A2C")
    mixed = AgentTeam({**team, "stocks": other})
    seen = observations(other, 2)
    assert np.array_equal(mixed.predict({"stocks": seen})["stocks"], other.predict(seen))
    mixed.save(tmp_path / "mixed")
    assert type(load_team(tmp_path / "mixed")["stocks"].algorithm).__name__ == "A2C"
    other.save(tmp_path / "one")
    with pytest.raises(UserError, match=r"one agent is loaded with Agent\.load"):
        load_team(tmp_path / "one")
