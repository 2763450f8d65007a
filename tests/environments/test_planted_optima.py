"""The closed forms and dynamic programmes of the planted markets: known figures, brute force, perturbations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize

from environments.market.planted import almgren_chriss, kelly, linear_policies, market_making, mean_reversion
from environments.market.planted import garleanu_pedersen as gp

# ---- Kelly and Merton


def test_kelly_figures() -> None:
    assert kelly.best_fractions(0.08, 0.03, 0.25**2) == pytest.approx([0.8])
    assert kelly.growth(0.8, 0.08, 0.03, 0.25**2) == pytest.approx(0.05)
    assert kelly.growth(1.0, 0.08, 0.03, 0.25**2) == pytest.approx(0.04875)
    assert kelly.growth(0.0, 0.08, 0.03, 0.25**2) == pytest.approx(0.03)


def test_no_trade_band_figures() -> None:
    market = kelly.Market(mu=0.08, rate=0.03, sigma=0.25, cost=0.01)
    band = kelly.best_band(market)
    assert (round(band.low, 5), round(band.high, 5)) == (0.72735, 0.87181)
    assert round(kelly.best_growth(market), 7) == 0.0498439


def test_several_assets_lie_at_the_top_of_the_growth() -> None:
    covariance = np.array([[0.09, 0.02, 0.01], [0.02, 0.05, -0.01], [0.01, -0.01, 0.04]])
    mu = [0.1, 0.05, 0.02]
    best_N = kelly.best_fractions(mu, 0.03, covariance)
    found = optimize.minimize(lambda f: -kelly.growth(f, mu, 0.03, covariance), np.zeros(3), tol=1e-12)
    np.testing.assert_allclose(best_N, found.x, atol=1e-5)


markets = st.builds(
    kelly.Market,
    mu=st.floats(-0.1, 0.3),
    rate=st.floats(0.0, 0.05),
    sigma=st.floats(0.1, 0.5),
    cost=st.floats(0.0005, 0.05),
)


@settings(max_examples=40, deadline=None)
@given(market=markets, move=st.sampled_from([(1, 0), (-1, 0), (0, 1), (0, -1)]))
def test_no_other_band_grows_faster(market: kelly.Market, move: tuple[int, int]) -> None:
    assume(min(abs(market.merton), abs(market.merton - 1)) > 0.01)
    band, best = kelly.best_band(market), kelly.best_growth(market)
    assert best < kelly.growth(market.merton, market.mu, market.rate, market.sigma**2)
    step = 0.02 * min(band.high - band.low, *(abs(end - edge) for end in (band.low, band.high) for edge in (0, 1)))
    other = kelly.Band(band.low + move[0] * step, band.high + move[1] * step)
    assert kelly.band_growth(market, other) < best


@pytest.mark.parametrize("mu", [0.08, 0.2, -0.01])  # f* = .8, 2.72, -.64
def test_band_agrees_with_a_search_over_both_ends(mu: float) -> None:
    market = kelly.Market(mu=mu)

    def loss(ends: np.ndarray) -> float:
        try:
            return -kelly.band_growth(market, kelly.Band(*ends))
        except ValueError:
            return math.inf

    edges = {0.08: (0.6, 0.95), 0.2: (2.0, 4.0), -0.01: (-1.0, -0.2)}[mu]
    found = optimize.minimize(loss, edges, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-16})
    band = kelly.best_band(market)
    np.testing.assert_allclose([band.low, band.high], found.x, atol=1e-6)
    assert kelly.best_growth(market) == pytest.approx(-found.fun, abs=1e-12)


@pytest.mark.parametrize("mu", [0.08, 0.2, -0.01])
def test_growth_of_a_band_agrees_with_a_finite_difference_solution(mu: float) -> None:
    """Wealth and fraction as a random walk on a fine grid of y, its stationary mass, and what its ends cost."""
    market = kelly.Market(mu=mu)
    band = kelly.best_band(market)
    odds = np.array([band.low, band.high]) / (1 - np.array([band.low, band.high]))
    low, high = np.sort(np.log(np.abs(odds)))
    y, width = np.linspace(low, high, 4001, retstep=True)
    ratio = np.sign(odds[0]) * np.exp(y)
    fraction = ratio / (1 + ratio)
    drift = (market.mu - market.rate - market.sigma**2 / 2) * width / market.sigma**2
    up, down = (1 + drift) / 2, (1 - drift) / 2  # one step takes (width / sigma)^2 of time; an end holds it back
    mass = (up / down) ** np.arange(len(y))
    mass /= mass.sum()
    earned = (mass * market.growth(fraction)).sum()
    pushed = np.array([down * mass[0], up * mass[-1]]) * market.sigma**2 / width  # of y, per unit of time
    end = fraction[[0, -1]]
    price = np.where(end == end.min(), 1 + market.cost * end, 1 - market.cost * end)
    lost = (market.cost * np.abs(end * (1 - end)) / price * pushed).sum()
    assert kelly.band_growth(market, band) == pytest.approx(earned - lost, abs=2e-6)


def test_without_costs_the_band_is_the_merton_fraction() -> None:
    market = kelly.Market(cost=0.0)
    assert kelly.best_band(market) == kelly.Band(market.merton, market.merton)
    assert kelly.best_growth(market) == pytest.approx(0.05)
    assert kelly.best_band(kelly.Market(mu=0.03)).low == 0.0
    assert kelly.best_growth(kelly.Market(cost=1e-8)) == pytest.approx(0.05, abs=1e-6)


def test_cost_of_rebalancing_agrees_with_draws() -> None:
    rng = np.random.default_rng(1)
    log_return = -(0.25**2) / 2 / 252 + 0.25 / math.sqrt(252) * rng.standard_normal(400_000)
    drifted = 0.8 * np.exp(log_return) / (0.8 * np.exp(log_return) + 0.2)
    cost = 0.01 * np.abs(drifted - 0.8).mean() * 252
    assert kelly.rebalancing_cost(0.8, 0.25, 0.01, 1 / 252) == pytest.approx(cost, rel=0.01)


@pytest.mark.parametrize("band", [kelly.Band(0.5, 0.4), kelly.Band(-0.1, 0.2), kelly.Band(0.9, 1.1)])
def test_a_band_across_an_edge_is_refused(band: kelly.Band) -> None:
    with pytest.raises(ValueError, match="low < high and hold neither 0 nor 1"):
        kelly.band_growth(kelly.Market(), band)
    with pytest.raises(ValueError, match="sigma must be > 0"):
        kelly.Market(sigma=0.0)


# ---- Garleanu-Pedersen

G1 = gp.Problem.of(loading=1, decay=0.1, innovation=0.0019, covariance=1, impact=0.5, aversion=0.05)
G3 = gp.Problem.of(
    loading=[[1, 0.3], [0.2, 0.8], [-0.5, 0.4]],
    decay=[[0.1, 0.02], [0.0, 0.3]],
    innovation=[[0.002, 0.0005], [0.0005, 0.004]],
    covariance=[[1, 0.5, 0.2], [0.5, 1.5, 0.3], [0.2, 0.3, 0.8]],
    impact=[[0.5, 0.1, 0.0], [0.1, 0.9, 0.2], [0.0, 0.2, 0.4]],
    aversion=0.05,
)


def test_g1_policy_figures() -> None:
    policy = gp.infinite(G1)
    rate = 1 - policy.keep_NN
    assert rate.item() == pytest.approx(0.270156, abs=5e-7)
    assert (policy.follow_NK / rate / G1.markowitz_NK).item() == pytest.approx(0.787305, abs=5e-7)
    assert G1.signals_KK.item() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("policy", "utility", "share"),
    [
        (gp.infinite(G1), 0.061985, 1.0),
        (linear_policies.towards_markowitz(G1, linear_policies.best_rate(G1)), 0.058829, 0.949),
        (linear_policies.myopic(G1), 0.047619, 0.768),
        (linear_policies.markowitz(G1, linear_policies.best_scale(G1)), 0.033333, 0.538),
        (linear_policies.markowitz(G1), -0.1, -1.61),
        (linear_policies.idle(G1), 0.0, 0.0),
    ],
)
def test_g1_table(policy: gp.Linear, utility: float, share: float) -> None:
    average = linear_policies.average(G1, policy)
    assert average == pytest.approx(utility, abs=5.1e-7)
    assert average / linear_policies.average(G1, gp.infinite(G1)) == pytest.approx(share, abs=0.0051)


@pytest.mark.parametrize(("bars", "value"), [(50, 2.998538), (100, 6.097782), (252, 15.519483)])
def test_g1_finite_horizon_figures(bars: int, value: float) -> None:
    policies, found = gp.finite(G1, bars)
    assert found.from_flat(G1.signals_KK) == pytest.approx(value, abs=5.1e-7)
    assert linear_policies.total(G1, policies) == pytest.approx(value, abs=5.1e-7)


@st.composite
def problems(draw: st.DrawFn) -> gp.Problem:
    """Any number of assets and signals, no matrix diagonal or proportional to another."""
    assets, signals = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def positive(size: int, scale: float) -> np.ndarray:
        half = rng.standard_normal((size, size))
        return scale * (half @ half.T / size + 0.3 * np.eye(size))

    return gp.Problem.of(
        loading=rng.standard_normal((assets, signals)),
        decay=np.diag(rng.uniform(0.1, 0.6, signals)) + 0.05 * rng.uniform(-1, 1, (signals, signals)),
        innovation=positive(signals, 0.002),
        covariance=positive(assets, 1.0),
        impact=positive(assets, draw(st.floats(0.1, 2.0))),
        aversion=draw(st.floats(0.02, 0.5)),
        discount=draw(st.sampled_from([0.0, 0.01, 0.2])),
    )


@settings(max_examples=25, deadline=None)
@given(problem=problems())
def test_closed_form_is_the_limit_of_the_finite_horizon(problem: gp.Problem) -> None:
    policies, _ = gp.finite(problem, 800)
    policy = gp.infinite(problem)
    np.testing.assert_allclose(policies[0].keep_NN, policy.keep_NN, atol=1e-9)
    np.testing.assert_allclose(policies[0].follow_NK, policy.follow_NK, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(problem=problems(), bars=st.integers(1, 30))
def test_value_of_the_recursion_is_what_its_policy_earns(problem: gp.Problem, bars: int) -> None:
    policies, value = gp.finite(problem, bars)
    assert linear_policies.total(problem, policies) == pytest.approx(value.from_flat(problem.signals_KK), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(problem=problems(), bars=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_any_other_gain_in_any_bar_earns_less(problem: gp.Problem, bars: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    policies, value = gp.finite(problem, bars)
    bar = int(rng.integers(bars))
    other = list(policies)
    other[bar] = gp.Linear(
        policies[bar].keep_NN + 0.05 * (bar > 0) * rng.standard_normal(policies[bar].keep_NN.shape),
        policies[bar].follow_NK * (1 + 0.05 * rng.standard_normal(policies[bar].follow_NK.shape)),
    )
    assert linear_policies.total(problem, other) < value.from_flat(problem.signals_KK)


def test_finite_horizon_agrees_with_a_search_over_all_linear_gains() -> None:
    bars, (assets, signals) = 2, G3.loading_NK.shape
    size = assets * (assets + signals)

    def loss(gains: np.ndarray) -> float:
        rows = gains.reshape(bars, assets, assets + signals)
        return -linear_policies.total(G3, [gp.Linear(row[:, :assets], row[:, assets:]) for row in rows])

    found = optimize.minimize(loss, np.zeros(bars * size), tol=1e-14, options={"maxiter": 2000})
    assert -found.fun == pytest.approx(gp.finite(G3, bars)[1].from_flat(G3.signals_KK), rel=1e-6)


def test_stationary_moments_agree_with_draws() -> None:
    rng = np.random.default_rng(3)
    policy = gp.infinite(G3)
    signal_EK = rng.multivariate_normal(np.zeros(2), G3.signals_KK, 50_000)
    held_EN = np.zeros((50_000, 3))
    utility = []
    for _ in range(60):
        chosen_EN = held_EN @ policy.keep_NN.T + signal_EK @ policy.follow_NK.T
        change_EN = chosen_EN - held_EN
        earned_E = (chosen_EN * (signal_EK @ G3.loading_NK.T)).sum(1)
        risk_E = np.einsum("en,nm,em->e", chosen_EN, G3.covariance_NN, chosen_EN)
        cost_E = np.einsum("en,nm,em->e", change_EN, G3.impact_NN, change_EN)
        utility.append((earned_E - G3.aversion / 2 * risk_E - cost_E / 2).mean())
        held_EN = chosen_EN
        noise_EK = rng.multivariate_normal(np.zeros(2), G3.innovation_KK, 50_000)
        signal_EK = signal_EK @ G3.keep_KK.T + noise_EK
    assert linear_policies.average(G3, policy) == pytest.approx(np.mean(utility[30:]), rel=0.02)
    held_N, traded_N = linear_policies.position_deviations(G3, policy)
    np.testing.assert_allclose(held_EN.std(0), held_N, rtol=0.02)
    np.testing.assert_allclose(change_EN.std(0), traded_N, rtol=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"decay": -0.1}, "eigenvalues of I - decay must be below 1"),
        ({"covariance": -1}, "covariance .* positive definite"),
        ({"impact": 0}, "impact .* positive definite"),
        ({"aversion": 0}, "aversion 0"),
        ({"decay": [[0.1, 0], [0, 0.1]]}, r"decay has shape \(2, 2\); with this loading it must be \(1, 1\)"),
    ],
)
def test_problems_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "loading": 1,
        "decay": 0.1,
        "innovation": 1,
        "covariance": 1,
        "impact": 1,
        "aversion": 1,
    } | wrong
    with pytest.raises(ValueError, match=message):
        gp.Problem.of(**given)


def test_a_policy_that_never_settles_is_refused() -> None:
    with pytest.raises(ValueError, match="it must be below 1"):
        linear_policies.average(G1, gp.Linear(np.eye(1), np.eye(1)))


# ---- Almgren-Chriss

AC = almgren_chriss.Problem()


def test_almgren_chriss_figures() -> None:
    best_N = almgren_chriss.best_trades(AC)
    assert AC.kappa == pytest.approx(0.60708, abs=5e-6)
    assert almgren_chriss.expected_cost(AC, best_N) == pytest.approx(911_227.0, abs=0.05)
    assert math.sqrt(almgren_chriss.variance(AC, best_N)) == pytest.approx(603_430.7, abs=0.05)
    assert almgren_chriss.best_objective(AC) == pytest.approx(1_275_355.6, abs=0.05)
    assert almgren_chriss.objective(AC, almgren_chriss.equal_trades(AC)) == pytest.approx(1_745_500)
    assert almgren_chriss.objective(AC, almgren_chriss.all_at_once(AC)) == pytest.approx(2_562_500)
    np.testing.assert_array_equal(best_N.round(), [458044, 252101, 141957, 85756, 62142])


@settings(max_examples=25, deadline=None)
@given(
    trades=st.integers(2, 12),
    days=st.floats(1, 20),
    sigma=st.floats(0.1, 3),
    aversion=st.floats(0, 1e-5),
    permanent=st.floats(0, 2.4e-7),
)
def test_best_schedule_agrees_with_a_search(
    trades: int, days: float, sigma: float, aversion: float, permanent: float
) -> None:
    problem = almgren_chriss.Problem(
        trades=trades, days=days, sigma=sigma, aversion=aversion, permanent=permanent, temporary=2.5e-6
    )
    best = almgren_chriss.best_objective(problem)

    def loss(first: np.ndarray) -> float:
        shares_N = np.append(first, 1 - first.sum()) * problem.shares
        return almgren_chriss.objective(problem, shares_N) / best

    found = optimize.minimize(loss, np.full(trades - 1, 1 / trades), tol=1e-12)
    assert found.fun == pytest.approx(1.0, abs=1e-6)
    assert found.fun >= 1 - 1e-12
    moved = almgren_chriss.best_trades(problem) + np.append([-100.0, 100.0], np.zeros(trades - 2))
    assert almgren_chriss.objective(problem, moved) > best


def test_no_urgency_is_too_great() -> None:
    hasty = replace(AC, aversion=1e6)
    np.testing.assert_allclose(almgren_chriss.best_trades(hasty), almgren_chriss.all_at_once(hasty), atol=1e-3)
    calm = replace(AC, aversion=0.0)
    np.testing.assert_allclose(almgren_chriss.best_trades(calm), almgren_chriss.equal_trades(calm))


def test_almgren_chriss_refusals() -> None:
    with pytest.raises(ValueError, match="temporary - permanent tau / 2 must be > 0"):
        almgren_chriss.Problem(permanent=1e-5)
    with pytest.raises(ValueError, match="trades 0"):
        almgren_chriss.Problem(trades=0)
    with pytest.raises(ValueError, match="5 trades of 5 shares together; sell 1e\\+06 in 5"):
        almgren_chriss.expected_cost(AC, [1.0] * 5)


# ---- mean reversion

AR = mean_reversion.Problem()


def test_mean_reversion_figures() -> None:
    policy, gain = mean_reversion.solve(AR)
    assert gain == pytest.approx(0.07417, abs=5e-6)
    # 2.786 was found on a grid; the gain there is lower by 2e-8
    np.testing.assert_allclose(policy.cuts[1], [-2.784016, 2.784016], atol=1e-6)
    at_grid = mean_reversion.evaluate(AR, mean_reversion.switching(AR, 2.786)).gain
    assert gain - 1e-7 < at_grid < gain
    assert mean_reversion.solve(replace(AR, cost=0.0))[1] == pytest.approx(0.12776, abs=5e-6)


def test_always_in_the_market_by_hand() -> None:
    """E|x| / 20 less a change of 2 whenever the sign changes, which it does with probability arccos(phi) / pi."""
    always = mean_reversion.evaluate(AR, mean_reversion.switching(AR, 0.0)).gain
    by_hand = 0.05 * AR.deviation * math.sqrt(2 / math.pi) - 2 * math.acos(0.95) / math.pi
    assert always == pytest.approx(by_hand, abs=1e-10)
    assert always == pytest.approx(-0.0745, abs=1.5e-4)


def simulated_gain(problem: mean_reversion.Problem, policy: mean_reversion.Policy) -> float:
    rng = np.random.default_rng(5)
    copies = np.arange(20_000)
    x = problem.deviation * rng.standard_normal(len(copies))
    held = np.zeros(len(copies), dtype=np.int64)
    gains = []
    for _ in range(200):
        chosen = policy.choose(x)[copies, held]
        gains.append(problem.reward(x)[copies, held, chosen].mean())
        x, held = problem.phi * x + problem.innovation * rng.standard_normal(len(copies)), chosen
    return float(np.mean(gains[100:]))


@pytest.mark.parametrize(
    "problem",
    [
        AR,
        mean_reversion.Problem(notch=1.0),
        mean_reversion.Problem(phi=0.8, innovation=0.5, cost=0.6, positions=(-1, -0.5, 0, 0.5, 1), notch=0.5),
        mean_reversion.Problem(phi=0.6, innovation=2.0, cost=0.3, positions=(0.0, 1.0)),
    ],
)
def test_gain_agrees_with_draws_and_with_value_iteration(problem: mean_reversion.Problem) -> None:
    policy, gain = mean_reversion.solve(problem)
    assert simulated_gain(problem, policy) == pytest.approx(gain, abs=2e-3 * problem.deviation)
    assert relative_value_iteration(problem) == pytest.approx(gain, abs=2e-4 * problem.deviation)


def relative_value_iteration(problem: mean_reversion.Problem) -> float:
    """The plain way, on an even grid."""
    x = np.linspace(-6, 6, 601) * problem.deviation
    chance = np.exp(-(((x - problem.phi * x[:, None]) / problem.innovation) ** 2) / 2)
    chance /= chance.sum(1, keepdims=True)
    reward = problem.reward(x)
    value = np.zeros((len(x), len(problem.positions)))
    for _ in range(400):
        value = (reward + (chance @ value)[:, None, :]).max(2)
        gain, value = value[300, 0], value - value[300, 0]
    return float(gain)


@settings(max_examples=8, deadline=None)
@given(
    phi=st.floats(0.3, 0.97),
    innovation=st.floats(0.2, 3),
    cost=st.floats(0.05, 1.5),
    factor=st.sampled_from([0.9, 0.97, 1.03, 1.1]),
)
def test_other_thresholds_gain_less(phi: float, innovation: float, cost: float, factor: float) -> None:
    problem = mean_reversion.Problem(phi=phi, innovation=innovation, cost=cost * innovation)
    policy, gain = mean_reversion.solve(problem)
    assert mean_reversion.evaluate(problem, policy.scaled(factor)).gain < gain


def test_mean_reversion_refusals() -> None:
    with pytest.raises(ValueError, match=r"phi 1\.0"):
        mean_reversion.Problem(phi=1.0)
    with pytest.raises(ValueError, match="two or more, ascending"):
        mean_reversion.Problem(positions=(1.0, -1.0))
    with pytest.raises(ValueError, match="there is nothing to trade"):
        mean_reversion.Problem(cost=100.0)


# ---- market making

MM = market_making.Problem()


def test_market_making_figures() -> None:
    assert market_making.continuous_value(MM) == pytest.approx(64.7178, abs=5e-5)
    fine = replace(MM, bars=2000)
    assert market_making.solve(fine)[1] == pytest.approx(64.80, abs=0.11)
    assert market_making.value(fine, market_making.constant_quotes(fine, 1 / 1.5)) == pytest.approx(52.6, abs=0.05)


def test_quotes_of_continuous_time_are_nearly_best_in_short_bars() -> None:
    gaps = []
    for bars in (200, 800):
        problem = replace(MM, bars=bars)
        best = market_making.solve(problem)[1]
        gaps.append(best - market_making.value(problem, market_making.continuous_quotes(problem)))
        assert best - market_making.continuous_value(problem) == pytest.approx(0.94 * 200 / bars, rel=0.05)
    assert 0 < gaps[1] < gaps[0] / 8  # second order in the bar


def test_a_fill_probability_of_another_form_moves_the_result_by_twelve_percent() -> None:
    """At dt = .005 and distance 1/k: 1 - exp(-lambda dt) in place of lambda dt, without penalties."""
    free = replace(MM, running=1e-12, final=0.0)
    quotes = market_making.constant_quotes(free, 1 / MM.decay)
    chance = MM.rate / math.e * MM.bar
    other = replace(free, rate=MM.rate * -math.expm1(-chance) / chance)
    assert 1 - market_making.value(other, quotes) / market_making.value(free, quotes) == pytest.approx(0.12, abs=0.01)


making = st.builds(
    market_making.Problem,
    horizon=st.floats(0.2, 3),
    bars=st.integers(1, 12),
    rate=st.floats(1, 60),
    decay=st.floats(0.3, 3),
    running=st.floats(0, 5),
    final=st.floats(0, 2),
    limit=st.integers(1, 4),
    width=st.floats(0.5, 4),
)


@settings(max_examples=30, deadline=None)
@given(problem=making, seed=st.integers(0, 2**32 - 1))
def test_no_other_quotes_earn_more(problem: market_making.Problem, seed: int) -> None:
    quotes, best = market_making.solve(problem)
    assert market_making.value(problem, quotes) == pytest.approx(best, abs=1e-12)
    rng = np.random.default_rng(seed)
    sides = [
        np.clip(side + 0.2 * problem.width * rng.uniform(-1, 1, side.shape), 0, problem.width)
        for side in (quotes.bid_TQ, quotes.ask_TQ)
    ]
    assert market_making.value(problem, market_making.Quotes(*sides)) <= best + 1e-12
    drawn = [rng.uniform(0, problem.width, side.shape) for side in sides]
    assert market_making.value(problem, market_making.Quotes(*drawn)) <= best + 1e-12


@settings(max_examples=10, deadline=None)
@given(problem=making)
def test_one_bar_agrees_with_all_pairs_of_distances(problem: market_making.Problem) -> None:
    problem = replace(problem, bars=1, limit=1)
    best = market_making.solve(problem)[1]
    distances = np.linspace(0, problem.width, 61)
    tried = [
        market_making.value(problem, market_making.Quotes(np.full((1, 3), bid), np.full((1, 3), ask)))
        for bid in distances
        for ask in distances
    ]
    assert max(tried) <= best + 1e-12
    assert max(tried) >= best - 0.1 * problem.width


def test_value_of_quotes_agrees_with_draws() -> None:
    problem = market_making.Problem(bars=40, rate=30.0, limit=2, running=1.0, final=0.5)
    quotes, best = market_making.solve(problem)
    rng = np.random.default_rng(2)
    held = np.zeros(200_000, dtype=np.int64)
    earned = np.zeros(len(held))
    for bid_Q, ask_Q in zip(quotes.bid_TQ, quotes.ask_TQ, strict=True):
        bid, ask = bid_Q[held + 2], ask_Q[held + 2]
        bought = (rng.random(len(held)) < problem.chance(bid)) & (held < 2)
        sold = (rng.random(len(held)) < problem.chance(ask)) & (held > -2)
        held = held + bought - sold
        earned += bought * bid + sold * ask - problem.running * problem.bar * held**2
    earned -= problem.final * held**2
    assert best == pytest.approx(earned.mean(), abs=2.58 * earned.std() / math.sqrt(len(earned)))


def test_wide_limits_and_long_bars_stay_finite() -> None:
    wide = replace(MM, limit=50)
    assert market_making.continuous_value(wide) == pytest.approx(64.71788, abs=1e-5)
    assert market_making.continuous_value(replace(wide, bars=1)) == pytest.approx(64.71788, abs=1e-5)
    assert np.isfinite(market_making.continuous_quotes(wide).bid_TQ).all()


def test_market_making_refusals() -> None:
    with pytest.raises(ValueError, match="must be > 0, bars and limit >= 1"):
        market_making.Problem(limit=0)
