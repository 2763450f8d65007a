"""Random numbers from counters: no generator, no state, so copy i of a batch draws what it would draw alone.

The mixing function is SplitMix64 (Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators"),
in wrapping int64 arithmetic: the same bits on every device.
"""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor

Seed = int | Tensor
"""Any integer, it counts modulo 2^64; or the int64 tensor of ``seed_tensor``, which draws the same."""

_WRAP = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def uniform(seed: Seed, *counters: Tensor | int) -> Tensor:
    """Draws one uniform number in [0, 1) for each tuple of counters.

    Args:
        seed: See ``Seed``.
        counters: int64 tensors (or integers) that broadcast against each other: what makes this draw its own, such as
            the copy's index, the episode and the stream. At least one is a tensor.

    Returns:
        float64 of the counters' common shape, a multiple of 2^-53.
    """
    if not any(isinstance(counter, Tensor) for counter in counters):
        raise TypeError("uniform: no counter is a tensor; give at least one, it says the device and the shape")
    # Every word is mixed in before the next one: else seed 1, copy 0 would draw what seed 0, copy 1 draws.
    state: Tensor | int = _next(seed)
    for counter in counters:
        state = _next(state ^ (counter if isinstance(counter, Tensor) else _signed(counter)))
    assert isinstance(state, Tensor)
    return _shifted(state, 11).double() * 2.0**-53


def normal(seed: Seed, *counters: Tensor | int) -> Tensor:
    """Draws one standard normal number for each tuple of counters: the inverse distribution of ``uniform``.

    Args:
        seed: As of ``uniform``.
        counters: As of ``uniform``; the same counters give the normal number of the same rank.

    Returns:
        float64 of the counters' common shape, always finite: between -8.3 and 8.3.
    """
    # Zero stands for the middle of its interval [0, 2^-53); one is never drawn.
    return torch.special.ndtri(uniform(seed, *counters).clamp(min=2.0**-54))


@overload
def _next(state: int) -> int: ...
@overload
def _next(state: Tensor) -> Tensor: ...
@overload
def _next(state: Tensor | int) -> Tensor | int: ...
def _next(state: Tensor | int) -> Tensor | int:
    if isinstance(state, Tensor):
        return _mix(state + _signed(_GOLDEN))
    return _signed(_mix_one((state + _GOLDEN) % _WRAP))


def _mix_one(word: int) -> int:
    """``_mix`` of a word that is the same for all: on the host, in Python's integers."""
    word = (word ^ (word >> 30)) * _MIX_1 % _WRAP
    word = (word ^ (word >> 27)) * _MIX_2 % _WRAP
    return word ^ (word >> 31)


def _mix(word: Tensor) -> Tensor:
    word = (word ^ _shifted(word, 30)) * _signed(_MIX_1)
    word = (word ^ _shifted(word, 27)) * _signed(_MIX_2)
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, bits: int) -> Tensor:
    """A shift right that fills with zeros: torch's own fills with the sign."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def seed_tensor(seed: Seed) -> Tensor:
    """A seed for a compiled function, in which an integer would be a constant: int64 of no dimensions."""
    return seed if isinstance(seed, Tensor) else torch.tensor(_signed(seed))


def _signed(word: int) -> int:
    """The int64 with the same 64 bits."""
    return (word + (_WRAP >> 1)) % _WRAP - (_WRAP >> 1)
