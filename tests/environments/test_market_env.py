"""MarketEnv: what it refuses, who acts when, orders and sleeves worked by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from environments.errors import DataError
from environments.market.config import MarketParams
from environments.market.config_costs import COSTS
from environments.market.env import MarketEnv
from environments.market.observations import unrealised
from environments.market.panel import Panel, panel_from_frame
from tests.environments.laws.worlds import world
from tests.environments.markets import FREE, bars, by_hand, market, random_actions
from tests.environments.panels import REAL_PANEL

TWO = {"stocks/A": ([10.0] * 8, [10.0] * 8), "crypto/B": ([4.0] * 8, [4.0] * 8)}
PLAIN = {"warmup": 1, "horizon": None, "costs": {"stocks": FREE, "crypto": FREE}}


def still(num_envs: int = 1, **params) -> MarketEnv:
    """Two assets whose prices never move, at no cost."""
    return market(by_hand(TWO), num_envs, **{**PLAIN, **params})


def row(*values: float) -> Tensor:
    return torch.tensor([values])


# ---- the parameters


def simulated(process: str = "environments.market.processes.brownian:Brownian", **params: Any) -> dict[str, Any]:
    return {"simulation": {"classes": {"stocks": {"class": process, "params": params}}}}


SIMULATED = simulated()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"data": {}}, "none of path, synthetic and simulation given"),
        ({"data": {"path": "a.csv", "synthetic": {}}}, "path and synthetic given; data takes exactly one"),
        ({"window": {"start": "2021-01-02", "end": "2021-01-01"}}, "is not before end"),
        ({"horizon": 0}, "greater than or equal to 1"),
        ({"risk": {"max_gross": 0}}, "greater than 0"),
        ({"risk": {"max_leverage": 1}}, "Extra inputs are not permitted"),
        ({"costs": {"stocks": {"spread_bps": -1}}}, "greater than or equal to 0"),
        ({"costs": {"stocks": {"spread": 1}}}, "Extra inputs are not permitted"),
        ({"costs": 3}, "valid dictionary"),
        ({"traders": {"allocator": {"asset_class": "stocks"}}}, "trader name 'allocator'"),
        ({"traders": {"a/b": {"asset_class": "stocks"}}}, "letters, digits"),
        ({"traders": {}}, "at least 1 item"),
        (
            {"traders": {"a": {"asset_class": "stocks", "action": "guess"}}},
            "'trade', 'levels', 'continuous', 'adjust' or 'quotes'",
        ),
        ({"reward": {"profit": float("nan")}}, "finite number"),
        ({"allocator": {"every": 0}}, "greater than or equal to 1"),
        ({"finite": True, "horizon": None}, "finite: true needs a horizon"),
        ({"finite": True}, "a panel is tested over its whole window"),
        ({"close_out": True}, "close_out: true needs finite"),
        ({"reward": {"final_position": 1}}, r"final_position is charged at the end .*; set finite"),
        ({"reward": {"expected": True}}, r"expected: what could be expected is known for simulated prices only"),
        (
            {"traders": {"a": {"asset_class": "x", "risk_aversion": 1}}, "reward": {"adaptive": {}}},
            r"traders\.a: joint and risk_aversion reckon in the unit of profit, and with reward\.adaptive",
        ),
        ({"linear_impact": {"permanent": 1}}, "prices of a panel are given and cannot move"),
        ({"traders": {"a": {"asset_class": "x", "risk_aversion": 1}}}, r"traders\.a\.risk_aversion.* simulated"),
        ({"traders": {"a": {"asset_class": "x", "joint": True}}}, "'trade' is for one asset; joint takes"),
        ({"traders": {"a": {"asset_class": "x", "action": "quotes"}}}, r"traders\.a quotes; limit_orders must say"),
        ({"sizing": "shares"}, "leaves an allocator nothing to divide; set allocator: null"),
        ({"data": SIMULATED, "window": {"start": "2020-01-01"}}, "a simulation has no dates"),
        ({"data": SIMULATED, "horizon": None}, "a simulation has no last bar"),
        ({"data": simulated("nowhere:Nothing")}, "'nowhere:Nothing' names nothing: ModuleNotFoundError"),
        ({"data": simulated("environments.base:ArrayEnv")}, "is no subclass of environments.market.processes.base"),
        ({"data": simulated(sigma=-1)}, r"classes\.stocks\n *Value error, params: sigma is -1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(given, says):
    with pytest.raises(ValidationError, match=says):
        MarketParams.model_validate({"data": {"synthetic": {}}, **given})


def test_costs_keep_their_class_defaults_where_nothing_is_said():
    params = MarketParams.model_validate({"data": {"synthetic": {}}, "costs": {"crypto": {"spread_bps": 40}}})
    assert params.cost("crypto").model_dump() == COSTS["crypto"] | {"spread_bps": 40, "per_share": 0}
    assert params.cost("stocks").model_dump() == COSTS["stocks"] | {"per_share": 0}
    assert params.cost("timber").spread_bps == 5
    assert MarketParams.model_validate(params.model_dump()) == params


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"horizon": 8}, "horizon: 8 steps do not fit into a window of 8 bars"),
        ({"window": {"start": "2020-01-01"}}, "beyond the data; the data runs from 2021-03-01 to 2021-03-08"),
        ({"window": {"end": "2022-01-01"}}, "beyond the data"),
        ({"window": {"start": "2021-03-08"}}, "holds 1 bars, 2 are needed"),
        ({"window": {"start": "2021-03-10", "end": "2021-03-12"}}, "holds 0 bars"),
        ({"traders": {"a": {"asset_class": "stocks"}}}, "nobody trades class crypto"),
        ({"costs": {"bonds": {}}}, "costs: class 'bonds' has no symbols in the data; its classes are stocks, crypto"),
        ({"risk": {"shorting": ["etf"]}}, "risk.shorting: class 'etf' has no symbols"),
        ({"warmup": 9}, "warmup: no asset has 9 own bars before the end of the window"),
    ],
)
def test_parameters_that_do_not_go_with_the_data_are_refused_in_one_line(given, says):
    with pytest.raises(DataError, match=says) as refused:
        still(**given)
    assert "\n" not in str(refused.value)


def test_a_class_that_nobody_could_ever_trade_is_refused():
    dates = pd.date_range("2021-03-01", periods=6)
    early, late = bars("A", "stocks", dates, 1.0, 1.0, 1.0), bars("B", "crypto", dates[-1:], 1.0, 1.0, 1.0)
    panel = panel_from_frame(pd.concat([early, late]), origin="test")
    with pytest.raises(DataError, match="warmup: no asset of class crypto has 3 own bars before the end of the window"):
        market(panel, warmup=3, horizon=None)


def test_a_class_of_the_allocators_name_is_refused():
    panel = panel_from_frame(
        bars("A", "allocator", pd.date_range("2021-03-01", periods=6), 1.0, 1.0, 1.0), origin="test"
    )
    with pytest.raises(DataError, match="a class is called 'allocator'"):
        market(panel, warmup=1, horizon=None)


def test_a_window_is_inclusive_and_may_begin_in_the_holidays_around_the_data():
    assert still().window_bars == (0, 7)
    assert still(window={"start": "2021-02-27", "end": "2021-03-10"}).window_bars == (0, 7)
    assert still(window={"start": "2021-03-02", "end": "2021-03-05"}).window_bars == (1, 4)


# ---- use


def test_before_reset_and_before_a_step_it_says_what_to_call():
    env = still()
    with pytest.raises(RuntimeError, match="call reset"):
        env.step({})
    env.reset()
    with pytest.raises(RuntimeError, match="call step"):
        _ = env.record


def test_an_active_group_may_not_be_left_out_and_nan_is_refused():
    env = still()
    env.reset()
    with pytest.raises(ValueError, match="no actions for group 'allocator'"):
        env.step({"stocks": torch.tensor([[1]]), "crypto": torch.zeros(1, 1, 1)})
    with pytest.raises(ValueError, match="no actions for group 'crypto'"):
        env.step({"stocks": torch.tensor([[1]]), "allocator": torch.zeros(1, 1, 3)})
    before = env.get_state()
    with pytest.raises(ValueError, match="an action of copy 0 was NaN"):
        env.step(
            {
                "stocks": torch.tensor([[1]]),
                "crypto": torch.full((1, 1, 1), torch.nan),
                "allocator": torch.zeros(1, 1, 3),
            }
        )
    assert torch.equal(env.get_state()["state"]["nav_E"], before["state"]["nav_E"])


def test_a_state_of_another_number_of_copies_is_refused():
    one, two = world(market, 3, num_envs=1), world(market, 3, num_envs=2)
    one.reset()
    with pytest.raises(ValueError, match="a state of 1 copies; this environment has 2"):
        two.set_state(one.get_state())


@pytest.mark.parametrize("begun", [False, True])
def test_a_state_of_another_market_is_refused_and_changes_nothing(begun: bool):
    one, other = still(), market(by_hand({"stocks/A": TWO["stocks/A"]}), 1, **PLAIN | {"costs": {"stocks": FREE}})
    one.reset(seed=1)
    if begun:
        other.reset(seed=2)
        before = other.get_state()
    with pytest.raises(ValueError, match="a state of another market: its book has other shapes or types than here"):
        other.set_state(one.get_state())
    assert not begun or other.get_state()["seed"] == before["seed"]


def test_groups_names_and_features():
    env = still(traders={"coins": {"asset_class": "crypto"}, "shares": {"asset_class": "stocks"}})
    assert list(env.groups) == ["coins", "shares", "allocator"]
    assert env.groups["coins"].agent_ids == ("coins/B",)
    assert env.groups["coins"].action_space.shape == (1,)
    assert env.groups["shares"].action_space.n == 3
    assert (env.groups["allocator"].action_space.shape, env.groups["allocator"].every) == ((3,), 5)
    for name, obs in env.reset().items():
        assert obs.shape[2:] == env.groups[name].observation_space.shape == (len(env.feature_names[name]),)
        assert len(set(env.feature_names[name])) == len(env.feature_names[name])


def test_starts_are_drawn_from_the_whole_window_and_go_on_without_a_seed():
    env = market(by_hand(TWO), 200, **{**PLAIN, "horizon": 3, "window": {"start": "2021-03-02"}})
    env.reset(seed=1)
    first = env.bar_E
    assert set(first.tolist()) == {1, 2, 3, 4}
    env.reset()
    assert not torch.equal(env.bar_E, first)
    env.reset(seed=1)
    assert torch.equal(env.bar_E, first)
    for _ in range(2):
        assert not env.step(random_actions(env, 0)).done.any()
    cut = env.step(random_actions(env, 0))
    assert cut.done.all()
    assert cut.truncated["stocks"].all()
    assert not cut.terminated["stocks"].any()
    assert torch.equal(env.record.bar_E, first + 3)


# ---- who acts, and what an order does


def test_an_allocator_acts_each_kth_step_and_budgets_stand_between():
    env = still(allocator={"every": 3, "sharpness": 1})
    env.reset()
    budgets, acts = [], []
    for i in range(6):
        acts.append(bool(env.active()["allocator"]))
        tilt = torch.zeros(1, 1, 3)
        tilt[..., i % 3] = 1
        env.step({"stocks": torch.tensor([[2]]), "crypto": torch.ones(1, 1, 1), "allocator": -tilt if i == 3 else tilt})
        budgets.append(env.record.budget_EK[0])
    assert acts == [True, False, False] * 2
    e = np.e
    assert budgets[0].tolist() == pytest.approx([e / (e + 2), 1 / (e + 2), 1 / (e + 2)])
    assert torch.equal(budgets[0], budgets[2])
    assert budgets[3].tolist() == pytest.approx([1 / (1 + 2 * e), e / (1 + 2 * e), e / (1 + 2 * e)])


def test_buy_hold_sell_by_hand():
    env = still(allocator=None, risk={"max_position": 1, "max_class": 1})
    env.reset()
    none = torch.zeros(1, 1, 1)
    weights = []
    for action in (2, 2, 2, 1, 0, 0, 0):
        env.step({"stocks": torch.tensor([[action]]), "crypto": none})
        weights.append(env.record.value_EN[0, 0].item() / 1e6)
    assert weights == [0.25, 0.5, 0.5, 0.5, 0.25, 0.0, -0.25]  # of a budget of one half


def test_a_hold_keeps_the_shares_to_the_bit_until_the_sleeve_changes():
    rising = [10.0 * 1.03**t for t in range(8)]
    panel = by_hand({"stocks/A": (rising, rising), "crypto/B": TWO["crypto/B"]})
    env = market(panel, **{**PLAIN, "allocator": {"every": 4, "sharpness": 1}, "risk": {"max_position": 1}})
    env.reset()
    shares = []
    for i, action in enumerate((2, 1, 1, 1, 1, 1)):
        budget = torch.zeros(1, 1, 3) if i < 4 else torch.tensor([[[1.0, 0, 0]]])
        env.step({"stocks": torch.tensor([[action]]), "crypto": torch.zeros(1, 1, 1), "allocator": budget})
        shares.append(env.record.value_EN[0, 0].item() / panel.close_TN[i + 1, 0])
    assert shares[0] == pytest.approx(1e6 / 6 / rising[1])
    assert shares[1:4] == pytest.approx([shares[0]] * 3, rel=1e-12)
    assert shares[4] > 1.5 * shares[0]  # the budget went from 1/3 to e / (e + 2)
    assert shares[5] == pytest.approx(shares[4], rel=1e-12)


def test_a_cap_orders_where_drift_has_passed_it():
    rising = [10.0, 10.0, 12.0, 12.0, 12.0]
    panel = by_hand({"stocks/A": (rising, rising)})
    env = market(panel, **{**PLAIN, "costs": {"stocks": FREE}, "allocator": None, "risk": {"max_position": 0.5}})
    env.reset()
    weights = []
    for action in (2, 1, 1, 1):
        env.step({"stocks": torch.tensor([[action]])})
        weights.append((env.record.value_EN / env.record.nav_E)[0, 0].item())
    assert weights == pytest.approx([0.5, 0.6 / 1.1, 0.5, 0.5])


def weekdays_and_weekends() -> Panel:
    """A share that skips bars 3 and 4, a coin that trades each day."""
    days = pd.date_range("2021-03-01", periods=8)
    own = np.array([0, 1, 2, 5, 6, 7])
    share = np.array([10.0, 10, 10, 20, 20, 20])
    frames = [bars("A", "stocks", days[own], share, share, 0.0), bars("B", "crypto", days, np.full(8, 4.0), 4.0, 0.0)]
    return panel_from_frame(pd.concat(frames), origin="weekend")


def test_an_order_waits_for_the_assets_next_own_bar_and_says_so():
    env = market(weekdays_and_weekends(), **{**PLAIN, "allocator": None, "risk": {"max_position": 1}})
    env.reset()
    none, pending = torch.zeros(1, 1, 1), env.feature_names["stocks"].index("order_pending")
    seen = []
    for i in range(6):
        active = env.active()
        transition = env.step({"stocks": torch.tensor([[2 if i in {2, 3} else 1]]), "crypto": none})
        obs = transition.obs["stocks"][0, 0, pending].item()
        seen.append((bool(active["stocks"]), obs, env.record.traded_EN[0, 0].item(), env.record.nav_E.item()))
    assert [active for active, *_ in seen] == [True, True, True, False, False, True]  # what it says at bar 3 is ignored
    assert [waits for _, waits, *_ in seen] == [0, 0, 1, 1, 0, 0]
    assert [traded for _, _, traded, _ in seen] == [0, 0, 0, 0, 250_000, 0]
    assert seen[-1][-1] == 1e6  # filled at the open after the gap, not at the close before it


def test_a_silent_asset_is_closed_out_at_its_last_close_with_costs():
    days = pd.date_range("2021-03-01", periods=30)
    frames = [bars("A", "stocks", days[:4], np.full(4, 10.0), 10.0, 0.0), bars("B", "crypto", days, 4.0, 4.0, 0.0)]
    panel = panel_from_frame(pd.concat(frames), origin="gone")
    fee = {**FREE, "commission_bps": 100}
    env = market(panel, **{**PLAIN, "costs": {"stocks": fee, "crypto": FREE}, "allocator": None})
    env.reset()
    values, costs, listed = [], [], []
    for i in range(29):
        listed.append(bool(env.listed_EN()[0, 0]))
        env.step({"stocks": torch.tensor([[2 if i == 0 else 1]]), "crypto": torch.zeros(1, 1, 1)})
        values.append(env.record.value_EN[0, 0].item())
        costs.append(env.record.cost_EN[0, 0].item())
    gone = 3 + 20  # the last own bar, and as many as may pass
    assert all(value > 0 for value in values[: gone - 1])
    assert values[gone - 1 :] == [0.0] * (29 - gone + 1)
    assert costs[gone - 1] == pytest.approx(0.01 * values[gone - 2])
    assert sum(costs) == costs[0] + costs[gone - 1]
    assert listed == [True] * gone + [False] * (29 - gone)


def test_ruin_terminates_and_starts_anew():
    crash = [10.0, 10.0, 10.0, 1.0, 1.0, 1.0]
    panel = by_hand({"stocks/A": (crash, crash)})
    env = market(
        panel, 2, **{**PLAIN, "costs": {"stocks": FREE}, "allocator": None, "risk": {"max_position": 1, "max_class": 1}}
    )
    env.reset()
    buys, stays = 2, 1
    for i in range(3):
        transition = env.step({"stocks": torch.tensor([[buys], [stays]])})
        assert transition.done.tolist() == [i == 2, False]
    assert transition.terminated["stocks"].tolist() == [[True], [False]]
    assert not transition.truncated["stocks"].any()
    assert env.record.nav_E.tolist() == [1e5, 1e6]
    assert env.bar_E.tolist() == [0, 3]
    held = env.feature_names["stocks"].index("signal_held")
    assert transition.final_obs["stocks"][:, 0, held].tolist() == [1, 0]
    assert transition.obs["stocks"][:, 0, held].tolist() == [0, 0]


def test_what_a_trader_sees_of_the_portfolio():
    rising = [10.0, 10.0, 11.0, 9.9, 9.9]
    env = market(by_hand({"stocks/A": (rising, rising)}), **{**PLAIN, "costs": {"stocks": FREE}, "allocator": None})
    env.reset()
    columns = [
        env.feature_names["stocks"].index(name)
        for name in ("signal_held", "sleeve", "unrealised_return", "portfolio_drawdown", "class_exposure")
    ]
    seen = [
        env.step({"stocks": torch.tensor([[action]])}).obs["stocks"][0, 0, columns].tolist() for action in (2, 1, 1)
    ]
    # One is asked for, a quarter is the cap: it drifts to 0.275 / 1.025 and is brought back to a quarter, by a little
    # buying, for meanwhile it fell to 9.9.
    shares, more = 25_000, 0.25 * 997_500 / 9.9 - 25_000
    entry = (shares * 10 + more * 9.9) / (shares + more)
    assert seen[0] == pytest.approx([0.25, 1, 0, 0, 0.25])
    assert seen[1] == pytest.approx([0.275 / 1.025, 1, 0.1, 0, 0.275 / 1.025])
    assert seen[2] == pytest.approx([0.25, 1, 9.9 / entry - 1, 1 - 0.9975 / 1.025, 0.25])


def test_a_traders_reward_is_that_of_its_sleeve_whatever_the_allocator_gives():
    rng = np.random.default_rng(0)
    open_, close = (100 * np.exp(rng.normal(0, 0.02, (2, 12)))).tolist()
    panel = by_hand({"stocks/A": (open_, close), "crypto/B": ([4.0] * 12, [4.0] * 12)})
    env = market(
        panel,
        2,
        **{**PLAIN, "traders": {n: {"asset_class": n, "action": "continuous"} for n in ("stocks", "crypto")}},
        risk={"max_position": 1, "max_class": 1},
    )
    env.reset()
    poor_and_rich = torch.tensor([[[0.0, 0, 0.3]], [[0.3, 0, 0.0]]])
    for i in range(8):
        actions = {"stocks": torch.full((2, 1, 1), 0.1), "crypto": torch.zeros(2, 1, 1), "allocator": poor_and_rich}
        reward = env.step(actions).reward
        if i:  # on the first day one is still to be given its capital
            assert reward["stocks"][0, 0].item() == pytest.approx(reward["stocks"][1, 0].item(), rel=0.05)
            ratio = reward["allocator"][1, 0].item() / reward["allocator"][0, 0].item()
            assert ratio == pytest.approx(np.exp(0.9), rel=0.05)


def test_a_trader_is_paid_by_the_sleeve_its_position_was_sized_on():
    path = [10.0, 10.0, 11.0, 11.0]
    panel = by_hand({"stocks/A": (path, path), "crypto/B": (TWO["crypto/B"][0][:4], TWO["crypto/B"][1][:4])})
    env = market(panel, **{**PLAIN, "allocator": {"every": 1, "sharpness": 8}, "risk": {"max_position": 1}})
    env.reset()
    all_in_coins = torch.tensor([[[-1.0, 1, -1]]])
    for action, budget in ((2, torch.zeros(1, 1, 3)), (1, all_in_coins)):
        actions = {"stocks": torch.tensor([[action]]), "crypto": torch.zeros(1, 1, 1), "allocator": budget}
        reward = env.step(actions).reward["stocks"].item()
    # Half of a sleeve of a third, 10% over night, then sold: the new sleeve is next to nothing.
    assert reward == pytest.approx(100 * 0.5 * 0.1 * np.log1p(0.1 / 6) / (0.1 / 6), rel=1e-5)


def test_a_finished_copy_starts_elsewhere():
    env = market(by_hand(TWO), 50, **{**PLAIN, "horizon": 1})
    env.reset(seed=0)
    starts = []
    for i in range(20):
        starts.append(env.bar_E)
        assert env.step(random_actions(env, i)).done.all()
    assert all(len(set(copy)) > 3 for copy in torch.stack(starts, dim=1).tolist())


def test_the_unrealised_return_of_a_short_is_what_it_gains():
    shares, price, entry = row(2.0, -2.0, -2.0, 0.0), row(11.0, 11.0, 50.0, 11.0), row(10.0, 10.0, 10.0, 10.0)
    assert unrealised(shares, price, entry)[0].tolist() == pytest.approx([0.1, -0.1, -1.0, 0.0])


def test_targets_are_traded_without_agents_or_caps_and_the_copy_resets_at_the_end():
    env = still(num_envs=2)
    env.reset()
    all_in = torch.tensor([[1.0, 0.0], [0.5, -0.5]])
    for i in range(7):
        record = env.trade(all_in, torch.full((2, 2), i == 0))
        assert record.value_EN.tolist() == [[1e6, 0], [5e5, -5e5]]
    assert record is env.record
    assert env.bar_E.tolist() == [0, 0]
    record = env.trade(all_in, torch.zeros(2, 2, dtype=torch.bool))
    assert record.value_EN.abs().sum() == 0


def test_targets_of_assets_that_are_not_listed_are_dropped():
    env = still(warmup=3)
    env.reset()
    order = torch.ones(1, 2, dtype=torch.bool)
    traded = [env.trade(row(0.5, 0.5), order).traded_EN.sum().item() for _ in range(4)]
    assert traded == [0, 0, 1e6, 0]


def test_a_group_that_always_acts_has_no_mask():
    env = still(allocator={"every": 1})
    env.reset()
    assert env.active() == {}
    late = market(weekdays_and_weekends(), **PLAIN)
    late.reset()
    assert set(late.active()) == {"stocks", "allocator"}


@pytest.mark.skipif(not REAL_PANEL.is_file(), reason="no panel of real prices at hand")
def test_the_real_panel_runs_and_its_accounts_balance():
    env = MarketEnv(MarketParams.model_validate({"data": {"path": REAL_PANEL}}), num_envs=8)
    env.reset(seed=0)
    nav_E = torch.full((8,), 1e6, dtype=torch.float64)
    for i in range(30):
        transition = env.step(random_actions(env, i))
        record = env.record
        assert torch.allclose(record.nav_E, nav_E + record.pnl_EN.sum(1) + record.interest_E, rtol=1e-9)
        assert all(obs.isfinite().all() for obs in transition.obs.values())
        nav_E = record.nav_E


def test_a_step_touches_as_much_memory_however_long_the_data_is():
    def allocated(bars: int) -> int:
        flat = [10.0] * bars
        env = market(by_hand({"stocks/A": (flat, flat)}), 64, **{**PLAIN, "costs": {"stocks": FREE}})
        env.reset()
        actions = random_actions(env, 0)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            env.step(actions)
        return sum(max(0, event.self_cpu_memory_usage) for event in profiler.events())

    assert 0 < allocated(3000) == allocated(60)


def test_what_lists_after_the_window_is_not_there_yet():
    days = pd.date_range("2021-03-01", periods=12)
    rising, late = np.linspace(10, 12, 12), np.linspace(7, 9, 4)
    early = [bars("A", "stocks", days, rising, rising, rising), bars("B", "crypto", days, rising, rising, rising)]
    listed = bars("C", "stocks", days[8:], late, late, late)
    window = {"start": "2021-03-02", "end": "2021-03-08"}
    worlds = [market(joined(*tables), **{**PLAIN, "window": window}) for tables in (early, [*early, listed])]
    assert worlds[1].panel.symbols == ("A", "B")
    assert worlds[1].panel.dates_T[-1] == np.datetime64("2021-03-08")
    for name, obs in worlds[0].reset(seed=0).items():
        assert torch.equal(obs, worlds[1].reset(seed=0)[name])
    after = {"start": "2021-03-02", "end": "2021-03-09"}
    assert market(joined(*early, listed), **{**PLAIN, "window": after}).panel.symbols == ("A", "C", "B")


def joined(*tables: pd.DataFrame) -> Panel:
    return panel_from_frame(pd.concat(tables), origin="by hand")
