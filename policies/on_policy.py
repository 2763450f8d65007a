"""Learning from the latest rollouts only: train batches with generalised advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.returns import generalised_advantages, goes_on
from policies.rollout import Rollout


@dataclass(frozen=True)
class Schedule:
    """How one iteration's rows are used: ``epochs`` passes in minibatches of ``minibatch_size`` rows."""

    epochs: int
    minibatch_size: int


class OnPolicyTrainer:
    """Turns rollouts into one train batch and updates on it."""

    def __init__(self, group: str, *, gamma: float, trace_decay: float, schedule: Schedule, seed: int) -> None:
        self._group = group
        self._gamma = gamma
        self._trace_decay = trace_decay
        self._schedule = schedule
        self._generator = np.random.default_rng(seed)

    def learn(self, learners: LearnerGroup, rollouts: Sequence[Rollout], env_steps: int) -> list[Any]:
        """Updates on the complete slots of ``rollouts``; does nothing if there is none."""
        complete = [rollout for rollout in rollouts if rollout.count.any()]
        if not complete:
            return []
        rows = train_rows(complete, gamma=self._gamma, trace_decay=self._trace_decay)
        count = len(rows[Columns.REWARDS])
        shuffled = self._generator.permutation(count)
        batch = SampleBatch({name: column[shuffled] for name, column in rows.items()})
        return learners.update(
            batch=MultiAgentBatch({self._group: batch}, env_steps=count),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps},
            num_epochs=self._schedule.epochs,
            minibatch_size=min(self._schedule.minibatch_size, count),
            shuffle_batch_per_epoch=True,
        )

    def get_state(self) -> dict[str, Any]:
        """Where the shuffling stands."""
        return {"generator": self._generator.bit_generator.state}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._generator.bit_generator.state = state["generator"]


def train_rows(rollouts: Sequence[Rollout], *, gamma: float, trace_decay: float) -> dict[str, NDArray[Any]]:
    """The columns of a train batch of all complete slots, advantages standardised over the batch.

    Args:
        rollouts: Fragments of one group, with values and at least one complete slot each.
        gamma: Discount per decision.
        trace_decay: Lambda of the generalised advantages.

    Returns:
        RLlib's column names -> (B, ...).
    """
    parts = [_rows_of(rollout, gamma, trace_decay) for rollout in rollouts]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    advantage_B = rows[Postprocessing.ADVANTAGES]
    rows[Postprocessing.ADVANTAGES] = (advantage_B - advantage_B.mean()) / max(1e-4, advantage_B.std())
    return rows


def _rows_of(rollout: Rollout, gamma: float, trace_decay: float) -> dict[str, NDArray[Any]]:
    valid_SEA = rollout.valid_SEA
    next_value_SEA = rollout.next_value()
    if rollout.value is None or rollout.logp is None or rollout.dist_inputs is None:
        raise ValueError("this rollout carries no log-probabilities: it was sampled for an off-policy algorithm")
    value_SEA = rollout.value[:-1]
    advantage_SEA = generalised_advantages(
        rollout.reward,
        value_SEA,
        next_value_SEA,
        goes_on(rollout.terminated, rollout.truncated, valid_SEA),
        discount=gamma,
        trace_decay=trace_decay,
    )
    return {
        Columns.OBS: rollout.obs[:-1][valid_SEA],
        Columns.ACTIONS: rollout.action[valid_SEA],
        Columns.REWARDS: rollout.reward[valid_SEA],
        Columns.ACTION_LOGP: rollout.logp[valid_SEA],
        Columns.ACTION_DIST_INPUTS: rollout.dist_inputs[valid_SEA],
        Postprocessing.ADVANTAGES: advantage_SEA[valid_SEA],
        Postprocessing.VALUE_TARGETS: (advantage_SEA + value_SEA)[valid_SEA],
    }
