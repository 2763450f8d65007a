"""Where a sweep begins: a new folder for a file, or the one of a sweep that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from wealtharena.document import read_document
from wealtharena.errors import UserError
from wealtharena.spec_tune import AshaSpec
from wealtharena.training.setup import check_free, new_home
from wealtharena.training.storage import is_uri
from wealtharena.tuning.check import Sweep, sweep_of
from wealtharena.tuning.elsewhere import fetched_sweep
from wealtharena.tuning.folder import SweepDir, reread, sweep_at
from wealtharena.tuning.strategies import last_rung, require_extras


def begin_sweep(config: str, overrides: Sequence[str], out: str | Path | None) -> tuple[Sweep, SweepDir]:
    """Checks a sweep, and makes its folder.

    Args:
        config: An experiment file with a section ``tune``.
        overrides: ``--set`` values.
        out: The folder, or the URI of one; None for the next free one in ``storage``.

    Raises:
        UserError: The file, its space or the folder is not right. Nothing has been written.
    """
    if out is not None:
        check_free(str(out))
    document = read_document(config, overrides)
    sweep = sweep_of(document)
    require_extras(sweep.tune)
    if isinstance(sweep.tune.scheduler, AshaSpec):
        last_rung(sweep.tune.scheduler, sweep.experiment.spec.stop)
    home = new_home(sweep.name, None if out is None else str(out), sweep.experiment.spec.storage or "runs")
    folder = SweepDir(home.path, home.storage)
    folder.write_file(document)
    return sweep, folder


def resume_sweep(config: str, overrides: Sequence[str], out: str | Path | None) -> tuple[Sweep, SweepDir]:
    """Finds a sweep that goes on, as it began.

    Args:
        config: The sweep's folder or its URI, or the file it began with.
        overrides: ``--set`` values.
        out: The sweep's folder or its URI, where ``config`` is a file.

    Raises:
        UserError: There is no sweep, or the file is another one.
    """
    home = config if is_uri(config) or Path(config).is_dir() else None if out is None else str(out)
    if home is None:
        raise UserError("--resume: say which sweep: 'wealtharena tune runs/sweep-001 --resume', or with --out")
    folder = fetched_sweep(home) if is_uri(home) else sweep_at(Path(home))
    if folder.storage is not None:
        folder.storage.require_writable()
    if home != config or overrides:
        begun = yaml.safe_load(folder.file.read_text(encoding="utf-8"))
        given = read_document(str(folder.file) if home == config else config, overrides).data
        if given != begun:
            raise UserError(f"--resume {home}: the file is not the one that the sweep began with; start a new sweep")
    return sweep_of(reread(folder)), folder
