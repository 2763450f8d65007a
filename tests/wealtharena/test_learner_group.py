"""A team's Learners: how those of several families come to be, without any of Ray's processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec

from tests.wealtharena.teams import GROUPS, mixed
from wealtharena.team import learner_group
from wealtharena.team.learner_group import TeamLearnerGroup

TOGETHER_S = 20.0


class Child:
    """In the place of a family's LearnerGroup."""

    def __init__(self, name: str) -> None:
        self.name, self.is_shut_down = name, False

    def shutdown(self) -> None:
        self.is_shut_down = True


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], Child], int], TeamLearnerGroup]:
    """What makes the Learners of a mixed team, each family's built by the function that it is given."""

    def made(build: Callable[[str], Child], learners: int) -> TeamLearnerGroup:
        def built(module_spec: MultiRLModuleSpec, **_: Any) -> Child:
            (name,) = module_spec.rl_module_specs
            return build(name)

        monkeypatch.setattr(learner_group, "LearnerGroup", built)
        config = mixed().learners(num_learners=learners)
        env = config.env(config.env.Params.model_validate(config.env_config), num_envs=1)
        spaces = {name: (group.observation_space, group.action_space) for name, group in env.groups.items()}
        return TeamLearnerGroup(config=config, module_spec=config.get_multi_rl_module_spec(spaces=spaces))

    return made


def test_remote_learners_of_all_families_start_at_once_and_are_kept_in_order(team):
    together = threading.Barrier(len(GROUPS))

    def build(name: str) -> Child:
        together.wait(TOGETHER_S)  # breaks if they are built one after the other
        return Child(name)

    assert [(family, child.name) for family, child in team(build, 1).children.items()] == [(n, n) for n in GROUPS]


def test_learners_of_this_process_are_built_one_by_one_in_its_main_thread(team):
    threads = []

    def build(name: str) -> Child:
        threads.append((name, threading.current_thread()))
        return Child(name)

    team(build, 0)
    assert threads == [(name, threading.main_thread()) for name in GROUPS]


def test_those_built_beside_one_that_fails_are_found_by_shutdown(team, monkeypatch):
    made: list[TeamLearnerGroup] = []
    begin = TeamLearnerGroup.__init__
    monkeypatch.setattr(TeamLearnerGroup, "__init__", lambda self, **given: made.append(self) or begin(self, **given))

    def build(name: str) -> Child:
        if name == "d":
            raise RuntimeError("no room for d")
        return Child(name)

    with pytest.raises(RuntimeError, match="no room for d"):
        team(build, 1)
    children = made[0].children
    assert set(children) == set(GROUPS) - {"d"}
    made[0].shutdown()
    assert all(child.is_shut_down for child in children.values())
