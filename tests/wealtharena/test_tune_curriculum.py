"""A curriculum in a sweep: a trial that takes the place of another goes on in the other's stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.wealtharena.conftest import GAME
from tests.wealtharena.test_curriculum_run import CURRICULUM
from wealtharena.document import Document, read_document
from wealtharena.tuning.check import sweep_of
from wealtharena.tuning.trial import POINT, ROW, SCORE, VALUES, TeamTrial, trial_config

pytestmark = pytest.mark.usefixtures("local_ray")

SWEEP = """\
tune:
  trials: 2
  scheduler: {kind: pbt, interval: 2}
  space:
    members.left.params.lr: {loguniform: [1e-4, 1e-2]}
"""


def trial(document: Document, lr: float) -> TeamTrial:
    values = {"members.left.params.lr": lr, "seed": 0}
    config: dict[str, Any] = {**trial_config(document), POINT: {"number": 0, VALUES: values}}
    return TeamTrial(config)


def test_it_goes_on_in_the_stage_of_the_donor(game: Path, tmp_path: Path) -> None:
    """100 episodes are a check, so the stage changes in the second iteration; until then there is no score."""
    game.write_text(GAME + CURRICULUM + SWEEP)
    document = read_document(str(game))
    assert sweep_of(document).count == 2
    donor, other = trial(document, 1e-3), trial(document, 2e-3)
    found = [donor.train() for _ in range(3)]
    assert [result[ROW]["curriculum/stage"] for result in found] == [1.0, 2.0, 2.0]
    assert [SCORE in result for result in found] == [False, False, True]
    donor.save_checkpoint(str(tmp_path))
    other.load_checkpoint(str(tmp_path))
    assert other.team.get_state()["team"]["curriculum"] == donor.team.get_state()["team"]["curriculum"]
    assert other.team.env_runner.env.stage_E.tolist() == [1] * 8
    rows = [each.train()[ROW] for each in (donor, other)]
    assert rows[0]["curriculum/stage"] == rows[1]["curriculum/stage"] == 2.0
    assert rows[0]["curriculum/episodes/long"] == rows[1]["curriculum/episodes/long"]
    donor.cleanup()
    other.cleanup()
