import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.random import _mix, _signed, uniform


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


def test_without_a_tensor_there_is_no_shape():
    with pytest.raises(TypeError, match="no counter is a tensor"):
        uniform(0, 1, 2)
