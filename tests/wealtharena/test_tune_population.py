"""A population goes on after a kill as if there had been none: who is compared when, and with which scores."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from ray.tune import Callback, Checkpoint
from ray.tune.experiment import Trial

from tests.wealtharena.conftest import GAME
from wealtharena.document import read_document
from wealtharena.training.metrics_log import read_rows
from wealtharena.tuning.check import Sweep, sweep_of
from wealtharena.tuning.folder import SweepDir
from wealtharena.tuning.modelled_population import ModelledPopulation
from wealtharena.tuning.outcome import summarise
from wealtharena.tuning.population import Population, PopulationState
from wealtharena.tuning.strategies import scheduler
from wealtharena.tuning.sweep import run_sweep
from wealtharena.tuning.trial import NUMBER, POINT, SCORE, VALUES

WORTH = "environment.params.worth"
LAST = 12
POPULATION = GAME.replace("tests.games:TargetGame", "tests.wealtharena.tuned_games:PaidGame").replace(
    "iterations: 4", f"iterations: {LAST}"
) + (
    """\
curriculum:
  stages: {short: {horizon: 2}, long: {}}
  success: {metric: left/episode_return, at_least: 0.0}
  rule: {kind: promotion, promote_above: 0.9, patience: 1}
tune:
  trials: 2
  metric: left/episode_return
  scheduler: {kind: pbt, interval: 3, quantile: 0.5, resample: 0}
  space: {environment.params.worth: {uniform: [0.01, 1.0]}}
"""
)


def sweep_in(folder: Path, *overrides: str) -> Sweep:
    (folder / "game.yaml").write_text(POPULATION)
    return sweep_of(read_document(str(folder / "game.yaml"), overrides))


# ---- what is saved, and what is made of it


class Controller:
    """As much of Tune's as a population asks for: trials that are saved when they are told to."""

    search_alg = None

    def __init__(self, population: Population) -> None:
        self.population, self.trials = population, list[Trial]()
        self.saving = True

    def add(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.population.on_trial_add(self, trial)

    def get_trials(self) -> list[Trial]:
        return self.trials

    def pause_trial(self, trial: Trial, should_checkpoint: bool) -> None:
        trial.set_status(Trial.PAUSED)

    def _schedule_trial_save(self, trial: Trial, result: dict[str, Any]) -> Checkpoint:
        checkpoint = Checkpoint(f"/kept/{trial}/{result['iteration']}")
        if self.saving:
            saved(trial, checkpoint, result)
        return checkpoint


def saved(trial: Trial, checkpoint: Checkpoint, result: dict[str, Any]) -> None:
    from ray.train._internal.session import _TrainingResult  # noqa: PLC0415  (what Tune hands its trials)

    trial.run_metadata.checkpoint_manager.register_checkpoint(_TrainingResult(checkpoint, dict(result)))


def trial_of(number: int, worth: float, tmp_path: Path) -> Trial:
    config = {POINT: {NUMBER: number, VALUES: {WORTH: worth, "seed": number}}}
    trial = Trial("trained", config=config, trial_id=f"t{number}", stub=True)
    trial.custom_trial_name = f"trial_{number:04d}"
    return trial


def told(controller: Controller, trial: Trial, iteration: int, score: float) -> None:
    trial.set_status(Trial.RUNNING)
    result = {"iteration": iteration, SCORE: score, "training_iteration": iteration}
    controller.population.on_trial_result(controller, trial, result)
    trial.run_metadata.last_result = result


def population_of(tmp_path: Path, kind: str = "pbt") -> Population:
    made = scheduler(sweep_in(tmp_path, f"tune.scheduler={{kind: {kind}, interval: 3, quantile: 0.5, resample: 0}}"))
    assert isinstance(made, Population)
    made._log_config = False
    return made


def restored(population: Population, trials: list[Trial], tmp_path: Path, kind: str = "pbt") -> Controller:
    """The same population in another process."""
    other = population_of(tmp_path, kind)
    PopulationState(other).set_state(pickle.loads(pickle.dumps(PopulationState(population).get_state())))
    controller = Controller(other)
    for trial in trials:
        controller.add(trial)
    return controller


def clock(population: Population, trial: Trial) -> tuple[float, float | None]:
    state = population._trial_state[trial]
    return state.last_perturbation_time, state.last_score


def test_trials_come_back_with_their_clocks_scores_and_checkpoints(tmp_path: Path) -> None:
    controller = Controller(population_of(tmp_path))
    good, bad = trial_of(0, 0.8, tmp_path), trial_of(1, 0.2, tmp_path)
    for trial in (good, bad):
        controller.add(trial)
    told(controller, bad, 3, 0.2)
    told(controller, good, 3, 0.8)
    told(controller, good, 4, 0.8)
    again = restored(controller.population, [good, bad], tmp_path)
    assert (clock(again.population, good), clock(again.population, bad)) == ((3, 0.8), (3, 0.2))
    told(again, bad, 5, 0.2)
    assert clock(again.population, bad) == (3, 0.2)  # not yet
    told(again, bad, 6, 0.2)
    assert bad.status == Trial.PAUSED  # it takes the place of the good one, from what that one wrote at 3
    taken = bad.run_metadata.checkpoint_manager.latest_checkpoint_result
    assert taken.checkpoint.path.endswith("trial_0000/3")
    assert bad.config[POINT][VALUES][WORTH] in (pytest.approx(0.64), pytest.approx(0.96))
    assert clock(again.population, bad)[0] == 3


def test_a_comparison_whose_checkpoint_was_being_written_is_made_again(tmp_path: Path) -> None:
    controller = Controller(population_of(tmp_path))
    good, bad = trial_of(0, 0.8, tmp_path), trial_of(1, 0.2, tmp_path)
    for trial in (good, bad):
        controller.add(trial)
    told(controller, bad, 3, 0.2)
    controller.saving = False
    told(controller, good, 3, 0.8)
    again = restored(controller.population, [good, bad], tmp_path)
    assert (clock(again.population, good), clock(again.population, bad)) == ((0, None), (3, 0.2))
    told(again, good, 3, 0.8)
    assert clock(again.population, good) == (3, 0.8)
    assert len(good.run_metadata.checkpoint_manager.best_checkpoint_results) == 1


def test_the_model_of_gains_goes_on_with_what_it_knew(tmp_path: Path) -> None:
    controller = Controller(population_of(tmp_path, "pb2"))
    good, bad = trial_of(0, 0.8, tmp_path), trial_of(1, 0.2, tmp_path)
    for trial in (good, bad):
        controller.add(trial)
    told(controller, bad, 3, 0.2)
    told(controller, good, 3, 0.8)
    controller.saving = False
    told(controller, good, 6, 0.9)
    again = restored(controller.population, [good, bad], tmp_path, "pb2").population
    assert isinstance(again, ModelledPopulation)
    known = again.data[["Trial", "Time", "Reward"]].to_numpy().tolist()
    assert known == [["trial_0001", 3, 0.2], ["trial_0000", 3, 0.8]]  # the score of 6 comes again
    assert clock(again, good) == (3, 0.8)


# ---- a sweep that is killed


class Kill(Callback):
    """Copies a sweep as it lies on the disk once all trials have been compared: what a kill would have left."""

    def __init__(self, sweep: Path, copy: Path) -> None:
        self.sweep, self.copy = sweep, copy

    def on_trial_result(self, **info: Any) -> None:
        if not self.copy.exists() and len(at := compared_at(self.sweep)) == 2 and min(at) >= 3:
            shutil.copytree(self.sweep, self.copy)


def compared_at(folder: Path) -> list[float]:
    """When Tune's newest state says that each trial was last compared."""
    newest = max(folder.glob("tune/callback-states-*"), default=None)
    try:
        states = pickle.loads(newest.read_bytes()) if newest else {}
    except (EOFError, pickle.UnpicklingError):
        return []
    return [known.at for state in states.values() if state for known in state["trials"].values()]


def changes(folder: SweepDir) -> list[tuple[str, int]]:
    return [(name, change["iteration"]) for name, record in folder.trials() for change in record["changes"]]


def test_a_killed_population_with_a_curriculum_goes_on_by_the_same_clock(
    tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")  # after every result: the kill falls between two comparisons
    sweep = sweep_in(tmp_path, "checkpoint.every=1")
    straight, copy = SweepDir(tmp_path / "straight"), SweepDir(tmp_path / "copy")
    straight.path.mkdir()
    run_sweep(sweep, straight, [Kill(straight.path, copy.path)], resume=False)
    before = changes(copy)
    run_sweep(sweep, copy, [], resume=True)
    assert len(changes(copy)) > len(before)
    for folder in (straight, copy):
        summary = summarise(sweep, folder)
        assert [trial["status"] for trial in summary["trials"]] == ["finished", "finished"]
        assert {at % 3 for _, at in changes(folder)} == {0}  # the scores are known from 3 on
        for name, _ in folder.trials():
            rows = read_rows(folder.trial(name).metrics / "progress.csv")
            iterations = [int(row["iteration"]) for row in rows]
            assert iterations == sorted(set(iterations))
            assert iterations[-1] == LAST
            assert {row["curriculum/stage"] for row in rows[2:]} == {"2.0"}
