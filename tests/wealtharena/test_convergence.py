"""Whether a training had converged: the trend and its interval, against numbers worked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wealtharena.evidence.convergence import LEAST, Trend, trend, trends
from wealtharena.evidence.report import write_report


def test_a_straight_line_is_found_exactly() -> None:
    step_T = np.arange(1.0, 11.0)
    found = trend(step_T, 2 * step_T)
    assert found is not None
    assert (found.level, found.change, found.low, found.high) == pytest.approx((19, 18, 18, 18))
    assert found.reading == "still rising"


def test_an_interval_worked_by_hand() -> None:
    # Blocks of two: x = 0.5, 2.5, ..., 8.5, sum of squares 40; means 0, 1, 0, 1, 0: slope 0, residuals 1.2 in all.
    found = trend(np.arange(10.0), np.repeat([0.0, 1.0, 0.0, 1.0, 0.0], 2))
    assert found is not None
    half = 3.182446 * np.sqrt(1.2 / 3 / 40) * 9
    assert (found.level, found.change, found.low, found.high) == pytest.approx((0, 0, -half, half))
    assert found.reading == "no trend shows"


def test_the_interval_holds_what_it_says_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        found = trend(np.arange(40.0), 0.1 * np.arange(40) + np.convolve(rng.normal(size=42), np.ones(3), "valid"))
        assert found is not None
        hits += found.low <= 3.9 <= found.high
    assert 0.91 <= hits / 500 <= 0.98


def test_a_fall_is_called_one() -> None:
    assert Trend(level=1.0, change=-2.0, low=-3.0, high=-1.0).reading == "falling"


def test_few_points_have_no_trend() -> None:
    assert trend(np.arange(LEAST - 1.0), np.zeros(LEAST - 1)) is None


def table() -> pd.DataFrame:
    """40 iterations: one group rises in the first half only, one all the time, one was hardly ever known."""
    step = 100.0 * np.arange(1, 41)
    wiggle = np.tile([0.01, -0.01], 20)
    rare = np.full(40, np.nan)
    rare[-5:] = 1.0
    return pd.DataFrame(
        {
            "iteration": np.arange(1, 41),
            "env_steps": step,
            "flat/episode_return": np.minimum(step, 2000) / 1000 + wiggle,
            "up/episode_return": step / 1000 + wiggle,
            "rare/episode_return": rare,
        }
    )


def test_the_second_half_of_each_group_counts() -> None:
    found = trends(table())
    assert {group: each.reading for group, each in found.items()} == {"flat": "no trend shows", "up": "still rising"}
    assert found["up"].change == pytest.approx(1.9, abs=0.02)
    assert found["flat"].level == pytest.approx(2.0)


def test_the_report_shows_it(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    table().to_csv(tmp_path / "metrics/progress.csv", index=False)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Had it converged?" in text
    assert "still rising" in text
    assert "no trend shows" in text
