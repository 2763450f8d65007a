from __future__ import annotations

import datetime

import numpy as np
import pytest
from pydantic import ValidationError

from environments.market.panel import CLASS_ORDER, Panel
from environments.market.synthetic import SyntheticParams, generate
from environments.market.synthetic_params import ClassParams
from environments.market.synthetic_paths import DRIFT_R, REGIMES, TRANSITION_RR, Paths, simulate

ARRAYS = ("open_TN", "high_TN", "low_TN", "close_TN", "volume_TN", "traded_TN")


@pytest.fixture(scope="module")
def paths() -> Paths:
    return simulate(SyntheticParams(bars=12_000, predictability=0.05))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return generate(SyntheticParams(bars=500))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def test_the_five_classes_are_there(panel: Panel) -> None:
    assert panel.classes == CLASS_ORDER
    assert np.bincount(panel.class_N).tolist() == [6, 3, 4, 4, 3]
    assert panel.symbols[:2] == ("STOCKS01", "STOCKS02")
    assert panel.close_TN.shape == (500, 20)
    assert panel.notes == ()


def test_same_seed_same_market_other_seed_other_market(panel: Panel) -> None:
    again, other = generate(SyntheticParams(bars=500)), generate(SyntheticParams(bars=500, seed=1))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(panel, name))
    assert not np.array_equal(other.close_TN, panel.close_TN)


def test_more_bars_leave_the_earlier_ones_alone(panel: Panel) -> None:
    longer = generate(SyntheticParams(bars=700))
    np.testing.assert_array_equal(longer.dates_T[:500], panel.dates_T)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(longer, name)[:500], getattr(panel, name))


def test_crypto_trades_every_day_and_the_others_on_working_days(panel: Panel) -> None:
    crypto = panel.class_N == panel.classes.index("crypto")
    days = panel.dates_T.astype("datetime64[D]")
    holiday = np.isin([str(day)[5:] for day in days], ["01-01", "12-25"])
    assert np.all(np.diff(days).astype(int) == 1)
    assert panel.traded_TN[:, crypto].all()
    np.testing.assert_array_equal(panel.traded_TN[:, ~crypto].all(axis=1), np.is_busday(days) & ~holiday)
    np.testing.assert_array_equal(panel.traded_TN[:, ~crypto].any(axis=1), np.is_busday(days) & ~holiday)


def test_without_weekend_traders_the_calendar_has_no_weekends() -> None:
    panel = generate(SyntheticParams(assets={"stocks": 2}, bars=600, holidays=False, start=datetime.date(2021, 5, 1)))
    assert len(panel.dates_T) == 600
    assert str(panel.dates_T[0])[:10] == "2021-05-03"
    assert np.is_busday(panel.dates_T.astype("datetime64[D]")).all()
    assert panel.traded_TN.all()


def test_late_assets_list_in_the_first_half() -> None:
    panel = generate(SyntheticParams(bars=400, late_start=0.5))
    first_N = panel.traded_TN.argmax(axis=0)
    assert (first_N > 2).sum() == pytest.approx(10, abs=1)  # a weekend may hide one that starts at once
    assert first_N.max() <= 200 + 3


def test_bars_are_consistent_and_move_between_close_and_open(panel: Panel) -> None:
    own = panel.traded_TN
    assert np.all((panel.high_TN >= np.maximum(panel.open_TN, panel.close_TN))[own])
    assert np.all((panel.low_TN <= np.minimum(panel.open_TN, panel.close_TN))[own])
    gap_TN = np.abs(np.log(panel.open_TN[1:] / panel.close_TN[:-1]))
    stocks, crypto = (panel.class_N == panel.classes.index(name) for name in ("stocks", "crypto"))
    assert np.median(gap_TN[own[1:] & stocks]) > 0.001
    assert gap_TN[:, crypto].max() < 1e-12, "crypto never closes"


def test_more_is_traded_when_prices_move_more(panel: Panel) -> None:
    crypto = panel.class_N == panel.classes.index("crypto")
    log_volume, log_close = np.log(panel.volume_TN[1:, crypto]), np.log(panel.close_TN[:, crypto])
    move = np.abs(np.diff(log_close, axis=0))
    assert min(correlation(log_volume[:, i], move[:, i]) for i in range(3)) > 0.2


@pytest.mark.parametrize("predictability", [0.02, 0.2])
@pytest.mark.parametrize("regime_share", [0.0, 0.5])
def test_the_predictable_part_is_as_strong_as_asked(predictability: float, regime_share: float) -> None:
    drawn = simulate(SyntheticParams(bars=20_000, predictability=predictability, regime_share=regime_share, seed=5))
    unit_N = drawn.volatility_TN.mean(axis=0)
    own = drawn.own_TN
    expected, actual = (drawn.expected_TN / unit_N)[own], (drawn.return_TN / unit_N)[own]
    assert expected.var() / actual.var() == pytest.approx(predictability, rel=0.1)
    assert correlation(expected, actual) ** 2 == pytest.approx(predictability, rel=0.12)


def test_the_signal_can_be_worked_out_from_past_returns() -> None:
    """Given the volatility, the decayed sum of past surprises finds all of R."""
    predictability, persistence = 0.1, 0.9
    drawn = simulate(SyntheticParams(assets={"crypto": 5}, bars=20_000, predictability=predictability))
    unit = drawn.return_TN / drawn.volatility_TN
    state_N, score_TN = np.zeros(5), np.zeros_like(unit)
    for t, unit_N in enumerate(unit):
        score_TN[t] = state_N
        surprise_N = (unit_N - np.sqrt(predictability) * state_N) / np.sqrt(1 - predictability)
        state_N = persistence * state_N + np.sqrt(1 - persistence**2) * surprise_N
    found = np.mean([correlation(score_TN[200:, n], unit[200:, n]) ** 2 for n in range(5)])
    assert found == pytest.approx(predictability, rel=0.1)


def test_without_predictability_the_past_says_nothing_and_prices_are_a_fair_game() -> None:
    drawn = simulate(SyntheticParams(assets={"crypto": 20}, bars=20_000, predictability=0.0))
    assert not drawn.expected_TN.any()
    unit = drawn.return_TN / drawn.volatility_TN
    for lag in (1, 2, 5):
        assert abs(correlation(unit[lag:].ravel(), unit[:-lag].ravel())) < 0.01
    growth = np.expm1(drawn.return_TN)
    assert abs(growth.mean()) < 4 * growth.mean(axis=1).std() / np.sqrt(len(growth))


def test_returns_have_fat_tails_and_volatility_clusters(paths: Paths) -> None:
    for n in range(len(paths.class_N)):
        r = paths.return_TN[paths.own_TN[:, n], n]
        z = (r - r.mean()) / r.std()
        assert (z**4).mean() > 4.0, "a normal has 3"
        assert correlation(np.abs(r[1:]), np.abs(r[:-1])) > 0.1
        assert correlation(np.abs(r[20:]), np.abs(r[:-20])) > 0.05


def test_assets_of_a_class_move_together_more_than_assets_of_different_classes(paths: Paths) -> None:
    unit = (paths.return_TN / paths.volatility_TN)[paths.own_TN.all(axis=1)]
    corr = np.corrcoef(unit, rowvar=False)
    same = paths.class_N[:, None] == paths.class_N
    off = ~np.eye(len(corr), dtype=bool)
    between = corr[~same].mean()
    assert between > 0.1
    for c in range(5):
        member = (paths.class_N == c)[:, None] & same & off
        assert corr[member].mean() > between + 0.05


def test_regimes_follow_their_chain_and_crises_are_wild_and_common(paths: Paths) -> None:
    np.testing.assert_allclose(TRANSITION_RR.sum(axis=1), 1.0)
    assert len(REGIMES) == len(DRIFT_R)
    stays = np.mean(paths.regime_T[1:] == paths.regime_T[:-1])
    assert 0.96 < stays < 0.99
    unit = paths.return_TN / paths.volatility_TN
    own = paths.own_TN.all(axis=1)
    calm, crisis = (own & (paths.regime_T == REGIMES.index(name)) for name in ("calm", "crisis"))
    assert np.median(paths.volatility_TN[crisis]) > 2 * np.median(paths.volatility_TN[calm])
    assert np.corrcoef(unit[crisis], rowvar=False).mean() > np.corrcoef(unit[calm], rowvar=False).mean() + 0.05


def test_jumps_come_at_the_rate_and_size_asked() -> None:
    quiet, wild = (
        simulate(
            SyntheticParams(
                assets={"stocks": 5},
                bars=10_000,
                predictability=0.0,
                classes={"stocks": ClassParams(jump_rate=rate, jump_size=10.0)},
            )
        )
        for rate in (0.0, 0.02)
    )
    far = [np.mean(np.abs(drawn.return_TN / drawn.volatility_TN) > 5) for drawn in (quiet, wild)]
    assert far[0] < 1e-4
    # A jump is 10 volatilities before u is scaled to unit variance (by sqrt(3)): P(|N(0, 1)| > 5 sqrt(3) / 10) = 0.386.
    assert far[1] == pytest.approx(0.02 * 0.386, rel=0.2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bars", 3),
        ("predictability", 0.9),
        ("assets", {}),
        ("assets", {"stocks": 0}),
        ("seed", -1),
        ("typo", 1),
        ("classes", {"crpyto": {}}),
    ],
)
def test_parameters_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        SyntheticParams.model_validate({field: value})
