"""Windows out of a ring of single observations: those that a list of every episode would have given."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.experience import SceneExperience, WindowExperience
from policies.networks import Attention, Gru
from policies.rollout import Rollout

COPIES, AGENTS, SLOTS = 2, 2, 4


@dataclass(frozen=True)
class Settings:
    network: Gru | Attention
    replay_size: int
    n_step: int
    gamma: float = 0.5


@dataclass
class World:
    """Agents whose observations are numbers that never come again, and the list of what each saw in each episode."""

    rng: np.random.Generator
    numbers: int = 0
    episodes: dict[int, list[int]] = field(default_factory=dict)
    current: dict[tuple[int, int, int], list[int]] = field(default_factory=dict)

    def see(self, key: tuple[int, int, int]) -> tuple[int, int]:
        """A new observation of an agent, and how many its episode had before."""
        self.numbers += 1
        episode = self.current.setdefault(key, [])
        episode.append(self.numbers)
        self.episodes[self.numbers] = episode[:]
        return self.numbers, len(episode) - 1

    def fragment(self, runner: int, waiting: dict[tuple[int, int, int], tuple[int, int]]) -> Rollout:
        """Slots of agents that decide as often as chance will have it, their episodes ending likewise."""
        shape = (SLOTS, COPIES, AGENTS)
        obs, ended = np.zeros((SLOTS + 1, COPIES, AGENTS, 2), np.float32), np.zeros(shape, bool)
        count, finals, final_obs = self.rng.integers(SLOTS + 1, size=shape[1:]), [], []
        for copy, agent in np.ndindex(COPIES, AGENTS):
            key = (runner, copy, agent)
            for slot in range(count[copy, agent] + 1):
                obs[slot, copy, agent] = waiting.pop(key, None) or self.see(key)
                if slot == count[copy, agent]:
                    waiting[key] = tuple(obs[slot, copy, agent].tolist())
                elif self.rng.random() < 0.25:
                    ended[slot, copy, agent] = True
                    finals.append((slot, copy, agent))
                    final_obs.append(self.see(key))
                    self.current[key] = []
        return Rollout(
            obs=obs,
            action=np.zeros(shape, np.int64),
            reward=np.ones(shape, np.float32),
            terminated=ended,
            truncated=np.zeros(shape, bool),
            count=count,
            final_index=np.array(finals, np.int64).reshape(-1, 3),
            final_obs=np.array(final_obs, np.float32).reshape(-1, 2),
            steps=SLOTS,
            runner=runner,
        )


@given(seed=st.integers(0, 10_000), window=st.integers(2, 6), n=st.integers(1, 3), capacity=st.integers(3, 60))
@settings(max_examples=40, deadline=None)
def test_windows_are_those_that_were_seen(seed, window, n, capacity):
    """Over the ends of episodes and of fragments, of two runners; what the ring has overwritten counts as not seen."""
    world, waiting = World(np.random.default_rng(seed)), {}
    experience = WindowExperience(Settings(Gru(window=window), capacity, n), seed=seed)
    order: list[int] = []
    for turn in range(8):
        rollout = world.fragment(turn % 2, waiting)
        order += rollout.obs[:-1][rollout.valid_SEA][:, 0].astype(int).tolist()
        experience.add(rollout)
    if not experience.added:
        return
    kept = set(order[-capacity:])
    rows = experience.sample(30)
    for key in ("obs", "new_obs"):
        for bars in rows[key]:
            number = int(bars[-1, 0])
            expected = [bar if bar in kept or bar == number else None for bar in world.episodes[number]][-window:]
            expected = [None] * (window - len(expected)) + expected
            last_lost = max((place for place, bar in enumerate(expected) if bar is None), default=-1)
            assert [int(bar) if seen else None for bar, seen in bars] == [
                None if place <= last_lost else bar for place, bar in enumerate(expected)
            ]
    for obs, new_obs, summed in zip(rows["obs"], rows["new_obs"], rows["n_step"], strict=True):
        assert world.episodes[int(new_obs[-1, 0])][: -int(summed)] == world.episodes[int(obs[-1, 0])]


def test_a_restored_replay_draws_the_same_and_goes_on():
    world, waiting = World(np.random.default_rng(3)), {}
    one, other = (WindowExperience(Settings(Gru(window=3), 40, 1), seed=1) for _ in range(2))
    for _ in range(3):
        one.add(world.fragment(0, waiting))
    other.set_state(one.get_state())
    rollout = world.fragment(0, waiting)
    for experience in (one, other):
        experience.add(rollout)
    found, expected = other.sample(20), one.sample(20)
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)


def scene_rollout() -> Rollout:
    """Three agents, two steps; the last agent misses the second moment and comes back at the third."""
    context = np.zeros((3, 1, 3, 2), np.float32)
    context[:, 0, :, 0] = np.arange(9).reshape(3, 3)
    context[:, 0, :, 1] = [[1, 1, 1], [1, 1, 0], [1, 1, 1]]
    obs = np.zeros((3, 1, 3, 2), np.float32)
    moments = np.array([[0, 0, 0], [1, 1, 2], [2, 2, 2]])
    obs[:, 0, :, 1] = moments
    obs[:, 0, :, 0] = context[moments, 0, np.arange(3), 0]
    ends = np.zeros((2, 1, 3), bool)
    return Rollout(
        obs=obs,
        action=np.arange(6).reshape(2, 1, 3),
        reward=np.arange(6, dtype=np.float32).reshape(2, 1, 3),
        terminated=ends,
        truncated=ends,
        count=np.array([[2, 2, 1]]),
        final_index=np.zeros((0, 3), np.int64),
        final_obs=np.zeros((0, 2), np.float32),
        steps=2,
        context=context,
    )


def test_scenes_hold_those_who_went_on_to_the_same_scene():
    experience = SceneExperience(Settings(Attention(units=4), 6, 1), seed=0)
    experience.add(scene_rollout())
    assert experience.together == 3
    assert experience.added == 6
    rows = experience.sample(50)
    assert rows["obs"].shape == (50, 3, 3)
    for scene, following, decided, action in zip(
        rows["obs"], rows["new_obs"], rows["decided"], rows["actions"], strict=True
    ):
        first = scene[0, 0] == 0
        assert scene[:, 0].tolist() == ([0, 1, 2] if first else [3, 4, 5])
        assert following[:, 0].tolist() == ([3, 4, 5] if first else [6, 7, 8])
        assert decided.tolist() == scene[:, 2].tolist() == following[:, 2].tolist() == [True, True, False]
        assert action.tolist()[:2] == ([0, 1] if first else [3, 4])
    with pytest.raises(ValueError, match="does not fit a capacity"):
        SceneExperience(Settings(Attention(units=4), 2, 1), seed=0).set_state(experience.get_state())
