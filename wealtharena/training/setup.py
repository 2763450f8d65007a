"""Where a run begins: a new folder for an experiment, or the one of a run that goes on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from wealtharena.document import read_document, shown
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment, load_experiment
from wealtharena.monitoring.trackers import require_extras
from wealtharena.training.mirror import fetched, working_folder
from wealtharena.training.phases import phases_of
from wealtharena.training.resources import of_this_machine, require
from wealtharena.training.run_dir import RunDir, check_vacant, new_run, open_run
from wealtharena.training.start_from import starts_of
from wealtharena.training.storage import Storage, is_uri


def begin(config: str, overrides: Sequence[str], out: str | Path | None) -> tuple[Experiment, RunDir]:
    """Loads an experiment and makes the folder of its run.

    Args:
        config: An experiment file, or ``quickstart``.
        overrides: ``--set`` values.
        out: The folder, or the URI of one; None for the next free one in ``storage``.

    Raises:
        UserError: The experiment or the folder is not right. Nothing has been written.
    """
    if out is not None:
        check_free(str(out))
    experiment = load_experiment(config, overrides)
    phases_of(experiment, read_document(config, overrides))
    if "RAY_ADDRESS" not in os.environ:
        require(experiment, of_this_machine(), "this machine")
    starts_of(experiment)
    require_extras(experiment.spec.tracking)
    run = new_home(experiment.spec.name, None if out is None else str(out), experiment.spec.storage or "runs")
    run.write_config(experiment.resolved())
    return experiment, run


def check_free(out: str) -> None:
    """Refuses a folder, or a URI, that a new run or sweep must not be written to.

    Raises:
        UserError: Something is there already.
    """
    if not is_uri(out):
        check_vacant(Path(out))
    elif (there := Storage.at(out)).holds("config.yaml") or there.holds("sweep.yaml"):
        raise UserError(f"--out {out}: already holds a run; give another URI, or continue it with --resume")


def new_home(name: str, out: str | None, parent: str) -> RunDir:
    """The folder of a new run or sweep; where it is kept behind a URI, that has been written to.

    Raises:
        UserError: The folder cannot be made, or nothing can be written behind the URI.
    """
    if not is_uri(out or parent):
        return new_run(name, None if out is None else Path(out), Path(parent))
    # Jobs that begin at the same moment must not choose the same number: nothing behind a URI would notice.
    unique = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    storage = Storage.at(out or f"{parent.rstrip('/')}/{unique}")
    storage.require_writable()
    return RunDir(working_folder(storage.name), storage)


def resume(config: str, overrides: Sequence[str], out: str | Path | None) -> tuple[Experiment, RunDir]:
    """Loads the experiment of a run that goes on; only ``stop`` may differ from how it began.

    Args:
        config: The run's folder or its URI, or the experiment file it began with.
        overrides: ``--set`` values.
        out: The run's folder, where ``config`` is a file.

    Raises:
        UserError: There is no run, or the experiment is another one.
    """
    home = config if is_uri(config) or Path(config).is_dir() else None if out is None else str(out)
    if home is not None and out is not None and _normal(str(out)) != _normal(home):
        raise UserError(f"--out {out}: the run that goes on stays in its folder {home}; leave --out away")
    if home is None and not Path(config).exists():
        raise UserError(f"--resume {config}: there is no such run or experiment file")
    if home is None:
        raise UserError("--resume: say which run: 'wealtharena train runs/quickstart-001 --resume', or with --out")
    run = fetched(home) if is_uri(home) else open_run(Path(home))
    if run.storage is not None:
        run.storage.require_writable()
    experiment = load_experiment(str(run.config) if home == config else config, overrides)
    enter(run, experiment)
    return experiment, run


def _normal(home: str) -> str:
    return home.rstrip("/") if is_uri(home) else str(Path(home).resolve())


def enter(run: RunDir, experiment: Experiment) -> None:
    """Writes an experiment into a run's folder: a new one, or that of the same experiment but for ``stop``.

    Raises:
        UserError: The run began as another experiment.
    """
    now = experiment.resolved()
    begun = yaml.safe_load(run.config.read_text(encoding="utf-8")) if run.config.is_file() else now
    if path := _first_difference({**begun, "stop": None}, {**now, "stop": None}):
        raise UserError(
            f"--resume {run.path}: {'.'.join(path)} was {_shown_at(begun, path)} when the run began and is "
            f"{_shown_at(now, path)} now; only stop may change (for another experiment start a new run)"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    run.write_config(now)


def _first_difference(one: Any, other: Any) -> tuple[str, ...] | None:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return None if one == other else ()
    for key in [*one, *(key for key in other if key not in one)]:
        below = _first_difference(one.get(key), other.get(key))
        if below is not None:
            return (key, *below)
    return None


def _shown_at(data: Any, path: tuple[str, ...]) -> str:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return shown(data)
