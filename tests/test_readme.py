"""The README is run: its files are written, its Python and its commands executed, in order, in an empty folder.

A block that begins with ``# name.py`` or ``# name.yaml`` is written under that name. Every ``wealtharena`` command is
parsed by the command line itself, and executed with a tiny budget; Ray is the tests' own. What cannot run here carries
``<!-- not run: why -->`` and is listed in ``NOT_RUN``.
"""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import pytest
import typer
import typer.main
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from environments.market.config import MarketParams
from environments.market.config_costs import CostParams, LimitOrderParams
from environments.market.config_traders import TraderParams
from wealtharena import cli
from wealtharena.experiment import load_experiment
from wealtharena.spec import ExperimentSpec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLUSTER = (ROOT / "cluster/README.md").read_text(encoding="utf-8")
NOT_RUN = {"downloads torch", "starts a Ray cluster", "needs a cluster", "takes minutes"}
TINY = {
    "train": ["sampling={envs_per_runner: 4, fragment: 8}", "stop={iterations: 1}", "evaluation.episodes=4"],
    "resume": ["stop={iterations: 2}"],
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it begins on, and why it cannot be run here."""

    language: str
    text: str
    line: int
    not_run: str | None

    @property
    def file(self) -> str | None:
        """The name of the file it is to be written to, if it has one."""
        found = re.match(r"# (\w+\.(?:py|yaml))\n", self.text)
        return found[1] if found else None


def blocks(text: str = README) -> list[Block]:
    pattern = re.compile(
        r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
    )
    return [
        Block(found["language"], found["text"], text.count("\n", 0, found.start("text")), found["why"])
        for found in pattern.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """The words of each line of a shell block, lines that go on in the next joined, comments left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def arguments(words: list[str]) -> list[str] | None:
    """What a line gives to ``wealtharena``; None if it is not called."""
    if "wealtharena" not in words:
        return None
    return words[words.index("wealtharena") + 1 :]


def parse(given: list[str]) -> None:
    """Lets the command line parse its arguments, and do nothing."""
    program = typer.main.get_command(cli.app)
    with program.make_context("wealtharena", list(given)) as context:
        name, command, rest = program.resolve_command(context, given)
        command.make_context(name, rest, parent=context)


def test_every_block_is_run_or_says_why_not() -> None:
    assert {block.not_run for block in blocks() if block.not_run} == NOT_RUN
    assert README.count("```") == 2 * len(blocks())
    assert {block.language for block in blocks()} == {"bash", "python", "yaml", "text"}


def test_the_first_block_is_the_two_commands() -> None:
    assert [words[:2] for words in commands(blocks()[0])] == [["make", "demo"], ["make", "test"]]


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.M))
    assert {"demo", "test", "check"} <= named <= targets


def test_every_wealtharena_command_is_understood() -> None:
    given = [
        found
        for block in [*blocks(), *blocks(CLUSTER)]
        if block.language == "bash"
        for c in commands(block)
        if (found := arguments(c))
    ]
    assert {found[0] for found in given} == {"train", "tune", "evaluate", "report", "check", "bench"}
    for found in given:
        parse(found)


def test_a_wrong_option_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["train", "mine.yaml", "--sett", "seed=1"])


def test_the_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", README, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("http"):
            assert (ROOT / target).is_file(), target


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_ray: None) -> Iterator[Path]:
    """An empty working directory whose modules can be imported, and the tests' Ray in place of one for each run."""

    @contextmanager
    def running_ray() -> Iterator[str]:
        yield "the tests' Ray"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(cli, "ray_session", running_ray)
    before = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.ray
def test_the_blocks_run_in_order(folder: Path) -> None:
    for block in (block for block in blocks() if not block.not_run):
        if block.language == "bash":
            for words in commands(block):
                execute(words, block.line)
        else:
            file = folder / (block.file or f"line_{block.line}.{block.language}")
            file.write_text(block.text, encoding="utf-8")
            if block.language == "python":
                runpy.run_path(str(file))
    for written in ("config.yaml", "evaluation.json", "report.html", "metrics/progress.csv", "checkpoints/best"):
        assert (folder / "runs/mine" / written).exists()
    assert (folder / "elsewhere/evaluation.json").is_file()


def execute(words: list[str], line: int) -> None:
    """Runs a command of the README, trainings with a tiny budget; ``make`` and ``source`` only set the stage."""
    given = arguments(words)
    if given is None:
        assert words[0] in {"make", "source"}, f"README, line {line}: {shlex.join(words)}: mark the block as not run"
        return
    budget = TINY.get("resume" if "--resume" in given else given[0], [])
    smaller = [part for override in budget for part in ("--set", override)]
    result = CliRunner().invoke(cli.app, [*given, *smaller], catch_exceptions=False)
    assert result.exit_code == 0, f"README, line {line}: {shlex.join(words)}\n{result.output}"


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "yaml"], ids=lambda block: block.file)
def test_an_experiment_is_loaded(block: Block, folder: Path) -> None:
    for other in blocks():
        if other.file:
            (folder / other.file).write_text(other.text, encoding="utf-8")
    runpy.run_path("make_prices.py")
    assert block.file is not None
    experiment = load_experiment(block.file)
    assert f"{experiment.spec.name}.yaml" == block.file


def rows(first_cell: str) -> dict[str, str]:
    """field -> default, of the tables of fields in the README."""
    found = re.findall(rf"^\| `({first_cell})` \| ([^|]*) \|", README, re.M)
    return {field: default.strip(" `") for field, default in found}


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a model and of the models in it, by dotted path."""
    for name, field in model.model_fields.items():
        inner = next((part for part in _parts(field.annotation) if _is_model(part)), None)
        dotted = f"{path}{field.alias or name}"
        if inner is None or dotted == "evaluation.window":
            yield dotted, field
        else:
            yield from fields(inner, f"{dotted}.<group>." if dotted == "members" else f"{dotted}.")


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation) if isinstance(annotation, UnionType) or get_args(annotation) else ():
        yield from _parts(part)


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def test_every_field_of_an_experiment_is_explained_with_its_default() -> None:
    explained = rows(r"[\w.<>]+")
    for dotted, field in fields(ExperimentSpec):
        assert dotted in explained, f"the README does not explain {dotted}"
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        default = list(default) if isinstance(default, tuple) else default
        assert yaml.safe_load(explained[dotted]) == default, dotted


def test_every_parameter_of_the_market_is_explained_with_its_default() -> None:
    explained = rows(r"\w+")
    in_words = {"data", "window", "traders", "costs"}
    for name, field in MarketParams.model_fields.items():
        assert name in explained, f"the README does not explain environment.params.{name}"
        default = field.default.model_dump() if isinstance(field.default, BaseModel) else field.default
        assert name in in_words or yaml.safe_load(explained[name]) == default, name
    assert all(name in README for model in (CostParams, LimitOrderParams) for name in model.model_fields)
    for name, field in TraderParams.model_fields.items():
        default = "required" if field.is_required() else field.default
        assert yaml.safe_load(explained[name]) == default, name
