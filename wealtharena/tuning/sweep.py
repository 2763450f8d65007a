"""A sweep on Ray Tune: begun, or brought back."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner

from wealtharena.errors import UserError
from wealtharena.spec_tune import PopulationSpec
from wealtharena.training.resources import of_the_cluster, require
from wealtharena.training.room import nodes, require_places, wait_for_room
from wealtharena.tuning.check import Sweep
from wealtharena.tuning.elsewhere import CopyFirst, fetch_checkpoints, sound_state
from wealtharena.tuning.folder import AT_WORK, SweepDir
from wealtharena.tuning.log import TrialLog, name_of
from wealtharena.tuning.population import Population, PopulationState
from wealtharena.tuning.strategies import all_points, scheduler, searcher
from wealtharena.tuning.trial import NUMBER, POINT, VALUES, TeamTrial, trial_config
from wealtharena.tuning.waiting import WaitingAloud

SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths of the file are relative to where the command was given
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the sweep writes its own
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # no score is known before the first episode ends
    "RAY_AIR_NEW_OUTPUT": "0",  # which prints its banner at any verbosity
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
SAVE_EVERY, SAVE_ELSEWHERE_EVERY = "1", "10"
"""Seconds of a sweep that are lost if this process is killed: in a folder, and behind a URI."""


def run_sweep(sweep: Sweep, folder: SweepDir, views: Sequence[Callback], *, resume: bool) -> None:
    """Runs the trials of a sweep until all are over, its time is, or it is interrupted (SIGINT, SIGTERM).

    Args:
        sweep: What to try.
        folder: Where it is written.
        views: Who watches, as Tune's callbacks; they are pickled.
        resume: Whether to go on with the trials in the folder, if there are any.

    Raises:
        UserError: The cluster has no room for a trial.
    """
    settings = SETTINGS | {"TUNE_GLOBAL_CHECKPOINT_S": SAVE_ELSEWHERE_EVERY if folder.storage else SAVE_EVERY}
    os.environ.update({name: value for name, value in settings.items() if name not in os.environ})
    _require_room(sweep)
    at_work = AT_WORK.set(folder)
    try:
        with _terminated_as_interrupted():
            _tuner(sweep, folder, views, resume=resume).fit()
    finally:
        AT_WORK.reset(at_work)
    fetch_checkpoints(folder)


def _tuner(sweep: Sweep, folder: SweepDir, views: Sequence[Callback], *, resume: bool) -> Tuner:
    state = folder.state_home
    if resume and sound_state(folder) and Tuner.can_restore(state):
        return Tuner.restore(state, trainable=TeamTrial, resume_unfinished=True, resume_errored=True)
    rules = scheduler(sweep)
    kept = [PopulationState(rules)] if isinstance(rules, Population) else []
    return Tuner(
        TeamTrial,
        param_space=_param_space(sweep),
        tune_config=TuneConfig(
            num_samples=1 if sweep.points is not None else sweep.count,
            search_alg=searcher(sweep),
            scheduler=rules,
            max_concurrent_trials=_at_once(sweep),
            time_budget_s=sweep.tune.time_budget,
            reuse_actors=True,
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
        ),
        run_config=RunConfig(
            name=folder.state.name,
            storage_path=state.removesuffix(f"/{folder.state.name}"),
            callbacks=[CopyFirst(), TrialLog(), WaitingAloud(), *kept, *views],
            failure_config=FailureConfig(max_failures=sweep.tune.max_failures),
            checkpoint_config=CheckpointConfig(
                checkpoint_frequency=sweep.experiment.spec.checkpoint.every,
                checkpoint_at_end=True,
                num_to_keep=_kept(sweep),
            ),
            verbose=0,
        ),
    )


def _param_space(sweep: Sweep) -> dict[str, Any]:
    shared = trial_config(sweep.space.document)
    return shared if sweep.points is None else {**shared, POINT: tune.grid_search(all_points(sweep))}


def _at_once(sweep: Sweep) -> int | None:
    return None if isinstance(sweep.tune.scheduler, PopulationSpec) else sweep.tune.concurrency


def _kept(sweep: Sweep) -> int:
    """Checkpoints of each trial; in a population others may yet begin from the one of the last comparison."""
    keep, rules = sweep.experiment.spec.checkpoint.keep, sweep.tune.scheduler
    if not isinstance(rules, PopulationSpec):
        return keep
    spec = sweep.experiment.spec
    steps = spec.sampling.envs_per_runner * spec.sampling.fragment * max(1, spec.sampling.runners)
    apart = rules.interval / (steps if rules.clock == "env_steps" else 1)
    return max(keep, 2 * sweep.count + math.ceil(apart / spec.checkpoint.every))


def _require_room(sweep: Sweep) -> None:
    """Refuses trials that would wait without an end; waits a while for room for the first."""
    there = of_the_cluster()
    require(sweep.experiment, there, "the cluster")
    first = {NUMBER: 0, VALUES: sweep.first}
    request = TeamTrial.default_resource_request({**trial_config(sweep.space.document), POINT: first})
    for name, needed in request.required_resources.items():
        if needed > there.get(name, 0.0):
            raise UserError(
                f"a trial needs {needed:g} {name} (one for itself, one for each of sampling.runners and of "
                f"learning.learners), and the cluster has {there.get(name, 0.0):g}; lower them, or use a larger cluster"
            )
    require_places(request.bundles, nodes())
    wait_for_room(request.bundles)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, which ends jobs, ends a sweep as gracefully as Ctrl-C does, of which Tune takes care."""
    before = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
