from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.market.risk import Classes, Limits, capped, classes_of

CLASSES = Classes(torch.tensor([0, 0, 1]), torch.tensor([2, 1]))
LIMITS = Limits(max_position=0.4, max_class=0.6, max_gross=0.9)


def cap(*weight: float) -> list[float]:
    return capped(torch.tensor([weight], dtype=torch.float64), CLASSES, LIMITS)[0].tolist()


def test_a_position_is_clipped_on_either_side():
    assert cap(0.5, 0.0, 0.0) == [0.4, 0, 0]
    assert cap(0.0, 0.0, -0.5) == [0, 0, -0.4]


def test_a_class_is_scaled_by_its_absolute_sum():
    assert cap(0.4, -0.4, 0.1) == pytest.approx([0.3, -0.3, 0.1])


def test_gross_scales_everything_that_the_classes_left():
    assert cap(0.4, -0.4, 0.4) == pytest.approx([0.27, -0.27, 0.36])


def test_what_is_within_the_caps_is_left_alone_to_the_bit():
    weights = (0.1 + 1e-17, -1 / 3, 0.3)
    assert cap(*weights) == list(weights)
    assert cap(0, 0, 0) == [0, 0, 0]


def test_classes_sum_and_spread():
    value_EN = torch.tensor([[1.0, 2, 4], [8, 16, 32]], dtype=torch.float64)
    assert CLASSES.sums(value_EN).tolist() == [[3, 4], [24, 32]]
    assert CLASSES.spread(CLASSES.sums(value_EN)).tolist() == [[3, 3, 4], [24, 24, 32]]


@settings(max_examples=50, deadline=None)
@given(
    weight=st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    limits=st.tuples(*[st.floats(0.01, 2)] * 3),
)
def test_all_caps_hold(weight, limits):
    weight_EN = torch.tensor([weight], dtype=torch.float64)
    out_EN = capped(weight_EN, CLASSES, Limits(*limits))
    room = 1 + 1e-12
    assert (out_EN.abs() <= limits[0] * room).all()
    assert (CLASSES.sums(out_EN.abs()) <= limits[1] * room).all()
    assert out_EN.abs().sum() <= limits[2] * room
    assert (out_EN * weight_EN >= 0).all()
    assert (out_EN.abs() <= weight_EN.abs()).all()


@pytest.mark.parametrize("class_N", [[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2]], ids=["even", "uneven"])
def test_values_are_spread_alike_by_comparisons_and_by_looking_them_up(class_N: list[int]) -> None:
    classes = classes_of(torch.tensor(class_N))
    value_EK = torch.tensor([[1.0, -2.0, torch.inf, 9.0], [torch.nan, 0.0, 3.0, 9.0]], dtype=torch.float64)
    spread_EN = classes.spread(value_EK)
    torch.testing.assert_close(
        replace(classes, number_N=classes.class_N.double()).spread(value_EK), spread_EN, rtol=0, atol=0, equal_nan=True
    )
    assert spread_EN[0].tolist() == [value_EK[0, i].item() for i in class_N]
