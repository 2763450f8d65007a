"""The report of a run: one HTML file that needs nothing but itself, readable by people who did not train the team."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from wealtharena.evidence import convergence, figures, fold_rows, learning, limits, pareto, phase_rows, wording
from wealtharena.evidence.actions import action_bars, budget_bars, month_table
from wealtharena.evidence.curriculum import through_stages
from wealtharena.evidence.files import EVALUATION, TRACKS, write_whole

REPORT = "report.html"
PROGRESS = Path("metrics", "progress.csv")


def write_report(run_dir: Path) -> Path:
    """Writes ``report.html`` into a run directory from what is there, and says in its place what is not.

    Args:
        run_dir: May hold ``config.yaml``, ``metrics/progress.csv``, ``evaluation.json``, ``evaluation_tracks.parquet``.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: There is no such directory.
    """
    if not run_dir.is_dir():
        raise FileNotFoundError(f"{run_dir}: no such run directory; give the directory that `wealtharena train` wrote")
    text = render(run_dir)
    return write_whole(run_dir / REPORT, lambda path: _write(path, text))


def render(run_dir: Path) -> str:
    """The report's HTML."""
    environment = Environment(
        loader=PackageLoader("wealtharena.evidence", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "number": wording.number,
        "signed": wording.signed,
        "bounds": wording.bounds,
        "against": wording.against,
        "name_of": wording.name_of,
        "metrics": wording.METRICS,
    }
    page = environment.get_template("report.html.j2")
    return page.render(plotly=Markup(get_plotlyjs()), **_context(run_dir))


def _context(run_dir: Path) -> dict[str, Any]:
    """Everything the template shows; a part that the run does not have is None."""
    config_text = _text(run_dir / "config.yaml")
    config = yaml.safe_load(config_text) if config_text else {}
    result = _evaluation(run_dir / EVALUATION)
    tracks = _tracks(run_dir / TRACKS) if result else {}
    progress = learning.read_progress(run_dir / PROGRESS)
    return {
        "name": str(config.get("name", run_dir.resolve().name)),
        "config": config_text,
        "members": _members(config),
        "result": result,
        "market": _market(result, tracks),
        "actions": _actions(result, tracks) if result else {},
        "progress": None if progress is None else _progress(progress),
        "training": None if progress is None else _training(progress),
        "curriculum": None if progress is None else through_stages(progress),
        "phases": _phases(result["phases"]) if result and "phases" in result else None,
        "walk": _walk(result["walk_forward"], run_dir) if result and "walk_forward" in result else None,
    }


def _walk(walk: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    """The parts that only a walk-forward evaluation has."""
    tables = {
        fold["fold"]: learning.read_progress(run_dir.joinpath(*Path(fold["checkpoint"]).parts[:-2], PROGRESS))
        for fold in walk["folds"]
    }
    known = {number: table for number, table in tables.items() if table is not None}
    return {
        "title": fold_rows.folds_title(walk),
        "notes": fold_rows.folds_notes(walk),
        "rows": fold_rows.fold_rows(walk),
        "training": {number: _training(table) for number, table in known.items()},
        "returns": {number: learning.returns(table) for number, table in known.items()},
    }


def _phases(phases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts that only a training in phases has."""
    return {"rows": phase_rows.phase_rows(phases), "notes": phase_rows.phases_notes(phases)}


def _market(result: Mapping[str, Any] | None, tracks: Mapping[str, pd.DataFrame]) -> dict[str, Any] | None:
    """The parts that only a market has."""
    if result is None or result["kind"] != "market":
        return None
    said = {
        "verdict": wording.verdict(result),
        "sentences": wording.explanation(result),
        "tries": wording.tries(result["trials"]) if "trials" in result else None,
        "pareto": pareto.pareto({"team": result["team"], **result["baselines"]}),
        "frontiers": pareto.frontiers({"team": result["team"], **result["baselines"]}),
        "risk": limits.rows(result.get("risk", {})),
    }
    return said | _tracked(tracks, list(result["classes"]), result["windows"].get("folds", ()))


def _tracked(
    tracks: Mapping[str, pd.DataFrame], classes: list[str], folds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The parts that need the tracks, bar by bar; None without them."""
    if not tracks:
        return dict.fromkeys(
            ("equity", "drawdown", "budgets", "exposures", "class_results", "months", "equal_months", "limits")
        )
    team = tracks["team"]
    decided = bool(team["budget/cash"].notna().any())
    starts = [fold["test"]["start"] for fold in folds]
    return {
        "equity": figures.with_folds(figures.equity(tracks), starts),
        "drawdown": figures.with_folds(figures.drawdowns(tracks), starts),
        "budgets": figures.budgets(team, classes) if decided else None,
        "exposures": figures.exposures(team, classes),
        "class_results": figures.class_results(team, classes),
        "limits": limits.strip(team),
        "months": month_table(team),
        "equal_months": month_table(tracks["equal_weight"]),
    }


def _actions(result: Mapping[str, Any], tracks: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What the bars of each group show, and the bars."""
    shown: dict[str, Any] = {}
    owners = [*result.get("classes", ()), "cash"]
    for group, found in result["agents"].items():
        actions = found["actions"]
        if actions is None:
            continue
        if actions["kind"] == "continuous" and actions["labels"] == owners and "team" in tracks:
            shown[group] = ("Mean share of the capital, with its range", budget_bars(tracks["team"], owners))
        else:
            shown[group] = (_unit(actions), action_bars(actions))
    return shown


def _unit(actions: Mapping[str, Any]) -> str:
    if actions["kind"] == "discrete":
        return "Share of decisions"
    one_dimension = len(actions["shares"]) == 1
    return "Share of decisions by range of the action" if one_dimension else "Mean action \u00b1 deviation"


def _members(config: Mapping[str, Any]) -> dict[str, str]:
    """The algorithm of each group, as the experiment file names it."""
    members = config.get("members") or {}
    return {str(group): str(member.get("algorithm", "")).rpartition(":")[2] for group, member in members.items()}


def _progress(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "returns": learning.returns(table),
        "trends": convergence.trends(table),
        "details": {group: learning.details(table, group) for group in learning.groups_in(table)},
    }


def _training(table: pd.DataFrame) -> str:
    """How long it was trained, in words."""
    last = table.iloc[-1]
    said = [f"{int(last['iteration']):,} iterations"]
    if "env_steps" in table:
        said.append(f"{int(last['env_steps']):,} environment steps")
    if "seconds" in table:
        said.append(f"{last['seconds'] / 60:,.1f} minutes")
    return ", ".join(said)


def _evaluation(path: Path) -> dict[str, Any] | None:
    text = _text(path)
    return json.loads(text) if text else None


def _tracks(path: Path) -> dict[str, pd.DataFrame]:
    if not path.is_file():
        return {}
    table = pd.read_parquet(path)
    return {str(name): frame.reset_index(drop=True) for name, frame in table.groupby("track", sort=False)}


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
