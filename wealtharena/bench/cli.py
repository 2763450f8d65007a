"""The commands of ``wealtharena bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from wealtharena.bench.cases import chosen
from wealtharena.bench.optimum import document, run
from wealtharena.bench.plot import write_plot
from wealtharena.bench.table import optimum_table, progress
from wealtharena.console import Verbose, one_line_errors
from wealtharena.evidence.files import write_json
from wealtharena.training.ray_session import ray_session

SHARE_MISSED = 1
MOST_SEEDS = 1000  # beyond, training might draw what evaluation draws: see trial.run_trial

bench_app = typer.Typer(no_args_is_help=True, help="Measure what the platform learns.", rich_markup_mode="rich")


@bench_app.command("optimum")
def optimum_command(
    names: Annotated[
        list[str],
        typer.Option(
            "--case",
            metavar="NAME",
            default_factory=list,
            show_default=False,
            help="A market (g1) or one training on it (g1-sac); may be given many times.",
        ),
    ],
    seeds: Annotated[
        int, typer.Option(min=1, max=MOST_SEEDS, help="Trainings of each case, from different seeds.")
    ] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the rows here.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the learning curves here.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, smaller budgets, lower bars.")] = False,
    parallel: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default="all cores", help="Trainings at the same time.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Train where the best policy is known, and tell which share of the optimum is reached.

    Exit code 1 if a case misses what is required of it.

    [bold]Examples[/bold]

    wealtharena bench optimum --quick

    wealtharena bench optimum --case g1 --json optimum.json --plot optimum.html
    """
    console = Console()
    with one_line_errors(verbose):
        cases, ended = chosen(names), []
        with ray_session():
            for one in run(cases, seeds=1 if quick else seeds, quick=quick, parallel=parallel):
                console.print(progress(one), soft_wrap=True, highlight=False)
                ended.append(one)
                content = document(ended, quick=quick)
                if json_file:  # after each seed: what was measured outlives an interruption
                    write_json(json_file, content)
        console.print(optimum_table(content, width=console.width))
        if plot:
            write_plot(plot, content)
        for path in filter(None, (json_file, plot)):
            console.print(f"Written: {path}", soft_wrap=True, highlight=False)
    if not all(row["passed"] for row in content["rows"]):
        raise typer.Exit(SHARE_MISSED)
