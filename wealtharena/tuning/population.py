"""Populations that go on after a sweep was killed: Ray Tune saves trials and callbacks, and no scheduler.

What a population knows of its trials is therefore saved as a callback's state, at the same moments as the trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining


@dataclass(frozen=True)
class Compared:
    """A trial's last comparison with the others.

    Attributes:
        at: When it was, or when that of the trial was from which this one goes on; by the clock of the population.
        trained: How far the trial had come.
        score: Of the trial, more being better; None before the first comparison.
        leads: Whether others may go on from the checkpoint that the trial wrote then.
    """

    at: float
    trained: float
    score: float | None
    leads: bool


class Population(PopulationBasedTraining):
    """Tune's PBT, which can also be saved and brought back."""

    def __init__(self, **settings: Any) -> None:
        """With the settings of Tune's."""
        super().__init__(**settings)
        self._before: dict[Trial, Compared] = {}
        """What was known of a trial before its last comparison."""
        self._known: Mapping[str, Compared] = {}
        """Trial's id -> what was known of it when the sweep was interrupted."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial that comes back is compared when it would have been."""
        super().on_trial_add(tune_controller, trial)
        if trial.trial_id in self._known:
            self._take(trial, self._known[trial.trial_id])

    def _take(self, trial: Trial, known: Compared) -> None:
        state = self._trial_state[trial]
        state.last_perturbation_time, state.last_train_time, state.last_score = known.at, known.trained, known.score
        saved = self._saved(trial, known)
        if known.leads and saved is not None:
            state.last_checkpoint, state.last_result = saved.checkpoint, saved.metrics

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Tune's decision."""
        before = self._compared(trial)
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if self._compared(trial) != before:
            self._before[trial] = before
        return decision

    def _compared(self, trial: Trial) -> Compared:
        state = self._trial_state[trial]
        leads = state.last_checkpoint is not None
        return Compared(state.last_perturbation_time, state.last_train_time, state.last_score, leads)

    def _saved(self, trial: Trial, known: Compared) -> Any:
        """The checkpoint that a trial wrote when it was compared, with what it reported then; None if it has gone."""
        kept = reversed(trial.run_metadata.checkpoint_manager.best_checkpoint_results)
        return next((one for one in kept if one.metrics[self._time_attr] == known.at), None)

    def unsaved(self) -> list[Trial]:
        """Trials that lead, but whose checkpoint is still being written: they come back from before the comparison."""
        return [trial for trial in self._trial_state if self._compared(trial).leads and not self._has_saved(trial)]

    def _has_saved(self, trial: Trial) -> bool:
        latest = trial.run_metadata.checkpoint_manager.latest_checkpoint_result
        return latest is not None and latest.metrics[self._time_attr] >= self._compared(trial).at

    def get_state(self) -> dict[str, Any]:
        """What goes on with the trials."""
        known = {trial: self._compared(trial) for trial in self._trial_state}
        known |= {trial: self._before[trial] for trial in self.unsaved()}
        return {"trials": {trial.trial_id: compared for trial, compared in known.items()}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes what ``get_state`` gave, before the trials come back."""
        self._known = state["trials"]


class PopulationState(Callback):
    """Has Tune save a population, and bring it back before its trials."""

    def __init__(self, population: Population) -> None:
        """Of this population, the scheduler of the same sweep."""
        self._population = population

    def get_state(self) -> dict[str, Any]:
        """The population's."""
        return self._population.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Gives the population its own."""
        self._population.set_state(state)
