"""Advantages and n-step targets against numbers worked by hand, and against slow, obvious loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.returns import generalised_advantages, goes_on, n_step


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None, None]


def flags(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)[:, None, None]


def test_advantages_worked_by_hand():
    # gamma .5, lambda .5. delta: 1 + .5*2 - 1 = 1; 2 + .5*4 - 2 = 2; 3 + .5*6 - 4 = 2, where the fragment ends.
    advantage = generalised_advantages(
        column(1, 2, 3),
        column(1, 2, 4),
        column(2, 4, 6),
        flags(1, 1, 0),
        discount=0.5,
        trace_decay=0.5,
    )
    # 2; 2 + .25*2 = 2.5; 1 + .25*2.5 = 1.625
    np.testing.assert_allclose(advantage[:, 0, 0], [1.625, 2.5, 2.0])


def test_a_termination_bootstraps_nothing_and_cuts_the_trace():
    # Slot 0 terminates: next value 0. delta 0: 1 - 3 = -2; slot 1 belongs to another episode: 5 + .9*1 - 2 = 3.9.
    advantage = generalised_advantages(
        column(1, 5), column(3, 2), column(0, 1), flags(0, 0), discount=0.9, trace_decay=1.0
    )
    np.testing.assert_allclose(advantage[:, 0, 0], [-2.0, 3.9], rtol=1e-6)


def test_with_lambda_one_advantages_are_discounted_returns_less_values():
    reward, value = column(1, 1, 1), column(10, 20, 30)
    advantage = generalised_advantages(reward, value, column(20, 30, 40), flags(1, 1, 0), discount=0.5, trace_decay=1.0)
    # returns: 1 + .5*40 = 21; 1 + .5*21 = 11.5; 1 + .5*11.5 = 6.75
    np.testing.assert_allclose(advantage[:, 0, 0] + value[:, 0, 0], [6.75, 11.5, 21.0])


def test_n_step_worked_by_hand():
    # Slot 1 is the last of its episode: what starts at 0 sums two rewards, what starts at 2 ends with the fragment.
    target = n_step(column(1, 2, 4, 8), flags(1, 0, 1, 0), n=3, discount=0.5)
    np.testing.assert_allclose(target.reward[:, 0, 0], [2.0, 2.0, 8.0, 8.0])
    np.testing.assert_array_equal(target.last[:, 0, 0], [1, 1, 3, 3])
    np.testing.assert_array_equal(target.length[:, 0, 0], [2, 1, 2, 1])


def test_n_step_looks_n_slots_ahead_and_no_further():
    target = n_step(column(1, 1, 1, 1, 1), flags(1, 1, 1, 1, 0), n=2, discount=0.1)
    np.testing.assert_allclose(target.reward[:, 0, 0], [1.1, 1.1, 1.1, 1.1, 1.0])
    np.testing.assert_array_equal(target.last[:, 0, 0], [1, 2, 3, 4, 4])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 9), st.integers(1, 5))
def test_both_agree_with_obvious_loops(seed, slots, n):
    rng = np.random.default_rng(seed)
    shape, gamma, decay = (slots, 2, 3), 0.9, 0.7
    reward, value, next_value = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    continues = rng.random(shape) < 0.7
    continues[-1] = False
    advantage = generalised_advantages(reward, value, next_value, continues, discount=gamma, trace_decay=decay)
    target = n_step(reward, continues, n=n, discount=gamma)
    for copy, agent in np.ndindex(2, 3):
        at = np.s_[:, copy, agent]
        for slot in range(slots):
            expected, weight, k = 0.0, 1.0, slot
            while True:
                expected += weight * (reward[at][k] + gamma * next_value[at][k] - value[at][k])
                if not continues[at][k]:
                    break
                weight, k = weight * gamma * decay, k + 1
            np.testing.assert_allclose(advantage[at][slot], expected, rtol=1e-4, atol=1e-5)
            total, last = reward[at][slot], slot
            while last - slot + 1 < n and continues[at][last]:
                last += 1
                total += gamma ** (last - slot) * reward[at][last]
            np.testing.assert_allclose(target.reward[at][slot], total, rtol=1e-4, atol=1e-5)
            assert target.last[at][slot] == last


def test_an_episode_goes_on_only_into_a_complete_slot():
    terminated, truncated, valid = flags(0, 1, 0, 0, 0), flags(0, 0, 0, 0, 1), flags(1, 1, 1, 0, 0)
    np.testing.assert_array_equal(goes_on(terminated, truncated, valid)[:, 0, 0], [True, False, False, False, False])
