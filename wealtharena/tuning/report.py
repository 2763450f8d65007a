"""The report of a sweep: one HTML file that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from wealtharena.evidence import wording
from wealtharena.evidence.files import EVALUATION, write_whole
from wealtharena.evidence.learning import read_progress
from wealtharena.tuning import figures
from wealtharena.tuning.check import sweep_of
from wealtharena.tuning.comparison import COMPARISON
from wealtharena.tuning.folder import SweepDir, reread
from wealtharena.tuning.outcome import summarise
from wealtharena.tuning.view import short, value_text

CURVES = 100
"""Trials whose learning is drawn: the best ones."""
REWARD = "environment.params.reward"


def write_sweep_report(folder: SweepDir) -> Path:
    """Writes sweep.html from sweep.json, the trials' metrics and what the best trial's test came to."""
    text = render(folder)
    return write_whole(folder.report, lambda path: _write(path, text))


def report_anew(folder: SweepDir) -> Path:
    """Writes sweep.json and sweep.html from what the trials have left behind, however the sweep ended.

    Raises:
        UserError: The file that the sweep began with no longer fits its data.
    """
    summarise(sweep_of(reread(folder)), folder)
    return write_sweep_report(folder)


def render(folder: SweepDir) -> str:
    """The report's HTML."""
    environment = Environment(
        loader=PackageLoader("wealtharena.tuning", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"number": wording.number, "signed": wording.signed, "bounds": wording.bounds}
    environment.globals |= {"short": short, "value_text": value_text}
    page = environment.get_template("sweep.html.j2")
    return page.render(plotly=Markup(get_plotlyjs()), **_context(folder))


def _context(folder: SweepDir) -> dict[str, Any]:
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    tables = _tables(folder, summary)
    result, comparison = _read(folder.best.path / EVALUATION), _read(folder.path / COMPARISON)
    return {
        "summary": summary,
        "keys": list(summary["space"]),
        "best": next((trial for trial in summary["trials"] if trial["name"] == summary["best"]), None),
        "best_config": folder.best_config.read_text(encoding="utf-8") if folder.best_config.is_file() else None,
        "curves": figures.curves(tables, summary) if tables else None,
        "parallel": figures.parallel(summary),
        "result": result,
        "tries": wording.tries(result["trials"]) if result and "trials" in result else [],
        "verdict": wording.verdict(result) if result and result["kind"] == "market" else None,
        "comparison": comparison,
        "forests": [figures.forest(setting) for setting in comparison["settings"]] if comparison else [],
        "notes": _notes(summary),
    }


def _notes(summary: Mapping[str, Any]) -> list[str]:
    """What must be known to read the numbers."""
    if any(key.startswith(REWARD) for key in summary["space"]) and "return" in summary["metric"]:
        return [
            "The space changes weights of the reward, and trials are compared by a return that is made of them: a "
            "weight that takes less off the reward looks better. The test of the best trial is free of this."
        ]
    return []


def _tables(folder: SweepDir, summary: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    found = {}
    for trial in summary["trials"][:CURVES]:
        table = read_progress(folder.trial(trial["name"]).metrics / "progress.csv")
        if table is not None:
            found[trial["name"]] = table
    return found


def _read(path: Path) -> dict[str, Any] | None:
    content: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return content


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
