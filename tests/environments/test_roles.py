"""Roles by hand: whose turn it is, quotes and inventory, the risk manager's scale and stop, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from environments.errors import DataError
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.panel import Panel, panel_from_frame
from environments.market.synthetic import SyntheticParams, generate
from tests.environments.markets import FREE, bars, by_hand, market

CRYPTO = {"asset_class": "crypto"}
MAKER = {**CRYPTO, "role": "market_making", "quoting": {"width": 2.0, "size": 0.1, "max_inventory": 0.5}}
OPEN = {"max_position": 1, "max_class": 1, "max_gross": 1}


def wide(closes: list[float], reach: float) -> Panel:
    """Bars of one coin that open at the last close and reach so far beyond open and close, as a share."""
    close_T = np.array(closes)
    open_T = np.concatenate([close_T[:1], close_T[:-1]])
    dates = pd.date_range("2021-03-01", periods=len(closes))
    table = bars("COIN", "crypto", dates, open_T, close_T, np.zeros(len(closes)))
    table["high"], table["low"] = table["high"] * (1 + reach), table["low"] * (1 - reach)
    return panel_from_frame(table, origin="by hand")


def coins(panel: Panel, traders: dict[str, Any], **params: Any) -> MarketEnv:
    """A market of one coin without costs, in which everything may be held."""
    given = {
        "traders": traders,
        "horizon": None,
        "warmup": 3,
        "allocator": None,
        "risk": OPEN,
        "costs": {"crypto": FREE},
        "reward": {"scale": 1.0},
    }
    env = market(panel, **{**given, **params})
    env.reset(seed=0)
    return env


def says(value: float) -> Tensor:
    return torch.full((1, 1, 1), value)


def quotes(bid: float, ask: float) -> Tensor:
    """Distances, of a width of 2 volatilities."""
    return torch.tensor([bid, ask]).view(1, 1, 2) - 1


def steered(scale: float, stop: float = 1.0) -> Tensor:
    """Of the risk manager: a scale, and how wide a stop, from 0 to 1."""
    return torch.tensor([scale, stop]).view(1, 1, 2) * 2 - 1


FAR = quotes(2.0, 2.0)
STEADY = [100 * 1.001**t for t in range(50)]


# ---- whose turn it is


def test_a_long_term_trader_decides_each_20th_bar_and_its_signal_stands_in_between():
    panel = by_hand({"crypto/COIN": (STEADY, STEADY)})
    env = coins(panel, {"slow": {**CRYPTO, "role": "long_term"}}, warmup=1)
    turns, signals = [], []
    for step in range(45):
        turns.append(bool(env.active()["slow"].item()))
        env.step({"slow": says((1.0, -0.5, 0.25)[step // 20] if turns[-1] else 0.77)})
        signals.append(env.record.signal_EN.item())
    assert [step for step, turn in enumerate(turns) if turn] == [0, 20, 40]
    assert signals[:20] == pytest.approx([1.0] * 20, rel=1e-9)
    assert signals[20:40] == pytest.approx([-0.5] * 20, rel=0.03)  # as prices drift, so does what is held
    assert signals[40] == 0.25


def test_the_slow_and_the_fast_are_fused_and_the_slow_one_is_judged_by_what_stands():
    panel = by_hand({"crypto/COIN": (STEADY, STEADY)})
    traders = {"slow": {**CRYPTO, "role": "long_term"}, "fast": {**CRYPTO, "role": "short_term"}}
    env = coins(panel, traders, warmup=1, fusion={"kind": "mean"})
    for step in range(25):
        env.step({"fast": says(-0.2)} | ({"slow": says(0.6)} if step % 20 == 0 else {}))
        assert env.record.signal_EN.item() == pytest.approx(0.2)
    env = coins(panel, traders, warmup=1, fusion={"kind": "weighted", "half_life": 5, "temperature": 0.1})
    for step in range(19):
        env.step({"fast": says(-0.2)} | ({"slow": says(0.6)} if step % 20 == 0 else {}))
    slow, fast = env.get_state()["state"]["score_EJ"][0].tolist()
    assert slow == pytest.approx(-3 * fast)
    assert slow > 0


def test_a_slow_trader_votes_with_what_stands():
    panel = by_hand({"crypto/COIN": (STEADY, STEADY)})
    traders = {name: {**CRYPTO, "every": every} for name, every in (("a", 20), ("b", 20), ("c", 1))}
    env = coins(panel, traders, warmup=1, fusion={"kind": "voting", "threshold": 0.1})
    for step in range(5):
        slow = {} if step else {"a": says(0.5), "b": says(0.7)}
        env.step(slow | {"c": says(-1.0)})
        assert env.record.signal_EN.item() == pytest.approx(0.6)


# ---- making a market


def test_a_bid_is_filled_at_its_price_if_the_low_goes_through_it_and_an_ask_if_the_high_does():
    env = coins(wide([100, 101, 100, 101, 100], reach=0.02), {"maker": MAKER})
    none = env.step({"maker": FAR})  # nobody acts before the warm-up is over
    assert none.reward["maker"].item() == 0.0
    env.step({"maker": FAR})
    deviation = float(np.std(np.diff(np.log([100, 101, 100])), ddof=1))
    env.step({"maker": quotes(0.5, 1.0)})  # the bar goes from 100 to 101, and from 98 to 103.02
    bid, units = 100 * (1 - 0.5 * deviation), 0.1 * 1e6 / 100
    assert env.record.quoted_EN.item() == pytest.approx(units * (bid + 100 * (1 + deviation)))
    assert env.record.captured_EN.item() == pytest.approx(units * 100 * 1.5 * deviation)
    assert env.record.inventory_EN.item() == pytest.approx(0.0, abs=1e-6)
    assert env.record.made_EN.item() == pytest.approx(env.record.captured_EN.item())


def test_touching_a_quote_does_not_fill_it():
    for reach, filled in ((0.0, 0.0), (1e-9, 2.0)):
        env = coins(wide([100, 101, 100, 100, 100], reach), {"maker": MAKER})
        env.step({"maker": FAR})
        env.step({"maker": FAR})
        env.step({"maker": quotes(0.0, 0.0)})  # both at the close, and the bar stands still
        assert env.record.quoted_EN.item() == pytest.approx(filled * 0.1 * 1e6)


def test_inventory_is_kept_within_its_limit_and_orders_leave_it_alone():
    falling = [100, 101, *(100 * 0.98**t for t in range(30))]
    env = coins(wide(falling, 0.001), {"maker": MAKER, "flat": CRYPTO}, costs={"crypto": {**FREE, "commission_bps": 5}})
    shares = []
    for _ in range(12):
        env.step({"maker": quotes(0.0, 2.0), "flat": says(0.0)})
        shares.append(env.get_state()["state"]["inventory_EN"].item())
    close = falling[12]
    assert shares[2] == pytest.approx(0.1 * 1e6 / 100)
    assert all(after >= before for before, after in pairwise(shares))
    assert 0.35 < shares[-1] * close / env.record.nav_E.item() <= 0.5
    assert env.record.value_EN.item() == pytest.approx(env.record.inventory_EN.item(), rel=1e-4)


def test_orders_and_inventory_add_up_and_the_cap_is_on_the_sum():
    falling = [100, 101, *(100 * 0.999**t for t in range(30))]
    env = coins(wide(falling, 0.01), {"maker": MAKER, "long": CRYPTO}, risk={**OPEN, "max_position": 0.6})
    for _ in range(25):
        env.step({"maker": quotes(0.0, 2.0), "long": says(0.4)})
        assert env.record.value_EN.item() / env.record.nav_E.item() <= 0.6 * 1.001
    own = env.record.value_EN.item() - env.record.inventory_EN.item()
    assert own / env.record.nav_E.item() == pytest.approx(0.4, rel=0.01)
    assert env.record.inventory_EN.item() / env.record.nav_E.item() > 0.05


def test_each_is_paid_for_its_own():
    env = coins(wide([100, 101, 100, 99, 98, 97], reach=0.02), {"maker": MAKER, "long": CRYPTO})
    for _ in range(3):
        found = env.step({"maker": quotes(0.5, 2.0), "long": says(0.5)})
    made, whole = env.record.made_EN.item(), env.record.pnl_EN.item()
    ratio = found.reward["maker"].item() / found.reward["long"].item()
    assert ratio == pytest.approx(made / (whole - made))


@pytest.mark.parametrize(("spread", "sign"), [(1.0, 1), (0.0, -1)])
def test_scripted_quotes_earn_the_spread_where_prices_come_back_and_lose_without_one(spread, sign):
    rng = np.random.default_rng(3)
    level = np.zeros(400)
    for t in range(1, 400):
        level[t] = 0.5 * level[t - 1] + 0.01 * rng.standard_normal()
    env = coins(
        wide(list(100 * np.exp(level)), reach=0.01),
        {"maker": {**MAKER, "quoting": {**MAKER["quoting"], "width": 2.0}}},
        costs={"crypto": {**FREE, "commission_bps": 5}},
    )
    made = 0.0
    for _ in range(398):
        env.step({"maker": quotes(spread, spread)})
        made += env.record.made_EN.item()
    assert made * sign > 1e-3 * 1e6


def test_risk_aversion_is_charged_on_squared_inventory_times_variance():
    panel = wide([100, 101, 100, 99, 98, 97], reach=0.02)
    paid = []
    for aversion in (0.0, 3.0):
        env = coins(panel, {"maker": {**MAKER, "risk_aversion": aversion}})
        for _ in range(3):
            found = env.step({"maker": quotes(0.5, 2.0)})
        paid.append(found.reward["maker"].item())
    deviation = float(np.std(np.diff(np.log([100, 101, 100])), ddof=1))
    share = env.record.inventory_EN.item() / 1e6
    assert paid[0] - paid[1] == pytest.approx(1.5 * (share * deviation) ** 2, rel=1e-4)


# ---- the risk manager


def test_the_scale_multiplies_what_is_held():
    panel = by_hand({"crypto/COIN": ([100.0] * 30, [100.0] * 30)})
    env = coins(panel, {"long": CRYPTO}, risk_manager={}, warmup=1)
    held = []
    for scale in (1.0, 0.5, 0.25, 0.0, 1.0):
        env.step({"long": says(0.8), "risk": steered(scale)})
        held.append(env.record.value_EN.item() / 1e6)
    assert held == pytest.approx([0.8, 0.4, 0.2, 0.0, 0.8])


def test_what_a_trader_wants_outlives_a_scale_of_nothing():
    panel = by_hand({"crypto/COIN": ([100.0] * 30, [100.0] * 30)})
    env = coins(panel, {"buyer": {**CRYPTO, "action": "trade"}}, risk_manager={}, warmup=1)
    buy, hold = torch.tensor([[2]]), torch.tensor([[1]])
    env.step({"buyer": buy, "risk": steered(1.0)})
    env.step({"buyer": hold, "risk": steered(0.0)})
    assert env.record.value_EN.item() == 0.0
    env.step({"buyer": hold, "risk": steered(0.5)})
    assert env.record.value_EN.item() == pytest.approx(0.25 * 1e6)


def test_the_stop_closes_everything_for_a_while_and_is_armed_anew():
    closes = [100.0, 100.0, 100.0, 97.0, 94.0, 94.0, 94.0, 94.0, 94.0, 94.0]
    panel = wide(closes, reach=0.0)
    manager = {"min_stop": 0.02, "max_stop": 0.05, "rest": 2}
    env = coins(panel, {"long": CRYPTO}, risk_manager=manager, warmup=1)
    held, used = [], []
    for _ in range(8):
        used.append(env.feature_names["risk"].index("stop_used"))
        found = env.step({"long": says(1.0), "risk": steered(1.0)})
        held.append(env.record.value_EN.item() > 0)
        used[-1] = found.final_obs["risk"][0, 0, used[-1]].item()
    # 6% are lost at the close of bar 4, so that the decision of step 4 closes, and that of step 5 does not reopen.
    assert held == [True] * 4 + [False, False, True, True]
    assert used[2] == pytest.approx(0.03 / 0.05, rel=1e-6)
    assert used[3] == pytest.approx(0.06 / 0.05, rel=1e-6)
    assert used[6] == 0.0


def test_its_reward_is_the_portfolios_less_what_risk_takes_off():
    panel = wide([100.0, 100.0, 97.0, 99.0], reach=0.0)
    manager = {"drawdown": 2.0, "risk_aversion": 6.0}
    env = coins(panel, {"long": {**CRYPTO, "paid": "portfolio"}}, risk_manager=manager, warmup=1)
    env.step({"long": says(1.0), "risk": steered(1.0)})
    for step in (np.log(0.97), np.log(99 / 97)):
        found = env.step({"long": says(1.0), "risk": steered(1.0)})
        expected = step - 2.0 * max(0.0, -step) - 3.0 * step**2
        assert found.reward["risk"].item() == pytest.approx(expected, rel=1e-5)


# ---- minutes


def minutes(assets: int = 2, count: int = 300) -> Panel:
    """A made-up panel whose days are called minutes."""
    panel = generate(SyntheticParams(assets={"crypto": assets}, bars=count))
    first = np.datetime64("2024-01-01T23:00:00", "s")
    dates_T = first + np.arange(len(panel.dates_T)) * np.timedelta64(60, "s")
    return Panel(**{**vars(panel), "dates_T": dates_T})


def test_bars_of_minutes_are_a_market_as_any_other():
    env = market(minutes(), traders={"maker": MAKER, "fast": CRYPTO}, allocator=None, risk_manager={}, cash_rate=0.05)
    env.reset(seed=0)
    assert env.window_bars == (0, 299)
    free = env.params.capital * 0.05 / (365 * 24 * 60)
    env.step({"maker": FAR.expand(1, 2, 2), "fast": torch.zeros(1, 2, 1), "risk": steered(1.0)})
    assert env.record.interest_E.item() == pytest.approx(free, rel=1e-6)


# ---- what is refused


def refused(match: str, **params: Any) -> None:
    with pytest.raises(ValidationError, match=match):
        MarketParams.model_validate({"data": {"synthetic": {"assets": {"crypto": 2}}}, **params})


@pytest.mark.parametrize(
    ("trader", "match"),
    [
        ({"role": "long_term"}, "role: 'long_term' has no instruments; give asset_class"),
        ({"role": "risk"}, "role: 'risk' is no trader's.*write risk_manager"),
        ({**CRYPTO, "role": "market_making"}, "market_making and quoting: {width: ...} go together"),
        ({**CRYPTO, "quoting": {"width": 1}}, "market_making and quoting: {width: ...} go together"),
        ({**MAKER, "quoting": {"size": 0.1}}, "width"),
        ({**MAKER, "quoting": {"width": 1, "size": 0.6, "max_inventory": 0.5}}, "more than max_inventory"),
        ({**MAKER, "action": "continuous"}, "market_making quotes; leave action away"),
        ({**MAKER, "every": 5}, "quotes stand for one bar"),
        ({**MAKER, "start": 0.5}, "starts without inventory"),
        ({**CRYPTO, "role": "short_term", "every": 3}, "decides at every bar"),
        ({**CRYPTO, "role": "long_term", "every": 1}, "decides less often"),
    ],
)
def test_a_trader_that_cannot_play_its_role_is_refused(trader, match):
    refused(match, traders={"one": trader})


def test_what_does_not_go_together_is_refused():
    refused("make a market in crypto; keep one", traders={"a": MAKER, "b": MAKER})
    refused("traders.risk: that group is the risk manager's", traders={"risk": CRYPTO}, risk_manager={})
    refused("set sizing: weights", traders={"a": MAKER}, allocator=None, sizing="shares")
    refused("risk_manager: drawdown and risk_aversion", risk_manager={}, reward={"adaptive": {}})
    refused("min_stop: 0.3 is above max_stop", risk_manager={"min_stop": 0.3, "max_stop": 0.1})
    simulated = {"simulation": {"classes": {"crypto": {"class": "environments.market.processes.brownian:Brownian"}}}}
    with pytest.raises(ValidationError, match="needs the highs and lows of a panel"):
        MarketParams.model_validate({"data": simulated, "horizon": 9, "allocator": None, "traders": {"a": MAKER}})


def test_a_class_called_risk_is_refused_beside_a_risk_manager():
    panel = by_hand({"risk/COIN": (STEADY, STEADY)})
    with pytest.raises(DataError, match="a class is called 'risk', as the group of the risk manager is"):
        market(panel, horizon=None, warmup=1, risk_manager={})
