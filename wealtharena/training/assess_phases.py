"""Judging a run in phases: the team of every phase in one test, and the last team as the run's result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from wealtharena.evidence.episodes import evaluate_episodes
from wealtharena.evidence.evaluate import run_team
from wealtharena.evidence.evaluation import Evaluation
from wealtharena.evidence.phases import PhaseResult, phase_contents
from wealtharena.evidence.track import Track
from wealtharena.experiment import Experiment
from wealtharena.team.policy import Policy
from wealtharena.training.phases import Phase, phases_of
from wealtharena.training.run_dir import RunDir
from wealtharena.training.train_phases import reached
from wealtharena.training.trained import policies_for
from wealtharena.training.walk_forward import is_finished


def with_phases(evaluation: Evaluation, experiment: Experiment, run: RunDir) -> Evaluation:
    """Adds to the evaluation of a run what each of its phases was worth, as far as it has come.

    Args:
        evaluation: Of the run's own checkpoint.
        experiment: The world in which the phases are tested: the run's, or one over another test window.
        run: The run in phases.
    """
    results = list(_results(experiment, run))
    rate = experiment.test_params.cash_rate if isinstance(experiment.test_params, MarketParams) else 0.0
    return replace(evaluation, content={**evaluation.content, "phases": phase_contents(results, rate)})


def _results(experiment: Experiment, run: RunDir) -> Iterator[PhaseResult]:
    phases = phases_of(experiment)
    for phase in phases:
        policies = _policies(phase, run)
        if policies is None:
            return  # nor has any phase after it begun
        mark = reached([phase], run)
        followed = any(later.begun(run) for later in phases[phase.number :])
        yield PhaseResult(
            name=phase.spec.name,
            kind=phase.spec.kind,
            env_steps=mark.env_steps,
            seconds=mark.seconds,
            finished=followed or all(is_finished(task.within(run), task.experiment) for task in phase.tasks),
            test=_tested(experiment, phase, policies),
        )


def _policies(phase: Phase, run: RunDir) -> dict[str, Policy] | None:
    """Those of the best checkpoints of a phase; None where one of its trainings has none."""
    found: dict[str, Policy] = {}
    for task in phase.tasks:
        best = task.within(run).best()
        if best is None:
            return None
        found |= policies_for(task.experiment, best.path)
    return found


def _tested(experiment: Experiment, phase: Phase, policies: Mapping[str, Policy]) -> Track | float:
    """The books of a phase's team over the test window; in a world without dates its mean return over episodes."""
    params = experiment.test_params
    if isinstance(params, MarketParams) and not phase.whole_team:
        params = params.unmanaged()
    if issubclass(experiment.environment, MarketEnv) and isinstance(params, MarketParams) and params.dated:
        return run_team(experiment.environment(params.model_copy(update={"horizon": None}), num_envs=1), policies)[0]
    spec = experiment.spec
    world = experiment.environment(params, num_envs=min(spec.evaluation.episodes, spec.sampling.envs_per_runner))
    content = evaluate_episodes(world, policies, spec.evaluation.episodes, seeds=(spec.seed,)).content
    return float(content["team"]["episode_return"])
