"""Returns from columns: generalised advantages and n-step targets, as pure functions of (S, E, A) arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policies.rollout import Bools, Floats, Ints


def generalised_advantages(
    reward_SEA: Floats,
    value_SEA: Floats,
    next_value_SEA: Floats,
    goes_on_SEA: Bools,
    *,
    discount: float,
    trace_decay: float,
) -> Floats:
    """Generalised advantage estimates (Schulman et al. 2016, equation 16), per agent along the slots.

    Args:
        reward_SEA: Reward of each slot.
        value_SEA: Value of what the slot's decision saw.
        next_value_SEA: Value of what followed; 0 after a termination, the critic's value after a truncation.
        goes_on_SEA: The next slot is complete and belongs to the same episode; the trace is cut where it is not.
        discount: Discount per decision, gamma.
        trace_decay: Lambda.

    Returns:
        Advantages (S, E, A); the value targets are these plus ``value_SEA``.
    """
    delta_SEA = reward_SEA + discount * next_value_SEA - value_SEA
    decay_SEA = (discount * trace_decay) * goes_on_SEA
    advantage_SEA = np.empty_like(delta_SEA)
    advantage_EA = np.zeros_like(delta_SEA[0])
    for slot in range(len(delta_SEA) - 1, -1, -1):
        advantage_EA = delta_SEA[slot] + decay_SEA[slot] * advantage_EA
        advantage_SEA[slot] = advantage_EA
    return advantage_SEA.astype(np.float32, copy=False)


class NStep(NamedTuple):
    """n-step targets of each slot, all (S, E, A).

    Attributes:
        reward: Discounted sum of the rewards of ``length`` slots.
        last: The last slot that went into it: what followed that slot is bootstrapped from.
        length: How many slots went into it: n, or fewer before the end of the episode or the fragment.
    """

    reward: Floats
    last: Ints
    length: Ints


def n_step(reward_SEA: Floats, goes_on_SEA: Bools, *, n: int, discount: float) -> NStep:
    """n-step returns (Sutton & Barto 2018, section 7.1), cut at the end of an episode and of the fragment.

    Args:
        reward_SEA: Reward of each slot.
        goes_on_SEA: The next slot is complete and belongs to the same episode.
        n: Slots to look ahead, at least 1.
        discount: Discount per decision, gamma.

    Returns:
        The targets' parts; the bootstrap is discounted by ``discount ** length``.
    """
    slots = len(reward_SEA)
    total_SEA = reward_SEA.copy()
    last_SEA = np.broadcast_to(np.arange(slots)[:, None, None], reward_SEA.shape).copy()
    reach_SEA = np.ones(reward_SEA.shape, dtype=bool)
    for ahead in range(1, min(n, slots)):
        here = slots - ahead
        reach_SEA[:here] &= goes_on_SEA[ahead - 1 : slots - 1]
        reach_SEA[here:] = False
        total_SEA[:here] += np.where(reach_SEA[:here], discount**ahead * reward_SEA[ahead:], 0.0)
        last_SEA[reach_SEA] += 1
    length_SEA = last_SEA - np.arange(slots)[:, None, None] + 1
    return NStep(total_SEA.astype(np.float32, copy=False), last_SEA, length_SEA)


def goes_on(terminated_SEA: Bools, truncated_SEA: Bools, valid_SEA: Bools) -> Bools:
    """Whether the next slot is complete and belongs to the same episode, (S, E, A)."""
    next_valid_SEA = np.zeros_like(valid_SEA)
    next_valid_SEA[:-1] = valid_SEA[1:]
    return next_valid_SEA & ~(terminated_SEA | truncated_SEA)
