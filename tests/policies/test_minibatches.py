"""Minibatches: every row as often as any other, in parts of equal size."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.minibatches import minibatches


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 80), st.integers(0, 2**63 - 1))
def test_every_row_is_used_once_an_epoch_in_equal_parts(count, epochs, size, seed):
    parts = minibatches(count, epochs=epochs, size=size, seed=seed, device="cpu")
    lengths = [len(part) for part in parts]
    assert len(parts) == math.ceil(count * epochs / size)
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    order = torch.cat(list(parts)).view(epochs, count)
    assert torch.equal(order.sort(dim=1).values, torch.arange(count).expand(epochs, count))


def test_the_order_is_the_seeds_alone_and_changes_from_epoch_to_epoch():
    torch.manual_seed(1)
    one = torch.cat(list(minibatches(50, epochs=2, size=7, seed=3, device="cpu")))
    torch.manual_seed(2)
    again = torch.cat(list(minibatches(50, epochs=2, size=7, seed=3, device="cpu")))
    other = torch.cat(list(minibatches(50, epochs=2, size=7, seed=4, device="cpu")))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[:50], one[50:])
