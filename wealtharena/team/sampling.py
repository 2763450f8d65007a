"""Fragments of all runners, for one iteration after the other: on demand, or sampled while the Learners learn.

Where sampling and learning overlap, iteration k takes the fragments that are ready, has the runners begin those of
iteration k + 1, and learns meanwhile. A runner does what it is asked for in order, and new weights are sent once they
are learnt, so it takes them between two fragments. Fragment k + 1 is thus sampled with the weights that iteration
k - 1 left, always: whose turn it is depends on no clock.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from wealtharena.curriculum.episodes import Ended
from wealtharena.team.runner import ArrayEnvRunner, Fragment

_FRAGMENT, _STATE = "fragment", "sampler_state"
_WEIGHTS = "set_state"  # RLlib's own tag for the weights on their way to a runner


@dataclass(frozen=True)
class Sampled:
    """What one runner sampled, and what it measured meanwhile.

    Attributes:
        fragment: Group -> its rollout.
        metrics: RLlib's.
        ended: The episodes that it finished; None without a curriculum.
    """

    fragment: Fragment
    metrics: Any
    ended: Ended | None = None


class Sampling:
    """A fragment of every runner that is alive, each iteration; in the order of the runners, whoever is ready first."""

    def __init__(self, runners: EnvRunnerGroup, *, overlap: bool) -> None:
        """Takes the runners, and whether they sample ahead; only remote ones can."""
        self._runners = runners
        self._overlap = overlap
        self._ahead: list[Sampled] = []

    def next(self, env_steps: int, copies: Sequence[int] = ()) -> list[Sampled]:
        """The fragments to learn from now, one at least. If sampling overlaps, the next ones are under way then.

        Args:
            env_steps: Environment steps of the team so far, for exploration schedules.
            copies: Of each runner that play each stage of a curriculum, in fragments that are begun now.

        Raises:
            RuntimeError: A runner's environment or policy failed, or all runners are lost.
        """
        if not self._overlap:
            local = self._runners.num_remote_env_runners() == 0
            ask = partial(_sample, env_steps=env_steps, copies=copies)
            return _some(_whole(self._runners.foreach_env_runner(ask, local_env_runner=local)))
        if not (self._ahead or self._runners.num_in_flight_async_reqs(_FRAGMENT)):
            self._begin(env_steps, copies)
        results, self._ahead = _some(self._ahead or _whole(self._wait(_FRAGMENT).values())), []
        self._begin(env_steps + env_steps_of([result.fragment for result in results]), copies)
        return results

    def _begin(self, env_steps: int, copies: Sequence[int]) -> None:
        self._runners.foreach_env_runner_async(partial(_sample, env_steps=env_steps, copies=copies), tag=_FRAGMENT)

    def _wait(self, tag: str) -> dict[int, Any]:
        """All answers that are under way: index of a runner -> its answer; none of one that was lost meanwhile."""
        return dict(sorted(self._runners.fetch_ready_async_reqs(tags=tag, timeout_seconds=None)))

    def send_weights(self, learners: LearnerGroup) -> None:
        """To all runners, for every fragment that is begun from now on."""
        self._wait(_WEIGHTS)  # while they are on their way to a runner, RLlib sends it no others
        self._runners.sync_weights(from_worker_or_learner_group=learners)

    def get_state(self) -> dict[str, Any]:
        """Where the remote runners stand, and what they have sampled ahead, for which this waits.

        Raises:
            RuntimeError: A runner's environment or policy failed.
        """
        self._ahead = self._ahead or _whole(self._wait(_FRAGMENT).values())
        self._runners.foreach_env_runner_async(_state_of, tag=_STATE)
        return {"ahead": self._ahead, "runners": self._wait(_STATE)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave; what is under way is dropped."""
        self._wait(_FRAGMENT)
        self._ahead = state["ahead"]
        if states := state["runners"]:
            restore = [partial(_restore, state=own) for own in states.values()]
            self._runners.foreach_env_runner(restore, remote_worker_ids=list(states), local_env_runner=False)


def _sample(runner: ArrayEnvRunner, env_steps: int, copies: Sequence[int]) -> Sampled | str:
    """The traceback if it fails: RLlib would take the runner for lost, and begin it again without an end."""
    try:
        return Sampled(runner.sample(env_steps=env_steps, copies=copies), runner.get_metrics(), runner.ended)
    except Exception:
        return traceback.format_exc()


def _whole(results: Collection[Sampled | str]) -> list[Sampled]:
    failures = [result for result in results if isinstance(result, str)]
    if failures:
        raise RuntimeError(f"sampling failed in {len(failures)} of {len(results)} runners:\n{failures[0]}")
    return [result for result in results if isinstance(result, Sampled)]


def _some(results: list[Sampled]) -> list[Sampled]:
    if not results:
        raise RuntimeError("no runner returned a sample: all of them are lost")
    return results


def _state_of(runner: ArrayEnvRunner) -> bytes:
    """Pickled: its tensors may live on a device that the training process has not."""
    return pickle.dumps(runner.get_state(not_components=COMPONENT_RL_MODULE))


def _restore(runner: ArrayEnvRunner, state: bytes) -> None:
    runner.set_state(pickle.loads(state))


def env_steps_of(fragments: Sequence[Fragment]) -> int:
    """Environment steps of all copies in these fragments."""
    rollouts = [next(iter(fragment.values())) for fragment in fragments]
    return sum(rollout.steps * rollout.reward.shape[1] for rollout in rollouts)
