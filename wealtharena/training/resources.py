"""What a run asks of a cluster, held against what there is: better refused than waited for without end."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping

import ray
import torch

from policies.learner_options import OptionsLearner
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.spec import LearningSpec
from wealtharena.team.config import TeamConfig
from wealtharena.training.room import Bundle

_GRAIN = 10_000
"""Ray counts in ten-thousandths of a GPU."""


def require(experiment: Experiment, there: Mapping[str, float], where: str) -> None:
    """Refuses a run whose runners and learners do not fit, or cannot compute as they should.

    Args:
        experiment: Says how many there are: a runner takes a CPU, a learner without a GPU another, one for each family
            of members.
        there: Ray's resource names -> how much there is.
        where: Whose resources these are, in words.

    Raises:
        UserError: More is needed than there is, or a member's Learner does not know an option of ``learning``.
    """
    _require_options(experiment)
    spec = experiment.spec
    asked = f"sampling.runners = {spec.sampling.runners} and learning.learners = {spec.learning.learners}, for each"
    for name, needed in _needed(experiment, there).items():
        if needed > there.get(name, 0.0):
            raise UserError(
                f"{asked} of {families_of(experiment)} families of members, need {needed:g} {name}, and {where} has "
                f"{there.get(name, 0.0):g}; lower them (0 samples or learns in the training process), "
                "or use a larger cluster (RAY_ADDRESS)"
            )


def _require_options(experiment: Experiment) -> None:
    learning, defaults = experiment.spec.learning, LearningSpec()
    for name, algorithm in experiment.members.items():
        learner = algorithm.learner_config(experiment.groups[name].action_space).learner_class
        for option in ("precision", "accumulate"):
            if getattr(learning, option) != getattr(defaults, option) and not issubclass(learner, OptionsLearner):
                raise UserError(
                    f"learning.{option}: must be {getattr(defaults, option)} with members.{name}.algorithm, whose "
                    f"{learner.__name__} knows no other (got {getattr(learning, option)})"
                )


def _needed(experiment: Experiment, there: Mapping[str, float]) -> Counter[str]:
    runners, gpus = experiment.spec.sampling.runners, gpus_per_learner(experiment, there)
    learners = experiment.spec.learning.learners * families_of(experiment)
    return Counter({"CPU": runners + (0 if gpus else learners), "GPU": gpus * max(learners, 1)})


def bundles_of(experiment: Experiment, there: Mapping[str, float]) -> list[Bundle]:
    """What each process asks Ray for, beside the training process itself: runners, then the learners of all families.

    Args:
        experiment: Says how many there are.
        there: Ray's resource names -> how much there is.
    """
    gpus, learners = gpus_per_learner(experiment, there), experiment.spec.learning.learners * families_of(experiment)
    learner = {"GPU": gpus} if gpus else {"CPU": 1.0}
    return [*[{"CPU": 1.0}] * experiment.spec.sampling.runners, *[learner] * learners]


def families_of(experiment: Experiment) -> int:
    """How many Learners, or groups of several, the members learn with."""
    return len(TeamConfig().team(experiment.members, frozen=experiment.spec.frozen_members).families())


def gpus_per_learner(experiment: Experiment, there: Mapping[str, float]) -> float:
    """What each Learner gets: as the file says, or else a GPU of its own, or an equal share of one, or none.

    Several Learners of one family exchange gradients, which NCCL does between whole GPUs only.

    Args:
        experiment: Says how many Learners there are.
        there: Ray's resource names -> how much there is.
    """
    learning, gpus = experiment.spec.learning, math.floor(there.get("GPU", 0.0))
    if learning.gpus_per_learner is not None:
        return learning.gpus_per_learner
    learners = max(1, learning.learners * families_of(experiment))
    if gpus >= learners:
        return 1.0
    if learning.learners > 1 or not gpus:
        return 0.0
    return math.floor(_GRAIN / math.ceil(learners / gpus)) / _GRAIN


def placement(experiment: Experiment, there: Mapping[str, float]) -> str:
    """Where gradients will be computed, in words."""
    learners, gpus = experiment.spec.learning.learners, gpus_per_learner(experiment, there)
    device = f"{gpus:g} GPU" if gpus else "the CPU"
    if not learners:
        return f"in this process, on {device}"
    return f"{families_of(experiment)} families at the same time, on {device}, in {learners} processes each"


def available(experiment: Experiment) -> dict[str, float]:
    """What Ray has where it runs, and would have here where it does not.

    Of GPUs those of this process alone, if it is this process that learns: a head may have none.
    """
    there = of_the_cluster() if ray.is_initialized() else of_this_machine()
    return there if experiment.spec.learning.learners else {**there, "GPU": float(torch.cuda.device_count())}


def of_this_machine() -> dict[str, float]:
    """What a local Ray would have."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}


def of_the_cluster() -> dict[str, float]:
    """What the cluster has that Ray is connected to."""
    return dict(ray.cluster_resources())
