"""Who knows something is heard: one informed trader and two that make noise, in many copies, with 99% intervals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.environments.hearing import Played, play

WEIGHTED, MEAN = {"kind": "weighted"}, {"kind": "mean"}
VOTING = {"kind": "voting", "threshold": 0.75}
WITHIN = 60  # bars
QUANTILE = 2.576


@pytest.fixture(scope="module")
def unsure() -> dict[str, Played]:
    """Noise of all sizes."""
    return {rule["kind"]: play(rule) for rule in (WEIGHTED, VOTING, MEAN)}


@pytest.fixture(scope="module")
def shouting() -> dict[str, Played]:
    """Noise that always says 1 or -1."""
    return {rule["kind"]: play(rule, shouting=True) for rule in (WEIGHTED, VOTING, MEAN)}


def beats(one_E: Tensor, other_E: Tensor) -> bool:
    """Whether the mean difference, copy by copy (they see the same prices and noise), is surely above 0."""
    gap_E = one_E - other_E
    return bool(gap_E.mean() > QUANTILE * gap_E.std() / len(gap_E) ** 0.5)


@pytest.mark.parametrize("noise", ["unsure", "shouting"])
def test_performance_gives_the_informed_trader_most_of_the_weight(noise, request):
    voice_T = request.getfixturevalue(noise)["weighted"].voice_TJ[:, 0]
    assert voice_T[0] == pytest.approx(1 / 3)
    assert (voice_T[WITHIN:] >= 0.8).all()


def test_weights_beat_a_vote_and_a_vote_beats_the_mean(unsure):
    for score in ("growth_E", "sharpe_E"):
        found = {kind: getattr(played, score) for kind, played in unsure.items()}
        assert beats(found["weighted"], found["voting"]), score
        assert beats(found["voting"], found["mean"]), score


def test_where_noise_shouts_a_vote_only_takes_larger_positions(shouting):
    growth = {kind: played.growth_E for kind, played in shouting.items()}
    sharpe = {kind: played.sharpe_E for kind, played in shouting.items()}
    assert beats(growth["weighted"], growth["voting"])
    assert beats(growth["voting"], growth["mean"])
    assert beats(sharpe["mean"], sharpe["voting"])
    assert float(sharpe["voting"].mean() / sharpe["mean"].mean()) == pytest.approx(0.5 * 3**0.5, abs=0.06)


def test_a_vote_hears_everybody_who_is_loud(shouting):
    assert torch.allclose(shouting["voting"].voice_TJ.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.01)
