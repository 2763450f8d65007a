"""Copies in stages: no episode sees two, none is cut off, and agents that a stage has not do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from environments.base import Transition
from environments.errors import DataError
from environments.staged import StagedEnv, StagedParams
from tests.games import ChainGame, TargetGame


def staged(env: type = TargetGame, num_envs: int = 4, **stages: dict[str, Any]) -> StagedEnv:
    return StagedEnv(StagedParams(env=env, stages=stages), num_envs=num_envs)


def games(num_envs: int = 4) -> StagedEnv:
    """One agent for 2 steps; one and a second group for 3; three and two of a second group for 5."""
    return staged(
        num_envs=num_envs,
        easy={"groups": {"a": {}}, "horizon": 2},
        middle={"groups": {"a": {}, "b": {"agents": 2}}, "horizon": 3},
        hard={"groups": {"a": {"agents": 3}, "b": {"agents": 2}}, "horizon": 5},
    )


def act(env: StagedEnv, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randint(0, 3, (env.num_envs, len(group.agent_ids)), generator=generator)
        for name, group in env.groups.items()
    }


def test_a_group_is_as_wide_as_in_its_widest_stage():
    env = games()
    obs = env.reset(seed=1)
    assert {name: tuple(column.shape) for name, column in obs.items()} == {"a": (4, 3, 3), "b": (4, 2, 3)}
    assert env.groups["a"].agent_ids == ("a/0", "a/1", "a/2")
    assert env.present["a"].tolist() == [[True, False, False], [True, False, False], [True, True, True]]
    assert env.present["b"].tolist() == [[False, False], [True, True], [True, True]]
    assert env.active()["a"].tolist() == [[True, False, False]] * 4
    assert not env.active()["b"].any()


def test_what_an_agent_has_is_what_it_would_have_alone():
    env, alone = games(), TargetGame(TargetGame.Params.model_validate({"groups": {"a": {}}, "horizon": 2}), num_envs=4)
    env.reset(seed=3)
    alone.set_state(env.get_state()["parts"][0][2])
    for seed in range(5):
        actions = act(env, seed)
        whole, own = env.step(actions), alone.step({"a": actions["a"][:, :1]})
        for field in ("obs", "final_obs", "reward", "terminated", "truncated"):
            assert torch.equal(getattr(whole, field)["a"][:, :1], getattr(own, field)["a"])
            assert not getattr(whole, field)["a"][:, 1:].any()
            assert not getattr(whole, field)["b"].any()
        assert torch.equal(whole.done, own.done)


def test_before_the_first_step_copies_are_assigned_at_once():
    env = games()
    env.reset(seed=0)
    obs = env.assign((1, 0, 3))
    assert obs is not None
    assert env.stage_E.tolist() == [0, 2, 2, 2]
    assert env.active()["a"].sum(dim=1).tolist() == [1, 3, 3, 3]
    assert env.assign((1, 0, 3)) is None


def test_between_episodes_copies_are_assigned_at_once_too():
    env = games()
    env.reset(seed=0)
    env.step(act(env))
    assert env.step(act(env)).done.all()
    assert env.assign((0, 0, 4)) is not None
    assert env.stage_E.tolist() == [2] * 4
    assert env.step(act(env)).obs["a"].any(dim=2).all()


def test_episodes_under_way_are_played_to_their_end():
    env = games()
    env.reset(seed=0)
    env.assign((2, 0, 2))
    env.step(act(env))
    assert env.assign((0, 4, 0)) is None
    assert env.stage_E.tolist() == [0, 0, 2, 2]
    second = env.step(act(env))
    assert second.done.tolist() == [True, True, False, False]
    assert env.stage_E.tolist() == [-1, -1, 2, 2]
    assert not second.active["a"][:2].any()
    waiting = [env.step(act(env)) for _ in range(2)]
    assert not any(step.done.any() or step.reward["a"][:2].any() or step.truncated["a"][:2].any() for step in waiting)
    last = env.step(act(env))
    assert last.done.tolist() == [False, False, True, True]
    assert last.truncated["a"].tolist() == [[False] * 3] * 2 + [[True] * 3] * 2
    assert env.stage_E.tolist() == [1] * 4
    assert last.active["a"].tolist() == [[True, False, False]] * 4
    assert not torch.equal(last.obs["b"], last.final_obs["b"])


class DemandingGame(TargetGame):
    """Refuses a step without the actions of a group that decides, as the market does."""

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        assert not [name for name, active_EA in self.active().items() if active_EA.any() and name not in actions]
        return super().step(actions)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_nobody_need_be_asked_for_copies_that_wait(kind: str):
    """After three steps the first copies wait, at a beginning where all decide; of the others nobody does."""
    stages = {
        name: {"groups": {"a": {"every": 2, "kind": kind}}, "horizon": horizon}
        for name, horizon in (("short", 3), ("long", 6))
    }
    env = staged(DemandingGame, 2, **stages)
    env.reset(seed=0)
    env.assign((1, 1))
    asked = {"a": torch.zeros(2, 1, dtype=torch.int64) if kind == "discrete" else torch.zeros(2, 1, 1)}
    for step in range(6):
        if step == 1:
            env.assign((0, 2))
        env.step(asked if env.active()["a"].any() else {})
    assert env.stage_E.tolist() == [1, 1]


def test_a_plan_may_change_while_copies_wait():
    env = games()
    env.reset(seed=0)
    env.assign((2, 0, 2))
    env.step(act(env))
    env.assign((0, 4, 0))
    env.step(act(env))
    env.assign((2, 0, 2))  # as it was, but two copies wait already
    while -1 in env.stage_E:
        env.step(act(env))
    assert env.stage_E.tolist() == [0, 0, 2, 2]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_episode_sees_two_stages_and_all_have_their_full_length(data: st.DataObject):
    horizon = [2, 3, 5]
    env = games()
    env.reset(seed=data.draw(st.integers(0, 9)))
    age, begun_in = [0] * 4, env.stage_E.tolist()
    for _ in range(25):
        if data.draw(st.booleans()):
            cuts = sorted(data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4))))
            if env.assign((cuts[0], cuts[1] - cuts[0], 4 - cuts[1])) is not None:
                age, begun_in = [0] * 4, env.stage_E.tolist()
        before, step = env.stage_E.tolist(), env.step(act(env))
        for copy, stage in enumerate(before):
            if stage == -1:
                assert not step.done[copy]
                continue
            assert stage == begun_in[copy]
            age[copy] += 1
            assert bool(step.done[copy]) == (age[copy] == horizon[stage])
        for copy, stage in enumerate(env.stage_E.tolist()):
            if step.done[copy] or before[copy] == -1:
                age[copy], begun_in[copy] = 0, stage


def same(one: Transition, other: Transition) -> bool:
    fields = ("obs", "final_obs", "reward", "terminated", "truncated", "active")
    columns = all(torch.equal(getattr(one, f)[name], getattr(other, f)[name]) for f in fields for name in one.obs)
    return columns and torch.equal(one.done, other.done)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_restored_environment_goes_on_to_the_bit(steps: int):
    env, other = games(), games()
    env.reset(seed=5)
    env.assign((2, 1, 1))
    env.step(act(env))
    env.assign((0, 2, 2))
    for seed in range(steps):
        env.step(act(env, seed))
    other.reset(seed=9)
    other.set_state(env.get_state())
    for seed in range(12):
        assert same(env.step(act(env, seed)), other.step(act(other, seed)))


def test_the_same_seed_is_the_same_trajectory_and_another_is_another():
    def play(seed: int) -> list[Tensor]:
        env = games()
        env.reset(seed=seed)
        env.assign((1, 1, 2))
        env.step(act(env))
        env.assign((0, 0, 4))
        return [env.step(act(env, step)).obs["a"] for step in range(10)]

    assert all(torch.equal(one, other) for one, other in zip(play(1), play(1), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(play(1), play(2), strict=True))


def test_a_reset_begins_new_episodes_in_the_stages_assigned():
    env = games()
    env.reset(seed=0)
    env.assign((2, 0, 2))
    env.step(act(env))
    env.assign((0, 4, 0))
    env.reset()
    assert env.stage_E.tolist() == [1] * 4
    first = env.reset(seed=7)
    assert torch.equal(first["a"], env.reset(seed=7)["a"])


def test_an_agent_may_end_before_its_copy_does():
    env = staged(ChainGame, 2, short={"agents": 1, "length": 2}, long={"agents": 2, "length": 2, "horizon": 6})
    env.reset(seed=0)
    env.assign((1, 1))
    go = {"walkers": torch.tensor([[1, 0], [1, 0]])}
    env.step(go)
    step = env.step(go)
    assert step.terminated["walkers"].tolist() == [[True, False], [True, False]]
    assert step.done.tolist() == [True, False]
    assert step.active["walkers"].tolist() == [[True, False], [False, True]]


def test_stages_must_look_alike():
    with pytest.raises(DataError, match=r"stage one: the observation_space of group 'a' is Box.*one policy plays all"):
        staged(one={"groups": {"a": {"kind": "continuous"}}}, two={"groups": {"a": {}}})
    with pytest.raises(DataError, match="stage one: the every of group 'a' is 2, and 1 in the last stage, two"):
        staged(one={"groups": {"a": {"every": 2}}}, two={"groups": {"a": {}}})
    with pytest.raises(DataError, match=r"stage one has a group 'b', and the last one, two, has not \(a\)"):
        staged(one={"groups": {"a": {}, "b": {}}}, two={"groups": {"a": {}}})


def test_what_cannot_be_assigned_is_refused():
    with pytest.raises(ValueError, match=r"assign\(\[1, 1, 1\]\): 3 stages take 4 copies in all"):
        games().assign((1, 1, 1))
    env = games(num_envs=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="a state of 4 copies; this environment has 2"):
        env.set_state(games().get_state())
