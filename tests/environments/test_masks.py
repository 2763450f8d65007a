"""Masks as numbers: the same results to the bit, without what is slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from environments.market.masks import LOGIC, masks_as_numbers

TABLE = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(1)) > 0.5  # (T, 4, N), as a panel's flags lie

Function = Callable[..., Sequence[Tensor]]


def choices(a: Tensor, b: Tensor, mask: Tensor, bar: Tensor) -> Sequence[Tensor]:
    both = (a > b) & mask
    return [torch.where(both, a, b), torch.where(both | (a > 0.5), torch.nan, b), torch.where(mask, torch.inf, a)]


def rows_of_a_table(a: Tensor, b: Tensor, mask: Tensor, bar: Tensor) -> Sequence[Tensor]:
    listed, trades, active, _ = TABLE.index_select(0, bar).unbind(1)
    filled = (mask | listed) & trades
    return [torch.where(filled, a, b), active, *active.split_with_sizes([2, 4], dim=1), filled]


def masks_that_are_told(a: Tensor, b: Tensor, mask: Tensor, bar: Tensor) -> Sequence[Tensor]:
    either = (a > b) | mask
    return [
        (a > b).float(),
        either,
        either > mask,
        ~either,
        mask,
        either.any(1),
        either.double(),
        either.float(),
        either.sum(1),
    ]


def joined_with_numbers(a: Tensor, b: Tensor, mask: Tensor, bar: Tensor) -> Sequence[Tensor]:
    waits = mask & (a > b)
    return [torch.stack([a, waits, b], 1), torch.cat([waits.float(), a.float()], 1), torch.cat([waits, mask], 1)]


def of_a_whole_copy(a: Tensor, b: Tensor, mask: Tensor, bar: Tensor) -> Sequence[Tensor]:
    done = (bar > 2) | (a.sum(1) > b.sum(1))
    return [torch.where(done.unsqueeze(1), a, b), done.unsqueeze(1).expand(-1, 3), torch.where(done, mask[:, 0], done)]


FUNCTIONS = [choices, rows_of_a_table, masks_that_are_told, joined_with_numbers, of_a_whole_copy]


def inputs(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 7, 6, generator=generator, dtype=torch.float64)
    return a, b, torch.rand(7, 6, generator=generator) > 0.5, torch.randint(5, (7,), generator=generator)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_results_stay_what_they_are_to_the_bit(function: Function) -> None:
    graph = masks_as_numbers(make_fx(function)(*inputs(0)))
    for seed in range(5):
        for one, other in zip(function(*inputs(seed)), graph(*inputs(seed)), strict=True):
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("function", [choices, rows_of_a_table], ids=lambda function: function.__name__)
def test_no_logic_and_no_choice_by_bytes_is_left(function: Function) -> None:
    graph = masks_as_numbers(make_fx(function)(*inputs(0))).graph
    assert not [node for node in graph.nodes if node.target in LOGIC]
    chosen_by = {node.args[0].target for node in graph.nodes if node.target is torch.ops.aten.where.self}
    assert chosen_by == {torch.ops.aten.ne.Scalar}


def test_a_mask_that_is_told_as_numbers_is_not_made_a_mask_in_between() -> None:
    def told(a: Tensor, mask: Tensor) -> Tensor:
        return ((a > 0.5) & mask).double()

    graph = masks_as_numbers(make_fx(told)(*inputs(0)[1:3])).graph
    (output,) = (node for node in graph.nodes if node.op == "output")
    assert output.args[0].target is torch.ops.aten.mul.Tensor
