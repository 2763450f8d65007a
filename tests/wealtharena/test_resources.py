"""A run that does not fit is refused in one line."""

import pytest

from wealtharena.errors import UserError
from wealtharena.spec import ExperimentSpec
from wealtharena.training.resources import require


def spec(runners: int, learners: int, gpus: float = 0.0) -> ExperimentSpec:
    return ExperimentSpec.model_validate(
        {
            "name": "big",
            "environment": {"class": "a:B"},
            "members": {name: {"algorithm": "c:D"} for name in ("one", "two", "three")},
            "sampling": {"runners": runners},
            "learning": {"learners": learners, "gpus_per_learner": gpus},
            "stop": {"iterations": 1},
        }
    )


@pytest.mark.parametrize(
    ("runners", "learners", "gpus", "fits"),
    [(2, 0, 0, True), (3, 0, 0, False), (0, 1, 0, False), (2, 1, 0.5, False), (2, 1, 0.25, True), (0, 0, 1, True)],
)
def test_runners_and_the_learners_of_every_member_count(runners, learners, gpus, fits):
    available = {"CPU": 2.0, "GPU": 1.0}
    if fits:
        require(spec(runners, learners, gpus), available, "this machine")
    else:
        with pytest.raises(
            UserError, match=f"sampling.runners = {runners} and learning.learners = {learners},.* this mach"
        ):
            require(spec(runners, learners, gpus), available, "this machine")


def test_what_is_not_there_at_all_counts_as_none():
    with pytest.raises(UserError, match="need 1 GPU, and the cluster has 0"):
        require(spec(0, 0, 1.0), {"CPU": 64.0}, "the cluster")
