"""What the traders of each class get to see of prices, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from environments.errors import DataError
from environments.market import compiled
from environments.market import env as market_env
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.features.sets import ALL, BY_CLASS, COLUMNS, EXTRAS, SETS, feature
from environments.market.features.standard import FEATURES
from environments.market.features.table import asset_features, features_by_class, members
from environments.market.history import age_TN
from environments.market.panel import load_panel
from environments.market.synthetic import SyntheticParams, generate
from environments.market.tables import build
from tests.environments.economies import economy, gap, panel_of
from tests.environments.laws.information import assert_same, outcome
from tests.environments.markets import market, random_actions
from tests.environments.panels import REAL_PANEL

HERE = "tests.environments.economies"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return economy(3, 420)


def env_of(table: pd.DataFrame, num_envs: int = 3, **params: Any) -> MarketEnv:
    return market(panel_of(table), num_envs, horizon=None, warmup=20, **params)


def names_of(env: MarketEnv, group: str) -> list[str]:
    """What a group sees of prices."""
    portfolio = env.feature_names[group].index("signal_held")
    return list(env.feature_names[group][:portfolio])


def test_names_are_unique_and_every_feature_says_what_it_reads() -> None:
    assert len(ALL) == sum(len(features) for features in SETS.values())
    assert not {*ALL} & {*SETS, EXTRAS}
    assert {column for found in ALL.values() for column in found.columns} == set(COLUMNS)
    assert {name for names in BY_CLASS.values() for name in names} == set(SETS)


def test_where_nothing_is_said_all_classes_see_the_same(table: pd.DataFrame) -> None:
    panel = panel_of(table)
    env = env_of(table)
    extras = [f"extra_{name}" for name in COLUMNS]
    assert names_of(env, "etf") == names_of(env, "crypto") == [*FEATURES, *extras]
    tables = build(panel, env.params, "cpu")
    assert len(tables.assets) == 1
    np.testing.assert_array_equal(tables.assets[0].value_TNF, asset_features(panel, 20)[1])
    assert env.panel.notes == ()


def test_by_class_each_sees_its_sets_and_the_columns_that_no_feature_reads(table: pd.DataFrame) -> None:
    env = env_of(table.assign(mood=1.0), features="by_class")
    assert names_of(env, "etf") == [*FEATURES, *SETS["sector_rotation"], "extra_mood"]
    assert names_of(env, "crypto") == [*FEATURES, *SETS["realised_volatility"], "extra_mood"]
    assert env.panel.notes == ()


@pytest.mark.parametrize("asset_class", BY_CLASS)
def test_every_class_has_its_sets(asset_class: str) -> None:
    (found, *_), notes = features_by_class(members(panel_of(economy(2, 60, asset_class)), asset_class), 20, "by_class")
    assert list(found.names) == [name for each in BY_CLASS[asset_class] for name in SETS[each]]
    assert notes == ()


def test_a_class_sees_what_is_named_in_that_order_and_another_what_it_saw(table: pd.DataFrame) -> None:
    names = ["carry_rank", "momentum", f"{HERE}:gap", "extra_carry", "return_1", "momentum_250"]
    env = env_of(table, features={"etf": names})
    assert names_of(env, "etf") == ["carry_rank", *SETS["momentum"], f"{HERE}:gap", "extra_carry", "return_1"]
    assert names_of(env, "crypto") == [*FEATURES, *(f"extra_{name}" for name in COLUMNS)]


def test_a_feature_of_ones_own_is_a_function_or_a_feature(table: pd.DataFrame) -> None:
    panel = members(panel_of(table), "etf")
    (found,), _ = features_by_class(panel, 1, {"etf": (f"{HERE}:gap", f"{HERE}:GAP")})
    np.testing.assert_array_equal(found.value_TNF[..., 1], found.value_TNF[..., 0].clip(-1, 1))
    n, rows = 2, np.flatnonzero(panel.traded_TN[:, 2])
    close, opened = np.log(panel.close_TN[rows, n]), np.log(panel.open_TN[rows, n])
    expected = (opened[-1] - close[-2]) / np.diff(close)[-20:].std(ddof=1)
    assert found.value_TNF[rows[-1], n, 0] == pytest.approx(expected, rel=1e-5)
    assert feature(f"{HERE}:gap").formula == gap.__doc__


def test_what_is_compared_is_listed(table: pd.DataFrame) -> None:
    """A member that left long ago is compared with nobody, and nobody with it."""
    gone = table[(table["symbol"] != "M0") | (table["date"] < "2020-08-01")]
    panel = members(panel_of(gone), "etf")
    (found,), _ = features_by_class(panel, 1, {"etf": ("relative_rank_20",)})
    bar = np.flatnonzero(panel.traded_TN[:, 1:].all(axis=1))[-1]
    assert sorted(found.value_TNF[bar, 1:, 0].tolist()) == [-1.0, 0.0, 1.0]


def test_a_class_of_one_is_compared_with_nobody(table: pd.DataFrame) -> None:
    (found,), _ = features_by_class(members(panel_of(table), "crypto"), 1, {"crypto": ("sector_rotation",)})
    assert not found.value_TNF.any()


def test_nothing_is_shown_before_the_warmup(table: pd.DataFrame) -> None:
    panel = members(panel_of(table), "etf")
    (found,), _ = features_by_class(panel, 300, "by_class")
    assert not found.value_TNF[age_TN(panel) < 300].any()


def test_classes_that_see_the_same_share_a_table() -> None:
    panel = generate(SyntheticParams(bars=100, extras=True))
    same = dict.fromkeys(("stocks", "crypto", "reits"), ("standard",))
    tables, _ = features_by_class(panel, 20, {**same, "etf": ("momentum",), "currencies": ("momentum",)})
    assert [found.classes for found in tables] == [("stocks", "crypto"), ("etf", "currencies"), ("reits",)]
    assert [found.value_TNF.shape[1:] for found in tables] == [(9, 13), (8, 3), (3, 13)]


def test_each_group_is_shown_its_own_assets(table: pd.DataFrame) -> None:
    env = env_of(table, features="by_class")
    panel = env.panel
    obs = env.reset(seed=1)
    for step in range(40):
        obs = env.step(random_actions(env, step)).obs
    bar = int(env.bar_E[0])
    for group in ("etf", "crypto"):
        ((found,), _) = features_by_class(members(panel, group), 20, "by_class")
        width = len(found.names)
        np.testing.assert_array_equal(obs[group][0, :, :width], found.value_TNF[bar])
        held = obs[group][0, :, width + env.feature_names[group][width:].index("signal_held")]
        assert held.shape == (found.value_TNF.shape[1],)
        assert env.groups[group].observation_space.shape == (len(env.feature_names[group]),)


def test_the_portfolio_stands_beside_the_right_assets(table: pd.DataFrame) -> None:
    """The same game with other features: what is held is shown at the same places."""
    one, two = (env_of(table, features=chosen) for chosen in ("alike", "by_class"))
    one.reset(seed=4)
    two.reset(seed=4)
    for step in range(60):
        actions = random_actions(one, step)
        obs, other = one.step(actions).obs, two.step(actions).obs
        for group in ("etf", "crypto"):
            places = [env.feature_names[group].index("signal_held") for env in (one, two)]
            assert torch.equal(obs[group][..., places[0] :], other[group][..., places[1] :])
            assert torch.equal(obs[group][..., :13], other[group][..., :13])
    assert obs["etf"][..., places[0]].any()


def test_traders_choose_among_what_their_class_sees(table: pd.DataFrame) -> None:
    traders = {
        "rotation": {"asset_class": "etf", "observe": ["relative_rank_60", "signal_held"]},
        "all": {"asset_class": "etf"},
        "crypto": {"asset_class": "crypto", "joint": True, "action": "continuous"},
    }
    env = env_of(table, features="by_class", traders=traders)
    assert env.feature_names["rotation"] == ("relative_rank_60", "signal_held")
    assert names_of(env, "all") == [*FEATURES, *SETS["sector_rotation"]]
    assert "COIN/jump_share_20" in env.feature_names["crypto"]
    traders["crypto"]["observe"] = ["relative_rank_60"]
    with pytest.raises(DataError, match=r"traders\.crypto\.observe: there is no feature 'relative_rank_60'"):
        env_of(table, features="by_class", traders=traders)


def test_a_compiled_step_shows_the_same(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is traced; torch's compiler is left to ``test_compiled``."""
    monkeypatch.setattr(compiled, "compiled_graph", lambda graph, _: graph)
    monkeypatch.setattr(market_env, "check_compiler", lambda _: None)
    plain, other = (env_of(table, features="by_class", compile=flag) for flag in (False, True))
    assert_same([plain.reset(seed=2)], [other.reset(seed=2)])
    for step in range(5):
        actions = random_actions(plain, step)
        one, two = outcome(plain, actions), outcome(other, actions)
        for name in ("obs of etf", "obs of crypto"):
            torch.testing.assert_close(one[name], two[name])


def test_a_column_that_lacks_is_told(table: pd.DataFrame) -> None:
    for asset_class, without, left_out, missing in (
        ("reits", "dividend_yield", "yield_spread, yield_spread_score", "dividend_yield"),
        ("currencies", "inflation_differential", "real_rate_differential", "inflation_differential"),
        ("currencies", "carry", ", ".join(SETS["carry"]), "carry"),
    ):
        panel = panel_of(economy(1, 60, asset_class, columns=tuple(name for name in COLUMNS if name != without)))
        env = market(panel, features="by_class", warmup=20, horizon=10)
        assert env.panel.notes == (
            f"features: {asset_class} goes without {left_out}: the data has no column {missing}",
        )
        assert not {*names_of(env, asset_class)} & {*left_out.split(", ")}


def test_a_column_without_a_value_is_told() -> None:
    table = economy(1, 60, "currencies")
    table.loc[table["symbol"] != "COIN", "carry"] = np.nan
    env = market(panel_of(table), features="by_class", warmup=20, horizon=10)
    said = "features: column carry has no value for currencies: what currencies sees of it is 0"
    assert env.panel.notes == (said,)


BARE = economy(1, 60, columns=("sunspots",))


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (
            {"etf": ["standard", "carry_rank"]},
            "features.etf: 'carry_rank' needs the column carry of the data, whose extra columns are sunspots; "
            "add it to the data, or leave 'carry_rank' out",
        ),
        ({"etf": ["yields"]}, "features.etf: 'yields' needs the column dividend_yield, bond_yield of the data"),
        ({"etf": ["extra_mood"]}, "features.etf: 'extra_mood' needs the column mood of the data"),
        ({"bonds": ["standard"]}, "features: class 'bonds' has no symbols in the data; its classes are crypto, etf"),
        ({"etf": [f"{HERE}:looks_ahead"]}, f"features: {HERE}:looks_ahead looks ahead: with half of the bars"),
        (
            {"etf": [f"{HERE}:of_another_shape"]},
            f"features: {HERE}:of_another_shape gave numbers of shape ",
        ),
    ],
)
def test_what_does_not_go_with_the_data_is_refused(features: Any, said: str) -> None:
    with pytest.raises(DataError) as refused:
        market(panel_of(BARE), features=features, warmup=20, horizon=10)
    assert str(refused.value).startswith(said)


def test_a_feature_that_fails_is_one_line(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=f"features: {HERE}:fails raised KeyError: 'sunspots'"):
        env_of(table, features={"etf": [f"{HERE}:fails"]})


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ("byclass", "must be alike, by_class, or class -> names of what it sees, as in {stocks: [standard, momentum]}"),
        (3, "must be alike, by_class, or class -> names"),
        ({"etf": "momentum"}, "etf is 'momentum'; it must be a list of names"),
        ({"etf": []}, "etf is []; it must be a list of names"),
        ({"etf": ["momentun"]}, "etf: 'momentun' is no feature; there are the sets standard, momentum, mean_reversion"),
        ({"etf": ["nowhere:gap"]}, "etf: 'nowhere:gap' names nothing: ModuleNotFoundError"),
        ({"etf": [f"{HERE}:COLUMNS"]}, "is neither a Feature nor a function from AssetBars to numbers"),
        ({"etf": [f"{HERE}:AssetBars"]}, "is neither a Feature nor a function from AssetBars to numbers"),
    ],
)
def test_names_that_are_none_are_refused(features: Any, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        MarketParams.model_validate({"data": {"synthetic": {}}, "features": features})
    assert said in str(refused.value)
    assert len(refused.value.errors()) == 1


def test_a_choice_survives_its_file() -> None:
    given = {"data": {"synthetic": {}}, "features": {"etf": ["standard", "adx"]}}
    params = MarketParams.model_validate(given)
    assert MarketParams.model_validate(params.model_dump(mode="json")) == params


def test_simulated_prices_have_no_features() -> None:
    process = {"class": "environments.market.processes.brownian:Brownian"}
    with pytest.raises(ValidationError, match="features: what is seen of simulated prices is up to their processes"):
        MarketParams.model_validate({"data": {"simulation": {"classes": {"s": process}}}, "features": "by_class"})


def test_made_up_rates_change_no_bar_and_do_not_know_the_future() -> None:
    plain, rates, longer = (
        generate(SyntheticParams(bars=bars, seed=2, extras=extras))
        for bars, extras in ((400, False), (400, True), (600, True))
    )
    np.testing.assert_array_equal(rates.close_TN, plain.close_TN)
    assert {*rates.extras} == {*COLUMNS}
    for name, value_TN in rates.extras.items():
        np.testing.assert_array_equal(longer.extras[name][:400], value_TN)
    reits_N = rates.class_N == rates.classes.index("reits")
    assert np.isnan(rates.extras["bond_yield"][:, ~reits_N]).all()
    assert features_by_class(rates, 60, "by_class")[1] == ()


def test_made_up_reits_fall_as_yields_rise() -> None:
    panel = generate(SyntheticParams(assets={"reits": 3, "stocks": 1}, bars=1500, extras=True))
    n = panel.symbols.index("REITS01")
    moves, returns = (np.diff(x) for x in (panel.extras["bond_yield"][:, n], np.log(panel.close_TN[:, n])))
    assert np.corrcoef(moves, returns)[0, 1] < -0.3
    assert abs(np.corrcoef(moves[:-1], returns[1:])[0, 1]) < 0.1


@pytest.mark.skipif(not REAL_PANEL.is_file(), reason="the real price panel is not here")
def test_features_of_the_real_panel_are_of_unit_size() -> None:
    panel = load_panel(REAL_PANEL)
    free = {name: found for name, found in ALL.items() if not found.columns}
    for asset_class in panel.classes:
        mine = members(panel, asset_class)
        names, value_TNF = asset_features(mine, 260, free)
        known = value_TNF[age_TN(mine) >= 260]
        for f, name in enumerate(names):
            assert abs(known[:, f].mean()) < 2, name
            assert known[:, f].std() > 0.05, name
            assert name in FEATURES or np.mean(known[:, f] >= 4) + np.mean(known[:, f] <= -4) < 0.15, name
