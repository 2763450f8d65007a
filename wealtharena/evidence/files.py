"""What an evaluation leaves on disk: its JSON and its tracks, each file written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wealtharena.evidence.track import FloatArray, Track

EVALUATION = "evaluation.json"
TRACKS = "evaluation_tracks.parquet"


def write_whole(path: Path, write: Callable[[Path], None]) -> Path:
    """Lets ``write`` fill a temporary file beside ``path``, then puts it in its place in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Writes JSON that any reader takes: no NaN, no infinity (a ValueError says so)."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    return write_whole(path, lambda temporary: _write_text(temporary, text))


def write_tracks(path: Path, tracks: Iterable[Track]) -> Path:
    """Writes tracks, summed by class, as one long Parquet table; see ``class_frame``."""
    table = pd.concat([class_frame(track) for track in tracks], ignore_index=True)
    return write_whole(path, lambda temporary: table.to_parquet(temporary, index=False))


def class_frame(track: Track) -> pd.DataFrame:
    """A track by date and class: (T + 1) rows, the first that of the start, where nothing was held yet.

    Columns: ``track``, ``date``, ``nav``, ``interest``; per class ``value/<class>`` (signed), ``gross/<class>``
    (absolute), ``traded/``, ``cost/``, ``carry/``, ``pnl/<class>``; and ``budget/<class>``, ``budget/cash`` (shares;
    NaN where nobody decides); ``bound/<limit>``, 1 where a limit of risk bound (NaN of baselines).
    """
    columns: dict[str, Any] = {"track": track.name, "date": track.dates, "nav": track.nav}
    columns["interest"] = np.concatenate([[0.0], track.interest_T])
    columns |= {f"bound/{name}": np.pad(bound_T.astype(float), (1, 0)) for name, bound_T in track.bound.items()}
    amounts = {
        "value": track.value_TN,
        "gross": np.abs(track.value_TN),
        "traded": track.traded_TN,
        "cost": track.cost_TN,
        "carry": track.carry_TN,
        "pnl": track.pnl_TN,
    }
    for name, amount_TN in amounts.items():
        columns |= _columns(name, track.classes, np.pad(track.by_class(amount_TN), ((1, 0), (0, 0))))
    return pd.DataFrame(columns | _columns("budget", (*track.classes, "cash"), _budget(track)))


def _budget(track: Track) -> FloatArray:
    if track.budget_TK is None:
        return np.full((len(track.nav), len(track.classes) + 1), np.nan)
    return np.pad(track.budget_TK, ((1, 0), (0, 0)), constant_values=np.nan)


def _columns(name: str, classes: Iterable[str], amount_TC: FloatArray) -> dict[str, FloatArray]:
    return {f"{name}/{owner}": amount_TC[:, index] for index, owner in enumerate(classes)}


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
