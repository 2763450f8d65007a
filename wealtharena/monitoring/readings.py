"""What is shown of a run while it trains: every gauge with its unit, and where its value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wealtharena.training.progress import Progress

PREFIX = "wealtharena_"
"""Of all gauges; Ray puts ``ray_`` before it."""

OF_RUN: Mapping[str, str] = {
    "iteration": "rounds of sampling and learning",
    "env_steps": "environment steps so far, over all copies",
    "steps_per_s": "environment steps per second, in the last iteration",
    "team_return": "mean of the groups' episode returns",
    "episode_length": "mean steps of the episodes that ended last",
    "healthy_runners": "remote runners that live",
    "restarts": "remote runners that began anew since the team was built",
    "recoveries": "times that the team was built again from a checkpoint since the process began: learners were lost",
}
OF_PART: Mapping[str, str] = {"time_share": "share of the time of an iteration: sample, learn, sync_weights"}
OF_GROUP: Mapping[str, str] = {
    "episode_return": "mean return of the group's last episodes",
    "entropy": "entropy of the policy, in nats",
    "epsilon": "probability of a random action",
    "temperature": "weight of SAC's entropy",
    "policy_loss": "loss of the policy",
    "value_loss": "loss of the critic of states",
    "q_loss": "loss of the critic of actions",
    "loss": "what is stepped down",
    "q_mean": "mean value of the actions in a minibatch",
    "q_min": "least value of an action in a minibatch",
    "q_max": "largest value of an action in a minibatch",
    "skipped_updates": "updates of the last iteration that were skipped: their gradient was NaN or infinite",
}
OF_MARKET: Mapping[str, str] = {
    "equity": "value of the team's portfolio, as a multiple of its capital; mean of the copies in training",
    "drawdown": "share lost since the peak of the episode; mean of the copies in training",
}
OF_CLASS: Mapping[str, str] = {"capital": "share of the capital of a class of assets; mean of the copies in training"}
OF_CURRICULUM: Mapping[str, str] = {
    "curriculum_stage": "the stage that is trained, from 1",
    "curriculum_success": "mean success of this stage's episodes",
}
OF_STAGE: Mapping[str, str] = {
    "stage_share": "share of the copies that play a stage of the curriculum",
    "stage_success": "mean success of the last episodes of a stage",
    "stage_return": "mean team return of the last episodes of a stage",
}
TAGS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((*OF_RUN, *OF_MARKET, *OF_CURRICULUM), ("run",)),
    **dict.fromkeys(OF_GROUP, ("group", "run")),
    **dict.fromkeys(OF_PART, ("part", "run")),
    **dict.fromkeys(OF_CLASS, ("class", "run")),
    **dict.fromkeys(OF_STAGE, ("stage", "run")),
}
"""Every gauge, without the prefix -> its labels."""
MEANING: Mapping[str, str] = {**OF_RUN, **OF_PART, **OF_GROUP, **OF_MARKET, **OF_CLASS, **OF_CURRICULUM, **OF_STAGE}


@dataclass(frozen=True)
class Reading:
    """The value of a gauge.

    Attributes:
        gauge: Its name, without the prefix.
        value: Finite.
        label: Of which group, class, stage or part it is; None of the run.
    """

    gauge: str
    value: float
    label: str | None = None


def readings(progress: Progress) -> Iterator[Reading]:
    """What an iteration has to show; what it does not know is left out."""
    row = progress.row()
    yield from (Reading(gauge, row[gauge]) for gauge in OF_RUN if gauge in row)
    yield from (Reading("time_share", share, part) for part, share in progress.time_shares.items())
    for group, metrics in progress.groups.items():
        yield from (Reading(gauge, metrics[gauge], group) for gauge in OF_GROUP if gauge in metrics)
    yield from _of_market(progress.environment)
    yield from _of_curriculum(progress.curriculum)


def _of_market(figures: Mapping[str, float]) -> Iterator[Reading]:
    for figure, value in figures.items():
        gauge, _, name = figure.partition("/")
        if name and gauge in OF_CLASS:
            yield Reading(gauge, value, name)
        elif gauge in OF_MARKET:
            yield Reading(gauge, value)


def _of_curriculum(figures: Mapping[str, float]) -> Iterator[Reading]:
    for figure, value in figures.items():
        kind, _, stage = figure.partition("/")
        if stage and f"stage_{kind}" in OF_STAGE:
            yield Reading(f"stage_{kind}", value, stage)
        elif f"curriculum_{figure}" in OF_CURRICULUM:
            yield Reading(f"curriculum_{figure}", value)
