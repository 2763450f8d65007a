"""What all commands share: their common options, how an error is told, and with which exit code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from environments.errors import DataError
from policies.errors import MemberError
from wealtharena.errors import UserError

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="An experiment file (YAML), or 'quickstart' for the built-in one.")
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        default_factory=list,
        show_default=False,
        help="Change a value of the experiment file; may be given many times.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show the traceback of an error.")]


def show_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Shows a line for each fact, whole however long: a job's log is 80 columns wide, and paths are longer."""
    width = max(map(len, facts)) + 2
    for name, text in facts.items():
        console.print(f"{name:<{width}}{escape(text)}", soft_wrap=True, highlight=False)


def warn(line: str) -> None:
    """Shows a warning."""
    typer.echo(line, err=True)


@contextmanager
def one_line_errors(verbose: bool) -> Iterator[None]:
    """What the user can put right is said in one line, with exit code 2; so is a second Ctrl-C, with 130."""
    try:
        yield
    except (UserError, DataError, MemberError) as error:
        if verbose:
            traceback.print_exc()
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        if verbose:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"error: {where}{error.strerror or error} (what was written before is complete)", err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
