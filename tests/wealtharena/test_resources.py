"""A run that does not fit is refused in one line, and Learners get the GPUs there are."""

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from policies.ppo import PPO
from tests.wealtharena.conftest import GAME
from wealtharena.errors import UserError
from wealtharena.experiment import Experiment, load_experiment
from wealtharena.training.resources import gpus_per_learner, placement, require


def experiment(config: Path, runners: int = 0, learners: int = 0, gpus: float | None = None) -> Experiment:
    """Two families: left, and right."""
    changes = {"sampling.runners": runners, "learning.learners": learners, "learning.gpus_per_learner": gpus}
    return load_experiment(
        str(config), [f"{key}={'null' if value is None else value}" for key, value in changes.items()]
    )


@pytest.mark.parametrize(
    ("runners", "learners", "gpus", "fits"),
    [
        (2, 0, 0, True),
        (3, 0, 0, False),
        (0, 1, 0, True),
        (1, 1, 0, False),
        (2, 1, 0.75, False),
        (2, 1, 0.5, True),
        (2, 1, None, True),
        (0, 2, None, False),
        (0, 0, 1, True),
    ],
)
def test_runners_and_the_learners_of_every_family_count(game, runners, learners, gpus, fits):
    available = {"CPU": 2.0, "GPU": 1.0}
    asked = experiment(game, runners, learners, gpus)
    if fits:
        require(asked, available, "this machine")
    else:
        with pytest.raises(
            UserError,
            match=f"sampling.runners = {runners} and learning.learners = {learners},.* 2 families.* this mach",
        ):
            require(asked, available, "this machine")


def test_what_is_not_there_at_all_counts_as_none(game):
    with pytest.raises(UserError, match="need 1 GPU, and the cluster has 0"):
        require(experiment(game, gpus=1.0), {"CPU": 64.0}, "the cluster")


def test_members_that_share_a_learner_are_one_family(game):
    game.write_text(
        GAME.replace('{algorithm: "policies.dqn:DQN"}', '{algorithm: "policies.ppo:PPO", params: {lr: 1e-3}}')
    )
    require(experiment(game, learners=2), {"CPU": 2.0}, "this machine")


@pytest.mark.parametrize(
    ("learners", "there", "each"),
    [
        (0, 0, 0.0),
        (0, 1, 1.0),
        (0, 8, 1.0),
        (1, 0, 0.0),
        (1, 0.5, 0.0),
        (1, 1, 0.5),
        (1, 2, 1.0),
        (1, 8, 1.0),
        (2, 2, 0.0),
        (2, 4, 1.0),
    ],
)
def test_learners_take_a_gpu_each_or_share_one_or_do_without(game, learners, there, each):
    asked = experiment(game, learners=learners)
    assert gpus_per_learner(asked, {"GPU": there}) == each
    assert gpus_per_learner(experiment(game, gpus=0.25), {"GPU": there}) == 0.25
    if each:
        assert f"{each:g} GPU" in placement(asked, {"GPU": there})
    else:
        assert "the CPU" in placement(asked, {"GPU": there})


def test_where_it_learns_is_said_in_words(game):
    assert placement(experiment(game), {}) == "in this process, on the CPU"
    text = placement(experiment(game, learners=1), {"GPU": 1.0})
    assert text == "2 families at the same time, on 0.5 GPU, in 1 processes each"


class Foreign(PPO):
    """An algorithm with a Learner that knows no options."""

    learner: ClassVar[type] = object

    def learner_config(self, action_space):
        return SimpleNamespace(learner_class=self.learner)


@pytest.mark.parametrize(("option", "value"), [("precision", "bf16"), ("accumulate", 2)])
def test_an_option_that_a_members_learner_does_not_know_is_refused(game, option, value):
    game.write_text(GAME.replace("policies.ppo:PPO", "tests.wealtharena.test_resources:Foreign"))
    require(load_experiment(str(game)), {"CPU": 8.0}, "this machine")
    asked = load_experiment(str(game), [f"learning.{option}={value}"])
    with pytest.raises(UserError, match=rf"learning\.{option}: must be .* with members\.left.*\(got {value}\)"):
        require(asked, {"CPU": 8.0}, "this machine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "learning={learners: 2, gpus_per_learner: 0.5}",
            r"with learners = 2, gpus_per_learner must be a whole number",
        ),
        ("learning.precision=fp16", r"learning\.precision.*float32.*bf16"),
        ("learning.accumulate=0", r"learning\.accumulate.*greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_when_the_file_is_read(game, change, message):
    with pytest.raises(UserError, match=message):
        load_experiment(str(game), [change])
