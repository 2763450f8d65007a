"""The command ``wealtharena tune``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wealtharena.console import INTERRUPTED, Config, Overrides, Verbose, one_line_errors, show_facts, warn
from wealtharena.evidence.table import result_tables
from wealtharena.training.logs import code_paths, event, run_log, setting, versions_text
from wealtharena.training.mirror import kept
from wealtharena.training.ray_session import ray_session
from wealtharena.training.room import in_words, nodes
from wealtharena.tuning.check import Sweep
from wealtharena.tuning.comparison import compare_trials
from wealtharena.tuning.folder import SweepDir
from wealtharena.tuning.outcome import judge_best, summarise
from wealtharena.tuning.report import write_sweep_report
from wealtharena.tuning.setup import begin_sweep, resume_sweep
from wealtharena.tuning.sweep import run_sweep
from wealtharena.tuning.view import SweepView, score_text, values_text

BEST_SHOWN = 10


def tune_command(
    config: Config,
    overrides: Overrides,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR_OR_URI",
            show_default="runs/NAME-NUMBER",
            help="Folder of the sweep; must not hold one yet.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the trials of a sweep (CONFIG or --out is its folder).")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Train a file many times, with the values that its section tune says, and find the best.

    Leaves a folder with sweep.html, sweep.json, trials/ (config.yaml and metrics/ of each), best.yaml and best/, a run
    of its own. Ctrl-C ends the sweep with what there is; --resume goes on.

    [bold]Examples[/bold]

    wealtharena tune tune_configs/sweep_asha.yaml

    wealtharena tune tune_configs/sweep_pbt.yaml --set tune.trials=4 --out runs/population

    wealtharena tune runs/population --resume
    """
    console = Console()
    with one_line_errors(verbose):
        sweep, folder = (resume_sweep if resume else begin_sweep)(config, overrides, out)
        with folder.run.alone(), kept(folder.run), run_log(folder.path, warn):
            with ray_session() as cluster:
                event("resumed" if resume else "started", run=folder.path.name, **setting())
                _introduce(console, sweep, folder, cluster)
                view = SweepView(sweep.metric, sign=sweep.tune.sign, trials=sweep.count)
                run_sweep(sweep, folder, [view], resume=resume)
                summary = summarise(sweep, folder)
                if sweep.tune.compare is not None:
                    compare_trials(sweep.tune.compare, folder, summary, at_once=sweep.tune.concurrency)
            _conclude(console, folder, summary)
    if summary["unfinished"] and sweep.tune.time_budget is None:
        raise typer.Exit(INTERRUPTED)


def _introduce(console: Console, sweep: Sweep, folder: SweepDir, cluster: str) -> None:
    facts = {
        "sweep": f"{sweep.name}, {sweep.count} trials",
        "compared by": f"{sweep.metric}, {sweep.tune.mode}",
        "searcher": sweep.tune.searcher.kind,
        "scheduler": sweep.tune.scheduler.kind,
        **code_paths(),
        "versions": versions_text(),
        "cluster": cluster,
        "resources": in_words(nodes()),
        "output": folder.run.home,
    }
    show_facts(console, facts)


def _conclude(console: Console, folder: SweepDir, summary: Mapping[str, Any]) -> None:
    table = Table("trial", "status", "iteration", summary["metric"], "values", title="The best trials")
    for trial in summary["trials"][:BEST_SHOWN]:
        iteration = str(trial["iteration"] or "-")
        table.add_row(
            trial["name"], trial["status"], iteration, score_text(trial), escape(values_text(trial["values"]))
        )
    console.print(table)
    if summary["best"] is None:
        console.print("No trial has come to a score and a checkpoint: there is nothing to test.", highlight=False)
    else:
        console.print(*result_tables(judge_best(folder, summary)), sep="\n")
        console.print(f"Best: {folder.where(folder.best_config)}", soft_wrap=True, highlight=False)
    console.print(f"Report: {folder.where(write_sweep_report(folder))}", soft_wrap=True, highlight=False)
    if summary["unfinished"]:
        hint = f"wealtharena tune {shlex.quote(folder.run.home)} --resume"
        console.print(f"To go on: {hint}", soft_wrap=True, highlight=False)
