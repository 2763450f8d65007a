"""The commands of ``wealtharena bench``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from wealtharena.bench import curriculum, samples, samples_rows, scaling, throughput
from wealtharena.bench.cases import chosen
from wealtharena.bench.optimum import document, run
from wealtharena.bench.plot import write_plot
from wealtharena.bench.sheets import Document, Sheet, machine_line, scaling_sheets, throughput_sheets
from wealtharena.bench.table import curriculum_table, optimum_table, progress, sheet_table
from wealtharena.bench.timing import machine
from wealtharena.console import Verbose, one_line_errors
from wealtharena.errors import UserError
from wealtharena.evidence.files import write_json
from wealtharena.training.ray_session import ray_session

TARGET_MISSED = 1
MOST_SEEDS = 1000  # beyond, training might draw what evaluation draws: see trial.run_trial

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here.")]
KnownFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the figures here; what it holds already is not done again."),
]
Parallel = Annotated[
    int | None, typer.Option(min=1, metavar="N", show_default="all cores", help="Trainings at the same time.")
]

bench_app = typer.Typer(
    no_args_is_help=True, help="Measure what the platform learns, and how fast.", rich_markup_mode="rich"
)


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
    parallel: Parallel = None,
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
        cases, box, ended = chosen(names), machine(), []
        if plot and plot.suffix != ".html":
            raise UserError(f"--plot {plot}: the curves are a page for a browser; give a name that ends in .html")
        with ray_session():
            for one in run(cases, seeds=1 if quick else seeds, quick=quick, parallel=parallel):
                console.print(progress(one), soft_wrap=True, highlight=False)
                ended.append(one)
                content = document(cases, ended, box, quick=quick)
                if json_file:  # after each seed: what was measured outlives an interruption
                    write_json(json_file, content)
        console.print(optimum_table(content, width=console.width))
        if plot:
            write_plot(plot, content)
        for path in filter(None, (json_file, plot)):
            console.print(f"Written: {path}", soft_wrap=True, highlight=False)
    if not all(row["passed"] for row in content["rows"]):
        raise typer.Exit(TARGET_MISSED)


@bench_app.command("samples")
def samples_command(
    names: Annotated[
        list[str],
        typer.Option(
            "--case",
            metavar="NAME",
            default_factory=list,
            show_default=False,
            help="What is learnt (g1, team); may be given many times.",
        ),
    ],
    seeds: Annotated[
        int, typer.Option(min=1, max=MOST_SEEDS, help="Trainings of each case and side, from different seeds.")
    ] = 10,
    json_file: KnownFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, smaller budgets.")] = False,
    parallel: Parallel = None,
    verbose: Verbose = False,
) -> None:
    """Count the samples that default hyperparameters take to 90% of the optimum, against rl-baselines3-zoo's PPO.

    Exit code 1 if a case takes more than half of the other's samples, or does not get there.

    [bold]Example[/bold]

    wealtharena bench samples --case g1 --json samples.json
    """
    console = Console()
    with one_line_errors(verbose):
        races, box, ended = samples.chosen(names), machine(), []
        known = samples_rows.known_of(_held(json_file), samples.chosen([]), quick=quick)
        with ray_session():
            for one in samples.run(races, seeds=1 if quick else seeds, quick=quick, parallel=parallel, known=known):
                console.print(samples_rows.progress(one), soft_wrap=True, highlight=False)
                ended.append(one)
                content = samples_rows.document(ended, quick=quick, machine=box)
                if json_file:  # after each training: what was measured outlives an interruption
                    write_json(json_file, content)
        asked = samples_rows.of_races(content, races)
        console.print(*map(sheet_table, samples_rows.samples_sheets(asked)), sep="\n")
        if json_file:
            console.print(f"Written: {json_file}", soft_wrap=True, highlight=False)
    if not all(row["passed"] for row in asked["rows"] if row["required"] is not None):
        raise typer.Exit(TARGET_MISSED)


@bench_app.command("curriculum")
def curriculum_command(
    seeds: Annotated[int, typer.Option(min=2, max=MOST_SEEDS, help="Trainings of each way, from different seeds.")] = 5,
    json_file: KnownFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few steps.")] = False,
    parallel: Parallel = None,
    verbose: Verbose = False,
) -> None:
    """Hold a curriculum against all stages at once and the last stage alone, after equally many steps.

    [bold]Example[/bold]

    wealtharena bench curriculum --json curriculum.json
    """
    console, ended = Console(), list[curriculum.Trained]()
    with one_line_errors(verbose):
        known = curriculum.known_of(_held(json_file), seeds=seeds, quick=quick)
        with ray_session():
            for one in curriculum.run(seeds=seeds, quick=quick, parallel=parallel, known=known):
                ended.append(one)
                console.print(f"{one.way}, seed {one.seed}: {one.share:.1%} of the optimum", highlight=False)
                content = curriculum.document(ended, quick=quick)
                if json_file:  # after each training: what was measured outlives an interruption
                    write_json(json_file, content)
        console.print(curriculum_table(content["rows"]))


@bench_app.command("throughput")
def throughput_command(
    json_file: JsonFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter measurements.")] = False,
    device: Annotated[
        throughput.Device, typer.Option(help="Of environment and sampling; with cuda these alone are measured.")
    ] = throughput.Device.CPU,
    verbose: Verbose = False,
) -> None:
    """Measure speed against stock RLlib, a plain torch loop and the environment alone, in turn, on this machine.

    [bold]Example[/bold]

    wealtharena bench throughput --json throughput.json
    """
    plan = throughput.QUICK if quick else throughput.ThroughputPlan()
    _measure(lambda: throughput.run(plan, device=device), throughput_sheets, json_file, quick=quick, verbose=verbose)


@bench_app.command("scaling")
def scaling_command(
    json_file: JsonFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter measurements.")] = False,
    verbose: Verbose = False,
) -> None:
    """Measure what an agent's step costs among few and many agents, and what more samplers bring.

    [bold]Example[/bold]

    wealtharena bench scaling --json scaling.json
    """
    plan = scaling.QUICK if quick else scaling.ScalingPlan()
    _measure(lambda: scaling.run(plan), scaling_sheets, json_file, quick=quick, verbose=verbose)


def _measure(
    run: Callable[[], Iterable[tuple[str, dict[str, Any]]]],
    sheets: Callable[[Document], tuple[Sheet, ...]],
    json_file: Path | None,
    *,
    quick: bool,
    verbose: bool,
) -> None:
    """Measures part after part, and shows all of it at the end."""
    console = Console()
    content: dict[str, Any] = {"quick": quick}
    with one_line_errors(verbose):
        with ray_session():
            for words, part in run():
                content |= part
                console.print(f"measured: {words}", highlight=False)
                if json_file:  # after each part: what was measured outlives an interruption
                    write_json(json_file, content)
        for sheet in sheets(content):
            console.print(sheet_table(sheet))
        console.print(machine_line(content), soft_wrap=True, highlight=False)
        if json_file:
            console.print(f"Written: {json_file}", soft_wrap=True, highlight=False)


def _held(json_file: Path | None) -> Document:
    """What a file that the same command wrote holds already."""
    if json_file is None or not json_file.exists():
        return {}
    try:
        content: Document = json.loads(json_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"--json {json_file}: this is no JSON ({error}); give a name that is free") from error
    return content
