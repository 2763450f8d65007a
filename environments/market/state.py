"""Everything the next step of the market depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from environments.market.ledger import Book
from environments.market.rewards import Memories

Part = TypeVar("Part", "State", Book)

MEMORIES = ("terms", "reins", "watch")
"""The fields that are no tensor, but tuples of them; empty where nothing is remembered."""


@dataclass(frozen=True)
class State:
    """The state of E copies at the close of a bar. Once others can see it, its tensors are replaced, not written to.

    Attributes:
        book: What is held.
        nav_E: float64, its value.
        weight_EN: float64, what is held, as a share of that value.
        bar_E: int64, the current bar.
        end_E: int64, the bar at which the episode is cut off.
        step_E: int64, steps of the episode so far.
        acts_E1: bool, the allocator decides now.
        episode_E: int64, episodes of the copy before this one: with seed and copy it decides the next start.
        budget_EK: float64, shares of the classes and of cash (last).
        sleeve_EN: float64, the sleeves at the last decision.
        sized_EN: float64, the sleeve each position was last sized on.
        order_EN: bool, an order stands.
        stand_EN: float64, its target amount (see ``Sizing``); what is held where none stands.
        held_EN: float64, the signal held: ``stand_EN`` as a share of a full signal's amount, clipped to its range.
        drawdown_EM: float64, drawdown in log units of each sleeve and of the portfolio (last).
        score_EJ: float64, performance of each trader (see ``fusion``).
        said_EM: float64, what each trader said last (see ``hearing``); without columns where nobody asks.
        voice_EM: float64, how much it was heard; likewise.
        class_mean_EC: float64, exponential mean of each class's return (see ``coordination``); likewise.
        class_variance_EC: float64, its exponential variance; likewise.
        hidden_EK: float64, hidden columns of simulated prices.
        inventory_EN: float64, shares that market makers hold, a part of the book's; without columns where nobody does.
        terms: What each term of the reward remembers.
        reins: What risk remembers.
        watch: What the risk manager remembers (see ``oversight.Watch``); empty where there is none.
    """

    book: Book
    nav_E: Tensor
    weight_EN: Tensor
    bar_E: Tensor
    end_E: Tensor
    step_E: Tensor
    acts_E1: Tensor
    episode_E: Tensor
    budget_EK: Tensor
    sleeve_EN: Tensor
    sized_EN: Tensor
    order_EN: Tensor
    stand_EN: Tensor
    held_EN: Tensor
    drawdown_EM: Tensor
    score_EJ: Tensor
    said_EM: Tensor
    voice_EM: Tensor
    class_mean_EC: Tensor
    class_variance_EC: Tensor
    hidden_EK: Tensor
    inventory_EN: Tensor
    terms: Memories = ()
    reins: Memories = ()
    watch: Memories = ()


def choose(mask_E: Tensor, yes: Part, no: Part) -> Part:
    """Takes each copy from ``yes`` where the mask is set, from ``no`` elsewhere."""
    chosen: dict[str, Any] = {}
    for field in dataclasses.fields(yes):
        one, other = getattr(yes, field.name), getattr(no, field.name)
        if isinstance(one, Book):
            chosen[field.name] = choose(mask_E, one, other)
        elif isinstance(one, Tensor):
            chosen[field.name] = _either(mask_E, one, other)
        else:
            chosen[field.name] = _each(partial(_either, mask_E), one, other)
    return dataclasses.replace(yes, **chosen)


def replaced(state: Part, copy_X: Tensor, others: Part, own: Container[int] = ()) -> Part:
    """Takes the copies that are named from ``others``, which holds only these.

    Args:
        state: E copies.
        copy_X: int64, which of them.
        others: X copies.
        own: Tensors, by their ``id``, that nobody else has: these are written to, which copies nothing else.
    """

    def put(one: Tensor, other: Tensor) -> Tensor:
        return one.index_copy_(0, copy_X, other) if id(one) in own else one.index_copy(0, copy_X, other)

    found: dict[str, Any] = {}
    for field in dataclasses.fields(state):
        one, other = getattr(state, field.name), getattr(others, field.name)
        if isinstance(one, Book):
            found[field.name] = replaced(one, copy_X, other, own)
        elif isinstance(one, Tensor):
            found[field.name] = put(one, other)
        else:
            found[field.name] = _each(put, one, other)
    return dataclasses.replace(state, **found)


def of_copies(memories: Memories, copy_X: Tensor) -> Memories:
    """What terms remember of the copies that are named."""
    return _each(lambda part: part.index_select(0, copy_X), memories)


def _either(mask_E: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(mask_E.view(-1, *[1] * (one.dim() - 1)), one, other)


def _each(function: Callable[..., Tensor], *memories: Memories) -> Memories:
    """The function of each tensor of a term's memory, or of several alike."""
    return tuple(tuple(map(function, *parts)) for parts in zip(*memories, strict=True))


def difference(state: State, like: State) -> str | None:
    """The first field whose tensors are of other shapes or types; none where all are alike."""
    names = (field.name for field in dataclasses.fields(state))
    return next((name for name in names if _forms(getattr(state, name)) != _forms(getattr(like, name))), None)


def _forms(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    return [_forms(part) for part in (vars(value).values() if isinstance(value, Book) else value)]


def saved(state: State) -> dict[str, Any]:
    """Names -> copies of the tensors."""
    return dataclasses.asdict(state)


def restored(values: Mapping[str, Any], device: str) -> State:
    """What ``saved`` gave, as copies."""

    def copied(value: Tensor) -> Tensor:
        return value.to(device, copy=True)

    tensors = {name: copied(value) for name, value in values.items() if name not in ("book", *MEMORIES)}
    book = Book(**{name: copied(value) for name, value in values["book"].items()})
    memories: dict[str, Any] = {name: _each(copied, values.get(name, ())) for name in MEMORIES}
    return State(**{"book": book, **tensors, **memories})
