"""Nests of tensors (dataclasses, mappings and tuples in each other), taken apart and put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from torch import Tensor


def leaves(value: Any) -> list[Tensor]:
    """All tensors, in their order."""
    found: list[Tensor] = []
    _gather(value, found)
    return found


def lone(value: Any) -> frozenset[int]:
    """The tensors that are there once, by their ``id``."""
    return frozenset(key for key, count in Counter(map(id, leaves(value))).items() if count == 1)


def _gather(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    else:
        for part in value if isinstance(value, tuple) else _fields(value).values():
            _gather(part, found)


def maker(like: Any, places: Iterator[int]) -> Callable[[Sequence[Tensor]], Any]:
    """What makes another such nest of a sequence of tensors: made once, for a nest is made in every step.

    Args:
        like: A nest.
        places: Where in the sequence each of its tensors is, in the order of ``leaves``.
    """
    if isinstance(like, Tensor):
        return itemgetter(next(places))
    if isinstance(like, tuple):
        makers = [maker(part, places) for part in like]
        return lambda tensors: tuple([make(tensors) for make in makers])
    named = [(name, maker(part, places)) for name, part in _fields(like).items()]
    if isinstance(like, dict):
        return lambda tensors: {name: make(tensors) for name, make in named}
    kind = type(like)

    def made(tensors: Sequence[Tensor]) -> Any:
        nest = object.__new__(kind)  # as a frozen dataclass's own __init__ does, which takes three times as long
        vars(nest).update([(name, make(tensors)) for name, make in named])
        return nest

    return made


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else vars(value)
