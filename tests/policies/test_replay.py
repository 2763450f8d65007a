"""The ring buffer: what is kept, what is drawn, what is allocated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.replay import ReplayBuffer


def rows(values) -> dict[str, np.ndarray]:
    values = np.asarray(values)
    return {"a": values.astype(np.float32)[:, None], "b": values.astype(np.int64)}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_it_keeps_the_last_transitions_and_keeps_columns_together(capacity, counts):
    buffer, start = ReplayBuffer(capacity, seed=0), 0
    for count in counts:
        buffer.add(rows(np.arange(start, start + count)))
        start += count
    drawn = buffer.sample(400)
    assert set(drawn["b"].tolist()) <= set(range(max(0, start - capacity), start))
    np.testing.assert_array_equal(drawn["a"][:, 0].astype(np.int64), drawn["b"])
    assert (buffer.size, buffer.added) == (min(capacity, start), start)


def test_every_transition_is_drawn_alike():
    buffer = ReplayBuffer(10, seed=1)
    buffer.add(rows(np.arange(25)))
    share = np.bincount(buffer.sample(100_000)["b"], minlength=25) / 100_000
    np.testing.assert_allclose(share[15:], 0.1, atol=0.005)
    assert share[:15].sum() == 0


def test_memory_is_allocated_as_it_fills_and_never_beyond_the_capacity():
    buffer = ReplayBuffer(1_000_000, seed=0)
    assert buffer.allocated == 0
    buffer.add(rows(np.arange(100)))
    assert buffer.allocated < 10_000
    small = ReplayBuffer(50, seed=0)
    small.add(rows(np.arange(200)))
    assert small.allocated == 50


def test_a_restored_buffer_draws_the_same_and_wraps_at_the_same_place():
    buffer, other = ReplayBuffer(16, seed=3), ReplayBuffer(16, seed=99)
    buffer.add(rows(np.arange(21)))
    other.set_state(buffer.get_state())
    for _ in range(3):
        buffer.add(rows(np.arange(100, 105)))
        other.add(rows(np.arange(100, 105)))
        np.testing.assert_array_equal(buffer.sample(64)["b"], other.sample(64)["b"])


def test_restoring_into_another_capacity_is_refused():
    buffer = ReplayBuffer(16, seed=0)
    buffer.add(rows(np.arange(40)))
    for capacity in (8, 32):
        with pytest.raises(ValueError, match="restore with the replay_size it was saved with"):
            ReplayBuffer(capacity, seed=0).set_state(buffer.get_state())


def test_drawing_from_an_empty_buffer_is_refused():
    with pytest.raises(ValueError, match="empty replay buffer"):
        ReplayBuffer(4, seed=0).sample(1)
