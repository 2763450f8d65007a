"""Evaluation: the books balance, the rules see only the past, and the files say what happened."""

import dataclasses
import json
from collections.abc import Mapping

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch

from environments.base import ArrayEnv, Group, Params, Transition
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.panel import panel_from_frame
from tests.environments.markets import bars
from tests.environments.markets import market as market_on
from tests.games import TargetGame, TargetParams
from wealtharena.evidence.baselines import BASELINES
from wealtharena.evidence.episodes import evaluate_episodes
from wealtharena.evidence.evaluate import evaluate_market, run_baselines, run_team
from wealtharena.evidence.files import write_json
from wealtharena.evidence.metrics import summary
from wealtharena.evidence.sharpe import confidence
from wealtharena.evidence.table import result_table
from wealtharena.evidence.tally import Tally

FREE = {"spread_bps": 0, "commission_bps": 0, "impact": 0, "borrow_rate": 0}
ASSETS = {"stocks": 3, "crypto": 2, "currencies": 2}


def market(assets=ASSETS, **more):
    synthetic = {"assets": assets, "bars": 300, "seed": 3}
    return MarketParams.model_validate({"data": {"synthetic": synthetic}, "horizon": None} | more)


def random_policies(env, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def policy(space):
        def act(obs):
            if isinstance(space, gym.spaces.Discrete):
                return torch.randint(0, int(space.n), obs.shape[:2], generator=generator)
            return torch.rand(*obs.shape[:2], *space.shape, generator=generator) * 2 - 1

        return act

    return {name: policy(group.action_space) for name, group in env.groups.items()}


@pytest.fixture(scope="module")
def evaluation():
    params = market()
    policies = random_policies(MarketEnv(params, num_envs=1))
    return evaluate_market(MarketEnv, params, policies, train_window=("2010-01-01", "2014-12-31"), seeds=[7])


def test_every_track_balances(evaluation):
    for track in evaluation.tracks:
        np.testing.assert_allclose(np.diff(track.nav), track.pnl_TN.sum(axis=1) + track.interest_T, atol=1e-6)
        assert len(track.nav) == len(track.dates) == evaluation.content["bars"] + 1


def test_the_file_holds_what_the_design_asks_for(evaluation):
    content = evaluation.content
    needed = {
        "total_return", "annual_return", "sharpe", "sortino", "max_drawdown", "calmar", "win_rate",
        "average_trade_return", "volatility", "cvar_95", "turnover", "costs",
    }  # fmt: skip
    assert needed <= content["team"].keys()
    assert list(content["baselines"]) == list(BASELINES)
    assert all(needed <= found.keys() for found in content["baselines"].values())
    assert content["windows"]["train"] == {"start": "2010-01-01", "end": "2014-12-31"}
    assert content["windows"]["test"]["start"] == str(evaluation.tracks[0].dates[0].astype("datetime64[D]"))
    assert content["agents"].keys() == {"stocks", "crypto", "currencies", "allocator"}
    assert content["costs"]["classes"]["crypto"]["commission_bps"] == 10.0
    assert content["seeds"] == [7]
    assert {"torch", "numpy", "python"} <= content["versions"].keys()
    assert content["difference"]["sharpe"]["verdict"] in {"above", "below", "not distinguishable"}
    assert content["differences"].keys() == set(BASELINES)
    for name, gap in content["differences"].items():
        for metric in ("annual_return", "sharpe") if name != "cash" else ("annual_return",):
            expected = content["team"][metric] - content["baselines"][name][metric]
            assert gap[metric]["value"] == pytest.approx(expected)
            assert gap[metric]["low"] < gap[metric]["high"]
    assert content["differences"]["equal_weight"]["sharpe"] == content["difference"]["sharpe"]


def test_the_file_says_how_sure_the_sharpe_ratio_is(evaluation):
    content, team = evaluation.content, evaluation.tracks[0]
    assert content["team"]["psr"] == confidence(team)["psr"]
    assert 0 < content["baselines"]["momentum"]["psr"] < 1
    assert content["baselines"]["cash"]["psr"] is None
    trials = content["trials"]
    assert (trials["count"], trials["counted"], trials["luck"]) == (1, "seeds of this run", 0.0)
    assert trials["dsr"] == content["team"]["psr"]
    assert [more["count"] for more in trials["if_more"]] == [10, 100]
    assert trials["dsr"] > trials["if_more"][0]["dsr"] > trials["if_more"][1]["dsr"]


@pytest.mark.parametrize(
    ("seeds", "told", "count", "counted", "more"),
    [((1, 2, 3), None, 3, "seeds of this run", [10, 100]), ((1,), 40, 40, "given", [100])],
)
def test_the_trials_are_the_seeds_unless_they_are_given(seeds, told, count, counted, more):
    params = market()
    policies = random_policies(MarketEnv(params, num_envs=1))
    found = evaluate_market(MarketEnv, params, policies, seeds=seeds, trials=told).content["trials"]
    assert (found["count"], found["counted"]) == (count, counted)
    assert found["luck"] > 0
    assert [other["count"] for other in found["if_more"]] == more


def test_group_results_add_up_to_the_portfolio(evaluation):
    earned = sum(found["pnl"] for found in evaluation.content["agents"].values() if "pnl" in found)
    assert earned == pytest.approx(evaluation.content["team"]["total_return"])


def test_action_shares_are_shares(evaluation):
    agents = evaluation.content["agents"]
    assert agents["stocks"]["actions"]["labels"] == ["Sell", "Hold", "Buy"]
    assert agents["currencies"]["actions"]["labels"][0] == "short 100%"
    assert sum(agents["stocks"]["actions"]["shares"]) == pytest.approx(1.0)
    assert sum(agents["crypto"]["actions"]["shares"][0]) == pytest.approx(1.0)
    assert agents["allocator"]["actions"]["labels"] == ["stocks", "crypto", "currencies", "cash"]
    assert agents["allocator"]["decisions"] == -(-evaluation.content["bars"] // 5)


def test_written_files_can_be_read_back(evaluation, tmp_path):
    path = evaluation.write(tmp_path / "new")
    content = json.loads(path.read_text())
    assert content["team"] == pytest.approx(summary(evaluation.tracks[0]) | confidence(evaluation.tracks[0]))
    table = pd.read_parquet(path.parent / "evaluation_tracks.parquet")
    team = table[table["track"] == "team"].reset_index(drop=True)
    np.testing.assert_array_equal(team["nav"], evaluation.tracks[0].nav)
    np.testing.assert_allclose(team["pnl/crypto"].sum() / 1e6, content["agents"]["crypto"]["pnl"])
    np.testing.assert_allclose(team.filter(like="budget/").iloc[1:].sum(axis=1), 1.0)
    assert table[table["track"] == "momentum"]["budget/cash"].isna().all()
    assert sorted(file.name for file in path.parent.iterdir()) == ["evaluation.json", "evaluation_tracks.parquet"]


def test_a_failed_write_leaves_the_old_file(evaluation, tmp_path):
    path = evaluation.write(tmp_path)
    before = path.read_text()
    broken = dataclasses.replace(evaluation, content={"team": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.write(tmp_path)
    assert path.read_text() == before


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path):
    path = write_json(tmp_path / "evaluation.json", {"value": 1})
    with path.open() as reader:
        write_json(path, {"value": 2})
        assert json.load(reader) == {"value": 1}
    assert json.loads(path.read_text()) == {"value": 2}


def test_the_result_table_names_window_costs_and_interval(evaluation):
    table = result_table(evaluation.content)
    assert table.row_count == 1 + len(BASELINES)
    assert evaluation.content["windows"]["test"]["end"] in table.title
    assert "95% intervals" in table.caption.plain
    assert "Counting 1 trial (seeds of this run)" in table.caption.plain
    assert "crypto 13 bps" in table.caption.plain


def test_evaluation_repeats_to_the_bit(evaluation):
    params = market()
    again = evaluate_market(MarketEnv, params, random_policies(MarketEnv(params, num_envs=1)))
    for first, second in zip(evaluation.tracks, again.tracks, strict=True):
        np.testing.assert_array_equal(first.nav, second.nav)


def test_buying_and_holding_free_of_costs_earns_the_mean_of_the_assets():
    env = MarketEnv(market({"stocks": 4}, costs={"stocks": FREE}, warmup=1), num_envs=2)
    panel, (first, last) = env.panel, env.window_bars
    cash, held = run_baselines(env, {name: BASELINES[name] for name in ("cash", "buy_and_hold")})
    # The order of the first close fills at the next open.
    expected = (panel.close_TN[last] / panel.open_TN[first + 1]).mean()
    assert held.nav[-1] / held.nav[0] == pytest.approx(expected, rel=1e-9)
    assert (cash.nav == cash.nav[0]).all()


def test_what_fell_silent_and_came_back_is_bought_and_held_again():
    dates = pd.date_range("2021-01-01", periods=60)
    frames = [
        bars("AAA", "stocks", dates[[*range(20), *range(45, 60)]], 1.0, 1.0, 1.0),
        bars("COIN", "crypto", dates, 1.0, 1.0, 1.0),
    ]
    env = market_on(
        panel_from_frame(pd.concat(frames), origin="test"), warmup=1, horizon=None, risk={"max_position": 1}
    )
    (track,) = run_baselines(env, {"buy_and_hold": BASELINES["buy_and_hold"]})
    held = track.value_TN[:, track.symbols.index("AAA")] > 0
    assert (held[10], held[42], held[-1]) == (True, False, True)


def test_costs_lower_every_baseline():
    free, dear = (
        run_baselines(MarketEnv(market({"stocks": 4}, costs={"stocks": fee}), num_envs=len(BASELINES)), BASELINES)
        for fee in (FREE, FREE | {"commission_bps": 50})
    )
    for without, with_costs in zip(free[1:], dear[1:], strict=True):
        assert with_costs.nav[-1] < without.nav[-1]
        assert with_costs.cost_TN.sum() > 0


def test_equal_weight_trades_monthly_only():
    env = MarketEnv(market({"stocks": 4}), num_envs=1)
    (track,) = run_baselines(env, {"equal_weight": BASELINES["equal_weight"]})
    days = track.dates[1:][track.traded_TN.sum(axis=1) > 0]
    assert len(set(days.astype("datetime64[M]"))) == len(days)
    assert 12 <= len(days) <= 18


def test_no_baseline_sees_the_future(tmp_path):
    env = MarketEnv(market(), num_envs=len(BASELINES))
    panel, cut = env.panel, 200
    before = run_baselines(env, BASELINES)
    random = np.random.default_rng(0)
    shaken = np.where(np.arange(len(panel.dates_T))[:, None] > cut, random.uniform(0.5, 2.0, panel.close_TN.shape), 1.0)
    path = tmp_path / "shaken.parquet"
    _frame(panel, shaken).to_parquet(path)
    other = MarketEnv(MarketParams.model_validate({"data": {"path": path}, "horizon": None}), num_envs=len(BASELINES))
    np.testing.assert_array_equal(other.panel.dates_T, panel.dates_T)
    for first, second in zip(before, run_baselines(other, BASELINES), strict=True):
        np.testing.assert_allclose(first.nav[: cut + 1], second.nav[: cut + 1], rtol=1e-12)
    assert before[1].nav[-1] != second.nav[-1]


def _frame(panel, factor_TN):
    bar, asset = np.nonzero(panel.traded_TN)
    return pd.DataFrame(
        {
            "date": panel.dates_T[bar],
            "symbol": np.array(panel.symbols)[asset],
            "asset_class": np.array(panel.classes)[panel.class_N[asset]],
            "volume": panel.volume_TN[bar, asset],
        }
        | {name: (getattr(panel, f"{name}_TN") * factor_TN)[bar, asset] for name in ("open", "high", "low", "close")}
    )


def test_a_ruined_team_stays_where_it_fell():
    env = MarketEnv(market({"stocks": 3}, costs={"stocks": FREE | {"commission_bps": 1000}}), num_envs=1)
    turn = iter(range(10_000))
    policies = {
        "stocks": lambda obs: torch.full(obs.shape[:2], 2 if next(turn) // 2 % 2 == 0 else 0),
        "allocator": lambda _: torch.tensor([[[1.0, -1.0]]]),
    }
    track, tallies = run_team(env, policies)
    fell = int(np.argmax(track.nav <= 0.2 * track.nav[0]))
    assert 0 < fell < len(track.nav) - 1
    assert (track.nav[fell:] == track.nav[fell]).all()
    assert (track.pnl_TN[fell:] == 0).all()
    assert (track.budget_TK[fell:, -1] == 1).all()
    assert tallies["stocks"].as_dict()["decisions"] <= 3 * fell


def test_tally_counts_only_who_was_active():
    tally = Tally(Group(("a", "b"), gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(3)))
    tally.add(torch.tensor([[0, 2]]), torch.tensor([[1.0, 3.0]]), torch.tensor([[True, False]]))
    tally.add(torch.tensor([[1, 2]]), torch.tensor([[1.0, 3.0]]), None)
    found = tally.as_dict()
    assert found["actions"]["shares"] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert found["reward_per_step"] == 2.0


@pytest.mark.parametrize("high", [2.0, np.inf])
def test_a_continuous_action_is_counted_over_its_own_range(high):
    tally = Tally(Group(("a",), gym.spaces.Box(-high, high, (1,)), gym.spaces.Box(-high, high, (1,))))
    tally.add(torch.tensor([[[-2.0]], [[0.0]], [[2.0]]]), torch.zeros(3, 1), None)
    actions = tally.as_dict()["actions"]
    assert actions["edges"][0] == pytest.approx(-2.0)
    (shares,) = actions["shares"]
    assert [shares[0], shares[4], shares[8]] == pytest.approx([1 / 3] * 3)


def test_episodes_reach_the_known_optimum():
    env = TargetGame(TargetParams(), num_envs=4)
    found = evaluate_episodes(env, {"a": lambda obs: obs.argmax(dim=-1)}, 6, seeds=(1,)).content
    assert found["episodes"] == 8
    assert found["episode_length"] == 8
    assert found["team"]["episode_return"] == 8.0
    assert found["agents"]["a"]["episode_return"] == {"value": 8.0, "low": 8.0, "high": 8.0}
    assert result_table(found).row_count == 2


class Lengths(ArrayEnv):
    """Copy i plays episodes of 2 i + 1 steps and earns 1 a step; one agent, nothing to decide."""

    Params = Params

    def __init__(self, params: Params, *, num_envs: int, device: str = "cpu") -> None:
        self.num_envs, self.device = num_envs, device
        self.groups = {"a": Group(("a",), gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2))}
        self._step_E = torch.zeros(num_envs, dtype=torch.int64)

    def reset(self, *, seed: int | None = None) -> dict[str, torch.Tensor]:
        return {"a": torch.zeros(self.num_envs, 1, 1)}

    def step(self, actions: Mapping[str, torch.Tensor]) -> Transition:
        self._step_E = self._step_E + 1
        done_E = self._step_E == 2 * torch.arange(self.num_envs) + 1
        self._step_E = torch.where(done_E, 0, self._step_E)
        obs, ended = self.reset(), {"a": done_E[:, None]}
        return Transition(
            obs, obs, {"a": torch.ones(self.num_envs, 1)}, ended, {"a": ~done_E[:, None] & False}, done_E, {}
        )

    def get_state(self) -> dict[str, object]:
        return {}

    def set_state(self, state: Mapping[str, object]) -> None:
        del state


def test_short_episodes_do_not_crowd_out_long_ones():
    found = evaluate_episodes(Lengths(Params(), num_envs=3), {"a": lambda obs: obs[..., 0].long()}, 3).content
    assert found["episodes"] == 3
    assert found["team"]["episode_return"] == pytest.approx((1 + 3 + 5) / 3)


def test_episodes_that_never_end_are_given_up():
    policies = {"a": lambda obs: obs[..., 0].long()}
    with pytest.raises(ValueError, match="did not end in 10 steps"):
        evaluate_episodes(Lengths(Params(), num_envs=9), policies, 9, max_steps=10)
