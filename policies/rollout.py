"""The columns of one fragment of one group: what the sampler writes and every algorithm reads.

Time runs in *slots*: slot s of agent (e, a) is that agent's s-th decision of the fragment that came to its end, so a
group
that decides every fifth step, or an agent whose market is closed at weekends, has fewer slots than the fragment has
steps.
The reward of a slot is all that came in until the agent's next decision. A decision still open when the fragment ends
is not
in it; the sampler carries it over. In every slot the next observation is that of the following slot, unless the
episode ended.

S slots, E copies, A agents, F features, U action dimensions, D inputs of the action distribution, M ends of episodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Rollout:
    """One group's fragment, as NumPy arrays so that Ray's object store hands them over without a copy.

    Attributes:
        obs: (S + 1, E, A, F): what each slot's decision saw; at slot ``count`` the observation after the last
            complete one.
        action: (S, E, A) int64, or (S, E, A, U) float32 in [-1, 1] units of the action space.
        reward: (S, E, A), summed until the agent's next decision.
        terminated: (S, E, A): the agent's episode ended for good in this slot.
        truncated: (S, E, A): the agent's episode was cut off in this slot.
        count: (E, A): how many slots are complete; what stands in later slots means nothing.
        final_index: (M, 3): slot, copy and agent of each end of an episode.
        final_obs: (M, F): the observation after each end, before the automatic reset.
        steps: environment steps of one copy in this fragment.
        logp: (S, E, A) log-probability of the action under the behaviour policy; on-policy groups only.
        dist_inputs: (S, E, A, D) inputs of the behaviour policy's action distribution; on-policy groups only.
        value: (S + 1, E, A) the critic's value of ``obs``; on-policy groups only.
        final_value: (M,) the critic's value of ``final_obs``; on-policy groups only.
        context: what else networks saw that see more than the present; of them ``obs`` and ``final_obs`` hold records,
            which begin with the F features (see ``policies.memory``).
        runner: who sampled it; the fragments of a runner follow each other.
    """

    obs: Floats
    action: Ints | Floats
    reward: Floats
    terminated: Bools
    truncated: Bools
    count: Ints
    final_index: Ints
    final_obs: Floats
    steps: int
    logp: Floats | None = None
    dist_inputs: Floats | None = None
    value: Floats | None = None
    final_value: Floats | None = None
    context: Floats | None = None
    runner: int = 0

    @property
    def valid_SEA(self) -> Bools:
        """Which slots are complete, (S, E, A)."""
        slots_S = np.arange(self.reward.shape[0])
        return slots_S[:, None, None] < self.count

    def rows(self, column: NDArray[Any]) -> NDArray[Any]:
        """The complete slots' entries of a column (S, E, A, ...), as (B, ...): a view of it where all are complete."""
        if self.count.min() == len(self.reward):
            return column.reshape(-1, *column.shape[3:])
        entries: NDArray[Any] = column[self.valid_SEA]
        return entries

    def next_obs(self) -> Floats:
        """What followed each slot, (S, E, A, F): the next decision's observation, or the last one of the episode."""
        next_obs = self.obs[1:].copy()
        slot_M, copy_M, agent_M = self.final_index.T
        next_obs[slot_M, copy_M, agent_M] = self.final_obs
        return next_obs

    def next_value(self) -> Floats:
        """The critic's value of what followed each slot, (S, E, A): 0 where the episode terminated."""
        if self.value is None or self.final_value is None:
            raise ValueError("this rollout carries no values: it was sampled for an off-policy algorithm")
        next_value = self.value[1:].copy()
        slot_M, copy_M, agent_M = self.final_index.T
        next_value[slot_M, copy_M, agent_M] = self.final_value
        next_value[self.terminated] = 0.0
        return next_value
