"""Remote runners that begin anew: their environment raised, or their process was lost and RLlib started another.

A runner begins with other random streams each time: with those it had, an environment that failed by them would fail
again. What it had sampled and not delivered is lost, and counted nowhere.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection
from functools import partial
from typing import Any

import ray
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from wealtharena.team.runner import ArrayEnvRunner

_logger = logging.getLogger(__name__)
_POLL_S = 0.1


class Restarts:
    """Knows how often each remote runner began anew, and makes those at home that did.

    Attributes:
        last_error: The traceback of the environment or policy that raised last; empty before one did.
    """

    def __init__(self, runners: EnvRunnerGroup, *, patience_s: float) -> None:
        """Takes the runners as they were built, and how many seconds to wait for one if all are lost."""
        self._runners = runners
        self._patience_s = patience_s
        self._times: Counter[int] = Counter()
        self.last_error = ""
        runners.foreach_env_runner(ArrayEnvRunner.enrol, local_env_runner=False)

    def figures(self) -> dict[str, float]:
        """How many runners live, and how often one began anew since the team was built; none without remote ones."""
        if not self._runners.num_remote_env_runners():
            return {}
        healthy = self._runners.num_healthy_remote_env_runners()
        return {"healthy_runners": healthy, "restarts": self._times.total()}

    def raised(self, runner: int, error: str) -> None:
        """Takes note of an environment that raised; its runner has begun anew by itself."""
        self._times[runner] += 1
        self.last_error = error
        reason = error.strip().splitlines()[-1]
        _logger.warning("runner %d failed and begins anew, its fragment is lost: %s", runner, reason)

    def replaced(self, ids: Collection[int]) -> None:
        """Gives runners in new processes the weights of the others."""
        if not ids:
            return
        weights = ray.put(self._runners.local_env_runner.get_state(components=COMPONENT_RL_MODULE))
        self._times.update(ids)
        begin = [partial(_begin, weights=weights, times=self._times[runner]) for runner in ids]
        self._runners.foreach_env_runner(begin, remote_worker_ids=list(ids), local_env_runner=False)
        _logger.warning("runners %s were lost and have begun anew", ", ".join(map(str, ids)))

    def found(self) -> list[int]:
        """Makes those at home that RLlib has found again; returns their indices."""
        ids: list[int] = self._runners.probe_unhealthy_env_runners()
        self.replaced(ids)
        return ids

    def wait(self) -> None:
        """Until a runner lives, if all are lost.

        Raises:
            RuntimeError: None came back in time.
        """
        end = time.monotonic() + self._patience_s
        while not self._runners.num_healthy_remote_env_runners():
            if time.monotonic() > end:
                raise RuntimeError(
                    f"no runner returned a sample: all of them are lost, and none came back within "
                    f"{self._patience_s:.0f} s; look at the cluster with 'ray status', and go on with --resume"
                )
            time.sleep(_POLL_S)
            self.found()


def _begin(runner: ArrayEnvRunner, weights: Any, times: int) -> None:
    runner.set_state(ray.get(weights))
    runner.begin_anew(times)
    runner.enrol()
