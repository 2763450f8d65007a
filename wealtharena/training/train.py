"""The run loop: trains a team until a limit is reached, logging every iteration and keeping checkpoints."""

from __future__ import annotations

import math
import os
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EPISODE_LEN_MEAN

from policies.algorithm import Algorithm
from policies.dqn import DQN
from policies.learner_options import LearnerOptions
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.monitoring.gauges import Gauges
from wealtharena.monitoring.trackers import trackers
from wealtharena.monitoring.watchers import Watchers
from wealtharena.spec import ExperimentSpec
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.provenance import Provenance, read_provenance, write_provenance
from wealtharena.training.logs import event, setting
from wealtharena.training.metrics_log import MetricsLog
from wealtharena.training.progress import Progress
from wealtharena.training.recovery import LearnersLostError, Recovery, building, learners_of
from wealtharena.training.resources import available, bundles_of, gpus_per_learner
from wealtharena.training.run_dir import Checkpoint, Mark, RunDir
from wealtharena.training.start_from import starts_of
from wealtharena.training.stopping import Stop, fraction_done
from wealtharena.training.warm_start import begin_from


class View(Protocol):
    """Somebody who watches a run."""

    def update(self, progress: Progress, done: float) -> None:
        """Shows an iteration; ``done`` is the fraction of the run behind it."""


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        reason: In words.
        interrupted: It was asked to stop early and can be resumed.
        mark: How far it came.
    """

    reason: str
    interrupted: bool
    mark: Mark


def train(experiment: Experiment, run: RunDir, *, view: View, stop: Stop) -> Outcome:
    """Trains the team of ``experiment`` from the latest checkpoint in ``run``, or else from the beginning.

    Leaves a checkpoint of where it ended; goes on from the last one if Learners in other processes are lost. Ray must
    be running.

    Raises:
        UserError: There is no room on the cluster, the checkpoint is damaged, or Learners are lost again and again.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        # Small networks lose more by handing work from thread to thread than they gain, above all on a busy machine.
        torch.set_num_threads(1)
    there, recovery = available(experiment), Recovery(run)
    while True:
        try:
            return _train(experiment, run, there, recovery, view, stop)
        except LearnersLostError as lost:
            recovery.prepare(lost)


def _train(
    experiment: Experiment, run: RunDir, there: Mapping[str, float], recovery: Recovery, view: View, stop: Stop
) -> Outcome:
    last = run.latest()
    mark = last.mark if last else Mark()
    _tell_start(experiment, run, there, mark)
    with recovery.room(bundles_of(experiment, there)), building():
        team = _restored(last) if last else team_config(experiment).build_algo()
    try:
        with learners_of(team):
            provenance = read_provenance(last.path) if last else begun(team, experiment)
            with (
                MetricsLog(run.metrics, after=mark.iteration) as log,
                Watchers([Gauges(run.home), *trackers(experiment, run)]) as watchers,
            ):
                loop = _Loop(experiment.spec, provenance, run, team, log, watchers, view, stop, recovery.times)
                return loop.run(mark)
    finally:
        team.stop()


def _tell_start(experiment: Experiment, run: RunDir, there: Mapping[str, float], mark: Mark) -> None:
    what = {"experiment": experiment.spec.name, "seed": experiment.spec.seed}
    where = {"resources": {name: there[name] for name in ("CPU", "GPU") if name in there}, **setting()}
    event("resumed" if mark.iteration else "started", run=run.path.name, iteration=mark.iteration, **what, **where)


def begun(team: Team, experiment: Experiment) -> Mapping[str, Provenance]:
    """Gives the members that start from something what it learned; says where all weights will then come from."""
    starts = starts_of(experiment)
    if starts:
        begin_from(team, starts)
    before = {name: learned.provenance for name, learned in starts.items()}
    return {name: before.get(name, Provenance()).then(own) for name, own in experiment.provenance.items()}


def reason_to_end(spec: ExperimentSpec, mark: Mark) -> str | None:
    """Why a training that has come so far is over, in words; None where it is not."""
    if mark.patience.exhausted(spec.early_stopping):
        return f"no improvement in {mark.patience.waited} iterations"
    if fraction_done(spec.stop, env_steps=mark.env_steps, iteration=mark.iteration, seconds=mark.seconds) == 1.0:
        return "the limit in stop is reached"
    return None


def _restored(checkpoint: Checkpoint) -> Team:
    try:
        return Team.from_checkpoint(str(checkpoint.path.resolve()))
    except (EOFError, FileNotFoundError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{checkpoint.path}: is damaged ({type(error).__name__}: {error}); "
            "remove this checkpoint to go on from the one before"
        ) from error


def team_config(experiment: Experiment) -> TeamConfig:
    """The experiment as an RLlib ``AlgorithmConfig``."""
    sampling, learning = experiment.spec.sampling, experiment.spec.learning
    members = {name: _as_it_acts(experiment, name) for name in experiment.members}
    environment, params = experiment.trained_on
    gpus = gpus_per_learner(experiment, available(experiment))
    return (
        TeamConfig()
        .environment(env=environment, env_config=params)
        .curriculum(experiment.spec.curriculum)
        .team(members, frozen=experiment.spec.frozen_members)
        .env_runners(
            num_env_runners=sampling.runners,
            num_envs_per_env_runner=sampling.envs_per_runner,
            rollout_fragment_length=sampling.fragment,
        )
        .sampling(overlap=sampling.overlap)
        .learners(num_learners=learning.learners, num_gpus_per_learner=gpus)
        .computing(LearnerOptions(learning.precision, learning.accumulate))
        .debugging(seed=experiment.spec.seed)
    )


def _as_it_acts(experiment: Experiment, name: str) -> Algorithm:
    """A member's algorithm; a frozen DQN does not begin its schedule anew, but explores as at the end of it."""
    algorithm = experiment.members[name]
    if not (experiment.spec.members[name].frozen and isinstance(algorithm, DQN)):
        return algorithm
    return type(algorithm)(algorithm.params.model_copy(update={"epsilon_start": algorithm.params.epsilon_end}))


@dataclass(frozen=True)
class _Loop:
    spec: ExperimentSpec
    provenance: Mapping[str, Provenance]
    folder: RunDir
    team: Team
    log: MetricsLog
    watchers: Watchers
    view: View
    stop: Stop
    recoveries: int

    def run(self, mark: Mark) -> Outcome:
        """Iterates from ``mark`` until there is a reason to stop, then writes the last checkpoint."""
        started = time.perf_counter() - mark.seconds
        while not (reason := self._reason_to_stop(mark)):
            mark = self._iterate(mark, started)
            if mark.iteration % self.spec.checkpoint.every == 0:
                self._save(mark)
        latest = self.folder.latest()
        if latest is None or latest.mark.iteration != mark.iteration:
            self._save(mark)
        event("interrupted" if self.stop.requested else "ended", iteration=mark.iteration, reason=reason)
        return Outcome(reason, self.stop.requested, mark)

    def _iterate(self, mark: Mark, started: float) -> Mark:
        progress, mark = iterate(self.spec, self.team, mark, started)
        if self.spec.learning.learners:
            progress = replace(progress, recoveries=self.recoveries)
        self.log.write(progress.row())
        self.watchers.show(progress)
        event("iteration", **progress.headline())
        reached = {"env_steps": mark.env_steps, "iteration": mark.iteration}
        self.view.update(progress, fraction_done(self.spec.stop, **reached, seconds=mark.seconds))
        return mark

    def _reason_to_stop(self, mark: Mark) -> str | None:
        return "interrupted" if self.stop.requested else reason_to_end(self.spec, mark)

    def _save(self, mark: Mark) -> None:
        saved = self.folder.save(mark, self._write, keep=self.spec.checkpoint.keep)
        event("checkpoint", iteration=mark.iteration, path=str(saved.path.relative_to(self.folder.path)))

    def _write(self, folder: Path) -> None:
        self.team.save_to_path(str(folder.resolve()))
        write_provenance(folder, self.provenance)


def iterate(spec: ExperimentSpec, team: Team, mark: Mark, started: float) -> tuple[Progress, Mark]:
    """Trains for one iteration.

    Args:
        spec: Of the experiment.
        team: The team.
        mark: How far it had come.
        started: When ``time.perf_counter`` would have shown that no time had been spent yet.

    Returns:
        What the iteration reported, and how far the team has come by it.
    """
    result = team.train()
    progress = _progress(result, mark, time.perf_counter() - started)
    row, patience = progress.row(), mark.patience
    if spec.early_stopping is not None:
        rule = spec.early_stopping
        patience = patience.after(row.get(rule.metric), rule.min_delta)
    reached = Mark(
        iteration=progress.iteration,
        env_steps=progress.env_steps,
        seconds=progress.seconds,
        # Not every iteration sees an episode end: until one does, the last known score stands.
        score=row.get(spec.checkpoint.metric, mark.score),
        patience=patience,
    )
    return progress, reached


def _progress(result: Mapping[str, Any], before: Mark, seconds: float) -> Progress:
    """Reads what one ``Team.train()`` reported."""
    env_steps = int(result["num_env_steps_sampled_lifetime"])
    return Progress(
        iteration=before.iteration + 1,
        env_steps=env_steps,
        seconds=seconds,
        steps_per_s=(env_steps - before.env_steps) / max(seconds - before.seconds, 1e-9),
        groups={group: _known(metrics) for group, metrics in result["groups"].items()},
        episode_length=float(result.get(ENV_RUNNER_RESULTS, {}).get(EPISODE_LEN_MEAN, math.nan)),
        curriculum=result.get("curriculum", {}),
        runners=result.get("runners", {}),
        environment=result.get("environment", {}),
        time_shares=result.get("time_shares", {}),
    )


def _known(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not math.isnan(value)}
