"""Learning rates that fall."""

from __future__ import annotations

from typing import Any

from ray.rllib.core.learner.torch.torch_learner import TorchLearner


class AnnealedLearner(TorchLearner):
    """Holds an optimiser's rate as a plain number from the start.

    RLlib gives an optimiser with a schedule its first rate as a float32 tensor and all later ones as numbers, and
    restores that tensor as a number too: a run resumed before its first update would differ in the last bits.
    """

    def register_optimizer(self, **kwargs: Any) -> None:
        """RLlib's own, with the optimiser's rate made a number."""
        super().register_optimizer(**kwargs)
        for parameters in kwargs["optimizer"].param_groups:
            parameters["lr"] = float(parameters["lr"])
