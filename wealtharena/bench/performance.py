"""The README's sections of measured figures, made of the documents that the benchmarks wrote.

python -m wealtharena.bench.performance README.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from wealtharena.bench.samples_rows import samples_sheets
from wealtharena.bench.sheets import Document, Sheet, machine_line, optimum_sheets, scaling_sheets, throughput_sheets
from wealtharena.evidence.files import write_whole

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- {title}: begin -->\n", "<!-- {title}: end -->\n"
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "optimum": ("optimum",),
    "samples": ("samples",),
    "performance": ("throughput", "scaling"),
}
"""Title between the markers -> the commands whose documents stand there."""
SHEETS: Mapping[str, Callable[[Document], tuple[Sheet, ...]]] = {
    "optimum": optimum_sheets,
    "samples": samples_sheets,
    "throughput": throughput_sheets,
    "scaling": scaling_sheets,
}
_SECTION = """\
<!-- made by python -m wealtharena.bench.performance README.md, of {folder}/*.json -->

<!-- not run: takes minutes -->
```bash
{commands}
```

{parts}
"""


def section(documents: Mapping[str, Document]) -> str:
    """What stands between two markers.

    Args:
        documents: ``optimum``, ``samples``, ``throughput`` or ``scaling`` -> what the command of that name wrote.
    """
    folder = f"wealtharena/bench/{RESULTS.name}"
    commands = "\n".join(f"wealtharena bench {name} --json {folder}/{name}.json" for name in documents)
    parts = (_part(name, document) for name, document in documents.items())
    return _SECTION.format(folder=folder, commands=commands, parts="\n\n".join(parts))


def _part(name: str, document: Document) -> str:
    tables = map(markdown, SHEETS[name](document))
    return "\n\n".join((f"`bench {name}`, measured on {machine_line(document)}", *tables))


def markdown(sheet: Sheet) -> str:
    """A sheet as a table."""
    rule = ("---", *("--:" for _ in sheet.columns[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (sheet.columns, rule, *sheet.rows))


def renewed(readme: str, title: str, content: str) -> str:
    """The README with ``content`` between the markers of this title.

    Raises:
        ValueError: A marker is missing.
    """
    opens, closes = BEGIN.format(title=title), END.format(title=title)
    before, begin, rest = readme.partition(opens)
    _, end, after = rest.partition(closes)
    if not (begin and end):
        raise ValueError(f"README: the section on {title} stands between {opens.strip()} and {closes.strip()}")
    return f"{before}{opens}{content}{closes}{after}"


def all_renewed(readme: str, documents: Mapping[str, Document]) -> str:
    """The README with every section of which there is a document."""
    for title, names in SECTIONS.items():
        if found := {name: documents[name] for name in names if name in documents}:
            readme = renewed(readme, title, section(found))
    return readme


def recorded() -> dict[str, Document]:
    """The documents that came with the code."""
    paths = {name: RESULTS / f"{name}.json" for name in SHEETS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def main(readme: Path) -> None:
    """Renews the sections in place."""
    text = all_renewed(readme.read_text(encoding="utf-8"), recorded())

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    write_whole(readme, write)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
