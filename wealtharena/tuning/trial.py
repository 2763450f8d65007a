"""One trial of a sweep: a team that Ray Tune trains, stops, copies and brings back after an error."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray.rllib.core.learner.learner import Learner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.tune import Trainable
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.result import DONE

from wealtharena.document import Document
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment, experiment_of
from wealtharena.monitoring.gauges import Gauges
from wealtharena.monitoring.watchers import Watchers
from wealtharena.spec_tune import TuneSpec
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.provenance import read_provenance, write_provenance
from wealtharena.training.run_dir import Mark
from wealtharena.training.train import begun, iterate, reason_to_end, team_config
from wealtharena.tuning.space import Space

POINT, FILE, NUMBER, VALUES = "point", "file", "number", "values"
"""What Tune's configuration of a trial holds: ``{file: text, point: {number: 3, values: {...}}}``."""
ROW, SCORE, REASON = "row", "score", "reason"
"""What a trial reports: its metrics, the last known value of the one that counts, and why it is over."""
MARK = "mark.json"


def trial_config(document: Document) -> dict[str, Any]:
    """The part of Tune's configuration that all trials share: a text, so that no scheduler looks into it."""
    return {FILE: json.dumps({"name": document.name, "data": document.data}, default=str)}


def trial_document(config: Mapping[str, Any]) -> Document:
    """The experiment file of a trial: without its sweep, and with the checkpoint that the sweep calls the best."""
    file = json.loads(config[FILE])
    tune = TuneSpec.model_validate(file["data"]["tune"])
    made = Space(Document(file["name"], file["data"], {}), tune.space).applied(config[POINT][VALUES])
    data = {key: section for key, section in made.data.items() if key != "tune"}
    if tune.metric is not None and tune.mode == "max":
        data["checkpoint"] = {**(data.get("checkpoint") or {}), "metric": tune.metric}
    return Document(made.name, data, {})


def trial_experiment(config: Mapping[str, Any]) -> Experiment:
    """The experiment of a trial.

    Raises:
        UserError: The values that the trial was given do not fit.
    """
    return _experiment(json.dumps(config, sort_keys=True))


@lru_cache(maxsize=32)
def _experiment(config: str) -> Experiment:
    return experiment_of(trial_document(json.loads(config)))


def trial_team(config: Mapping[str, Any]) -> TeamConfig:
    """The team of a trial. Members that the sweep changes learn apart: all trials then have the same families."""
    tune = TuneSpec.model_validate(json.loads(config[FILE])["data"]["tune"])
    experiment = trial_experiment(config)
    changed = {key.split(".")[1] for key in tune.space if key.startswith("members.")}
    return team_config(experiment).learning_apart([name for name in experiment.members if name in changed])


class TeamTrial(Trainable):
    """A team as Tune knows it: an iteration a step, with the checkpoints of ``wealtharena train``.

    A trial that takes the place of another (population based training) has its own values and the other's state: the
    networks, optimisers, replay, normalisers, environments, random streams and the stage of the curriculum.

    Attributes:
        team: What is trained.
        mark: How far it has come.
        score: The last known value of the metric that trials are compared by.
    """

    team: Team
    mark: Mark
    score: float | None

    def setup(self, config: dict[str, Any]) -> None:
        """Builds the team, at the beginning of its training."""
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(1)
        tune = TuneSpec.model_validate(json.loads(config[FILE])["data"]["tune"])
        self._experiment = trial_experiment(config)
        self._metric = tune.metric or self._experiment.spec.checkpoint.metric
        self.team = trial_team(config).build_algo()
        self._provenance = begun(self.team, self._experiment)
        self._watchers = Watchers([Gauges(self.trial_name)])
        self.mark = Mark()
        self.score = None
        self._began = time.perf_counter()

    def step(self) -> dict[str, Any]:
        """Trains for one iteration; reports its row, and the last known score."""
        spec = self._experiment.spec
        progress, self.mark = iterate(spec, self.team, self.mark, self._began)
        self._watchers.show(progress)
        row = progress.row()
        self.score = row.get(self._metric, self.score)
        reason = reason_to_end(spec, self.mark)
        known = {} if self.score is None else {SCORE: self.score}
        reached = {"iteration": progress.iteration, "env_steps": progress.env_steps}
        return {ROW: row, **reached, **known, DONE: reason is not None, REASON: reason}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes what ``wealtharena train`` would; Tune takes the folder over when it is complete."""
        folder = Path(checkpoint_dir)
        self.team.save_to_path(str(folder.resolve()))
        write_provenance(folder, self._provenance)
        (folder / MARK).write_text(self.mark.model_dump_json(), encoding="utf-8")
        own = {VALUES: self.config[POINT][VALUES], SCORE: self.score}
        (folder / "trial.json").write_text(json.dumps(own), encoding="utf-8")

    def load_checkpoint(self, checkpoint_dir: str | None) -> None:
        """Goes on from a checkpoint, of this trial or of one with other values."""
        assert checkpoint_dir is not None
        folder = Path(checkpoint_dir)
        saved = json.loads((folder / "trial.json").read_text(encoding="utf-8"))
        try:
            self.team.restore_from_path(str(folder.resolve()))
        except (EOFError, FileNotFoundError, pickle.UnpicklingError) as error:
            raise UserError(f"{folder}: is damaged ({type(error).__name__}: {error})") from error
        self._provenance = read_provenance(folder)
        self.mark = Mark.model_validate_json((folder / MARK).read_bytes())
        self.score = saved[SCORE]
        self._began = time.perf_counter() - self.mark.seconds
        if saved[VALUES] != self.config[POINT][VALUES]:
            take_own_rates(self.team, self.mark.env_steps)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Becomes another trial, in the same process."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Stops the team's processes."""
        self.team.stop()

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """The team's bundles: its own process, its samplers, and the learners of every family."""
        return Team.default_resource_request(trial_team(config).to_dict())


def take_own_rates(team: Team, env_steps: int) -> None:
    """Gives the optimisers the learning rates of the team's own hyperparameters: those restored are another's.

    Args:
        team: Restored from the checkpoint of a team with other hyperparameters.
        env_steps: That it has sampled, for rates that fall.
    """

    def take(learner: Learner) -> None:
        # RLlib's own rule, as after every update: rates follow the configuration's schedules.
        Learner.after_gradient_based_update(learner, timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps})

    team.learner_group.foreach_learner(take)
