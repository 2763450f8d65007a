"""What a sweep writes while it runs, in the driver alone: a folder for each trial, with its file and its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from wealtharena.evidence.files import write_json
from wealtharena.training.metrics_log import MetricsLog
from wealtharena.tuning.folder import AT_WORK, TRIAL, keep_state
from wealtharena.tuning.trial import NUMBER, POINT, REASON, ROW, SCORE, VALUES, trial_experiment

KNOWN = (VALUES, "status", "iteration", "env_steps", "seconds", SCORE, REASON, "error")
"""What trial.json says of a trial, besides the changes of its values."""
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"


def name_of(trial: Trial) -> str:
    """The name of a trial, which is that of its folder."""
    return f"trial_{trial.config[POINT][NUMBER]:04d}"


class TrialLog(Callback):
    """Writes config.yaml, metrics and trial.json of every trial.

    What a trial reported after the checkpoint it comes back from is dropped: its metrics have no row twice.
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Any]] = {}
        self._logs: dict[str, MetricsLog] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Adds a row."""
        record = self._record(trial)
        self._note_values(trial, record, result)
        row = {**result[ROW], **({SCORE: result[SCORE]} if SCORE in result else {})}
        self._log_after(trial, int(row["iteration"]) - 1, record["iteration"]).write(row)
        record |= {key: row.get(key) for key in ("iteration", "env_steps", "seconds", SCORE)}
        record |= {"status": RUNNING, "error": None, REASON: result.get(REASON)}
        self._write(trial, record)
        keep_state(AT_WORK.get(), Path(trial.storage.experiment_driver_staging_path))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It came to its end, or was stopped by the scheduler."""
        record = self._record(trial)
        record["status"] = FINISHED if record[REASON] else STOPPED
        self._end(trial, record)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It failed, more often than it may."""
        record = self._record(trial)
        record |= {"status": FAILED, "error": _last_line(trial.error_file)}
        self._end(trial, record)

    def _record(self, trial: Trial) -> dict[str, Any]:
        name = trial.custom_dirname
        if name not in self._records:
            known = dict(AT_WORK.get().trials())
            self._records[name] = dict(known.get(name) or {"changes": [], **dict.fromkeys(KNOWN)})
        return self._records[name]

    def _note_values(self, trial: Trial, record: dict[str, Any], result: Mapping[str, Any]) -> None:
        """The values it has now; where they are others than before, since when and from which trial."""
        point = trial.config[POINT]
        if record[VALUES] == point[VALUES]:
            return
        if record[VALUES] is not None:
            since = int(result["iteration"])
            record["changes"].append({"iteration": since, "from": name_of(trial), VALUES: point[VALUES]})
        record[VALUES] = dict(point[VALUES])
        run = AT_WORK.get().trial(trial.custom_dirname)
        run.path.mkdir(parents=True, exist_ok=True)
        run.write_config(trial_experiment(trial.config).resolved())

    def _log_after(self, trial: Trial, before: int, known: int | None) -> MetricsLog:
        """The log of a trial whose last row is to be ``before``."""
        name = trial.custom_dirname
        if name not in self._logs or known != before:
            self._close(name)
            self._logs[name] = MetricsLog(AT_WORK.get().trial(name).metrics, after=before)
        return self._logs[name]

    def _close(self, name: str) -> None:
        if name in self._logs:
            self._logs.pop(name).__exit__(None, None, None)

    def _end(self, trial: Trial, record: dict[str, Any]) -> None:
        self._close(trial.custom_dirname)
        record[VALUES] = record[VALUES] or dict(trial.config[POINT][VALUES])  # it may never have reported anything
        self._write(trial, record)

    def _write(self, trial: Trial, record: Mapping[str, Any]) -> None:
        write_json(AT_WORK.get().trial(trial.custom_dirname).path / TRIAL, record)


def _last_line(file: str | None) -> str:
    """What went wrong, of the traceback that Tune keeps."""
    lines = Path(file).read_text(encoding="utf-8").strip().splitlines() if file and Path(file).is_file() else []
    return lines[-1][:300] if lines else "unknown"
