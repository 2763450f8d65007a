"""The report of a training with a curriculum: stages, success and returns over the steps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.wealtharena.test_report import Page
from wealtharena.evidence.curriculum import through_stages
from wealtharena.evidence.learning import groups_in
from wealtharena.evidence.report import write_report

ROWS = [
    {"stage": 1, "success": 0.5, "lower_bound": 0.4, "upper_bound": 0.6, "promotions": 0, "regressions": 0,
     "share/calm": 1.0, "share/wild": 0.0, "success/calm": 0.5, "return/calm": 3.0},
    {"stage": 2, "promotions": 1, "regressions": 0,
     "share/calm": 0.25, "share/wild": 0.75, "success/calm": 0.75, "return/calm": 4.0},
    {"stage": 2, "success": 0.25, "lower_bound": 0.2, "upper_bound": 0.3, "promotions": 1, "regressions": 0,
     "share/calm": 0.25, "share/wild": 0.75, "success/calm": 0.75, "return/calm": 5.0, "success/wild": 0.25,
     "return/wild": -1.0},
]  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [{f"curriculum/{name}": value for name, value in row.items()} for row in ROWS]
    frame = pd.DataFrame(rows)
    return pd.concat(
        [pd.DataFrame({"iteration": [1, 2, 3], "env_steps": [64, 128, 192], "a/loss": [1.0, 0.5, 0.2]}), frame], axis=1
    )


def test_figures_tell_of_every_stage(table: pd.DataFrame) -> None:
    found = through_stages(table)
    assert found is not None
    assert [(trace["name"], trace["y"]) for trace in found["shares"]["data"]] == [
        ("calm", [1.0, 0.25, 0.25]),
        ("wild", [0.0, 0.75, 0.75]),
    ]
    assert [(trace["name"], trace["x"], trace["y"]) for trace in found["returns"]["data"]] == [
        ("calm", [64, 128, 192], [3.0, 4.0, 5.0]),
        ("wild", [192], [-1.0]),
    ]
    success, bounds = found["success"]["data"][:2], found["success"]["data"][2:]
    assert [trace["y"] for trace in success] == [[0.5, 0.75, 0.75], [0.25]]
    assert [(trace["x"], trace["y"]) for trace in bounds] == [
        ([64, 128, 192], [0.4, None, 0.2]),
        ([64, 128, 192], [0.6, None, 0.3]),
    ]
    assert [(line["x"], line["text"]) for line in found["success"]["layout"]["annotations"]] == [(128, "wild")]
    assert found["changes"] == "on to the next stage once, back never"
    begun = through_stages(table[:1])
    assert begun is not None
    assert (
        begun["changes"] == "on to the next stage never, back never; wild, on which the team is tested, was not reached"
    )


def test_without_a_stage_of_the_moment_there_are_no_marks(table: pd.DataFrame) -> None:
    without = [name for name in table if name.endswith(("stage", "bound", "promotions", "regressions"))]
    found = through_stages(table.drop(columns=without))
    assert found is not None
    assert "annotations" not in found["shares"]["layout"]
    assert (found["bounded"], found["changes"]) == (False, None)
    assert through_stages(table[["iteration", "env_steps", "a/loss"]]) is None


def test_its_figures_are_not_taken_for_a_groups(table: pd.DataFrame) -> None:
    assert list(groups_in(table)) == ["a"]


def test_the_page_has_a_section(table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    table.to_csv(tmp_path / "metrics/progress.csv", index=False)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert {"stage-shares", "stage-success", "stage-returns", "details-1"} <= page.plots.keys()
    assert next(title for tag, title in page.headings if tag == "h2") == "Curriculum"
    assert "#curriculum-section" in page.loads
