"""The table of what helps: hand-worked differences, and what their intervals say."""

import pytest

from wealtharena.evidence.bootstrap import Interval
from wealtharena.tuning.comparison import HELPS, HURTS, UNCLEAR, Scores, dimension_rows, verdict_of


def runs(*scores: float) -> dict[str, float]:
    return {str(seed): score for seed, score in enumerate(scores)}


def test_the_same_seeds_are_held_against_each_other() -> None:
    """b is a + 1 with every seed: seeds differ by 10, and the difference does not."""
    scores: Scores = {("a", "x"): runs(0, 10, 20), ("b", "x"): runs(1, 11, 21)}
    first, other = dimension_rows("kind", 0, scores)["levels"]
    assert first["score"]["value"] == 10
    assert (first["difference"], first["verdict"]) == (None, None)
    assert other["score"]["value"] == 11
    assert other["difference"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert (other["verdict"], other["pairs"]) == (HELPS, 3)


def test_each_value_is_judged_over_the_other_dimensions() -> None:
    """y is x - 2 under a and x - 4 under b: 3 less in the mean, and less in every resample."""
    scores: Scores = {
        ("a", "x"): runs(0, 1, 2),
        ("a", "y"): runs(-2, -1, 0),
        ("b", "x"): runs(5, 6, 7),
        ("b", "y"): runs(1, 2, 3),
    }
    first, other = dimension_rows("fusion", 1, scores)["levels"]
    assert (first["level"], first["runs"]) == ("x", 6)
    assert other["difference"]["value"] == pytest.approx(-3)
    assert (other["verdict"], other["pairs"]) == (HURTS, 6)


def test_only_pairs_count_for_a_difference() -> None:
    """The second seed of b failed, and (b, y) has no partner at all."""
    scores: Scores = {("a", "x"): runs(0, 0, 0), ("b", "x"): {"0": 1.0, "2": -1.0}, ("b", "y"): runs(9, 9, 9)}
    other = dimension_rows("kind", 0, scores)["levels"][1]
    assert (other["pairs"], other["verdict"]) == (2, UNCLEAR)
    alone: Scores = {("a", "x"): runs(0, 1), ("b", "y"): runs(2, 3)}
    assert dimension_rows("kind", 0, alone)["levels"][1]["difference"] is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.4, HELPS), (-0.4, -0.1, HURTS), (-0.1, 0.4, UNCLEAR), (0.0, 0.4, UNCLEAR), (None, None, UNCLEAR)],
)
def test_what_an_interval_says(low: float | None, high: float | None, said: str) -> None:
    assert verdict_of(Interval(0.2, low, high)) == said
