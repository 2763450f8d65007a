"""Notes what a group does, step by step, and lays it out in columns when the fragment ends.

A step is noted as it is, by reference: no tensor of a ``Transition`` or a ``Decision`` is written to later. What goes
where is asked once, at the end, so that nothing waits for the device within a fragment. Every fragment gets columns of
its own: rollouts are handed over without a copy and never written to again.

E copies, A agents, F features, T steps, R rows of decisions, S slots, M ends of episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from environments.base import Group, Transition
from policies.algorithm import Decision
from wealtharena.team.columns import Columns


@dataclass
class _Decisions:
    """R decisions of all agents, and what these saw: lists of (E, A, F) and (E * A, ...)."""

    obs: list[Tensor] = field(default_factory=list)
    action: list[Tensor] = field(default_factory=list)
    logp: list[Tensor] = field(default_factory=list)
    dist_inputs: list[Tensor] = field(default_factory=list)

    def add(self, obs: Tensor, decision: Decision) -> None:
        """Notes one more."""
        self.obs.append(obs)
        self.action.append(decision.action)
        if decision.logp is not None and decision.dist_inputs is not None:
            self.logp.append(decision.logp)
            self.dist_inputs.append(decision.dist_inputs)

    def columns(self) -> dict[str, Tensor]:
        """The decisions' columns that there are, (R * E * A, ...)."""
        noted = {"action": self.action, "logp": self.logp, "dist_inputs": self.dist_inputs}
        return {name: torch.cat(rows) for name, rows in noted.items() if rows}


class DenseRecorder:
    """For a group all of whose agents decide in every step: the slot is the step."""

    def __init__(self, group: Group, name: str, num_envs: int, device: str) -> None:
        self._name = name
        self._restart()

    def _restart(self) -> None:
        self._decisions, self._transitions = _Decisions(), list[Transition]()

    def decide(self, obs: Tensor, active: Tensor | None, decision: Decision) -> None:
        """Notes a decision of all agents: ``obs`` (E, A, F); the decision's rows in the order (E, A)."""
        self._decisions.add(obs, decision)

    def close(self, transition: Transition) -> None:
        """Notes what a step brought."""
        self._transitions.append(transition)

    def finish(self, obs: Tensor) -> Columns:
        """Ends the fragment and starts the next one; ``obs`` is what its first decision will see."""
        name, steps, shape = self._name, self._transitions, (len(self._transitions), *obs.shape[:2])
        terminated = torch.stack([step.terminated[name] for step in steps])
        truncated = torch.stack([step.truncated[name] for step in steps])
        end_M3 = (terminated | truncated).nonzero().contiguous()
        decided = {key: torch.unflatten(rows, 0, shape) for key, rows in self._decisions.columns().items()}
        columns = Columns(
            obs=torch.stack([*self._decisions.obs, obs]),
            reward=torch.stack([step.reward[name] for step in steps]),
            terminated=terminated,
            truncated=truncated,
            count=torch.full(shape[1:], len(steps), device=obs.device),
            final_index=end_M3,
            final_obs=_seen_at_ends([step.final_obs[name] for step in steps], end_M3),
            steps=len(steps),
            **decided,
        )
        self._restart()
        return columns

    def get_state(self) -> dict[str, Any]:
        """Nothing is carried from one fragment to the next."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what ``get_state`` gave."""


@dataclass(frozen=True)
class _Open:
    """Decisions whose next observation has not come yet, between two fragments.

    Attributes:
        mask: bool (E, A), where there is one.
        reward: (E, A), what came in since.
        obs: (E, A, F), what they saw; None before the first fragment ended.
        decision: What they were, its rows in the order (E, A).
    """

    mask: Tensor
    reward: Tensor
    obs: Tensor | None = None
    decision: Decision | None = None


@dataclass(frozen=True)
class _Closed:
    """What a step brought, and to which decisions: (E, A) each.

    Attributes:
        transition: Of all groups.
        complete: Decisions that are followed by another or by the end of the episode.
        ended: Those of them whose episode ended.
        reward: What came in since the decision.
    """

    transition: Transition
    complete: Tensor
    ended: Tensor
    reward: Tensor


class SparseRecorder:
    """For a group whose agents may be absent, or decide on a slower clock: every agent has a slot counter of its own.

    A decision stays open until the agent decides again or its episode ends, over the end of a fragment too: then it is
    the first row of the next one.
    """

    def __init__(self, group: Group, name: str, num_envs: int, device: str) -> None:
        self._group, self._name = group, name
        shape = (num_envs, len(group.agent_ids))
        mask = torch.zeros(shape, dtype=torch.bool, device=device)
        self._restart(_Open(mask, torch.zeros(shape, device=device)))

    def _restart(self, carried: _Open) -> None:
        self._carried = carried
        self._mask, self._reward = carried.mask, carried.reward
        self._decisions, self._decided, self._closed = _Decisions(), list[Tensor](), list[_Closed]()
        if carried.obs is not None and carried.decision is not None:
            self._note(carried.obs, carried.mask, carried.decision)

    def _note(self, obs: Tensor, mask: Tensor, decision: Decision) -> None:
        self._decisions.add(obs, decision)
        self._decided.append(mask)

    def decide(self, obs: Tensor, active: Tensor | None, decision: Decision) -> None:
        """Notes the decisions of the ``active`` agents (E, A); the decision's rows in the order (E, A)."""
        if active is None:
            active = torch.ones_like(self._mask)
        self._note(obs, active, decision)
        self._mask = active | self._mask
        self._reward = self._reward.masked_fill(active, 0.0)

    def close(self, transition: Transition) -> None:
        """Adds a step's rewards; completes the decisions that are followed by another or by the end of the episode."""
        name, is_open = self._name, self._mask
        ended = (transition.terminated[name] | transition.truncated[name]) & is_open
        active = transition.active.get(name)
        complete = ended | (is_open if active is None else is_open & active)
        self._reward = self._reward + transition.reward[name].masked_fill(~is_open, 0.0)
        self._closed.append(_Closed(transition, complete, ended, self._reward))
        self._mask = is_open & ~complete

    def finish(self, obs: Tensor) -> Columns:
        """Ends the fragment and starts the next one; ``obs`` is what agents without an open decision will see next."""
        anyone = bool(self._decided)
        if not anyone:  # a decision of nobody gives the columns their kinds
            self._note(obs, torch.zeros_like(self._mask), Decision(_no_action(self._group, obs)))
        complete_TEA = torch.stack([step.complete for step in self._closed])
        count_EA = complete_TEA.sum(dim=0)
        slots = int(count_EA.max())
        row_SEA = _when_nth(torch.stack([*self._decided, ~self._mask]), slots + 1)
        obs_SEAF = _taken(torch.cat([*self._decisions.obs, obs]).flatten(0, 1), row_SEA)
        decided = {key: _taken(rows, row_SEA) for key, rows in self._decisions.columns().items()}
        columns = Columns(
            obs=obs_SEAF,
            count=count_EA,
            steps=len(self._closed),
            **{key: column[:slots] for key, column in decided.items()},
            **self._outcome(complete_TEA, slots),
        )
        self._restart(self._still_open(obs_SEAF, decided, count_EA) if anyone else self._carried)
        return columns

    def _outcome(self, complete_TEA: Tensor, slots: int) -> dict[str, Tensor]:
        """What came of the decisions: the columns (S, E, A) that are known when they are complete."""
        name, steps = self._name, self._closed
        terminated_TEA = torch.stack([step.transition.terminated[name] for step in steps])
        truncated_TEA = torch.stack([step.transition.truncated[name] for step in steps])
        of_steps = {
            "reward": torch.stack([step.reward for step in steps]),
            "terminated": terminated_TEA,
            "truncated": truncated_TEA & ~terminated_TEA,
        }
        step_SEA = _when_nth(complete_TEA, slots)
        end_M3 = torch.stack([step.ended for step in steps]).nonzero()
        slot_M = (complete_TEA.cumsum(dim=0) - 1)[end_M3.unbind(dim=1)]
        return {
            "final_index": torch.cat([slot_M.unsqueeze(1), end_M3[:, 1:]], dim=1),
            "final_obs": _seen_at_ends([step.transition.final_obs[name] for step in steps], end_M3),
            **{key: column.gather(0, step_SEA) for key, column in of_steps.items()},
        }

    def _still_open(self, obs_SEAF: Tensor, decided: Mapping[str, Tensor], count_EA: Tensor) -> _Open:
        """What stands in the slot after the complete ones, where that is a decision."""
        slot_1EA = count_EA.unsqueeze(0)
        obs_1EAF = _taken(obs_SEAF.flatten(0, 2), slot_1EA)
        last = {key: _taken(column.flatten(0, 2), slot_1EA).flatten(0, 2) for key, column in decided.items()}
        return _Open(self._mask, self._reward, obs_1EAF.squeeze(0), Decision(**last))

    def get_state(self) -> dict[str, Any]:
        """The open decisions."""
        return dict(vars(self._carried))

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._restart(_Open(**state))


def _when_nth(mask_TEA: Tensor, count: int) -> Tensor:
    """Where along the first dimension each agent's n-th true entry is, int64 (count, E, A); 0 where it has fewer."""
    beyond_TEA = torch.where(mask_TEA, mask_TEA.cumsum(dim=0) - 1, count).clamp(max=count)
    index_TEA = torch.arange(len(mask_TEA), device=mask_TEA.device).view(-1, 1, 1).expand_as(mask_TEA)
    when = index_TEA.new_zeros((count + 1, *mask_TEA.shape[1:]))
    return when.scatter_(0, beyond_TEA, index_TEA)[:count]


def _taken(rows: Tensor, row_SEA: Tensor) -> Tensor:
    """Each agent's own entries of ``rows`` (R * E * A, ...) at the indices ``row_SEA``, (S, E, A, ...)."""
    agents = row_SEA[0].numel()
    agent_EA = torch.arange(agents, device=rows.device).view(row_SEA.shape[1:])
    # What stands in slots that are not complete means nothing, so the last row may stand there.
    flat = (row_SEA * agents + agent_EA).clamp(max=len(rows) - 1)
    return torch.unflatten(rows.index_select(0, flat.flatten()), 0, row_SEA.shape)


def _seen_at_ends(final_obs: Sequence[Tensor], end_M3: Tensor) -> Tensor:
    """Of observations (E, A, F) of each step, those at the ends (step, copy, agent) of episodes: (M, F)."""
    by_step = torch.split(end_M3, torch.bincount(end_M3[:, 0], minlength=len(final_obs)).tolist())
    seen = [obs_EAF[end[:, 1], end[:, 2]] for obs_EAF, end in zip(final_obs, by_step, strict=True) if len(end)]
    return torch.cat([final_obs[0].new_zeros((0, final_obs[0].shape[-1])), *seen])


def _no_action(group: Group, obs: Tensor) -> Tensor:
    """Of all agents, the rows in the order (E, A)."""
    rows, space = obs.shape[:2].numel(), group.action_space
    if isinstance(space, gym.spaces.Discrete):
        return torch.zeros(rows, dtype=torch.int64, device=obs.device)
    return torch.zeros((rows, *space.shape), device=obs.device)
