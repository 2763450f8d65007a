"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from wealtharena.bench.optimum import Ended
from wealtharena.bench.sheets import MISSED, Sheet

WIDE = 132  # columns of a terminal that has room for more
TITLES = ("share", "95%", "needs", "", "to 90%", "to 95%")
WIDE_TITLES = ("optimum", "score", "steps", "time")


def optimum_table(content: Mapping[str, Any], *, width: int) -> Table:
    """A row for each score.

    Args:
        content: What ``optimum.document`` gives.
        width: Of the terminal: where there is room, the scores themselves are shown beside their shares.
    """
    wide = width >= WIDE
    table = Table(
        *(Column(title, no_wrap=True) for title in ("case", "by")),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption=Text(_caption(content)),
    )
    for title in (*TITLES, *(WIDE_TITLES if wide else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for row in content["rows"]:
        table.add_row(*_cells(row, wide=wide), *(_wide_cells(row) if wide else ()))
    return table


def progress(ended: Ended) -> str:
    """A line about one seed that has come to its end."""
    outcome = ended.outcome
    shares = ", ".join(
        f"{share.value:.1%}" if len(outcome.shares) == 1 else f"{name} {share.value:.1%}"
        for name, share in outcome.shares.items()
    )
    return (
        f"{ended.case.key}, seed {outcome.seed}: {shares} of the optimum after "
        f"{outcome.env_steps:,} steps, {outcome.seconds:.0f} s"
    )


def sheet_table(sheet: Sheet) -> Table:
    """A sheet of figures; what misses its bound stands out."""
    table = Table(sheet.columns[0], box=SIMPLE_HEAD)
    for title in sheet.columns[1:]:
        table.add_column(title, justify="right")
    for row in sheet.rows:
        table.add_row(*row, style="bold red" if MISSED in row else None)
    return table


def curriculum_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each way to the last stage.

    Args:
        rows: Of ``curriculum.document``.
    """
    caption = (
        "Shares of the optimum on the last stage, means over the seeds with Student's 95% intervals; gains by seed."
    )
    table = Table("way", box=SIMPLE_HEAD, caption=Text(caption))
    for title in ("share", "95%", "gain, points", "95%", "seeds", "steps"):
        table.add_column(title, justify="right")
    for row in rows:
        known = "gain" in row
        gain = (f"{100 * row['gain']:+.1f}", _points(row["gain_low"], row["gain_high"])) if known else ("", "")
        table.add_row(
            row["way"],
            f"{row['share']:.1%}",
            _points(row["share_low"], row["share_high"]),
            *gain,
            str(row["seeds"]),
            f"{row['env_steps']:,}",
        )
    return table


def _points(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _cells(row: Mapping[str, Any], *, wide: bool) -> Sequence[str]:
    return (
        row["case"],
        row["algorithm"],
        f"[bold]{row['share']:.1%}[/]",
        f"{100 * row['share_low']:.1f} to {100 * row['share_high']:.1f}",
        f"{row['required']:.1%}",
        "[green]pass[/]" if row["passed"] else "[bold red]MISS[/]",
        *(_milestone(row, percent, wide=wide) for percent in (90, 95)),
    )


def _wide_cells(row: Mapping[str, Any]) -> Sequence[str]:
    return f"{row['optimum']:.5g}", f"{row['score']:.5g}", f"{row['env_steps']:,}", f"{row['wall_s']:.0f} s"


def _milestone(row: Mapping[str, Any], percent: int, *, wide: bool) -> str:
    steps, seconds = row[f"steps_to_{percent}"], row[f"seconds_to_{percent}"]
    if steps is None:
        return "never"
    return f"{steps / 1000:.0f}k {seconds:.0f}s" if wide else f"{steps / 1000:.0f}k"


def _caption(content: Mapping[str, Any]) -> str:
    seeds = content["rows"][0]["seeds"] if content["rows"] else 0
    interval = (
        f"mean of {seeds} seeds with Student's 95% interval, which holds the luck of the seeds and of the evaluation"
        if seeds > 1
        else "one seed with the 95% interval of its evaluation, which leaves out the luck of the seed"
    )
    budget = " Smaller budgets and lower bars (--quick)." if content["quick"] else ""
    return (
        f"Share of the optimum, paired with the best policy in the same episodes: {interval}. "
        f"To 90%, to 95%: steps of training (and seconds, on a wider terminal), medians over the seeds.{budget}"
    )
