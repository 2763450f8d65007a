"""The command line: one thin function per command. Only this file prints."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from environments.market.env import MarketEnv
from environments.market.roster import prices
from wealtharena.bench.cli import bench_app
from wealtharena.console import INTERRUPTED, Config, Overrides, Verbose, one_line_errors, show_facts, warn
from wealtharena.document import read_document
from wealtharena.evidence.check import check_laws
from wealtharena.evidence.data_summary import summarise
from wealtharena.evidence.data_warnings import DataWarning, data_warnings
from wealtharena.evidence.report import write_report
from wealtharena.evidence.table import result_tables
from wealtharena.experiment import Experiment, load_experiment
from wealtharena.training.assess import assess, assess_run, find_subject, folder_for
from wealtharena.training.live import LiveView
from wealtharena.training.logs import code_paths, run_log, versions_text
from wealtharena.training.mirror import here, kept
from wealtharena.training.phases import phases_of
from wealtharena.training.ray_session import quiet_ray, ray_session
from wealtharena.training.resources import available, bundles_of, placement, require
from wealtharena.training.room import in_words, nodes, require_places
from wealtharena.training.run_dir import RunDir, open_run
from wealtharena.training.setup import begin, resume
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import Outcome, train
from wealtharena.training.train_phases import train_phases
from wealtharena.training.walk_forward import train_folds
from wealtharena.tuning.cli import tune_command
from wealtharena.tuning.elsewhere import holds_sweep, sweep_here
from wealtharena.tuning.report import report_anew

LAW_BROKEN = 1
SYMBOLS_SHOWN = 8

app = typer.Typer(
    name="wealtharena",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(bench_app, name="bench")
app.command("tune")(tune_command)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"wealtharena {version('wealtharena')}")
    except PackageNotFoundError:
        typer.echo("wealtharena, run from its source without being installed")
    raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Trains teams of reinforcement-learning agents, and says what they are worth.

    An experiment file names an environment and, for each group of agents
    in it, an algorithm. A run trains all of them together, tests the team
    on data that it never saw, and writes a report.

    [bold]Start here:[/bold]  wealtharena train quickstart
    """
    # An installed command does not look for modules where it is called, 'python -m' does: the user's own
    # environments and algorithms are found there either way.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    quiet_ray()


@app.command("train")
def train_command(
    config: Config,
    overrides: Overrides,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR_OR_URI", show_default="runs/NAME-NUMBER", help="Folder of the run; must not hold one yet."
        ),
    ] = None,
    resume_run: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the run's latest checkpoint (CONFIG or --out is its folder)."),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Train a team, test it on its test window and write a report.

    Leaves a folder with config.yaml, metrics/ (CSV and TensorBoard), checkpoints/, evaluation.json and report.html.
    With evaluation.walk_forward, a team for each fold, one after the other, each in a folder of its own under folds/.
    With phases, one training after the other, each from the weights of the one before, in folders under phases/.
    Ctrl-C ends the run after the iteration: it is evaluated as it stands and can go on later.

    [bold]Examples[/bold]

    wealtharena train quickstart

    wealtharena train my.yaml --set members.stocks.params.lr=1e-4 --set seed=3 --out runs/slow

    wealtharena train runs/slow --resume --set stop.env_steps=500000
    """
    console = Console()
    with one_line_errors(verbose):
        experiment, run = (resume if resume_run else begin)(config, overrides, out)
        algorithms = {group: type(algorithm).__name__ for group, algorithm in experiment.members.items()}
        with run.alone(), kept(run), run_log(run.path, warn):
            with ray_session() as cluster, StopSignal(_say_stopping) as stop:
                require(experiment, available(experiment), cluster)
                require_places(bundles_of(experiment, available(experiment)), nodes())
                _introduce(console, experiment, run, cluster)
                with LiveView(console, algorithms) as view:
                    outcome = _trainer_of(experiment)(experiment, run, view=view, stop=stop)
            _conclude(console, outcome, run)
            if experiment.spec.phases and run.best() is None:
                console.print("No phase has trained the team together yet: there is nothing to test.", highlight=False)
            else:
                console.print(*result_tables(assess_run(run, experiment)), sep="\n")
                _show_written(console, "Report", write_report(run.path), run)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _trainer_of(experiment: Experiment) -> Callable[..., Outcome]:
    if experiment.spec.phases:
        return train_phases
    return train_folds if experiment.folds else train


def _conclude(console: Console, outcome: Outcome, run: RunDir) -> None:
    mark = outcome.mark
    console.print(f"Trained {mark.env_steps:,} steps in {mark.seconds:.0f} s: {outcome.reason}.", highlight=False)
    if outcome.interrupted:
        hint = f"wealtharena train {shlex.quote(run.home)} --resume"
        console.print(f"To go on: {hint}", soft_wrap=True, highlight=False)


def _show_written(console: Console, what: str, file: Path, run: RunDir) -> None:
    """Says where a file is to be found."""
    kept_there = run.storage and file.is_relative_to(run.path)
    where = f"{run.home}/{file.relative_to(run.path).as_posix()}" if kept_there else str(file)
    _print_path(console, what, where)


def _print_path(console: Console, what: str, where: str) -> None:
    console.print(f"{what}: {where}", soft_wrap=True, highlight=False)


def _say_stopping() -> None:
    # Called from a signal handler: nothing that may hold a lock, as print does.
    os.write(sys.stderr.fileno(), b"\nStopping after this iteration. Ctrl-C again: at once, without a checkpoint.\n")


def _introduce(console: Console, experiment: Experiment, run: RunDir, cluster: str) -> None:
    """What matters before the first iteration."""
    lines = {
        "experiment": f"{experiment.spec.name}, seed {experiment.spec.seed}",
        "environment": experiment.spec.environment.class_,
        "train": _span(experiment.train_dates),
        "test": _span(experiment.test_dates),
        **code_paths(),
        "versions": versions_text(),
        "cluster": cluster,
        "resources": in_words(nodes()),
        "learning": placement(experiment, available(experiment)),
        "output": run.home,
    }
    show_facts(console, lines)
    groups = Table("group", "agents", "actions", "algorithm")
    for name, group in experiment.groups.items():
        algorithm = type(experiment.members[name]).__name__
        groups.add_row(name, str(len(group.agent_ids)), str(group.action_space), algorithm)
    console.print(groups)
    _show_folds(console, experiment)
    _show_phases(console, experiment)
    for note in experiment.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True, highlight=False)


def _show_folds(console: Console, experiment: Experiment) -> None:
    rule = experiment.spec.evaluation.walk_forward
    if rule is None:
        return
    table = Table("fold", "train", "test", title=f"Walk-forward, {rule.scheme}, a fresh team for each fold")
    for fold in experiment.folds:
        table.add_row(str(fold.number), str(fold.train), str(fold.test))
    console.print(table)


def _show_phases(console: Console, experiment: Experiment) -> None:
    if not experiment.spec.phases:
        return
    table = Table("phase", "kind", "trained", "frozen", title="Training in phases, each from the weights before it")
    for phase in phases_of(experiment):
        frozen = [name for task in phase.tasks for name in task.experiment.spec.frozen_members]
        trained = [name for task in phase.tasks for name in task.members if name not in frozen]
        apart = ", each alone" if not phase.whole_team else ""
        table.add_row(phase.spec.name, phase.spec.kind, ", ".join(trained) + apart, ", ".join(frozen))
    console.print(table)


def _span(dates: tuple[str, str] | None) -> str:
    return "whole episodes" if dates is None else f"{dates[0]} to {dates[1]}"


@app.command("evaluate")
def evaluate_command(
    path: Annotated[
        str, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="A run's folder or URI, or one of its checkpoints.")
    ],
    overrides: Overrides,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other prices (Parquet or CSV) to test on; see --set for dates.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="in the run", help="Where evaluation.json goes.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Test a trained team again: another checkpoint, other prices, another window.

    [bold]Examples[/bold]

    wealtharena evaluate runs/quickstart-001

    wealtharena evaluate runs/mine-001/checkpoints/latest --data new.parquet \
--set "evaluation.window={start: 2022-01-01, end: 2022-12-31}"
    """
    console = Console()
    with one_line_errors(verbose), here(path) as run:
        subject = find_subject(run.path, overrides, data)
        folder = folder_for(subject, out)
        evaluation = assess(subject)
        console.print(*result_tables(evaluation.content), sep="\n")
        _show_written(console, "Checkpoint", subject.checkpoint, run)
        _show_written(console, "Written", evaluation.write(folder), run)


@app.command("report")
def report_command(
    path: Annotated[str, typer.Argument(metavar="RUN", help="A run's or a sweep's folder, or its URI.")],
    verbose: Verbose = False,
) -> None:
    """Write a run's report.html, or a sweep's sweep.html, anew from what has been left behind.

    [bold]Example[/bold]

    wealtharena report runs/quickstart-001
    """
    console = Console()
    with one_line_errors(verbose):
        if holds_sweep(path):
            with sweep_here(path) as sweep:
                _print_path(console, "Report", sweep.where(report_anew(sweep)))
        else:
            with here(path) as run:
                _show_written(console, "Report", write_report(open_run(run.path).path), run)


@app.command("check")
def check_command(config: Config, overrides: Overrides, verbose: Verbose = False) -> None:
    """Check an experiment before training: the file, the data, and the environment's laws on that data.

    Takes less than a minute and writes nothing. Exit code 1 if a law does not hold, 2 if the input is wrong.
    Of prices that look wrong, or flatter every strategy, it warns.

    [bold]Example[/bold]

    wealtharena check tune_configs/real_panel.yaml --set environment.params.data.path=prices.parquet
    """
    console = Console()
    with one_line_errors(verbose):
        experiment = load_experiment(config, overrides)
        phases_of(experiment, read_document(config, overrides))
    console.print(f"{config}: the file, the data and the members fit together.", soft_wrap=True, highlight=False)
    _describe_data(console, experiment)
    verdicts = Table("law", "", "what was tried")
    broken = 0
    for verdict in check_laws(experiment):
        broken += not verdict.passed
        verdicts.add_row(
            verdict.law, "[green]pass[/]" if verdict.passed else "[bold red]FAIL[/]", escape(verdict.detail)
        )
    console.print(verdicts)
    if broken:
        raise typer.Exit(LAW_BROKEN)


def _describe_data(console: Console, experiment: Experiment) -> None:
    world = experiment.environment(experiment.params, num_envs=1)
    if not isinstance(world, MarketEnv) or not world.params.dated:
        return
    table = Table("class", "symbols", "first", "last", "bars", "late starts")
    panel = prices(world.params.data)
    for found in summarise(panel):
        late = ", ".join(f"{symbol} {day}" for symbol, day in found.late[:3])
        more = f" and {len(found.late) - 3} more" if len(found.late) > 3 else ""
        table.add_row(found.name, str(len(found.symbols)), found.first, found.last, f"{found.bars:,}", late + more)
    console.print(table)
    console.print(f"train {_span(experiment.train_dates)}, test {_span(experiment.test_dates)}", highlight=False)
    _show_folds(console, experiment)
    _show_phases(console, experiment)
    for note in experiment.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True, highlight=False)
    if world.params.data.path is not None:
        _warn_of_data(console, data_warnings(panel))


def _warn_of_data(console: Console, warnings: tuple[DataWarning, ...]) -> None:
    if not warnings:
        return
    table = Table("warning", Column("rows", justify="right"), "symbols", "for example", title="Look at these prices")
    for warning in warnings:
        worst = warning.found[0]
        symbols = ", ".join(f"{found.symbol} {found.rows:,}" for found in warning.found[:SYMBOLS_SHOWN] if found.symbol)
        more = f" and {len(warning.found) - SYMBOLS_SHOWN} more" if len(warning.found) > SYMBOLS_SHOWN else ""
        rows = sum(found.rows for found in warning.found)
        example = f"{worst.symbol} {worst.example}".strip()
        table.add_row(
            f"[yellow]{warning.what}[/]", f"{rows:,}" if rows else "", escape(symbols + more), escape(example)
        )
    console.print(table)
    for warning in warnings:
        console.print(f"{warning.what}: {warning.meaning}", soft_wrap=True, highlight=False)
