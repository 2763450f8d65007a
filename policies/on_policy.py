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

from policies.networks import Mlp, Summarising
from policies.returns import generalised_advantages, goes_on
from policies.rollout import Rollout
from policies.seen import DECIDED, units

_PERCEPTRON = Mlp()


@dataclass(frozen=True)
class Schedule:
    """How one iteration's rows are used: ``epochs`` passes in minibatches of ``minibatch_size`` rows."""

    epochs: int
    minibatch_size: int


class OnPolicyTrainer:
    """Turns rollouts into a train batch for each group and updates on them."""

    def __init__(
        self,
        groups: Sequence[str],
        *,
        gamma: float,
        trace_decay: float,
        schedule: Schedule,
        seed: int,
        network: Mlp | Summarising = _PERCEPTRON,
    ) -> None:
        self._network = network
        self._gamma = gamma
        self._trace_decay = trace_decay
        self._schedule = schedule
        self._generators = {name: np.random.default_rng((seed, index)) for index, name in enumerate(groups)}

    def learn(self, learners: LearnerGroup, rollouts: Mapping[str, Sequence[Rollout]], env_steps: int) -> list[Any]:
        """Updates on the complete slots of ``rollouts``; does nothing if there is none."""
        several = len(learners) > 1
        batches = {
            name: self._batch(name, complete, shuffled=several)
            for name, own in rollouts.items()
            if (complete := _complete(own))
        }
        if not batches:
            return []
        most = max(len(batch) for batch in batches.values())
        return learners.update(
            batch=MultiAgentBatch(batches, env_steps=most),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps},
            num_epochs=self._schedule.epochs,
            minibatch_size=min(self._schedule.minibatch_size, most),
            shuffle_batch_per_epoch=True,
            seeds={name: int(self._generators[name].integers(2**63)) for name in batches},
        )

    def _batch(self, name: str, rollouts: Sequence[Rollout], *, shuffled: bool) -> SampleBatch:
        """A group's rows. Several Learners take their shares of them in order, so these are shuffled before."""
        rows = train_rows(rollouts, gamma=self._gamma, trace_decay=self._trace_decay, network=self._network)
        if not shuffled:
            return SampleBatch(rows)
        order = self._generators[name].permutation(len(rows[Columns.REWARDS]))
        return SampleBatch({key: column[order] for key, column in rows.items()})

    def get_state(self) -> dict[str, Any]:
        """Where the shuffling stands."""
        return {"generators": {name: own.bit_generator.state for name, own in self._generators.items()}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        for name, generator in self._generators.items():
            generator.bit_generator.state = state["generators"][name]


def _complete(rollouts: Sequence[Rollout]) -> list[Rollout]:
    return [rollout for rollout in rollouts if rollout.count.any()]


def train_rows(
    rollouts: Sequence[Rollout], *, gamma: float, trace_decay: float, network: Mlp | Summarising = _PERCEPTRON
) -> dict[str, NDArray[Any]]:
    """The columns of a train batch of all complete slots, advantages standardised over the batch.

    Args:
        rollouts: Fragments of one group, with values and at least one complete slot each.
        gamma: Discount per decision.
        trace_decay: Lambda of the generalised advantages.
        network: What learns from it.

    Returns:
        RLlib's column names -> (B, ...) for a perceptron; for other networks (N, K, ...), of units of K decisions, with
        ``DECIDED``, which of them there are.
    """
    parts = [_rows_of(rollout, _columns_of(rollout, gamma, trace_decay), network) for rollout in rollouts]
    rows = parts[0] if len(parts) == 1 else {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    advantage = rows[Postprocessing.ADVANTAGES]
    there = advantage[rows[DECIDED]] if DECIDED in rows else advantage
    rows[Postprocessing.ADVANTAGES] = (advantage - there.mean()) / max(1e-4, there.std())
    return rows


def _rows_of(
    rollout: Rollout, columns: Mapping[str, NDArray[Any]], network: Mlp | Summarising
) -> dict[str, NDArray[Any]]:
    if isinstance(network, Mlp):
        return {name: rollout.rows(own) for name, own in {Columns.OBS: rollout.obs[:-1], **columns}.items()}
    seen, mask_NK, of_units = units(network, rollout, columns)
    return {Columns.OBS: seen, DECIDED: mask_NK, **of_units}


def _columns_of(rollout: Rollout, gamma: float, trace_decay: float) -> dict[str, NDArray[Any]]:
    """Of all slots, (S, E, A, ...), but for what was seen."""
    next_value_SEA = rollout.next_value()
    if rollout.value is None or rollout.logp is None or rollout.dist_inputs is None:
        raise ValueError("this rollout carries no log-probabilities: it was sampled for an off-policy algorithm")
    value_SEA = rollout.value[:-1]
    advantage_SEA = generalised_advantages(
        rollout.reward,
        value_SEA,
        next_value_SEA,
        goes_on(rollout.terminated, rollout.truncated, rollout.valid_SEA),
        discount=gamma,
        trace_decay=trace_decay,
    )
    return {
        Columns.ACTIONS: rollout.action,
        Columns.REWARDS: rollout.reward,
        Columns.ACTION_LOGP: rollout.logp,
        Columns.ACTION_DIST_INPUTS: rollout.dist_inputs,
        Postprocessing.ADVANTAGES: advantage_SEA,
        Postprocessing.VALUE_TARGETS: advantage_SEA + value_SEA,
    }
