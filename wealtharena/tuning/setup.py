"""Where a sweep begins: a new folder for a file, or the one of a sweep that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from wealtharena.document import read_document
from wealtharena.errors import UserError
from wealtharena.spec_tune import AshaSpec
from wealtharena.training.run_dir import check_vacant, new_run
from wealtharena.training.storage import is_uri
from wealtharena.tuning.check import Sweep, sweep_of
from wealtharena.tuning.folder import SweepDir, reread, sweep_at
from wealtharena.tuning.strategies import last_rung, require_extras


def begin_sweep(config: str, overrides: Sequence[str], out: str | Path | None) -> tuple[Sweep, SweepDir]:
    """Checks a sweep, and makes its folder.

    Args:
        config: An experiment file with a section ``tune``.
        overrides: ``--set`` values.
        out: The folder; None for the next free one in ``storage``.

    Raises:
        UserError: The file, its space or the folder is not right. Nothing has been written.
    """
    chosen = None if out is None else _shared(str(out), "--out")
    if chosen is not None:
        check_vacant(chosen)
    document = read_document(config, overrides)
    sweep = sweep_of(document)
    require_extras(sweep.tune)
    if isinstance(sweep.tune.scheduler, AshaSpec):
        last_rung(sweep.tune.scheduler, sweep.experiment.spec.stop)
    parent = _shared(sweep.experiment.spec.storage or "runs", "storage")
    folder = SweepDir(new_run(sweep.name, chosen, parent).path)
    folder.write_file(document)
    return sweep, folder


def _shared(place: str, given: str) -> Path:
    if is_uri(place):
        rule = "trials on all nodes write into a sweep's folder: give one that the nodes share, and no URI"
        raise UserError(f"{given} {place}: {rule}")
    return Path(place)


def resume_sweep(config: str, overrides: Sequence[str], out: str | Path | None) -> tuple[Sweep, SweepDir]:
    """Finds a sweep that goes on, as it began.

    Args:
        config: The sweep's folder, or the file it began with.
        overrides: ``--set`` values.
        out: The sweep's folder, where ``config`` is a file.

    Raises:
        UserError: There is no sweep, or the file is another one.
    """
    path = Path(config) if Path(config).is_dir() else None if out is None else Path(out)
    if path is None:
        raise UserError("--resume: say which sweep: 'wealtharena tune runs/sweep-001 --resume', or with --out")
    folder = sweep_at(path)
    if path != Path(config) or overrides:
        begun = yaml.safe_load(folder.file.read_text(encoding="utf-8"))
        given = read_document(str(folder.file) if path == Path(config) else config, overrides).data
        if given != begun:
            raise UserError(f"--resume {path}: the file is not the one that the sweep began with; start a new sweep")
    return sweep_of(reread(folder)), folder
