"""The documents as sheets of text, for the terminal and for the README alike: ratios first, absolute figures second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wealtharena.bench.requirements import CUDA, SCALING, THROUGHPUT, Requirement, figures, measured

MISSED = "MISSED"
BUSY = 1.0  # load: so many processes were running, on average, before a measurement began
SAMPLERS = {"runners": "", "in_step": ", in step", "alone": ", waiting for nobody"}
Row = tuple[str, ...]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A table of text; all columns but the first hold figures."""

    columns: Row
    rows: tuple[Row, ...]


def optimum_sheets(document: Document) -> tuple[Sheet, ...]:
    """Of ``bench optimum``."""
    columns = ("case", "by", "share", "95% interval", "required", "", "steps to 90%", "to 95%", "in all")
    return (Sheet(columns, tuple(map(_optimum, document["rows"]))),)


def _optimum(row: Mapping[str, Any]) -> Row:
    return (
        row["case"],
        row["algorithm"],
        f"{row['share']:.1%}",
        f"{row['share_low']:.1%} to {row['share_high']:.1%}",
        f"{row['required']:.1%}",
        "met" if row["passed"] else MISSED,
        *("never" if (steps := row[f"steps_to_{percent}"]) is None else figures(steps) for percent in (90, 95)),
        figures(row["env_steps"]),
    )


def throughput_sheets(document: Document) -> tuple[Sheet, ...]:
    """Of ``bench throughput``, as much as was measured."""
    asked = CUDA if document["device"] == "cuda" else THROUGHPUT
    return _filled(
        verdicts(document, asked),
        Sheet(("agent-steps/s", "stock RLlib", "WealthArena"), tuple(_contests(document))),
        Sheet(("returns of these trainings", "stock RLlib", "WealthArena"), tuple(_returns(document))),
        Sheet(("market alone, steps/s", *_copies(document), "face"), tuple(_markets(document))),
        Sheet(("a step after more bars, against fewer", "ratio of costs"), tuple(_histories(document))),
        Sheet(("quickstart's team", "of the time"), tuple(_shares(document))),
    )


def scaling_sheets(document: Document) -> tuple[Sheet, ...]:
    """Of ``bench scaling``, as much as was measured."""
    return _filled(
        verdicts(document, SCALING),
        Sheet(("agents", "us/step", "us, sampling", "bytes stored", "bytes, peak"), tuple(_agents(document))),
        Sheet(("sampling processes", "agent-steps/s"), tuple(_runners(document))),
        Sheet(("training with one sampling process", "steps/s"), tuple(_overlap(document))),
    )


def verdicts(document: Document, requirements: Sequence[Requirement]) -> Sheet:
    """What was measured beside what is required."""
    rows = tuple(
        (one.what, one.told(value), one.bound_told, "met" if one.met(value) else MISSED)
        for one, value in measured(document, requirements)
    )
    return Sheet(("", "measured", "required", ""), rows)


def machine_line(document: Document) -> str:
    """What it was measured on, and what to mind about it."""
    box = document["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in box["versions"].items())
    quick = " Fewer and shorter measurements (--quick)." if document["quick"] else ""
    busy = " It was busy with other work: expect better of a quiet machine." if box["load"] > BUSY else ""
    return (
        f"{box['processor']}, {box['cores']} cores (load {box['load']:.1f} before it began), {_threads(box)}, "
        f"{box['device']}; {packages}.{quick}{busy}"
    )


def _threads(box: Mapping[str, Any]) -> str:
    return _count(box["torch_threads"], "torch thread", "torch threads")


def _filled(*sheets: Sheet) -> tuple[Sheet, ...]:
    return tuple(sheet for sheet in sheets if sheet.rows)


def _contests(document: Document) -> Iterator[Row]:
    for key, words in (("market", "sampling the market"), ("no_op", "sampling a no-op")):
        if contest := document.get("sampling", {}).get(key):
            yield words, *(_sampler(contest[side]) if side in contest else "" for side in ("stock", "team"))
    if trained := document.get("end_to_end"):
        yield "PPO end to end", *(figures(trained[side]["median"]) for side in ("stock", "team"))
        yield "with copies, processes", *(_setting(trained[side]["setting"]) for side in ("stock", "team"))
    if loop := document.get("bare_loop"):
        for form in ("sequential", "stacked"):
            yield f"bare loop, {form}", "", figures(loop[form]["median"])


def _sampler(side: Mapping[str, Any]) -> str:
    return f"{figures(side['median'])} ({side['copies']:,} copies)"


def _setting(setting: Mapping[str, int]) -> str:
    return f"{setting['copies']}, {setting['runners']}"


def _returns(document: Document) -> Iterator[Row]:
    if "end_to_end" not in document:
        return
    learning = document["end_to_end"]["learning"]
    yield f"mean, of {learning['optimum']:.0f} at best", f"{learning['stock']:.2f}", f"{learning['team']:.2f}"
    noise = "" if learning["noise"] is None else f"+-{learning['noise']:.2f}"
    yield "difference, 95% noise", noise, f"{learning['difference']:+.2f}"


def _copies(document: Document) -> Row:
    return tuple(_count(int(key.removeprefix("copies_")), "copy", "copies") for key in _copy_keys(document))


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _copy_keys(document: Document) -> list[str]:
    sizes = _sizes(document)
    return [key for key in next(iter(sizes.values())) if key.startswith("copies_")] if sizes else []


def _sizes(document: Document) -> dict[str, Mapping[str, float]]:
    return {key: figures for key, figures in document.get("market", {}).items() if key.startswith("assets_")}


def _markets(document: Document) -> Iterator[Row]:
    for form, sizes in document.get("market", {}).get("forms", {"plain": _sizes(document)}).items():
        for key, found in sizes.items():
            what = _count(int(key.removeprefix("assets_")), "asset", "assets")
            cells = (figures(found[copies]) for copies in (*_copy_keys(document), "face"))
            yield what if form == "plain" else f"{what}, {form}", *cells


def _histories(document: Document) -> Iterator[Row]:
    """The same ends in both are what is required: see ``market_speed.APART``."""
    history = document.get("market", {}).get("history", {})
    if "apart" in history:
        yield "episodes end equally often", f"{history['apart']['cost_ratio']:.2f} x"
        yield "as they end: long prices ruin more copies", f"{history['cost_ratio']:.2f} x"


def _shares(document: Document) -> Iterator[Row]:
    if "mixed" in document:
        for name, share in document["mixed"]["shares"].items():
            yield name.replace("_", " "), f"{share:.1%}"
        yield "agent-steps/s in all", figures(document["mixed"]["median"])


def _agents(document: Document) -> Iterator[Row]:
    for key, found in document.get("agents", {}).items():
        if key.startswith("agents_"):
            times = (found[name]["median"] for name in ("microseconds", "sampling_microseconds"))
            yield (
                f"{int(key.removeprefix('agents_')):,}",
                *map(figures, (*times, found["stored_bytes"], found["peak_bytes"])),
            )


def _runners(document: Document) -> Iterator[Row]:
    for key, found in document.get("runners", {}).items():
        kind, _, number = key.rpartition("_")
        if kind in SAMPLERS and number.isdigit():
            yield number + SAMPLERS[kind], figures(found["median"])


def _overlap(document: Document) -> Iterator[Row]:
    if "overlap" in document:
        found = document["overlap"]
        yield "sampling and learning by turns", figures(found["in_step"]["median"])
        yield "at the same time", figures(found["overlapped"]["median"])
        yield "ratio", f"{figures(found['ratio'])} x"
