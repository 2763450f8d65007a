from itertools import pairwise

import pytest
import torch
from torch import Tensor

from environments.market.fusion import Spoken, follow, fuse, voices
from tests.environments.markets import FREE, by_hand, market


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_equal_performances_are_heard_alike_and_the_better_one_more():
    assert voices(row(0.3, 0.3), 0.1).tolist() == [[0.5, 0.5]]
    heard = voices(row(0.2, 0.1), 0.1)
    assert heard[0, 0] / heard[0, 1] == pytest.approx(torch.e)


def test_signals_are_weighed_and_one_order_is_enough():
    signal_JEA = torch.stack([row(1.0, 0.5), row(-1.0, 0.5)])
    asks_JEA = torch.tensor([[[True, False]], [[False, False]]])
    heard = fuse(Spoken(signal_JEA, asks_JEA), row(0.75, 0.25).T.unsqueeze(-1))
    assert heard.signal_EA.tolist() == [[0.5, 0.5]]
    assert heard.asks_EA.tolist() == [[True, False]]
    assert heard.voice_JEA.tolist() == [[[0.75, 0.75]], [[0.25, 0.25]]]


def test_performance_is_an_exponential_mean_with_the_given_half_life():
    score_EJ = row(1.0, 1.0)
    signal_JEA = torch.stack([row(1.0, 1.0), row(-1.0, 0.0)])
    for _ in range(3):
        score_EJ = follow(score_EJ, signal_JEA, row(2.0, 0.0), half_life=3.0)
    assert score_EJ[0].tolist() == pytest.approx([0.5 * 1 + 0.5 * 1.0, 0.5 * 1 + 0.5 * -1.0])


def test_of_two_traders_on_a_rising_class_the_one_that_buys_is_heard_more_and_more():
    close = [100 * 1.01**t * (1 + 0.001 * (t % 2)) for t in range(40)]
    traders = {
        "bull": {"asset_class": "stocks", "action": "continuous"},
        "bear": {"asset_class": "stocks", "action": "continuous"},
        "coins": {"asset_class": "crypto", "action": "continuous"},
    }
    env = market(
        by_hand({"stocks/UP": (close, close), "crypto/FLAT": ([5.0] * 40, [5.0] * 40)}),
        traders=traders,
        horizon=None,
        warmup=5,
        costs={"stocks": FREE, "crypto": FREE},
        fusion={"half_life": 5, "temperature": 0.2},
    )
    env.reset()
    asked = []
    for _ in range(39):
        up, none = torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
        env.step({"bull": up, "bear": -up, "coins": none, "allocator": torch.zeros(1, 1, 3)})
        asked.append(env.record.signal_EN[0, 0].item())
    assert asked[:5] == [0.0] * 5  # four bars of warm-up, and nobody has been right yet
    assert all(late >= early for early, late in pairwise(asked))
    assert asked[-1] > 0.9
