"""Fragments of all runners, for one iteration after the other: on demand, or sampled while the Learners learn.

Where sampling and learning overlap, iteration k asks the runners for the fragments of iteration k + 1, then takes those
that they were asked for an iteration ago, and learns from them. A runner does what it is asked for in order, and new
weights are sent once they are learnt, so it takes them between two fragments. Fragment k + 1 is thus sampled with the
weights that iteration k - 1 left, always: whose turn it is depends on no clock. And a runner that is done with fragment
k has the next one to do: it waits neither for the slower ones nor for the training process.

A remote runner whose environment raises, or whose process is lost, gives no fragment in this iteration and begins anew.
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
from wealtharena.team.restarts import Restarts
from wealtharena.team.runner import ArrayEnvRunner, Fragment

_MOST_IN_A_ROW = 3
_AWAITED, _FOLLOWING = "fragment", "next_fragment"
_STATE = "sampler_state"
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


@dataclass(frozen=True)
class Failed:
    """What came in place of a fragment.

    Attributes:
        runner: Its index.
        error: The traceback of what was raised; None from a runner in another process than before, which does not know
            the team's weights.
    """

    runner: int
    error: str | None


class Sampling:
    """A fragment of every runner that is alive, each iteration; in the order of the runners, whoever is ready first."""

    def __init__(self, runners: EnvRunnerGroup, *, overlap: bool, patience_s: float, fragment_env_steps: int) -> None:
        """Takes the runners, and how they sample.

        Args:
            runners: Of the team.
            overlap: Whether they sample ahead; only remote ones can.
            patience_s: How long to wait if all are lost.
            fragment_env_steps: Environment steps of a fragment, of all its copies.
        """
        self._runners = runners
        self._overlap = overlap
        self._fragment_env_steps = fragment_env_steps
        self._awaited, self._following = _AWAITED, _FOLLOWING
        self._ahead: list[Sampled] = []
        self.restarts = Restarts(runners, patience_s=patience_s)

    def next(self, env_steps: int, copies: Sequence[int] = ()) -> list[Sampled]:
        """The fragments to learn from now, one at least. If sampling overlaps, the next ones are under way then.

        Args:
            env_steps: Environment steps of the team so far, for exploration schedules.
            copies: Of each runner that play each stage of a curriculum, in fragments that are begun now.

        Raises:
            RuntimeError: The environment or the policy of the local runner raised, or those of all remote runners
                three times in a row; or all runners are lost, and none came back in time.
        """
        for _ in range(_MOST_IN_A_ROW):
            answers = self._ask_ahead(env_steps, copies) if self._overlap else self._ask(env_steps, copies)
            if results := self._whole(answers):
                return results
            self.restarts.wait()
        raise RuntimeError(
            f"sampling failed in all runners, {_MOST_IN_A_ROW} times in a row; the last error:\n"
            f"{self.restarts.last_error or 'their processes were lost, see the logs of Ray'}"
        )

    def _ask(self, env_steps: int, copies: Sequence[int]) -> Collection[Sampled | Failed]:
        """The answers of all runners that live, in their order."""
        local = self._runners.num_remote_env_runners() == 0
        ask = partial(_sample, env_steps=env_steps, copies=copies)
        answers: list[Sampled | Failed] = self._runners.foreach_env_runner(ask, local_env_runner=local)
        return answers

    def _ask_ahead(self, env_steps: int, copies: Sequence[int]) -> Collection[Sampled | Failed]:
        """Asks for the fragments of the next iteration; the answers of this one, in the order of the runners."""
        asked = len(self._ahead) or self._runners.num_in_flight_async_reqs(self._awaited)
        asked = asked or self._begin(self._awaited, env_steps, copies)
        self._begin(self._following, env_steps + asked * self._fragment_env_steps, copies)
        answers = self._ahead or self._wait(self._awaited).values()
        self._ahead = []
        self._awaited, self._following = self._following, self._awaited
        return answers

    def _whole(self, answers: Collection[Sampled | Failed]) -> list[Sampled]:
        """The fragments among the answers; sees to the runners of the others."""
        failures = [answer for answer in answers if isinstance(answer, Failed)]
        for failed in failures:
            if failed.error is not None and not failed.runner:
                raise RuntimeError(f"sampling failed:\n{failed.error}")
            if failed.error is not None:
                self.restarts.raised(failed.runner, failed.error)
        self.restarts.replaced([failed.runner for failed in failures if failed.error is None])
        return [answer for answer in answers if isinstance(answer, Sampled)]

    def _begin(self, tag: str, env_steps: int, copies: Sequence[int]) -> int:
        """Has all runners that live sample a fragment each, once they are done with what they do; how many they are."""
        ask = partial(_sample, env_steps=env_steps, copies=copies)
        asked: int = self._runners.foreach_env_runner_async(ask, tag=tag)
        return asked

    def _wait(self, tag: str) -> dict[int, Any]:
        """All answers that are under way: index of a runner -> its answer; none of one that was lost meanwhile."""
        return dict(sorted(self._runners.fetch_ready_async_reqs(tags=tag, timeout_seconds=None)))

    def send_weights(self, learners: LearnerGroup) -> None:
        """To all runners, for every fragment that is begun from now on."""
        self._wait(_WEIGHTS)  # while they are on their way to a runner, RLlib sends it no others
        self._runners.sync_weights(from_worker_or_learner_group=learners)

    def finish(self) -> None:
        """Waits for what is under way, and drops it."""
        self._wait(self._awaited)
        self._wait(self._following)
        self._ahead = []

    def get_state(self) -> dict[str, Any]:
        """Where the remote runners stand, and what they have sampled ahead, for which this waits."""
        self._ahead = self._ahead or self._whole(self._wait(self._awaited).values())
        self._runners.foreach_env_runner_async(_state_of, tag=_STATE)
        return {"ahead": self._ahead, "runners": self._wait(_STATE)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave; what is under way is dropped."""
        self.finish()
        self._ahead = state["ahead"]
        if states := state["runners"]:
            restore = [partial(_restore, state=own) for own in states.values()]
            self._runners.foreach_env_runner(restore, remote_worker_ids=list(states), local_env_runner=False)


def _sample(runner: ArrayEnvRunner, env_steps: int, copies: Sequence[int]) -> Sampled | Failed:
    """A remote runner that fails begins anew in its process: RLlib would start another, without saying why."""
    if not runner.enrolled:
        return Failed(runner.index, None)
    try:
        return Sampled(runner.sample(env_steps=env_steps, copies=copies), runner.get_metrics(), runner.ended)
    except Exception:
        error = traceback.format_exc()
        if runner.index:
            runner.begin_anew(runner.times + 1)
        return Failed(runner.index, error)


def _state_of(runner: ArrayEnvRunner) -> bytes:
    """Pickled: its tensors may live on a device that the training process has not."""
    return pickle.dumps(runner.get_state(not_components=COMPONENT_RL_MODULE))


def _restore(runner: ArrayEnvRunner, state: bytes) -> None:
    runner.set_state(pickle.loads(state))


def env_steps_of(fragments: Sequence[Fragment]) -> int:
    """Environment steps of all copies in these fragments."""
    rollouts = [next(iter(fragment.values())) for fragment in fragments]
    return sum(rollout.steps * rollout.reward.shape[1] for rollout in rollouts)
