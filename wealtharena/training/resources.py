"""What a run asks of a cluster, held against what there is: better refused than waited for without end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

import ray
import torch

from wealtharena.errors import UserError
from wealtharena.spec import ExperimentSpec


def require(spec: ExperimentSpec, available: Mapping[str, float], where: str) -> None:
    """Refuses a run whose runners and learners do not fit.

    Args:
        spec: Says how many there are: a runner takes a CPU, a learner without a GPU another, one for each member.
        available: Ray's resource names -> how much there is.
        where: Whose resources these are, in words.

    Raises:
        UserError: More is needed than there is.
    """
    asked = f"sampling.runners = {spec.sampling.runners} and learning.learners = {spec.learning.learners}, for each"
    for name, needed in _needed(spec).items():
        if needed > available.get(name, 0.0):
            raise UserError(
                f"{asked} of {len(spec.members)} members, need {needed:g} {name}, and {where} has "
                f"{available.get(name, 0.0):g}; lower them (0 samples or learns in the training process), "
                "or use a larger cluster (RAY_ADDRESS)"
            )


def _needed(spec: ExperimentSpec) -> Counter[str]:
    learners, gpus = spec.learning.learners * len(spec.members), spec.learning.gpus_per_learner
    return Counter({"CPU": spec.sampling.runners + (0 if gpus else learners), "GPU": gpus * max(learners, 1)})


def of_this_machine() -> dict[str, float]:
    """What a local Ray would have."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}


def of_the_cluster() -> dict[str, float]:
    """What the cluster has that Ray is connected to."""
    return dict(ray.cluster_resources())
