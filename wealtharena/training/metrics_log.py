"""The metrics of a run on disk: one CSV row and one TensorBoard step per iteration."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard.writer import SummaryWriter

Row = Mapping[str, float | str]


class MetricsLog:
    """Writes ``progress.csv`` and TensorBoard event files; every row is on disk when ``write`` returns.

    A context manager. A column may appear in any row: the file is then written anew, once, with the wider header.
    """

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        """Opens the log of a run that goes on after iteration ``after``: what was logged beyond it is dropped."""
        self.csv = folder / "progress.csv"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read_rows(self.csv) if int(row["iteration"]) <= after]
        self._columns = _columns(rows)
        self._rewrite(rows)
        self._events = SummaryWriter(str(folder), purge_step=after + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()

    def write(self, row: Mapping[str, float]) -> None:
        """Adds one iteration; ``row`` has at least ``iteration``."""
        if row.keys() <= set(self._columns):
            self._append(row)
        else:
            rows: list[Row] = [*read_rows(self.csv), row]
            self._columns = _columns(rows)
            self._rewrite(rows)
        for name, value in row.items():
            self._events.add_scalar(name, value, int(row["iteration"]))
        self._events.flush()

    def _append(self, row: Row) -> None:
        with self.csv.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _rewrite(self, rows: list[Row]) -> None:
        partial = self.csv.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.csv)


def read_rows(path: Path) -> list[Row]:
    """The rows of a ``progress.csv`` without their empty cells; a last row that was cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole_lines = text[: text.rfind("\n") + 1].splitlines()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(whole_lines)]


def _columns(rows: list[Row]) -> list[str]:
    """Every column of any row, in the order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))
