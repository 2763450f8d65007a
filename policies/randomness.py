"""Random streams for code that draws from the process-wide generators.

RLlib's Learners and action distributions draw from the global generators of torch, NumPy and Python. A ``RandomStream``
lends them a stream of its own for the time of a block and then gives the process its own state back, so that a run
neither
depends on what else drew numbers nor disturbs it, and its stream can be saved and restored.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def _global_state() -> dict[str, Any]:
    """The legacy NumPy generator is RLlib's: it is saved and restored here, never drawn from."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002  (the generator RLlib's minibatch shuffling uses)
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_global_state(state: Mapping[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


class RandomStream:
    """A stream of randomness for everything inside ``with stream.active():``."""

    def __init__(self, seed: int) -> None:
        outside = _global_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        self._state = _global_state()
        _set_global_state(outside)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Lends the process this stream; keeps where it got to, also when the block raises."""
        outside = _global_state()
        _set_global_state(self._state)
        try:
            yield
        finally:
            self._state = _global_state()
            _set_global_state(outside)

    def get_state(self) -> dict[str, Any]:
        """Where the stream stands."""
        return dict(self._state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues from where ``get_state`` was called."""
        self._state = dict(state)
