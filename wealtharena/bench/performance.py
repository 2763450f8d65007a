"""The README's performance section, made of the documents that the benchmarks wrote.

python -m wealtharena.bench.performance README.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from wealtharena.bench.sheets import Document, Sheet, machine_line, scaling_sheets, throughput_sheets
from wealtharena.evidence.files import write_whole

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- performance: begin -->\n", "<!-- performance: end -->\n"
SHEETS: Mapping[str, Callable[[Document], tuple[Sheet, ...]]] = {
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
    """What stands between the two markers.

    Args:
        documents: ``throughput``, ``scaling`` or both -> what the command of that name wrote.
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


def renewed(readme: str, content: str) -> str:
    """The README with ``content`` between its markers.

    Raises:
        ValueError: A marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README: the section on performance stands between {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}{content}{END}{after}"


def recorded() -> dict[str, Document]:
    """The documents that came with the code."""
    paths = {name: RESULTS / f"{name}.json" for name in SHEETS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def main(readme: Path) -> None:
    """Renews the section in place."""
    text = renewed(readme.read_text(encoding="utf-8"), section(recorded()))

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    write_whole(readme, write)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
