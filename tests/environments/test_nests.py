"""Nests: what is taken apart is put together again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market.nests import leaves, lone, maker


@dataclass(frozen=True)
class Inner:
    one: Tensor
    none: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner
    named: dict[str, Tensor]
    twice: tuple[tuple[Tensor, Tensor], ...]


def nest(start: int) -> Outer:
    tensors = [torch.tensor(start + i) for i in range(4)]
    return Outer(Inner(tensors[0]), {"b": tensors[1], "a": tensors[2]}, ((tensors[3], tensors[0]),))


def test_leaves_are_in_the_order_of_fields_and_a_tensor_that_is_there_twice_is_told_twice() -> None:
    assert [int(leaf) for leaf in leaves(nest(0))] == [0, 1, 2, 3, 0]


def test_what_is_made_of_the_leaves_is_the_nest_again() -> None:
    like, other = nest(0), nest(10)
    assert maker(like, iter(range(5)))(leaves(other)) == other


def test_a_tensor_that_is_there_twice_is_not_alone() -> None:
    made = nest(0)
    assert lone(made) == {id(tensor) for tensor in leaves(made)} - {id(made.inner.one)}


def test_a_tensor_may_be_taken_from_the_same_place_twice() -> None:
    tensors = [torch.tensor(i) for i in range(4)]
    made = maker(nest(0), iter([3, 2, 1, 0, 3]))(tensors)
    assert [int(leaf) for leaf in leaves(made)] == [3, 2, 1, 0, 3]
    assert list(made.named) == ["b", "a"]
