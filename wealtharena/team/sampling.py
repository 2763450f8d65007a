"""Fragments of all runners, for one iteration after the other."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from ray.rllib.env.env_runner_group import EnvRunnerGroup

from wealtharena.team.runner import ArrayEnvRunner, Fragment


@dataclass(frozen=True)
class Sampled:
    """What came back from one runner: a fragment and its metrics, or the traceback of what went wrong."""

    fragment: Fragment | None
    metrics: Any
    error: str | None = None


def sample(runners: EnvRunnerGroup, env_steps: int) -> list[Sampled]:
    """A fragment from every runner: from the remote ones, or from the one in this process if there are none.

    Args:
        runners: Who samples.
        env_steps: Environment steps the team has sampled so far, for exploration schedules.

    Raises:
        RuntimeError: A runner's environment or policy failed, or all runners are lost.
    """

    def of_one(runner: ArrayEnvRunner) -> Sampled:
        try:
            return Sampled(runner.sample(env_steps=env_steps), runner.get_metrics())
        except Exception:
            return Sampled(None, None, traceback.format_exc())

    results = runners.foreach_env_runner(of_one, local_env_runner=runners.num_remote_env_runners() == 0)
    failures = [result.error for result in results if result.error is not None]
    if failures:
        raise RuntimeError(f"sampling failed in {len(failures)} of {len(results)} runners:\n{failures[0]}")
    if not results:
        raise RuntimeError("no runner returned a sample: all of them are lost")
    return results


def env_steps_of(fragments: list[Fragment]) -> int:
    """Environment steps of all copies in these fragments."""
    rollouts = [next(iter(fragment.values())) for fragment in fragments]
    return sum(rollout.steps * rollout.reward.shape[1] for rollout in rollouts)
