"""Trackers of experiments: Weights & Biases and MLflow, each an extra that one line of the file switches on."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.monitoring.watchers import Watcher
from wealtharena.spec import MlflowSpec, TrackingSpec, WandbSpec
from wealtharena.training.progress import Progress
from wealtharena.training.run_dir import RunDir


def require_extras(spec: TrackingSpec | None) -> None:
    """Refuses a tracker that is not installed.

    Raises:
        UserError: Says how to install it.
    """
    for extra, settings in spec or ():
        if settings is not None:
            _module(extra)


def trackers(experiment: Experiment, run: RunDir) -> list[Watcher]:
    """Those that the experiment file asks for, told what runs.

    Raises:
        UserError: One is not installed.
    """
    spec, found = experiment.spec.tracking, list[Watcher]()
    if spec and spec.wandb:
        found.append(Wandb(spec.wandb, run, experiment.resolved()))
    if spec and spec.mlflow:
        found.append(Mlflow(spec.mlflow, run, experiment.resolved()))
    return found


class Wandb:
    """A run of Weights & Biases; one that is resumed here goes on there."""

    def __init__(self, spec: WandbSpec, run: RunDir, config: Mapping[str, Any]) -> None:
        name = hashlib.sha1(run.home.encode(), usedforsecurity=False).hexdigest()[:16]
        self._run = _module("wandb").init(
            project=spec.project,
            entity=spec.entity,
            name=run.home,
            id=name,
            resume="allow",
            dir=str(run.path),
            config=dict(config),
        )

    def show(self, progress: Progress) -> None:
        """Logs the row of an iteration."""
        self._run.log(progress.row(), step=progress.iteration)

    def close(self) -> None:
        """Sends what is left."""
        self._run.finish()


class Mlflow:
    """A run of MLflow; one that is resumed here goes on there, by the number in ``metrics/mlflow``."""

    def __init__(self, spec: MlflowSpec, run: RunDir, config: Mapping[str, Any]) -> None:
        self._mlflow = _module("mlflow")
        if spec.uri is not None:
            self._mlflow.set_tracking_uri(spec.uri)
        self._mlflow.set_experiment(spec.experiment)
        number = run.metrics / "mlflow"
        begun = number.read_text(encoding="utf-8") if number.is_file() else None
        active = self._mlflow.start_run(run_id=begun, run_name=run.home)
        if begun is None:
            self._mlflow.log_dict(dict(config), "config.yaml")
            _write(number, active.info.run_id)

    def show(self, progress: Progress) -> None:
        """Logs the row of an iteration."""
        self._mlflow.log_metrics(progress.row(), step=progress.iteration)

    def close(self) -> None:
        """Ends the run there."""
        self._mlflow.end_run()


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"tracking.{name}: the package {name} is not installed; install the extra 'wealtharena[{name}]' "
            f"(pip install {name}), or take tracking.{name} out of the file"
        ) from None
