"""Learning from replayed transitions: n-step rows into a ring buffer, uniform minibatches out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from policies.algorithm import AlgorithmParams
from policies.experience import experience_for
from policies.learner_options import LearnerOptions
from policies.rollout import Rollout


class ReplayParams(AlgorithmParams):
    """Hyperparameters of learning from replay."""

    batch_size: int = Field(256, ge=1, description="transitions of one minibatch")
    replay_size: int = Field(1_000_000, ge=1, description="transitions kept; memory is allocated as they come in")
    learning_starts: int = Field(1_000, ge=0, description="transitions collected before the first update")
    updates_per_step: float = Field(0.5, gt=0, description="updates for each step of the (vectorised) environment")
    n_step: int = Field(1, ge=1, description="rewards summed before the bootstrap")
    tau: float = Field(0.005, gt=0, le=1, description="share of the way the targets move in each update")


SETTLED = frozenset({"replay_size", "n_step"})
"""What the transitions that are kept were made by."""

_AT_ONCE = 1 << 16
"""Observations that go to the Learners in one message: what it needs of memory stays small however many are due."""


class ReplayTrainer:
    """Keeps transitions and draws updates from them, for a ``ReplayLearner``."""

    def __init__(self, groups: Sequence[str], params: ReplayParams, *, seed: int) -> None:
        (self._group,) = groups
        self._params = params
        self._experience = experience_for(params.network)(params, seed=seed)
        self._generator = np.random.default_rng((seed, 1))
        self._owed = 0.0

    def learn(self, learners: LearnerGroup, rollouts: Mapping[str, Sequence[Rollout]], env_steps: int) -> list[Any]:
        """Adds the complete slots of ``rollouts`` to the buffer and makes the updates that are due."""
        own = rollouts[self._group]
        for rollout in own:
            self._experience.add(rollout)
        if not self._experience.added or self._experience.added < self._params.learning_starts:
            return []
        self._owed += self._params.updates_per_step * sum(rollout.steps for rollout in own)
        due = int(self._owed)
        self._owed -= due
        accumulate = LearnerOptions.of(learners.config).accumulate
        at_once = max(1, _AT_ONCE // (self._params.batch_size * accumulate * self._experience.bars))
        parts = [min(at_once, due - begun) for begun in range(0, due, at_once)]
        return [result for part in parts for result in self._update(learners, part, accumulate, env_steps)]

    def _update(self, learners: LearnerGroup, updates: int, accumulate: int, env_steps: int) -> list[Any]:
        """Several updates on ``accumulate`` minibatches each, every Learner with an equal share of each of them."""
        shares = max(1, len(learners))
        share = math.ceil(self._params.batch_size / (shares * self._experience.together))
        minibatches = updates * accumulate
        rows = self._experience.sample(minibatches * shares * share)
        rows["weights"] = np.ones_like(rows[Columns.REWARDS])
        batch = SampleBatch({name: _dealt_out(column, minibatches, shares) for name, column in rows.items()})
        return learners.update(
            batch=MultiAgentBatch({self._group: batch}, env_steps=len(batch)),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps},
            updates=updates,
            seed=int(self._generator.integers(2**63)),
        )

    def get_state(self) -> dict[str, Any]:
        """The transitions kept, the draws to come and the updates owed."""
        return {
            "experience": self._experience.get_state(),
            "generator": self._generator.bit_generator.state,
            "owed": self._owed,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._experience.set_state(state["experience"])
        self._generator.bit_generator.state = state["generator"]
        self._owed = state["owed"]


def _dealt_out(column: NDArray[Any], minibatches: int, shares: int) -> NDArray[Any]:
    """Puts the first Learner's share of every minibatch first, then the second's: so RLlib cuts a batch up."""
    if shares == 1:
        return column
    apart = column.reshape(minibatches, shares, -1, *column.shape[1:])
    return apart.swapaxes(0, 1).reshape(column.shape)
