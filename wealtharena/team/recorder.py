"""Writes what a group does into preallocated columns, a row of copies and agents at a time.

The columns are tensors on the environment's device and become a ``Rollout`` of NumPy arrays at the end of the fragment.
Every fragment gets columns of its own: rollouts are handed over without a copy and never written to again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from environments.base import Group, Transition
from policies.algorithm import Decision
from policies.rollout import Rollout


@dataclass
class Columns:
    """The columns of a fragment of at most S slots, as in ``Rollout``, and the ends of episodes as they come."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    logp: Tensor | None = None
    dist_inputs: Tensor | None = None
    final_index: list[Tensor] = field(default_factory=list)
    final_obs: list[Tensor] = field(default_factory=list)

    @classmethod
    def allocate(cls, group: Group, slots: int, num_envs: int, device: str) -> Columns:
        """Columns for a group; those of the behaviour policy come with its first decision."""
        shape = (slots, num_envs, len(group.agent_ids))
        space = group.action_space
        discrete = isinstance(space, gym.spaces.Discrete)
        features = group.observation_space.shape[0]
        return cls(
            obs=torch.zeros((slots + 1, *shape[1:], features), device=device),
            action=torch.zeros(
                shape if isinstance(space, gym.spaces.Discrete) else (*shape, *space.shape),
                dtype=torch.int64 if discrete else torch.float32,
                device=device,
            ),
            reward=torch.zeros(shape, device=device),
            terminated=torch.zeros(shape, dtype=torch.bool, device=device),
            truncated=torch.zeros(shape, dtype=torch.bool, device=device),
        )

    def rollout(self, count: Tensor, steps: int) -> Rollout:
        """The fragment as NumPy arrays, cut to the most slots any agent completed."""
        slots = int(count.max())
        final_index = torch.cat(self.final_index) if self.final_index else count.new_zeros((0, 3))
        final_obs = torch.cat(self.final_obs) if self.final_obs else self.obs.new_zeros((0, self.obs.shape[-1]))
        return Rollout(
            obs=_numpy(self.obs[: slots + 1]),
            action=_numpy(self.action[:slots]),
            reward=_numpy(self.reward[:slots]),
            terminated=_numpy(self.terminated[:slots]),
            truncated=_numpy(self.truncated[:slots]),
            count=_numpy(count),
            final_index=_numpy(final_index),
            final_obs=_numpy(final_obs),
            steps=steps,
            logp=None if self.logp is None else _numpy(self.logp[:slots]),
            dist_inputs=None if self.dist_inputs is None else _numpy(self.dist_inputs[:slots]),
        )


class DenseRecorder:
    """For a group all of whose agents decide in every step: the slot is the step."""

    def __init__(self, group: Group, name: str, num_envs: int, device: str) -> None:
        self._group, self._name = group, name
        self._num_envs, self._device = num_envs, device

    def begin(self, steps: int) -> None:
        """Starts a fragment of ``steps`` steps."""
        self._columns = Columns.allocate(self._group, steps, self._num_envs, self._device)
        self._steps = steps
        self._slot = 0

    def decide(self, obs: Tensor, active: Tensor | None, decision: Decision) -> None:
        """Writes a decision of all agents: ``obs`` (E, A, F); the decision's rows in the order (E, A)."""
        columns, slot = self._columns, self._slot
        shape = obs.shape[:2]
        columns.obs[slot] = obs
        columns.action[slot] = decision.action.view(*shape, *decision.action.shape[1:])
        if decision.logp is not None and decision.dist_inputs is not None:
            if columns.logp is None or columns.dist_inputs is None:
                columns.logp = decision.logp.new_zeros((self._steps, *shape))
                columns.dist_inputs = decision.dist_inputs.new_zeros(
                    (self._steps, *shape, decision.dist_inputs.shape[-1])
                )
            columns.logp[slot] = decision.logp.view(shape)
            columns.dist_inputs[slot] = decision.dist_inputs.view(*shape, -1)

    def close(self, transition: Transition) -> None:
        """Writes what a step brought."""
        columns, slot, name = self._columns, self._slot, self._name
        columns.reward[slot] = transition.reward[name]
        columns.terminated[slot] = transition.terminated[name]
        columns.truncated[slot] = transition.truncated[name]
        ended = (columns.terminated[slot] | columns.truncated[slot]).nonzero()
        if len(ended):
            columns.final_index.append(torch.cat([torch.full_like(ended[:, :1], slot), ended], dim=1))
            columns.final_obs.append(transition.final_obs[name][ended[:, 0], ended[:, 1]])
        self._slot += 1

    def finish(self, obs: Tensor) -> Rollout:
        """Ends the fragment; ``obs`` is what the next decision will see."""
        self._columns.obs[self._slot] = obs
        count = torch.full(obs.shape[:2], self._slot, dtype=torch.int64, device=obs.device)
        return self._columns.rollout(count, self._steps)

    def get_state(self) -> dict[str, Any]:
        """Nothing is carried from one fragment to the next."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what ``get_state`` gave."""


@dataclass
class _Open:
    """Decisions whose next observation has not come yet.

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


class SparseRecorder:
    """For a group whose agents may be absent, or decide on a slower clock: every agent has a slot counter of its own.

    A decision stays open until the agent decides again or its episode ends, over the end of a fragment too: then it is
    written again at the start of the next one.
    """

    def __init__(self, group: Group, name: str, num_envs: int, device: str) -> None:
        self._group, self._name = group, name
        self._num_envs, self._device = num_envs, device
        shape = (num_envs, len(group.agent_ids))
        self._open = _Open(torch.zeros(shape, dtype=torch.bool, device=device), torch.zeros(shape, device=device))

    def begin(self, steps: int) -> None:
        """Starts a fragment of ``steps`` steps with the decisions still open."""
        self._columns = Columns.allocate(self._group, steps + 1, self._num_envs, self._device)
        self._steps = steps
        self._count = torch.zeros_like(self._open.mask, dtype=torch.int64)
        if self._open.obs is not None and self._open.decision is not None:
            self._write(self._open.obs, self._open.mask, self._open.decision)

    def decide(self, obs: Tensor, active: Tensor | None, decision: Decision) -> None:
        """Writes the decisions of the ``active`` agents (E, A); the decision's rows in the order (E, A)."""
        if active is None:
            active = torch.ones_like(self._open.mask)
        self._write(obs, active, decision)
        self._open.mask = active | self._open.mask
        self._open.reward = torch.where(active, 0.0, self._open.reward)

    def _write(self, obs: Tensor, mask: Tensor, decision: Decision) -> None:
        columns, (copy_M, agent_M) = self._columns, mask.nonzero(as_tuple=True)
        slot_M = self._count[copy_M, agent_M]
        row_M = copy_M * mask.shape[1] + agent_M
        columns.obs[slot_M, copy_M, agent_M] = obs[copy_M, agent_M]
        columns.action[slot_M, copy_M, agent_M] = decision.action[row_M]
        if decision.logp is not None and decision.dist_inputs is not None:
            if columns.logp is None or columns.dist_inputs is None:
                columns.logp = torch.zeros_like(columns.reward)
                width = decision.dist_inputs.shape[-1]
                columns.dist_inputs = columns.reward.new_zeros((*columns.reward.shape, width))
            columns.logp[slot_M, copy_M, agent_M] = decision.logp[row_M]
            columns.dist_inputs[slot_M, copy_M, agent_M] = decision.dist_inputs[row_M]

    def close(self, transition: Transition) -> None:
        """Adds a step's rewards; completes the decisions that are followed by another or by the end of the episode."""
        name, is_open = self._name, self._open.mask
        terminated, truncated = transition.terminated[name], transition.truncated[name]
        ended = (terminated | truncated) & is_open
        self._open.reward = self._open.reward + torch.where(is_open, transition.reward[name], 0.0)
        active = transition.active.get(name)
        complete = ended | (is_open if active is None else is_open & active)
        copy_M, agent_M = complete.nonzero(as_tuple=True)
        slot_M = self._count[copy_M, agent_M]
        self._columns.reward[slot_M, copy_M, agent_M] = self._open.reward[copy_M, agent_M]
        self._columns.terminated[slot_M, copy_M, agent_M] = terminated[copy_M, agent_M]
        self._columns.truncated[slot_M, copy_M, agent_M] = (truncated & ~terminated)[copy_M, agent_M]
        self._note_ends(ended, transition.final_obs[name])
        self._count = self._count + complete
        self._open.mask = is_open & ~complete

    def _note_ends(self, ended: Tensor, final_obs: Tensor) -> None:
        copy_M, agent_M = ended.nonzero(as_tuple=True)
        if len(copy_M):
            slot_M = self._count[copy_M, agent_M]
            self._columns.final_index.append(torch.stack([slot_M, copy_M, agent_M], dim=1))
            self._columns.final_obs.append(final_obs[copy_M, agent_M])

    def finish(self, obs: Tensor) -> Rollout:
        """Ends the fragment; ``obs`` is what agents without an open decision will see next."""
        columns, is_open = self._columns, self._open.mask
        copy_M, agent_M = (~is_open).nonzero(as_tuple=True)
        columns.obs[self._count[copy_M, agent_M], copy_M, agent_M] = obs[copy_M, agent_M]
        self._carry()
        return columns.rollout(self._count, self._steps)

    def _carry(self) -> None:
        columns, shape = self._columns, self._open.mask.shape
        copy_EA, agent_EA = torch.meshgrid(*(torch.arange(size, device=self._device) for size in shape), indexing="ij")
        at = (self._count.clamp(max=self._steps), copy_EA, agent_EA)
        self._open.obs = columns.obs[at]
        self._open.decision = Decision(
            columns.action[at].flatten(0, 1),
            None if columns.logp is None else columns.logp[at].flatten(0, 1),
            None if columns.dist_inputs is None else columns.dist_inputs[at].flatten(0, 1),
        )

    def get_state(self) -> dict[str, Any]:
        """The open decisions."""
        return dict(vars(self._open))

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._open = _Open(**state)


def _numpy(tensor: Tensor) -> Any:
    return tensor.cpu().numpy()
