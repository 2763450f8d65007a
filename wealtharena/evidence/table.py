"""The result as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from wealtharena.evidence.fold_rows import fold_rows, folds_notes, folds_title
from wealtharena.evidence.phase_rows import phase_rows, phases_notes
from wealtharena.evidence.wording import METRICS, against, bounds, made_up, name_of, number, signed, tries, verdict

SHOWN = ("annual_return", "sharpe", "max_drawdown", "turnover", "costs")


def result_tables(content: Mapping[str, Any]) -> list[Table]:
    """The folds of a walk-forward or the phases of the training, where there are any, then ``result_table``."""
    folds = [_folds(content["walk_forward"])] if "walk_forward" in content else []
    phases = [_phases(content["phases"])] if "phases" in content else []
    return [*folds, *phases, result_table(content)]


def result_table(content: Mapping[str, Any]) -> Table:
    """The team beside the baselines, with the window, the costs and the interval of the difference in the caption.

    For an evaluation of episodes: each group's mean return with its interval.

    Args:
        content: What ``evaluation.json`` holds.
    """
    return _market(content) if content["kind"] == "market" else _episodes(content)


def _market(content: Mapping[str, Any]) -> Table:
    window = content["windows"]["test"]
    what = f"{len(content['walk_forward']['folds'])} tests chained" if "walk_forward" in content else "Test"
    table = Table(title=f"{what}, {window['start']} to {window['end']}, after costs", caption=Text(_caption(content)))
    table.add_column("")
    for metric in SHOWN:
        table.add_column(METRICS[metric][0], justify="right")
    rows = {"team": content["team"]} | dict(content["baselines"])
    for name, found in rows.items():
        cells = [number(found[metric], METRICS[metric][1]) for metric in SHOWN]
        table.add_row(name_of(name), *cells, style="bold" if name == "team" else None)
    return table


def _caption(content: Mapping[str, Any]) -> str:
    gain, risk = content["difference"]["annual_return"], content["difference"]["sharpe"]
    return "\n".join(
        [
            f"Team minus equal weight: {signed(gain['value'], 'points')} points a year [{_ends(gain, 'points')}], "
            f"Sharpe {signed(risk['value'], 'ratio')} [{_ends(risk, 'ratio')}]: {against(risk, 'equal weight')}.",
            f"{content['difference']['level']:.0%} intervals, {content['bars']:,} bars. {verdict(content)}",
            *tries(content["trials"]),
            *made_up(content["data"]),
            "Turnover and costs a year, over the value of the book. Costs per side: " + _cost_model(content["costs"]),
        ]
    )


def _folds(walk: Mapping[str, Any]) -> Table:
    table = Table(title=folds_title(walk), caption=Text("\n".join(folds_notes(walk))))
    for heading in ("", "Test", "Team", "Equal weight", "Buy and hold", "Sharpe minus equal weight's: the team is"):
        table.add_column(heading, justify="right")
    for row in fold_rows(walk):
        gap = f"{row.sharpe_gap[0]} [{row.sharpe_gap[1]}]: {row.verdict}"
        table.add_row(row.label, " to ".join(row.test), *row.returns, Text(gap))
    return table


def _phases(phases: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="Phases of the training, on the same test", caption=Text("\n".join(phases_notes(phases))))
    for heading in ("", "Steps", "Time", "Annual return", "Sharpe", "Gained in Sharpe over the phase before"):
        table.add_column(heading, justify="right")
    for row in phase_rows(phases):
        gap = f"{row.sharpe_gap[0]} [{row.sharpe_gap[1]}]: {row.verdict}" if row.sharpe_gap[1] else row.verdict
        table.add_row(row.label, row.steps, row.time, *row.returns, Text(gap))
    return table


def _ends(found: Mapping[str, Any], style: str) -> str:
    return bounds(found, style) or "no interval"


def _cost_model(costs: Mapping[str, Any]) -> str:
    per_side = {name: model["spread_bps"] / 2 + model["commission_bps"] for name, model in costs["classes"].items()}
    return ", ".join(f"{name} {bps:g} bps" for name, bps in per_side.items()) + ", plus impact."


def _episodes(content: Mapping[str, Any]) -> Table:
    table = Table(title=f"{content['episodes']:,} episodes, deterministic policies")
    table.add_column("Group")
    table.add_column("Mean return", justify="right")
    table.add_column("95% interval", justify="right")
    rows = {"team": content["intervals"]["team"]["episode_return"]}
    rows |= {group: found["episode_return"] for group, found in content["agents"].items()}
    for name, found in rows.items():
        style = "bold" if name == "team" else None
        table.add_row(name, number(found["value"], "ratio"), _ends(found, "ratio"), style=style)
    return table
