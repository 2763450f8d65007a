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
from policies.learner_options import LearnerOptions
from policies.replay import ReplayBuffer
from policies.returns import goes_on, n_step
from policies.rollout import Rollout


class ReplayParams(AlgorithmParams):
    """Hyperparameters of learning from replay."""

    batch_size: int = Field(256, ge=1, description="transitions of one minibatch")
    replay_size: int = Field(1_000_000, ge=1, description="transitions kept; memory is allocated as they come in")
    learning_starts: int = Field(1_000, ge=0, description="transitions collected before the first update")
    updates_per_step: float = Field(0.5, gt=0, description="updates for each step of the (vectorised) environment")
    n_step: int = Field(1, ge=1, description="rewards summed before the bootstrap")
    tau: float = Field(0.005, gt=0, le=1, description="share of the way the targets move in each update")


_AT_ONCE = 1 << 16
"""Transitions that go to the Learners in one message: what it needs of memory stays small however many are due."""


class ReplayTrainer:
    """Keeps transitions and draws updates from them, for a ``ReplayLearner``."""

    def __init__(self, groups: Sequence[str], params: ReplayParams, *, seed: int) -> None:
        (self._group,) = groups
        self._params = params
        self._buffer = ReplayBuffer(params.replay_size, seed=seed)
        self._generator = np.random.default_rng((seed, 1))
        self._owed = 0.0

    def learn(self, learners: LearnerGroup, rollouts: Mapping[str, Sequence[Rollout]], env_steps: int) -> list[Any]:
        """Adds the complete slots of ``rollouts`` to the buffer and makes the updates that are due."""
        own = rollouts[self._group]
        for rollout in own:
            rows = transitions(rollout, n=self._params.n_step, gamma=self._params.gamma)
            if len(rows[Columns.REWARDS]):
                self._buffer.add(rows)
        if not self._buffer.size or self._buffer.added < self._params.learning_starts:
            return []
        self._owed += self._params.updates_per_step * sum(rollout.steps for rollout in own)
        due = int(self._owed)
        self._owed -= due
        accumulate = LearnerOptions.of(learners.config).accumulate
        at_once = max(1, _AT_ONCE // (self._params.batch_size * accumulate))
        parts = [min(at_once, due - begun) for begun in range(0, due, at_once)]
        return [result for part in parts for result in self._update(learners, part, accumulate, env_steps)]

    def _update(self, learners: LearnerGroup, updates: int, accumulate: int, env_steps: int) -> list[Any]:
        """Several updates on ``accumulate`` minibatches each, every Learner with an equal share of each of them."""
        shares = max(1, len(learners))
        share = math.ceil(self._params.batch_size / shares)
        minibatches = updates * accumulate
        rows = self._buffer.sample(minibatches * shares * share)
        rows["weights"] = np.ones(minibatches * shares * share, dtype=np.float32)
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
            "buffer": self._buffer.get_state(),
            "generator": self._generator.bit_generator.state,
            "owed": self._owed,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._buffer.set_state(state["buffer"])
        self._generator.bit_generator.state = state["generator"]
        self._owed = state["owed"]


def _dealt_out(column: NDArray[Any], minibatches: int, shares: int) -> NDArray[Any]:
    """Puts the first Learner's share of every minibatch first, then the second's: so RLlib cuts a batch up."""
    if shares == 1:
        return column
    apart = column.reshape(minibatches, shares, -1, *column.shape[1:])
    return apart.swapaxes(0, 1).reshape(column.shape)


def transitions(rollout: Rollout, *, n: int, gamma: float) -> dict[str, NDArray[Any]]:
    """The n-step transitions of all complete slots: RLlib's column names -> (B, ...).

    ``n_step`` is how many rewards a row's sum holds: the bootstrap is discounted by ``gamma ** n_step``.
    """
    valid_SEA = rollout.valid_SEA
    ahead = n_step(rollout.reward, goes_on(rollout.terminated, rollout.truncated, valid_SEA), n=n, discount=gamma)
    copy_E, agent_A = (np.arange(size) for size in rollout.reward.shape[1:])
    last = (ahead.last, copy_E[:, None], agent_A)
    return {
        Columns.OBS: rollout.obs[:-1][valid_SEA],
        Columns.NEXT_OBS: rollout.next_obs()[last][valid_SEA],
        Columns.ACTIONS: rollout.action[valid_SEA],
        Columns.REWARDS: ahead.reward[valid_SEA],
        Columns.TERMINATEDS: rollout.terminated[last][valid_SEA],
        Columns.TRUNCATEDS: rollout.truncated[last][valid_SEA],
        "n_step": ahead.length[valid_SEA].astype(np.float32),
    }
