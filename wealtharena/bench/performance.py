"""The README's performance section, made of the documents that the benchmarks wrote.

python -m wealtharena.bench.performance README.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wealtharena.bench.sheets import Sheet, machine_line, scaling_sheets, throughput_sheets
from wealtharena.evidence.files import write_whole

RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- performance: begin -->\n", "<!-- performance: end -->\n"
_SECTION = """\
<!-- made by python -m wealtharena.bench.performance README.md, of {folder}/*.json -->

<!-- not run: takes minutes -->
```bash
wealtharena bench throughput --json {folder}/throughput.json
wealtharena bench scaling --json {folder}/scaling.json
```

Measured on {machine} Medians, all that is compared in turn.

{tables}
"""


def section(throughput: Mapping[str, Any], scaling: Mapping[str, Any]) -> str:
    """What stands between the two markers."""
    sheets = (*throughput_sheets(throughput), *scaling_sheets(scaling))
    folder = f"wealtharena/bench/{RESULTS.name}"
    return _SECTION.format(folder=folder, machine=machine_line(throughput), tables="\n\n".join(map(markdown, sheets)))


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


def recorded() -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents that came with the code: throughput and scaling."""
    throughput, scaling = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("throughput", "scaling"))
    return throughput, scaling


def main(readme: Path) -> None:
    """Renews the section in place."""
    text = renewed(readme.read_text(encoding="utf-8"), section(*recorded()))

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    write_whole(readme, write)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
