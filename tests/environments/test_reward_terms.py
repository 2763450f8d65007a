"""Each term of the reward against numbers worked by hand, its range, and what it brings a policy to do."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from environments.market import adaptive
from environments.market.config_reward import AdaptiveParams, RewardParams
from environments.market.env import MarketEnv
from environments.market.record import MarketRecord
from environments.market.rewards import Memories, Outcome, begin, drawdown, objectives, reward
from environments.market.terms.base import averaged, kept, nothing_yet
from tests.environments.laws import simulations
from tests.environments.markets import random_actions

ZERO_EM = torch.zeros(1, 3, dtype=torch.float64)
ALL = (
    "cooperation",
    "cost",
    "cvar",
    "differential_sharpe",
    "diversification",
    "drawdown",
    "exploration",
    "log_return",
    "market_impact",
    "mean_variance",
    "risk_adjusted_return",
    "volatility",
)


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def outcome(
    return_EM: tuple[float, ...] = (0.0, 0.0, 0.0),
    value_EN: tuple[float, float] = (0.0, 0.0),
    traded_EN: tuple[float, float] = (0.0, 0.0),
    drawdown_EM: tuple[float, ...] = (0.0, 0.0, 0.0),
) -> Outcome:
    """One copy of ``outcomes``."""
    return outcomes(row(*return_EM), row(*value_EN), row(*traded_EN), row(*drawdown_EM))


def outcomes(return_EM: Tensor, value_EN: Tensor, traded_EN: Tensor, drawdown_EM: Tensor) -> Outcome:
    """Two assets on sleeves of a half and a quarter of a portfolio worth 1000; costs are a hundredth of the trades."""
    zero_EN, zero_E = torch.zeros_like(value_EN), torch.zeros_like(value_EN[:, 0])
    record = MarketRecord(
        bar_E=zero_E.long(),
        nav_E=zero_E + 1000.0,
        value_EN=value_EN,
        traded_EN=traded_EN,
        cost_EN=traded_EN / 100,
        captured_EN=zero_EN,
        carry_EN=zero_EN,
        pnl_EN=zero_EN,
        interest_E=zero_E,
        budget_EK=zero_EN,
        signal_EN=zero_EN,
        voice_EM=zero_EN,
        inventory_EN=zero_EN,
        made_EN=zero_EN,
        quoted_EN=zero_EN,
    )
    return Outcome(
        record=record,
        before_E=zero_E + 1000.0,
        sleeve_EN=zero_EN + row(0.5, 0.25),
        base_EM=torch.zeros_like(return_EM) + row(500.0, 250.0, 1000.0),
        return_EM=return_EM,
        drawdown_EM=drawdown_EM,
        deeper_EM=return_EM.neg().clamp(min=0.0),
        profit_EM=return_EM,
        shares_EN=zero_EN,
        last_E=zero_E.bool(),
    )


def values(term: str, bars: list[Outcome], **given: Any) -> list[list[float]]:
    """What a term says of each of several bars of one episode."""
    params = RewardParams.model_validate({"terms": {term: {"weight": 1.0, **given}}})
    memories, told = begin(params, ZERO_EM), []
    for bar in bars:
        told.append(objectives(bar, params, memories)[term][0].tolist())
        _, memories = reward(bar, params, memories)
    return told


def of_returns(term: str, *returns: float, **given: Any) -> list[float]:
    """What a term says of the first column's returns."""
    return [value[0] for value in values(term, [outcome((r, 0.0, 0.0)) for r in returns], **given)]


def test_log_return():
    assert values("log_return", [outcome((0.01, -0.02, 0.003))]) == [[0.01, -0.02, 0.003]]


def test_cost_is_a_share_of_the_sleeve():
    assert values("cost", [outcome(traded_EN=(50.0, 100.0))]) == [pytest.approx([-0.001, -0.004, -0.0015])]


def test_drawdown_is_charged_while_it_lasts():
    bars = [outcome(drawdown_EM=(0.2, 0.1, 0.0)), outcome(drawdown_EM=(0.2, 0.0, 0.0))]
    assert values("drawdown", bars) == [[-0.2, -0.1, 0.0], [-0.2, 0.0, 0.0]]


def test_market_impact_is_a_sum_of_squares():
    told = values("market_impact", [outcome(traded_EN=(50.0, 100.0))])
    assert told == [pytest.approx([-(0.1**2), -(0.4**2), -(0.05**2 + 0.1**2)])]


def test_an_order_in_two_halves_has_half_the_market_impact():
    whole, half = (values("market_impact", [outcome(traded_EN=(size, 0.0))])[0][0] for size in (80.0, 40.0))
    assert whole == pytest.approx(2 * (half + half))


def test_cooperation_pays_traders_what_the_team_earns():
    assert values("cooperation", [outcome((0.05, -0.02, 0.01))]) == [[0.01, 0.01, 0.0]]


@pytest.mark.parametrize(
    ("value_EN", "told"),
    [((0.0, 0.0), 0.0), ((300.0, 0.0), 0.0), ((200.0, -200.0), 1.0), ((300.0, 100.0), 4 / 3**0.75 - 1)],
)
def test_diversification_counts_bets(value_EN, told):
    """Of parts 3/4 and 1/4: exp(3/4 log 4/3 + 1/4 log 4) = 4 / 3^(3/4) bets."""
    assert values("diversification", [outcome(value_EN=value_EN)]) == [pytest.approx([told] * 3)]


def test_mean_variance():
    assert of_returns("mean_variance", 0.1, -0.2, aversion=3.0) == pytest.approx([0.1 - 0.015, -0.2 - 0.06])


def test_volatility_is_the_root_of_a_mean_of_squares():
    """Half-life 1: weights 1; 1, 2 (of 3); 1, 2, 4 (of 7)."""
    told = of_returns("volatility", 0.3, -0.1, 0.2, half_life=1.0)
    assert told == pytest.approx([-0.3, -math.sqrt((0.09 + 2 * 0.01) / 3), -math.sqrt((0.09 + 0.02 + 4 * 0.04) / 7)])


def test_risk_adjusted_return_is_the_return_in_volatilities():
    told = of_returns("risk_adjusted_return", 0.0, 0.3, -0.1, half_life=1.0)
    assert told == pytest.approx([0.0, 0.3 / math.sqrt(2 * 0.09 / 3), -0.1 / math.sqrt((2 * 0.09 + 4 * 0.01) / 7)])


def test_differential_sharpe_is_that_of_moody_and_saffell():
    """Half-life 1: A = 0.1, B = 0.02 after a return of 0.2; then 0.4: (B .3 - A .14 / 2) / (B - A^2)^1.5 = -1."""
    told = of_returns("differential_sharpe", 0.2, 0.4, half_life=1.0)
    assert told == pytest.approx([0.0, (0.02 * 0.3 - 0.05 * 0.14) / 0.01**1.5])
    assert told[1] == pytest.approx(-1.0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=30), st.floats(-0.05, 0.05))
def test_differential_sharpe_is_the_derivative_of_the_running_sharpe(returns, last):
    """d/d rate of A / sqrt(B - A^2), with A and B moved by the rate towards the last return and its square."""
    keep, mean, square = kept(20.0), 0.0, 0.0
    for r in returns:
        mean, square = keep * mean + (1 - keep) * r, keep * square + (1 - keep) * r * r
    if square - mean**2 < 1e-7:
        return

    def sharpe(rate: float) -> float:
        moved, wider = mean + rate * (last - mean), square + rate * (last**2 - square)
        return moved / math.sqrt(wider - moved**2)

    told = of_returns("differential_sharpe", *returns, last, half_life=20.0, most=1e9)[-1]
    assert told == pytest.approx((sharpe(1e-6) - sharpe(-1e-6)) / 2e-6, rel=1e-4, abs=1e-5)


def test_cvar_and_its_quantile_step_by_step():
    """Level 0.5 and half-life 1: from 0, half the mean absolute return up after a loss beyond it, as much down else."""
    told = of_returns("cvar", -0.2, -0.4, 0.1, level=0.5, half_life=1.0)
    second = (0.2 + 2 * 0.4) / 3
    third = 0.1 + 0.5 * second
    assert told == pytest.approx([-0.4, -(0.1 + 0.3 / 0.5), -third])


def test_cvar_comes_to_the_tail_of_a_normal_return():
    """In the mean at most -CVaR, 2.063 deviations at 95%, and near it; its quantile is near 1.645."""
    params = RewardParams.model_validate({"terms": {"cvar": {"weight": 1.0, "level": 0.95, "half_life": 100}}})
    generator = torch.Generator().manual_seed(0)
    return_TEM = 0.01 * torch.randn(600, 50, 3, generator=generator, dtype=torch.float64)
    nothing_EM = torch.zeros_like(return_TEM[0])
    memories, told = begin(params, nothing_EM), []
    for return_EM in return_TEM:
        bar = outcomes(return_EM, nothing_EM[:, :2], nothing_EM[:, :2], nothing_EM)
        told.append(objectives(bar, params, memories)["cvar"])
        _, memories = reward(bar, params, memories)
    mean = float(torch.stack(told[300:]).mean()) / 0.01
    assert -2.3 < mean < -2.063
    assert float(memories[0][0].mean()) / 0.01 == pytest.approx(1.645, abs=0.15)


def test_exploration_counts_where_the_column_was():
    here, there = outcome(value_EN=(100.0, 0.0)), outcome(value_EN=(-400.0, 0.0))
    told = values("exploration", [here, here, there, here])
    assert [value[0] for value in told] == pytest.approx([1.0, 2**-0.5, 1.0, 3**-0.5])
    assert [value[1] for value in told] == pytest.approx([1.0, 2**-0.5, 3**-0.5, 4**-0.5])


def test_exploration_tells_a_lively_bar_from_a_calm_one():
    """The first is as its deviation, the second and the third 0, the last 1.8 of it."""
    assert of_returns("exploration", 0.01, 0.0, 0.0, 0.02) == pytest.approx([1.0, 1.0, 2**-0.5, 1.0])


RANGES = {
    "cost": (-math.inf, 0.0),
    "differential_sharpe": (-10.0, 10.0),
    "diversification": (0.0, 1.0),
    "drawdown": (-math.inf, 0.0),
    "exploration": (0.0, 1.0),
    "market_impact": (-math.inf, 0.0),
    "mean_variance": (-math.inf, 0.5),
    "risk_adjusted_return": (-1 / math.sqrt(1 - 0.5 ** (1 / 60)), 1 / math.sqrt(1 - 0.5 ** (1 / 60))),
    "volatility": (-math.inf, 0.0),
}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1e-9, 1e-3, 0.1, 3.0]))
def test_values_are_numbers_within_their_range(seed, size):
    params = RewardParams.model_validate({"terms": dict.fromkeys(ALL, 1.0)})
    generator = torch.Generator().manual_seed(seed)
    memories, depth_EM = begin(params, ZERO_EM), ZERO_EM
    for step in range(30):
        drawn = torch.randn(3, 3, generator=generator, dtype=torch.float64) * (step % 7 > 2)
        return_M, value_M, traded_M = (size * drawn[0]).tolist(), (400 * drawn[1]).tolist(), drawn[2].abs().tolist()
        depth_EM = drawdown(depth_EM, row(*return_M))
        bar = outcome(tuple(return_M), tuple(value_M[:2]), tuple(traded_M[:2]), tuple(depth_EM[0].tolist()))
        told = objectives(bar, params, memories)
        assert set(ALL) < told.keys()
        assert all(value_EM.isfinite().all() for value_EM in told.values())
        for name, (low, high) in RANGES.items():
            assert ((low - 1e-9 <= told[name]) & (told[name] <= high + 1e-9)).all(), name
        _, memories = reward(bar, params, memories)


@pytest.mark.parametrize("term", ["cost", "cvar", "drawdown", "market_impact", "volatility"])
def test_a_larger_weight_chooses_a_smaller_bet(term):
    """Of bets of 0 to 2 on returns of 2% mean and 5% deviation, the best is smaller the larger the weight is."""
    best = [_best_bet({term: weight}, profit=1.0) for weight in (0.0, 0.1, 1.0, 1000.0)]
    assert best == sorted(best, reverse=True)
    assert (best[0], best[-1]) == (2.0, 0.0)


def test_a_larger_aversion_chooses_a_smaller_bet():
    terms = ({"mean_variance": {"weight": 1.0, "aversion": aversion}} for aversion in (0.0, 10.0, 1000.0))
    best = [_best_bet(given, profit=0.0) for given in terms]
    assert 2.0 == best[0] > best[1] > best[2]


def _best_bet(terms: dict[str, Any], profit: float) -> float:
    """A copy for each bet: it is held in the first asset, and a tenth of it is traded in each bar."""
    generator = torch.Generator().manual_seed(1)
    market_T = 0.02 + 0.05 * torch.randn(150, generator=generator, dtype=torch.float64)
    params = RewardParams.model_validate({"profit": profit, "scale": 1.0, "terms": terms})
    bet_E1 = torch.linspace(0, 2, 21, dtype=torch.float64).unsqueeze(1)
    bet_EM, depth_EM = bet_E1 * row(1.0, 0.0, 0.0), bet_E1 * ZERO_EM
    memories, total_E = begin(params, depth_EM), torch.zeros(21)
    for move in market_T:
        depth_EM = drawdown(depth_EM, bet_EM * move)
        bar = outcomes(bet_EM * move, 500 * bet_EM[:, :2], 50 * bet_EM[:, :2], depth_EM)
        reward_EM, memories = reward(bar, params, memories)
        total_E = total_E + reward_EM[:, 0]
    return float(bet_E1[total_E.argmax()])


def test_diversification_chooses_an_even_book():
    """Of books with a part x in the better asset; the premium of that asset is 1% a bar."""

    def best(weight: float) -> float:
        params = RewardParams.model_validate({"scale": 1.0, "terms": {"diversification": weight}})
        books = {x: outcome((0.0, 0.0, 0.01 * x), (1000 * x, 1000 * (1 - x))) for x in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)}
        return max(books, key=lambda x: float(reward(books[x], params, ((),))[0][0, -1]))

    chosen = [best(weight) for weight in (0.0, 0.002, 0.01, 1.0)]
    assert chosen == sorted(chosen, reverse=True)
    assert (chosen[0], chosen[-1]) == (1.0, 0.5)


def test_exploration_prefers_what_was_seen_less():
    params = RewardParams.model_validate({"scale": 1.0, "terms": {"exploration": 1.0}})
    memories: Memories = begin(params, ZERO_EM)
    often, rarely = outcome(value_EN=(100.0, 0.0)), outcome(value_EN=(-100.0, 0.0))
    for _ in range(5):
        _, memories = reward(often, params, memories)
    assert reward(rarely, params, memories)[0][0, 0] > reward(often, params, memories)[0][0, 0]


def test_a_mean_of_equal_values_is_that_value_from_the_first_on():
    memory = nothing_yet(ZERO_EM)
    for _ in range(4):
        memory = averaged(memory, row(2.0, -1.0, 0.5), kept(10.0))
        assert memory[0][0].tolist() == pytest.approx([2.0, -1.0, 0.5])


def test_the_adaptive_scale_is_the_size_of_the_discounted_sum():
    """Half-life 1, discount 0.5: sums 2, then 0.5 x 2 + 4 = 5; mean squares 4, then (4 + 2 x 25) / 3 = 18."""
    params = AdaptiveParams(half_life=1.0, discount=0.5)
    first, memory = adaptive.scaled(row(2.0, 0.0, -8.0), adaptive.begin(ZERO_EM, ()), params)
    assert first[0].tolist() == [1.0, 0.0, -1.0]
    second, memory = adaptive.scaled(row(4.0, 0.0, 0.0), memory, params)
    assert second[0].tolist() == pytest.approx([4.0 / math.sqrt(18.0), 0.0, 0.0])
    anew = adaptive.begin(ZERO_EM, memory)
    assert anew[0].tolist() == ZERO_EM.tolist()
    assert anew[1] is memory[1]


def test_an_adaptive_reward_does_not_depend_on_its_unit_and_is_cut():
    def paid(scale: float, **given: float) -> list[float]:
        params = RewardParams.model_validate({"scale": scale, "adaptive": {"half_life": 50, **given}})
        memories, told = begin(params, ZERO_EM), []
        for r in (0.01, -0.02, 0.005, 0.5):
            reward_EM, memories = reward(outcome((r, 0.0, 0.0)), params, memories)
            told.append(float(reward_EM[0, 0]))
        return told

    assert paid(1.0) == pytest.approx(paid(1e4), rel=1e-6)
    assert max(map(abs, paid(1.0, most=0.5))) == 0.5


def plain_world(**given: Any) -> MarketEnv:
    """A random simulated market of short episodes, in which everybody is paid as the terms say."""
    traders = simulations.params(3)["traders"]
    paid = {name: {**trader, "joint": False, "risk_aversion": 0.0} for name, trader in traders.items()}
    return simulations.world(3, traders=paid, horizon=4, reward=given)


def test_memory_is_of_the_episode_but_for_counts_and_scale():
    terms = {
        "volatility": 1.0,
        "cvar": 1.0,
        "differential_sharpe": 1.0,
        "exploration": 1.0,
        "risk_adjusted_return": 1.0,
    }
    env = plain_world(terms=terms, adaptive={})
    env.reset(seed=0)
    for i in range(8):
        before = env.get_state()["state"]["terms"]
        done_E = env.step(random_actions(env, i)).done
        volatility, cvar, sharpe, exploration, adjusted, scale = env.get_state()["state"]["terms"]
        for tensor in (*volatility, *cvar, *sharpe, *exploration[:2], *adjusted, scale[0]):
            assert not tensor[done_E].any()
        assert (exploration[2].sum(-1) == i + 1).all()
        assert (volatility[1][~done_E] > 0).all()
        assert (scale[2] > before[5][2]).all()


def test_a_seeded_reset_forgets_everything_and_a_plain_one_the_episode():
    env = plain_world(terms={"exploration": 1.0}, adaptive={})
    env.reset(seed=0)
    env.step(random_actions(env, 0))
    env.reset()
    (_, _, count_EMB), (_, _, weight_E1) = env.get_state()["state"]["terms"]
    assert (count_EMB.sum(-1) == 1).all()
    assert (weight_E1 > 0).all()
    env.reset(seed=0)
    assert all(not tensor.any() for memory in env.get_state()["state"]["terms"] for tensor in memory)


def test_a_state_from_before_terms_had_a_memory_is_restored():
    env = plain_world()
    env.reset(seed=0)
    state = env.get_state()
    del state["state"]["terms"]
    env.set_state(state)
    env.step(random_actions(env, 0))


def test_the_market_tells_the_vector_of_its_last_step():
    env = plain_world(profit=2.0, scale=10.0, terms={"volatility": 0.5})
    with pytest.raises(RuntimeError, match="nothing has been stepped yet"):
        env.objectives()
    env.reset(seed=0)
    for i in range(6):
        env.step(random_actions(env, i))
        told = env.objectives()
        assert told.keys() == {"profit", "volatility"}
        nav_E = env.record.nav_E
        assert all(value_EM.shape == (len(nav_E), env.record.value_EN.shape[1] + 1) for value_EM in told.values())
