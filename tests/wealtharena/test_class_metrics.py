"""What each class brought to the book: ratio and drawdown worked by hand."""

import numpy as np
import pytest

from tests.wealtharena.tracks import track_of
from wealtharena.evidence.metrics import contribution, drawdown, sharpe


def test_a_class_is_measured_against_the_whole_book() -> None:
    # The book goes 100, 110, 99, 99; the first class brings +10, -22, +11 of it, the second 0, +11, -11.
    track = track_of([[10, 0], [-22, 11], [11, -11]], np.ones((3, 2)), class_N=[0, 1])
    first = contribution(track, np.array([0]))
    return_T = np.array([0.1, -0.2, 1 / 9])
    assert first["max_drawdown"] == pytest.approx(0.2)
    assert first["sharpe"] == pytest.approx(return_T.mean() / return_T.std(ddof=1) * np.sqrt(3 / track.years))
    assert contribution(track, np.array([1]))["max_drawdown"] == pytest.approx(1 / 9)


def test_all_classes_together_are_the_book() -> None:
    track = track_of([[10, 0], [-22, 11], [11, -11]], np.ones((3, 2)), class_N=[0, 1])
    whole = contribution(track, np.array([0, 1]))
    assert whole["sharpe"] == pytest.approx(sharpe(track.returns_T, track.years))
    assert whole["max_drawdown"] == pytest.approx(drawdown(track.nav).max())


def test_a_class_that_did_nothing_has_no_ratio_and_no_drawdown() -> None:
    track = track_of([[10, 0], [-22, 0]], np.ones((2, 2)), class_N=[0, 1])
    assert contribution(track, np.array([1])) == {"sharpe": None, "max_drawdown": 0.0}
