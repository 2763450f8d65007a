"""What networks saw when a fragment was sampled, made again of its records and their context (see ``policies.memory``).

For critics of what was seen in each slot; for Learners in *units*: what a network computes at once, with K decisions.
A unit is a stretch of decisions in a row for windows and states, and a scene of all agents for attention.

S slots, E copies, A agents, F features, R columns of a record, W bars of a window, M ends of episodes or scenes,
B rows, N units, K decisions of a unit, G = F + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.memory import Told
from policies.networks import Attention, Mlp, Recurrent, Summarising
from policies.rollout import Bools, Floats, Rollout

_WINDOWS_TOGETHER = 8

DECIDED = "decided"
"""A column of our own, (N, K): which decisions of a unit there are."""

Critic = Callable[[Tensor], Tensor]


class Units(NamedTuple):
    """What a Learner computes with.

    Attributes:
        seen: (N, ...), what the networks take.
        mask: (N, K), which of the decisions there are.
        columns: Of each decision, (N, K, ...).
    """

    seen: Floats
    mask: Bools
    columns: dict[str, NDArray[Any]]


def values(network: Mlp | Summarising, told: Told, final_index_M3: Tensor, critic: Critic) -> tuple[Tensor, Tensor]:
    """What a critic says of each slot, (S + 1, E, A), and of the ends of episodes, (M,).

    Args:
        network: The critic's.
        told: A fragment's records.
        final_index_M3: Slot, copy and agent of each end of an episode.
        critic: From what was seen by B agents to (B,) values.
    """
    if isinstance(network, Attention):
        return _values_of_scenes(told, final_index_M3, critic)
    if isinstance(network, Mlp | Recurrent):
        row = (slice(None),) if isinstance(network, Mlp) else (slice(None), None)
        value_B, final = critic(told.obs.flatten(0, 2)[row]), told.final_obs[row]
    else:
        slots = range(len(told.obs))
        value_B = torch.cat([critic(_windows(told, network.window, *_everyone(slot, told))) for slot in slots])
        final = _final_windows(told, network.window, final_index_M3)
    return value_B.view(told.obs.shape[:3]), critic(final) if len(final) else value_B.new_zeros(0)


def _values_of_scenes(told: Told, final_index_M3: Tensor, critic: Critic) -> tuple[Tensor, Tensor]:
    value_MEA = torch.stack([critic(scene_EAG) for scene_EAG in _context(told)]).view(_context(told).shape[:3])
    _, final_copy, final_agent = final_index_M3.unbind(dim=1)
    value_SEA = value_MEA.gather(0, told.obs[..., -1].long())
    return value_SEA, value_MEA[told.final_obs[..., -1].long(), final_copy, final_agent]


def units(network: Summarising, rollout: Rollout, columns: Mapping[str, NDArray[Any]]) -> Units:
    """A rollout's complete slots as a Learner takes them.

    Args:
        network: What learns.
        rollout: A fragment, with its context.
        columns: Of all slots, (S, E, A, ...).
    """
    if isinstance(network, Attention):
        return _scenes(rollout, columns)
    length = network.unroll if isinstance(network, Recurrent) else _WINDOWS_TOGETHER
    slot_NK, copy_N1, agent_N1, mask_NK = _stretches(rollout, length)
    at = (slot_NK, copy_N1, agent_N1)
    if isinstance(network, Recurrent):
        seen = rollout.obs[at]
    else:
        seen = _windows(_told(rollout), network.window, *map(torch.from_numpy, at)).numpy()
    return Units(seen, mask_NK, {name: column[at] for name, column in columns.items()})


def _told(rollout: Rollout) -> Told:
    assert rollout.context is not None  # sampled for a network that sees more than the present
    return Told(*map(torch.from_numpy, (rollout.obs, rollout.final_obs, rollout.context)))


def _context(told: Told) -> Tensor:
    assert told.context is not None  # likewise
    return told.context


def _stretches(rollout: Rollout, length: int) -> tuple[Any, Any, Any, Bools]:
    """Stretches of at most K decisions in a row of one agent in one episode.

    Returns:
        Their slots (N, K), copies (N, 1), agents (N, 1), and which of the decisions there are (N, K).
    """
    valid_SEA, slots = rollout.valid_SEA, len(rollout.reward)
    begins_SEA = np.ones_like(valid_SEA)
    begins_SEA[1:] = (rollout.terminated | rollout.truncated)[:-1]
    slot_S11 = np.arange(slots)[:, None, None]
    begun_SEA = np.maximum.accumulate(np.where(begins_SEA, slot_S11, 0), axis=0)
    first_N, copy_N, agent_N = (valid_SEA & ((slot_S11 - begun_SEA) % length == 0)).nonzero()
    slot_NK = first_N[:, None] + np.arange(length)
    inside_NK, slot_NK = slot_NK < slots, slot_NK.clip(max=slots - 1)
    at = (slot_NK, copy_N[:, None], agent_N[:, None])
    mask_NK = inside_NK & valid_SEA[at] & (begun_SEA[at] == begun_SEA[first_N, copy_N, agent_N][:, None])
    return (*at, mask_NK)


def _windows(told: Told, window: int, slot_NK: Tensor, copy_N1: Tensor, agent_N1: Tensor) -> Tensor:
    """The bars of stretches and the W - 1 before them, (N, W - 1 + K, G)."""
    record_SEAR = torch.cat([_context(told), told.obs])
    first_N1 = slot_NK[:, :1]
    ahead_W = torch.arange(window - 1 + slot_NK.shape[1], device=slot_NK.device)
    bar_NWR = record_SEAR[(first_N1 + ahead_W).clamp(max=len(record_SEAR) - 1), copy_N1, agent_N1]
    age_N1 = told.obs[first_N1, copy_N1, agent_N1][..., -1]
    return flagged(bar_NWR, window - 1 - ahead_W <= age_N1)


def _final_windows(told: Told, window: int, final_index_M3: Tensor) -> Tensor:
    """The bars up to each end of an episode, (M, W, G)."""
    record_SEAR = torch.cat([_context(told), told.obs])
    slot_M, copy_M, agent_M = final_index_M3.unbind(dim=1)
    ahead_W = torch.arange(1, window, device=slot_M.device)
    before_MWR = record_SEAR[slot_M[:, None] + ahead_W, copy_M[:, None], agent_M[:, None]]
    bar_MWR = torch.cat([before_MWR, told.final_obs.unsqueeze(1)], dim=1)
    ago_W = torch.arange(window - 1, -1, -1, device=slot_M.device)
    return flagged(bar_MWR, ago_W <= told.final_obs[:, -1:])


def flagged(bar_BWR: Tensor, seen_BW: Tensor) -> Tensor:
    """Bars with a flag in the place of the age: 1 for those that belong to the episode."""
    return torch.cat([bar_BWR[..., :-1], seen_BW.unsqueeze(-1).to(bar_BWR.dtype)], dim=-1)


def _everyone(slot: int, told: Told) -> tuple[Tensor, Tensor, Tensor]:
    """All agents in a slot, as stretches of one decision."""
    _, copies, agents, _ = told.obs.shape
    place_E, place_A = torch.arange(copies, device=told.obs.device), torch.arange(agents, device=told.obs.device)
    copy_N1 = place_E.repeat_interleave(agents).unsqueeze(1)
    return torch.full_like(copy_N1, slot), copy_N1, place_A.repeat(copies).unsqueeze(1)


def _scenes(rollout: Rollout, columns: Mapping[str, NDArray[Any]]) -> Units:
    """Scenes in which somebody decided, each decision in the place of its agent."""
    scene_MEAG, valid_SEA = _context(_told(rollout)).numpy(), rollout.valid_SEA
    _, copy_B, agent_B = valid_SEA.nonzero()
    at = (rollout.obs[:-1][valid_SEA][:, -1].astype(np.int64), copy_B, agent_B)
    mask_MEA = np.zeros(scene_MEAG.shape[:3], dtype=bool)
    mask_MEA[at] = True
    decided_ME = mask_MEA.any(axis=-1)
    placed = {}
    for name, column in columns.items():
        column_MEA = np.zeros((*mask_MEA.shape, *column.shape[3:]), dtype=column.dtype)
        column_MEA[at] = column[valid_SEA]
        placed[name] = column_MEA[decided_ME]
    return Units(scene_MEAG[decided_ME], mask_MEA[decided_ME], placed)
