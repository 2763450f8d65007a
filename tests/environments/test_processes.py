"""Every process against what it says of itself: simulated steps agree with ``expected`` and ``variance``."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from environments.market.processes.autoregressive import AutoRegressive
from environments.market.processes.brownian import Brownian
from environments.market.processes.signals import MIN_GROWTH, SignalDriven
from environments.random import normal

SIGMA_3 = [[1.0, 0.6, 0.2], [0.6, 2.0, -0.4], [0.2, -0.4, 0.5]]
CORRELATION_3 = [[1.0, 0.6, 0.2], [0.6, 1.0, -0.4], [0.2, -0.4, 1.0]]
TWO_SIGNALS = {
    "loading": [[1.0, 0.5], [0.0, 2.0], [-1.0, 0.3]],
    "decay": [[0.1, 0.05], [-0.02, 0.4]],
    "innovation": [[0.02, 0.01], [0.01, 0.03]],
    "covariance": SIGMA_3,
}
CLASS_SIZE_3 = [[0.03, 0.01], [0.01, 0.04], [0.02, -0.02]]
SMALL_3 = [[1e-3, 6e-4, 2e-4], [6e-4, 2e-3, -4e-4], [2e-4, -4e-4, 5e-4]]
CASES = {
    "brownian": (Brownian, {"mu": 3.0, "sigma": 2.0}),
    "brownian, three": (
        Brownian,
        {"assets": 3, "mu": [1.0, -2.0, 0.0], "sigma": [1.0, 2.0, 5.0], "correlation": CORRELATION_3},
    ),
    "geometric brownian": (Brownian, {"mu": 0.8, "sigma": 0.9, "geometric": True}),
    "geometric brownian, three": (
        Brownian,
        {"assets": 3, "mu": 0.5, "sigma": [0.5, 0.8, 0.2], "correlation": CORRELATION_3, "geometric": True},
    ),
    "signal": (SignalDriven, {}),
    "two signals, three assets": (SignalDriven, TWO_SIGNALS),
    "three signals, one asset": (
        SignalDriven,
        {"loading": [[1.0, 2.0, 3.0]], "decay": [0.1, 0.5, 0.9], "innovation": [0.1, 0.2, 0.3]},
    ),
    "five signals, twelve assets": (
        SignalDriven,
        {"loading": [[(i + 1.0) * (k - 2.5) for k in range(5)] for i in range(12)], "decay": [0.1, 0.2, 0.3, 0.4, 0.5]},
    ),
    "geometric signals": (
        SignalDriven,
        {**TWO_SIGNALS, "loading": CLASS_SIZE_3, "covariance": SMALL_3, "geometric": True},
    ),
    "autoregressive": (AutoRegressive, {}),
    "autoregressive, two": (AutoRegressive, {"assets": 2, "level": [10.0, -5.0], "phi": [0.5, -0.9], "innovation": 2}),
    "geometric autoregressive": (AutoRegressive, {"phi": 0.8, "innovation": 0.1, "geometric": True}),
}
process_cases = pytest.mark.parametrize("name", CASES)


def built(name, years=0.25):
    kind, params = CASES[name]
    return kind(kind.Params(**params), years=years, device="cpu")


def draws(process, copies, bar, seed=3):
    return normal(seed, torch.arange(copies)[:, None], bar, torch.arange(process.draws))


def walk(process, copies, bars):
    """Prices and hidden columns after the start and ``bars`` steps."""
    price, hidden = process.start(draws(process, copies, 0))
    for bar in range(1, bars + 1):
        price, hidden = process.step(price, hidden, draws(process, copies, bar))
    return price, hidden


def moments(columns):
    """Mean products of the columns, pair by pair."""
    return columns.T @ columns / len(columns)


@process_cases
def test_the_next_price_has_the_mean_and_the_covariance_that_are_told(name):
    process = built(name)
    price, hidden = (row.expand(100_000, -1) for row in walk(process, 1, 3))
    expected = process.expected(price, hidden)
    surprise = process.step(price, hidden, draws(process, 100_000, 9))[0] - expected
    within = 4 * surprise.std(0) / math.sqrt(len(surprise))
    assert (surprise.mean(0).abs() < within).all()
    position = torch.linspace(1.0, -2.0, process.assets, dtype=torch.float64).expand_as(price)
    told = process.variance(position, price, hidden)[0]
    measured = position[0] * (moments(surprise) @ position[0])
    assert torch.allclose(told, measured, rtol=0.05, atol=0.02 * float(told.abs().sum()))
    assert told.sum().item() == pytest.approx((surprise @ position[0]).var().item(), rel=0.03)


@process_cases
def test_a_row_of_a_batch_is_the_row_alone_to_the_bit(name):
    process = built(name)
    states = [walk(process, copies, 4) for copies in (1, 2, 65)]
    for price, hidden in states:
        assert torch.equal(price[:1], states[0][0])
        assert torch.equal(hidden[:1], states[0][1])
    price, hidden = states[-1]
    row = slice(40, 41)
    alone, among = (price[row], hidden[row]), (price, hidden)
    for tell in (process.expected, process.observe, process.observe_shared):
        assert torch.equal(tell(*alone), tell(*among)[row])
    assert torch.equal(process.variance(price[row], *alone), process.variance(price, *among)[row])


@process_cases
def test_shapes_and_kinds(name):
    process = built(name)
    price, hidden = walk(process, 7, 1)
    assert price.shape == (7, process.assets)
    assert hidden.shape == (7, process.hidden)
    assert process.observe(price, hidden).shape == (7, process.assets, len(process.features))
    assert process.observe_shared(price, hidden).shape == (7, len(process.shared))
    assert {price.dtype, hidden.dtype, process.expected(price, hidden).dtype} == {torch.float64}


@pytest.mark.parametrize("name", [name for name in CASES if "brownian" not in name])
def test_what_is_hidden_is_as_at_the_start_after_many_bars(name):
    process = built(name)
    first, last = (walk(process, 20_000, bars)[1] for bars in (0, 25))
    scale = first.std(0)
    for state in (first, last):
        assert torch.allclose((state / scale).mean(0), torch.zeros(()).double(), atol=0.03)
    assert torch.allclose(moments(first / scale), moments(last / scale), atol=0.06)


@process_cases
def test_what_is_seen_is_standard(name):
    process = built(name)
    price, hidden = walk(process, 20_000, 5)
    seen = torch.cat([process.observe(price, hidden).flatten(1), process.observe_shared(price, hidden)], dim=1)
    assert torch.allclose(seen.mean(0), torch.zeros(()).double(), atol=0.03)
    assert torch.allclose(moments(seen).diagonal(), torch.ones(()).double(), atol=0.06)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("geometric")])
def test_a_geometric_price_stays_positive(name):
    process = built(name)
    assert process.positive
    assert (walk(process, 5_000, 30)[0] > 0).all()


def test_a_signal_that_foretells_ruin_leaves_a_positive_price():
    process = SignalDriven(SignalDriven.Params(geometric=True, covariance=0.01), years=1.0, device="cpu")
    price, hidden = torch.full((1, 1), 50.0).double(), torch.full((1, 1), -7.0).double()
    assert process.expected(price, hidden).item() == pytest.approx(50.0 * MIN_GROWTH)
    assert process.step(price, hidden, torch.zeros(1, 2).double())[0].item() > 0


def test_the_length_of_a_bar_scales_brownian_motion_and_nothing_else():
    short, long = built("brownian", years=0.01), built("brownian", years=1.0)
    price, none = torch.zeros(1, 1).double(), torch.zeros(1, 0).double()
    one = torch.ones(1, 1).double()
    assert short.step(price, none, one)[0].item() == pytest.approx(3.0 * 0.01 + 2.0 * 0.1)
    assert long.step(price, none, one)[0].item() == pytest.approx(3.0 + 2.0)
    assert short.variance(one, price, none).item() == pytest.approx(0.04)
    for name in ("signal", "autoregressive"):
        assert torch.equal(walk(built(name, years=0.01), 3, 4)[0], walk(built(name, years=1.0), 3, 4)[0])


def test_signals_by_hand():
    params = {"loading": [[2.0, 0.0]], "decay": [[0.5, 0.1], [0.0, 0.25]], "innovation": [4.0, 9.0], "covariance": 16.0}
    process = SignalDriven(SignalDriven.Params(**params), years=1.0, device="cpu")
    price, hidden = torch.tensor([[100.0]]).double(), torch.tensor([[3.0, 8.0]]).double()
    price, hidden = process.step(price, hidden, torch.tensor([[1.0, -1.0, 0.5]]).double())
    assert price.tolist() == [[100.0 + 2.0 * 3.0 + 4.0 * 0.5]]
    assert hidden[0].tolist() == pytest.approx([0.5 * 3.0 - 0.1 * 8.0 + 2.0, 0.75 * 8.0 - 3.0])
    one = SignalDriven(SignalDriven.Params(), years=1.0, device="cpu")
    assert one.observe_shared(price, torch.tensor([[0.1]]).double()).item() == pytest.approx(1.0)  # sd .1, as in G1


def test_the_spread_by_hand():
    process = built("autoregressive")
    price, hidden = torch.tensor([[96.0]]).double(), torch.tensor([[-4.0]]).double()
    assert process.expected(price, hidden).item() == pytest.approx(96.2)
    assert process.observe(price, hidden).item() == pytest.approx(-4.0 / 3.2026, rel=1e-4)
    pushed = process.step(price + 5.0, hidden, torch.tensor([[1.0]]).double())[0]
    assert pushed.item() == pytest.approx(101.0 + 0.2 + 1.0)  # what trading pushed stays pushed


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (Brownian, {"assets": 2, "mu": [1.0]}, "mu has 1 numbers; give one for all or 2"),
        (Brownian, {"assets": 2, "sigma": [1.0, -1.0]}, "it is a standard deviation, at least 0"),
        (Brownian, {"price": 0.0, "geometric": True}, "a geometric price starts above 0"),
        (Brownian, {"assets": 2, "correlation": [[1.0, 0.5]]}, "correlation must be a 2 x 2 matrix"),
        (Brownian, {"assets": 2, "correlation": [[1.0, 0.5], [0.4, 1.0]]}, "correlation must be symmetric"),
        (Brownian, {"assets": 2, "correlation": [[1.0, 1.5], [1.5, 1.0]]}, "correlation must be positive definite"),
        (Brownian, {"assets": 2, "correlation": [[2.0, 0.5], [0.5, 2.0]]}, "ones on its diagonal"),
        (SignalDriven, {"loading": [[1.0, 2.0], [1.0]]}, "loading must be a 2 x 2 matrix"),
        (SignalDriven, {"loading": []}, "loading is empty"),
        (SignalDriven, {"loading": [[]]}, "loading is empty"),
        (SignalDriven, {"decay": 2.1}, r"spectral radius 1\.1"),
        (SignalDriven, {"decay": 0.0}, "signals fade only below 1"),
        (SignalDriven, {"decay": [0.1, 0.2]}, "decay has 2 rows; give a number, 1 numbers or a 1 x 1 matrix"),
        (SignalDriven, {"innovation": 0.0}, "innovation must be positive definite"),
        (SignalDriven, {"covariance": [[1.0, 0.0], [0.0, 1.0]]}, "covariance must be a 1 x 1 matrix"),
        (SignalDriven, {"price": -1.0, "geometric": True}, "a geometric price starts above 0"),
        (AutoRegressive, {"phi": 1.0}, "phi is 1.0; a deviation fades only with phi above -1 and below 1"),
        (AutoRegressive, {"innovation": 0.0}, "a standard deviation above 0"),
        (AutoRegressive, {"level": 0.0, "geometric": True}, "the level of a geometric price is above 0"),
        (AutoRegressive, {"assets": 3, "phi": [0.1, 0.2]}, "phi has 2 numbers; give one for all or 3"),
    ],
)
def test_a_process_refuses_what_it_cannot_follow(kind, params, message):
    with pytest.raises(ValidationError, match=message):
        kind.Params(**params)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.floats(0.01, 5.0), st.booleans())
def test_a_number_a_list_and_a_matrix_say_the_same(signals, variance, geometric):
    loading = [[0.01] * signals]
    forms = (variance, [variance] * signals, [[variance * (i == j) for j in range(signals)] for i in range(signals)])
    walks = []
    for form in forms:
        params = SignalDriven.Params(loading=loading, innovation=form, covariance=0.01, geometric=geometric)
        walks.append(walk(SignalDriven(params, years=1.0, device="cpu"), 2, 3))
    assert all(torch.equal(price, walks[0][0]) and torch.equal(hidden, walks[0][1]) for price, hidden in walks)
