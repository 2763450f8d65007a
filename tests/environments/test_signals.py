from typing import Any

import pytest
import torch
from torch import Tensor

from environments.market.config_traders import Action, TraderParams
from environments.market.signals import action_space, dialect


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def trader(kind: Action, **params: Any) -> TraderParams:
    return TraderParams(asset_class="stocks", action=kind, **params)


def read(kind: Action, action: Tensor, held_EA: Tensor, lowest: float) -> tuple[Tensor, Tensor]:
    return dialect([(trader(kind), lowest)] * held_EA.shape[1], "cpu").read(action.double(), held_EA)


def test_a_trade_moves_what_is_held_by_half_a_sleeve():
    signal_EA, moved_EA = read("trade", torch.tensor([[0, 1, 2, 2, 0]]), row(0.2, 0.2, 0.2, 0.8, -0.7), -1.0)
    assert signal_EA[0].tolist() == pytest.approx([-0.3, 0.2, 0.7, 1.0, -1.0])
    assert moved_EA.tolist() == [[True, False, True, True, True]]


def test_a_sale_stops_at_nothing_where_shorting_is_off():
    signal_EA, _ = read("trade", torch.tensor([[0, 0]]), row(0.2, 0.8), 0.0)
    assert signal_EA[0].tolist() == pytest.approx([0.0, 0.3])


@pytest.mark.parametrize(("lowest", "levels"), [(-1.0, [-1, -0.5, 0, 0.5, 1]), (0.0, [0, 0.25, 0.5, 0.75, 1])])
def test_five_levels(lowest, levels):
    signal_EA, moved_EA = read("levels", torch.arange(5)[None], row(0, 0, 0, 0, 0), lowest)
    assert signal_EA[0].tolist() == levels
    assert moved_EA.all()


@pytest.mark.parametrize(("lowest", "signals"), [(-1.0, [-1, -0.5, 0, 1, 1]), (0.0, [0, 0.25, 0.5, 1, 1])])
def test_a_continuous_action_is_clipped_and_stretched(lowest, signals):
    signal_EA, moved_EA = read("continuous", row(-1.0, -0.5, 0.0, 1.0, 7.0), row(0, 0, 0, 0, 0), lowest)
    assert signal_EA[0].tolist() == signals
    assert moved_EA.all()


KINDS: list[tuple[Action, float]] = [
    ("trade", -1.0),
    ("levels", 0.0),
    ("continuous", -1.0),
    ("adjust", -1.0),
    ("quotes", -1.0),
]


def test_a_notch_is_the_traders_own():
    bold = dialect([(trader("trade", notch=2.0), -1.0), (trader("adjust", notch=0.1), 0.0)], "cpu")
    assert bold.read(row(2, -0.5), row(-1, 0.02))[0].tolist() == [[1.0, 0.0]]
    assert bold.read(row(2, -0.5), row(-1, 0.52))[0][0].tolist() == pytest.approx([1.0, 0.47])


def test_as_many_levels_as_asked_for():
    three = dialect([(trader("levels", levels=3), -1.0)] * 3, "cpu")
    assert three.read(row(0, 1, 2), row(0, 0, 0))[0].tolist() == [[-1, 0, 1]]


def test_agents_of_all_kinds_are_read_at_once():
    mixed = dialect([(trader(kind), lowest) for kind, lowest in KINDS], "cpu")
    signal_EM, asks_EM = mixed.read(row(1, 1, 1, 1, 0), row(0.3, 0.3, 0.3, -0.3, 0.3))
    assert signal_EM.tolist() == [[0.3, 0.25, 1.0, 0.2, 0.3]]
    assert asks_EM.tolist() == [[False, True, True, True, False]]


def test_spaces():
    assert action_space(trader("trade"), 4).n == 3
    assert action_space(trader("levels"), 4).n == 5
    assert action_space(trader("levels", levels=3), 4).n == 3
    assert action_space(trader("continuous"), 4).shape == (1,)
    assert action_space(trader("adjust", joint=True), 4).shape == (4,)
    assert action_space(trader("quotes"), 4).shape == (2,)
