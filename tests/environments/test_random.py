import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.random import _mix, _signed, normal, uniform


def test_the_mixing_function_is_splitmix64():
    first = _mix(torch.tensor([_signed(0x9E3779B97F4A7C15)]))  # the generator's first step from seed 0
    assert first.item() % 2**64 == 0xE220A8397B1DCDAF


def test_the_draws_are_uniform_and_do_not_hang_together():
    draw = uniform(7, torch.arange(300)[:, None], torch.arange(300), 1)
    assert draw.mean().item() == pytest.approx(0.5, abs=0.005)
    assert draw.var().item() == pytest.approx(1 / 12, abs=0.001)
    assert abs(torch.corrcoef(draw[:2])[0, 1].item()) < 0.2
    assert abs(torch.corrcoef(draw.T[:2])[0, 1].item()) < 0.2


@settings(max_examples=30, deadline=None)
@given(st.integers(-(2**70), 2**70), st.integers(0, 50), st.integers(0, 5))
def test_a_draw_depends_on_its_own_counters_only(seed, copy, stream):
    alone = uniform(seed, torch.tensor([copy]), stream)
    among = uniform(seed, torch.arange(60), stream)
    assert torch.equal(among[copy : copy + 1], alone)
    assert ((among >= 0) & (among < 1)).all()
    assert not torch.equal(among, uniform(seed, torch.arange(60), stream + 1))
    assert not torch.equal(among, uniform(seed + 1, torch.arange(60), stream))


def test_the_order_of_counters_matters():
    one, two = torch.tensor([1]), torch.tensor([2])
    assert uniform(0, one, two) != uniform(0, two, one)


def test_no_two_words_make_up_for_each_other():
    copies, columns = torch.arange(64)[:, None], torch.arange(8)
    draws = [
        uniform(seed, copies, stream, columns, bar) for seed in range(4) for stream in range(4) for bar in range(4)
    ]
    flat = torch.stack(draws).flatten()
    assert len(flat.unique()) == len(flat)


def test_without_a_tensor_there_is_no_shape():
    with pytest.raises(TypeError, match="no counter is a tensor"):
        uniform(0, 1, 2)


def test_normal_draws_are_normal():
    draw = normal(7, torch.arange(1000)[:, None], torch.arange(1000))
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert (draw**power).mean().item() == pytest.approx(moment, abs=0.03)
    assert (draw.abs() < 1.959964).double().mean().item() == pytest.approx(0.95, abs=0.001)
    assert draw.isfinite().all()


@settings(max_examples=30, deadline=None)
@given(st.integers(-(2**70), 2**70), st.integers(0, 50))
def test_a_normal_draw_is_the_uniform_one_of_the_same_rank(seed, copy):
    among, rank = normal(seed, torch.arange(60), 4), uniform(seed, torch.arange(60), 4)
    assert torch.equal(among, normal(seed, torch.arange(60), 4))
    assert torch.equal(among[copy : copy + 1], normal(seed, torch.tensor([copy]), 4))
    assert torch.equal(among.argsort(), rank.argsort())


@pytest.mark.parametrize(("rank", "deviations"), [(0.0, -8.29), (1.0 - 2.0**-53, 8.21)])
def test_the_ends_of_the_uniform_draw_are_finite_normal_ones(monkeypatch, rank, deviations):
    monkeypatch.setattr("environments.random.uniform", lambda *_: torch.tensor([rank], dtype=torch.float64))
    assert normal(0, 0).item() == pytest.approx(deviations, abs=0.01)
