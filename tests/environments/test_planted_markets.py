"""The planted markets: reference policies, played in MarketEnv, earn what the mathematics says; others earn less."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from environments.market.env import MarketEnv
from environments.market.planted import almgren_chriss, kelly, linear_policies, market_making, mean_reversion
from environments.market.planted import garleanu_pedersen as gp
from environments.market.planted.base import GROUP, PlantedMarket, Reader, Reference, play
from environments.market.planted.markets.almgren_chriss import AlmgrenChriss
from environments.market.planted.markets.garleanu_pedersen import ONE_ASSET, THREE_ASSETS, GarleanuPedersen
from environments.market.planted.markets.kelly import Kelly
from environments.market.planted.markets.market_making import MarketMaking
from environments.market.planted.markets.mean_reversion import MeanReversion

SIGMAS = 2.576  # of a 99% interval
SEED = 5  # of a hundred intervals one misses by chance, as one did with seed 11; with 40 times the copies it did not
BOTH = pytest.mark.parametrize("expected", [True, False], ids=["expected", "realised"])


@functools.cache
def world(market: PlantedMarket, expected: bool, copies: int) -> MarketEnv:
    return MarketEnv(market.params(expected=expected), num_envs=copies)


@functools.cache
def references(market: PlantedMarket, expected: bool, copies: int) -> Mapping[str, Reference]:
    return market.references(world(market, expected, copies))


@functools.cache
def scores(market: PlantedMarket, policy: str | Reference, *, expected: bool, copies: int) -> torch.Tensor:
    """Of a reference by its name, or of any other policy."""
    found = references(market, expected, copies)[policy] if isinstance(policy, str) else policy
    return market.score(play(world(market, expected, copies), found, seed=SEED))


def half_width(score_E: torch.Tensor) -> float:
    return SIGMAS * float(score_E.std()) / math.sqrt(len(score_E))


def assert_lands(score_E: torch.Tensor, figure: float) -> None:
    """The figure lies inside the 99% interval, but for the rounding of rewards to float32."""
    assert float(score_E.mean()) == pytest.approx(figure, abs=half_width(score_E) + 1e-6 * abs(figure))


def assert_less(worse_E: torch.Tensor, better_E: torch.Tensor) -> None:
    """On the same random numbers, by more than the 99% interval of the difference."""
    difference_E = worse_E - better_E
    assert float(difference_E.mean()) < -half_width(difference_E)


# ---- Kelly and Merton

KELLY = Kelly()
YEARS = Kelly(bars_per_year=52, bars=104)
THREE = Kelly(
    mu=(0.08, 0.06, 0.1), sigma=(0.25, 0.2, 0.4), correlation=((1, 0.3, 0.2), (0.3, 1, 0.1), (0.2, 0.1, 1)), bars=63
)
LEVERED = Kelly(mu=(0.12,), sigma=(0.2,), rate=0.02, largest=4.0, bars_per_year=1000, bars=100)
LONG_SHORT = Kelly(mu=(0.05, -0.04), sigma=(0.3, 0.2), correlation=((1, 0.5), (0.5, 1)), rate=0.0, bars=63)
COSTLY = Kelly(cost=0.01, bars_per_year=52, settling=4 * 52, bars=3 * 52)
COSTLY_LEVERED = replace(COSTLY, mu=(0.2,), largest=4.0, bars_per_year=104, settling=208, bars=208)


def in_bars(market: Kelly, fraction_N: np.ndarray) -> float:
    """Expected growth per year of constant fractions, by hand: log(1 + E R) - Var R / (2 (1 + E R)^2) in each bar."""
    bar = 1 / market.bars_per_year
    gross_N = np.exp(np.array(market.mu) * bar)
    mean = fraction_N @ (gross_N - 1) + (1 - fraction_N.sum()) * math.expm1(market.rate * bar)
    covariance_NN = np.outer(gross_N, gross_N) * np.expm1(market.covariance_NN * bar)
    return float(math.log1p(mean) - fraction_N @ covariance_NN @ fraction_N / 2 / (1 + mean) ** 2) / bar


@pytest.mark.parametrize("market", [Kelly(bars_per_year=12, bars=5), THREE, LEVERED, LONG_SHORT])
@pytest.mark.parametrize("factor", [-0.5, 0.0, 1.0, 1.7])
def test_expected_growth_by_hand(market: Kelly, factor: float) -> None:
    market = replace(market, bars=5, rate=market.rate if factor >= 0 else 0.0, largest=6.0)
    fraction_N = factor * market.fraction_N
    by_hand = in_bars(market, fraction_N)
    score_E = scores(market, market.constant(world(market, True, 2), fraction_N), expected=True, copies=2)
    assert score_E.tolist() == pytest.approx([by_hand] * 2, rel=1e-5)
    continuous = kelly.growth(fraction_N, market.mu, market.rate, market.covariance_NN)
    assert in_bars(replace(market, bars_per_year=1e6), fraction_N) == pytest.approx(continuous, abs=1e-6)


@BOTH
@pytest.mark.parametrize(
    ("market", "reference", "figure"),
    [
        (KELLY, "optimal", 0.05),
        (YEARS, "invested", 0.04875),
        (YEARS, "cash", 0.03),
        (THREE, "optimal", THREE.optimum),
        (LEVERED, "optimal", 0.02 + (0.1 / 0.2) ** 2 / 2),
        (LONG_SHORT, "optimal", LONG_SHORT.optimum),
        (COSTLY, "optimal", 0.0498439),
        (COSTLY, "rebalanced", 0.05 - 0.01 * 0.16 * 0.25 * math.sqrt(2 * 52 / math.pi)),
        (COSTLY_LEVERED, "optimal", COSTLY_LEVERED.optimum),
    ],
)
def test_kelly(market: Kelly, reference: str, figure: float, expected: bool) -> None:
    fraction_N = {"invested": np.ones(1), "cash": np.zeros(1)}.get(reference, market.fraction_N)
    continuous = kelly.growth(fraction_N, market.mu, market.rate, market.covariance_NN)
    in_one_bar = in_bars(market, fraction_N) - continuous if expected else 0.0
    assert_lands(scores(market, reference, expected=expected, copies=2000), figure + in_one_bar)


@BOTH
@pytest.mark.parametrize("market", [KELLY, THREE])
def test_other_fractions_grow_less(market: Kelly, expected: bool) -> None:
    market = replace(market, bars_per_year=12, bars=36)
    best_E = scores(market, "optimal", expected=expected, copies=4000)
    for factor in (0.0, 2.0):
        other = market.constant(world(market, expected, 4000), factor * market.fraction_N)
        assert_less(scores(market, other, expected=expected, copies=4000), best_E)


@pytest.mark.parametrize(("low", "high"), [(-0.04, 0.0), (0.04, 0.0), (0.0, 0.04)])
def test_other_bands_grow_less(low: float, high: float) -> None:
    best = COSTLY.band
    band = COSTLY.banded(world(COSTLY, True, 2000), kelly.Band(best.low + low, best.high + high))
    best_E = scores(COSTLY, "optimal", expected=True, copies=2000)
    assert_less(scores(COSTLY, band, expected=True, copies=2000), best_E)


@BOTH
def test_rebalancing_every_bar_costs_more_than_the_band(expected: bool) -> None:
    rebalanced_E, best_E = (scores(COSTLY, name, expected=expected, copies=2000) for name in ("rebalanced", "optimal"))
    assert_less(rebalanced_E, best_E)


def test_kelly_refusals() -> None:
    with pytest.raises(ValueError, match="the best band is known for one asset only"):
        Kelly(mu=(0.08, 0.08), sigma=(0.2, 0.2), cost=0.01)
    with pytest.raises(ValueError, match="earns no interest in MarketEnv; set rate to 0"):
        Kelly(mu=(0.0,))
    for held in ({"mu": (0.5,)}, {"mu": (0.14,), "cost": 0.05}):
        with pytest.raises(ValueError, match=r"holds up to [2-9].*: raise largest \(2\.0\)"):
            Kelly(**held)


# ---- Garleanu-Pedersen

TWO_ASSETS = gp.Problem.of(
    loading=[[0.5], [1.5]],
    decay=0.3,
    innovation=0.01,
    covariance=[[2.0, 0.7], [0.7, 1.0]],
    impact=[[1.5, -0.3], [-0.3, 0.2]],
    aversion=0.2,
)
FAST_AND_SLOW = gp.Problem.of(
    loading=[[1.0, 0.5]],
    decay=[[0.5, 0.0], [0.1, 0.05]],
    innovation=[[0.01, 0.002], [0.002, 0.001]],
    covariance=4.0,
    impact=2.0,
    aversion=0.02,
)
WIDE = 80.0  # deviations: room for Markowitz, too
LONG_RUN = GarleanuPedersen(bars=160, reach=WIDE)


def constant_policies(problem: gp.Problem) -> dict[str, gp.Linear]:
    return {
        "infinite": gp.infinite(problem),
        "rate": linear_policies.towards_markowitz(problem, linear_policies.best_rate(problem)),
        "myopic": linear_policies.myopic(problem),
        "scaled": linear_policies.markowitz(problem, linear_policies.best_scale(problem)),
        "markowitz": linear_policies.markowitz(problem),
        "idle": linear_policies.idle(problem),
    }


@BOTH
@pytest.mark.parametrize("problem", [ONE_ASSET, THREE_ASSETS, TWO_ASSETS, FAST_AND_SLOW])
def test_linear_policies_earn_their_closed_forms(problem: gp.Problem, expected: bool) -> None:
    market = GarleanuPedersen(problem, bars=20, reach=WIDE)
    for name, policy in constant_policies(problem).items():
        figure = linear_policies.total(problem, [policy] * 20)
        assert_lands(scores(market, name, expected=expected, copies=4000), figure)


@BOTH
@pytest.mark.parametrize(
    ("problem", "bars", "figure"),
    [
        (ONE_ASSET, 50, 2.998538),
        (ONE_ASSET, 100, 6.097782),
        (THREE_ASSETS, 50, 5.364162),
        (TWO_ASSETS, 30, None),
        (FAST_AND_SLOW, 7, None),
    ],
)
def test_the_best_policy_earns_its_value(problem: gp.Problem, bars: int, figure: float | None, expected: bool) -> None:
    market = GarleanuPedersen(problem, bars=bars)
    assert figure is None or market.optimum == pytest.approx(figure, abs=5.1e-7)
    assert_lands(scores(market, "optimal", expected=expected, copies=8000), market.optimum)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("infinite", 0.061985),
        ("rate", 0.058829),
        ("myopic", 0.047619),
        ("scaled", 0.033333),
        ("markowitz", -0.1),
        ("idle", 0.0),
    ],
)
def test_g1_table_in_the_long_run(name: str, figure: float) -> None:
    env = world(LONG_RUN, True, 2000)
    assert_lands(play(env, references(LONG_RUN, True, 2000)[name], seed=SEED)[60:].mean(0), figure)


@BOTH
@pytest.mark.parametrize("problem", [ONE_ASSET, THREE_ASSETS])
def test_other_gains_earn_less(problem: gp.Problem, expected: bool) -> None:
    market = GarleanuPedersen(problem, bars=30, reach=WIDE)
    env = world(market, expected, 4000)
    best_E = scores(market, "optimal", expected=expected, copies=4000)
    policies, _ = market.best
    for keep, follow in ((1.0, 0.5), (1.0, 1.5), (0.6, 1.0), (1.2, 1.0)):
        other = [gp.Linear(keep * policy.keep_NN, follow * policy.follow_NK) for policy in policies]
        assert_less(scores(market, market.trading(env, other), expected=expected, copies=4000), best_E)


@pytest.mark.parametrize("problem", [ONE_ASSET, THREE_ASSETS, TWO_ASSETS, FAST_AND_SLOW])
def test_the_best_policy_is_not_cut_by_the_action_space(problem: gp.Problem) -> None:
    market = GarleanuPedersen(problem)
    env = world(market, True, 500)
    act, read = market.references(env)["optimal"], Reader.of(env)
    obs = env.reset(seed=3)
    for _ in range(market.bars):
        action = act(obs)
        assert action[GROUP].abs().max() < 1
        obs = env.step(action).final_obs
        assert read(obs, "signal_held").abs().max() < 1


def test_a_discount_is_refused() -> None:
    with pytest.raises(ValueError, match="an episode's rewards are added up"):
        GarleanuPedersen(replace(ONE_ASSET, discount=0.02))


# ---- Almgren-Chriss

SALE = AlmgrenChriss()
PATIENT = AlmgrenChriss(
    almgren_chriss.Problem(shares=2e5, trades=12, days=3, sigma=1.5, permanent=0.0, temporary=4e-6, aversion=2e-6)
)
HASTY = AlmgrenChriss(
    almgren_chriss.Problem(trades=8, days=8, sigma=0.4, fixed=0.2, permanent=1e-6, temporary=2e-6, aversion=1e-5)
)


@BOTH
@pytest.mark.parametrize("market", [SALE, PATIENT, HASTY])
def test_schedules_cost_what_the_paper_says(market: AlmgrenChriss, expected: bool) -> None:
    problem = market.problem
    for name, trades_N in (
        ("optimal", almgren_chriss.best_trades(problem)),
        ("equal", almgren_chriss.equal_trades(problem)),
        ("at_once", almgren_chriss.all_at_once(problem)),
    ):
        score_E = scores(market, name, expected=expected, copies=4000)
        assert_lands(score_E, -almgren_chriss.objective(problem, trades_N))
        if not expected:
            spread = math.sqrt(almgren_chriss.variance(problem, trades_N))
            assert float(score_E.std()) == pytest.approx(spread, rel=SIGMAS / math.sqrt(2 * 4000), abs=1)


def test_sale_figures() -> None:
    for name, figure in (("optimal", -1_275_355.6), ("equal", -1_745_500.0), ("at_once", -2_562_500.0)):
        assert_lands(scores(SALE, name, expected=True, copies=2), figure)


@BOTH
@pytest.mark.parametrize("market", [SALE, PATIENT])
def test_other_schedules_cost_more(market: AlmgrenChriss, expected: bool) -> None:
    best_N = almgren_chriss.best_trades(market.problem)
    best_E = scores(market, "optimal", expected=expected, copies=4000)
    for share in (-0.4, 0.4):
        moved = share * best_N[0]
        other = market.schedule(
            world(market, expected, 4000), best_N - moved * np.eye(len(best_N))[0] + _last(best_N, moved)
        )
        assert_less(scores(market, other, expected=expected, copies=4000), best_E)


def _last(trades_N: np.ndarray, moved: float) -> np.ndarray:
    """``moved`` shares spread over all trades but the first, in proportion."""
    rest_N = trades_N * (np.arange(len(trades_N)) > 0)
    return moved * rest_N / rest_N.sum()


# ---- mean reversion

SPREAD = MeanReversion(settling=100, bars=80)
BY_STEPS = replace(SPREAD, action="trade")
FINE = MeanReversion(phi=0.8, innovation=0.5, cost=0.2, levels=5, settling=40, bars=80)
FINE_STEPS = replace(FINE, action="trade")
LONG_ONLY = MeanReversion(phi=0.9, innovation=2.0, levels=2, shorting=False, settling=60, bars=100)


@BOTH
@pytest.mark.parametrize("market", [SPREAD, BY_STEPS, FINE, FINE_STEPS, LONG_ONLY])
def test_gains_are_those_of_the_dynamic_programme(market: MeanReversion, expected: bool) -> None:
    always = mean_reversion.evaluate(market.problem, mean_reversion.switching(market.problem, 0.0)).gain
    for name, figure in (("optimal", market.optimum), ("always", always), ("idle", 0.0)):
        assert_lands(scores(market, name, expected=expected, copies=2000), figure)


def test_spread_figures() -> None:
    assert SPREAD.optimum == pytest.approx(0.07417, abs=5e-6)
    free = MeanReversion(cost=0.0, settling=0, bars=50)
    assert free.optimum == pytest.approx(0.12776, abs=5e-6)
    assert_lands(scores(free, "optimal", expected=True, copies=8000), free.optimum)


@BOTH
@pytest.mark.parametrize("market", [SPREAD, FINE, LONG_ONLY])
def test_other_thresholds_gain_less(market: MeanReversion, expected: bool) -> None:
    best_E = scores(market, "optimal", expected=expected, copies=2000)
    for factor in (0.5, 1.6):
        other = market.choosing(world(market, expected, 2000), market.best[0].scaled(factor))
        assert_less(scores(market, other, expected=expected, copies=2000), best_E)


# ---- market making

QUOTING = MarketMaking()
CAUTIOUS = MarketMaking(
    market_making.Problem(horizon=2.0, bars=60, rate=20.0, decay=0.8, running=1.5, final=0.4, limit=3, width=4.0),
    sigma=0.5,
)
CERTAIN = MarketMaking(market_making.Problem(bars=20, rate=60.0, decay=1.0, running=0.2, limit=5, width=3.0))


@BOTH
@pytest.mark.parametrize("market", [QUOTING, CAUTIOUS, CERTAIN])
def test_quotes_earn_what_the_dynamic_programme_says(market: MarketMaking, expected: bool) -> None:
    problem = market.problem
    for name, quotes in (
        ("optimal", market.best[0]),
        ("continuous", market_making.continuous_quotes(problem)),
        ("constant", market_making.constant_quotes(problem, 1 / problem.decay)),
    ):
        score_E = scores(market, name, expected=expected, copies=2000)
        assert_lands(score_E, market_making.value(problem, quotes))


@BOTH
@pytest.mark.parametrize("market", [QUOTING, CAUTIOUS])
def test_other_quotes_earn_less(market: MarketMaking, expected: bool) -> None:
    best_E = scores(market, "optimal", expected=expected, copies=2000)
    quotes, width = market.best[0], market.problem.width
    for move in (-0.3, 0.3):
        sides = (np.clip(side + move / market.problem.decay, 0, width) for side in (quotes.bid_TQ, quotes.ask_TQ))
        other = market.quoting(world(market, expected, 2000), market_making.Quotes(*sides))
        assert_less(scores(market, other, expected=expected, copies=2000), best_E)


# ---- what all of them promise

ALL = [KELLY, THREE, COSTLY, GarleanuPedersen(), GarleanuPedersen(THREE_ASSETS), SALE, SPREAD, BY_STEPS, QUOTING]


@pytest.mark.parametrize("market", ALL, ids=lambda market: market.name)
def test_references_are_actions_of_the_space_and_end_with_the_base(market: PlantedMarket) -> None:
    env = world(market, True, 2)
    references = market.references(env)
    assert next(iter(references)) == "optimal"
    assert list(references)[-1] == market.base
    assert list(env.groups) == [GROUP]
    for policy in references.values():
        action = policy(env.reset(seed=1))[GROUP]
        space: Any = env.groups[GROUP].action_space
        assert action.shape[:2] == (2, 1)
        for row in action[:, 0].numpy():
            assert space.contains(row.astype(space.dtype))


@pytest.mark.parametrize(
    "market",
    [
        replace(THREE, bars=5),
        replace(COSTLY, settling=3, bars=5),
        GarleanuPedersen(bars=5),
        SALE,
        replace(SPREAD, settling=3, bars=5),
        MarketMaking(replace(CAUTIOUS.problem, bars=5)),
    ],
    ids=lambda market: market.name,
)
def test_scores_do_not_depend_on_the_scale(market: Any) -> None:
    thrice = replace(market, scale=3 * market.scale)
    one_E, other_E = (scores(variant, "optimal", expected=True, copies=3) for variant in (market, thrice))
    torch.testing.assert_close(one_E, other_E, rtol=1e-5, atol=1e-6)


def test_a_feature_that_is_not_observed_is_refused() -> None:
    env = world(SALE, True, 2)
    with pytest.raises(KeyError, match="no feature 'signal_1' is observed; there are signal_held, time_left"):
        Reader.of(env)(env.reset(seed=1), "signal_1")
