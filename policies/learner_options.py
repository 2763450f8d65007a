"""How Learners compute, whatever they learn: precision and the size of what is computed at once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from torch import Tensor

from policies.annealing import AnnealedLearner

Precision = Literal["float32", "bf16"]

UPDATES, SKIPPED_UPDATES = "updates", "skipped_updates"
"""Metrics of a Learner: a member's gradient steps since the last report, and those not made for want of a gradient."""


@dataclass(frozen=True)
class LearnerOptions:
    """Options of our Learners, which travel in ``AlgorithmConfig.learner_config_dict``.

    Attributes:
        precision: ``bf16`` computes the networks' products in bfloat16; parameters, losses and optimisers stay float32.
        accumulate: Minibatches whose mean gradient makes one step.
    """

    precision: Precision = "float32"
    accumulate: int = 1

    @classmethod
    def of(cls, config: AlgorithmConfig) -> Self:
        """Those that ``put`` put into a configuration; the defaults where it put none."""
        return cls(**config.learner_config_dict.get(cls.__name__, {}))

    def put(self, config: AlgorithmConfig) -> None:
        """Puts them into the configuration of a Learner."""
        config.learners(learner_config_dict={**config.learner_config_dict, type(self).__name__: asdict(self)})

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Where networks are computed."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


class OptionsLearner(AnnealedLearner):
    """A Learner that computes as the options in its configuration say."""

    _options: LearnerOptions

    def build(self) -> None:
        """Reads the options before RLlib builds the Learner."""
        self._options = LearnerOptions.of(self.config)
        super().build()

    def _autocast(self) -> AbstractContextManager[Any]:
        """Where networks are computed."""
        return self._options.autocast(self._device)

    def _log_steps(self, name: str, sound_S: Tensor) -> None:
        """Counts a member's gradient steps, and those skipped: whose gradient was NaN or infinite.

        Several Learners make each step together: the first one counts it.
        """
        if self.distributed and torch.distributed.get_rank():
            return
        sound = int(sound_S.sum())
        self.metrics.log_value((name, UPDATES), len(sound_S), reduce="sum")
        self.metrics.log_value((name, SKIPPED_UPDATES), len(sound_S) - sound, reduce="sum")
