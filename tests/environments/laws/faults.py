"""Ways to break the market: each replaces one of its functions by a wrong one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tests.environments.laws.worlds import Make

Law = Callable[[Make, int], None]
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Fault:
    """One way to be wrong: ``owner.name`` is replaced by ``wrap(original)``."""

    what: str
    law: Law
    owner: Any
    name: str
    wrap: Wrap


def result(change: Callable[..., Any]) -> Wrap:
    """Changes what a function returns: ``change(returned, *args, **kwargs)``."""
    return lambda original: lambda *args, **kwargs: change(original(*args, **kwargs), *args, **kwargs)


def given(change: Callable[..., Any]) -> Wrap:
    """Changes the keyword arguments of a function: ``change(**kwargs)`` returns those to replace."""
    return lambda original: lambda *args, **kwargs: original(*args, **{**kwargs, **change(**kwargs)})


def instead(other: Callable[..., Any]) -> Wrap:
    """Another function altogether."""
    return lambda _: other


# ---- faults of the accounts


def costs_paid_out(original):
    def settle(book, fills, *args):
        return original(book, replace(fills, cost_EN=-fills.cost_EN), *args)

    return settle


def without_short_proceeds(found, before, fills, open_EN, *_):
    book, pnl_EN = found
    sold_EN = (before.shares_EN - fills.shares_EN) * open_EN
    lost_EN = torch.where((fills.shares_EN < 0) & (sold_EN > 0), sold_EN, 0.0)
    return replace(book, cash_E=book.cash_E - lost_EN.sum(1)), pnl_EN


def single_precision(found, *_):
    book, pnl_EN = found
    return replace(book, cash_E=book.cash_E.float().double()), pnl_EN


def forgets_interest(original):
    def settle(book, fills, open_EN, close_EN, carry_EN, interest_E):
        return original(book, fills, open_EN, close_EN, carry_EN, torch.zeros_like(interest_E))

    return settle


def carry_only_at_exit(original):
    owed = {}

    def accrue(book, *args):
        carry_EN, interest_E = original(book, *args)
        owed_EN = owed.get(carry_EN.shape, torch.zeros_like(carry_EN)) + carry_EN
        short_EN = book.shares_EN < 0
        owed[carry_EN.shape] = torch.where(short_EN, owed_EN, 0.0)
        return torch.where(short_EN, 0.0, owed_EN), interest_E

    return accrue


def each_bar_a_day(found, *_):
    return replace(found, years_T=torch.full_like(found.years_T, 1 / 365))


# ---- faults of time


def filled_at(find: Callable[[Any], Tensor]):
    """Tables whose opens are other prices, found in the tables."""

    def change(found, *_):
        value_TXN = found.value_TXN.clone()
        value_TXN[:, 0] = find(found)
        return replace(found, value_TXN=value_TXN)

    return result(change)


def one_bar_ahead(field: str):
    return result(lambda found, *_: replace(found, **{field: getattr(found, field).roll(-1, 0)}))


def features_seen(change: Callable[[Tensor], Tensor]):
    """Tables whose features of assets are others, made of them."""

    def changed(found, *_):
        assets = (replace(table, value_TNF=change(table.value_TNF)) for table in found.assets)
        return replace(found, assets=tuple(assets))

    return result(changed)


def of_the_whole_sample(value_TNF):
    return value_TNF / value_TNF.std(dim=0, keepdim=True).clamp(min=1e-3)


def trades_on_every_bar(found, *_):
    flag_TXN = found.flag_TXN.clone()
    flag_TXN[:, 2] = True
    return replace(found, flag_TXN=flag_TXN)


def slope_of_the_next_bar(found, *_):
    value_TXN = found.value_TXN.clone()
    value_TXN[:, 2] = value_TXN[:, 2].roll(-1, 0)
    return replace(found, value_TXN=value_TXN)


def one_step_late(original):
    last = {}

    def decide(world, before, now, actions):
        late = last.get(id(world), actions)
        last[id(world)] = dict(actions)
        return original(world, before, now, late)

    return decide


# ---- faults of rewards


def without_the_last_step(found, *_):
    done_E1 = found.done.unsqueeze(1)
    return replace(found, reward={name: torch.where(done_E1, 0.0, value) for name, value in found.reward.items()})


# ---- faults of something hidden


def tired(original):
    """Costs rise with the number of calls."""
    calls = []

    def rate(*args):
        calls.append(1)
        return original(*args) * (1 + 1e-6 * len(calls))

    return rate


def rich_pay_less(found, _world, before, *_):
    after, record, reward_EM = found
    discount_E1 = 1e-4 * torch.log(before.nav_E).unsqueeze(1)
    return after, record, reward_EM + discount_E1.float()


def later_episodes_earn_more(found, _world, before, *_):
    after, record, reward_EM = found
    return after, record, reward_EM + before.episode_E.unsqueeze(1).float()


def looks_at_old_scores(found, _world, before, *_):
    after, record, reward_EM = found
    return after, record, reward_EM + before.score_EJ.sum(1, keepdim=True).float()


# ---- faults of copies


def drawn_anew(original):
    calls = []

    def uniform(seed, *args):
        calls.append(1)
        return original(seed + len(calls), *args)

    return uniform


def in_one_buffer(original):
    buffers = defaultdict(dict)

    def observe(self, state):
        kept = buffers[id(self)]
        for name, obs in original(self, state).items():
            kept[name] = kept[name].copy_(obs) if name in kept and kept[name].shape == obs.shape else obs
        return dict(kept)

    return observe


def a_shared_purse(found, *_):
    book, pnl_EN = found
    return replace(book, cash_E=(book.cash_E + 1e-3 * book.cash_E.roll(1))), pnl_EN


def centred_on_the_batch(found, *_):
    reward_EM, memories = found
    return reward_EM - reward_EM.mean(0, keepdim=True), memories


def counted_together(found, *_):
    reward_EM, memories = found
    return reward_EM, tuple(tuple(part.mean(0).expand_as(part) for part in memory) for memory in memories)


def without_memory(state, *_):
    return replace(state, terms=tuple(tuple(torch.zeros_like(part) for part in memory) for memory in state.terms))


# ---- faults of risk


def unlimited(_):
    return lambda weight_EN, **_: weight_EN


def sized_alike(_):
    return lambda value_EN, *_: torch.ones_like(value_EN)


def exposed_at_once(original):
    """Exposure rises again as soon as the drawdown is smaller."""
    return lambda drawdown_E1, before_E1, params: original(drawdown_E1, torch.ones_like(before_E1), params)


def shares_the_worst(found, *_):
    return found.max().expand_as(found)


def without_reins(state, *_):
    return replace(state, reins=tuple(tuple(torch.ones_like(part) for part in memory) for memory in state.reins))


def starts_by_the_number_of_copies(original):
    return lambda self, seed, copy_E, episode_E: original(self, seed, copy_E, episode_E + len(episode_E))
