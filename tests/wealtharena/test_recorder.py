"""The columns: what a decision's row holds, on any clock, over the ends of episodes and fragments."""

from collections import Counter

import gymnasium as gym
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.base import ArrayEnv, Group, Transition
from policies.algorithm import Decision
from policies.experience import transitions
from tests.games import ChainGame, SlowGame, TargetGame
from wealtharena.team.columns import Columns, to_host
from wealtharena.team.recorder import DenseRecorder, SparseRecorder

BOX = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
GROUP = Group(("g/0",), BOX, gym.spaces.Discrete(9))


def transition(obs, reward, *, active=True, terminated=False, truncated=False, final_obs=None) -> Transition:
    def flag(value) -> dict[str, torch.Tensor]:
        return {"g": torch.tensor([[bool(value)]])}

    def seen(value) -> dict[str, torch.Tensor]:
        return {"g": torch.tensor([[[float(value)]]])}

    return Transition(
        obs=seen(obs),
        final_obs=seen(obs if final_obs is None else final_obs),
        reward={"g": torch.tensor([[float(reward)]])},
        terminated=flag(terminated),
        truncated=flag(truncated),
        done=torch.tensor([bool(terminated or truncated)]),
        active=flag(active),
    )


def decide(recorder, obs, action) -> None:
    recorder.decide(
        torch.tensor([[[float(obs)]]]),
        torch.tensor([[True]]),
        Decision(torch.tensor([action]), torch.tensor([-0.5 * action]), torch.tensor([[float(action)]])),
    )


def _key(obs: np.ndarray) -> float | tuple[float, ...]:
    return float(obs[0]) if len(obs) == 1 else tuple(obs.tolist())


def rows(found: Columns) -> list[tuple]:
    rollout = to_host({"g": found})["g"]
    columns = transitions(rollout, n=1, gamma=1.0)
    return [
        (_key(o), _key(p), int(a), float(r), bool(t))
        for o, p, a, r, t in zip(
            *(columns[name] for name in ("obs", "new_obs", "actions", "rewards", "terminateds")), strict=True
        )
    ]


def test_rewards_add_up_until_the_next_decision_and_over_the_end_of_a_fragment():
    recorder = SparseRecorder(GROUP, "g", 1, "cpu")
    decide(recorder, 10, 4)
    recorder.close(transition(11, 1, active=False))
    recorder.close(transition(12, 2))
    decide(recorder, 12, 5)
    recorder.close(transition(13, 4, active=False))
    first = recorder.finish(torch.tensor([[[13.0]]]))
    assert rows(first) == [(10, 12, 4, 3, False)]

    recorder.close(transition(14, 8, active=False))
    recorder.close(transition(20, 16, truncated=True, final_obs=15))
    decide(recorder, 20, 6)
    recorder.close(transition(21, 32))
    second = recorder.finish(torch.tensor([[[21.0]]]))
    assert rows(second) == [(12, 15, 5, 28, False), (20, 21, 6, 32, False)]
    assert second.truncated[:, 0, 0].tolist() == [True, False]
    # What the behaviour policy thought of a decision stays with it over the end of the fragment.
    assert second.logp is not None
    assert second.logp[:, 0, 0].tolist() == [-2.5, -3.0]


def test_nobody_is_paid_before_a_first_decision_or_after_the_last():
    recorder = SparseRecorder(GROUP, "g", 1, "cpu")
    recorder.close(transition(1, 100))
    decide(recorder, 1, 0)
    recorder.close(transition(0, 1, active=False, terminated=True, final_obs=2))
    recorder.close(transition(0, 100, active=False))
    recorder.close(transition(3, 100))
    rollout = recorder.finish(torch.tensor([[[3.0]]]))
    assert rows(rollout) == [(1, 2, 0, 1, True)]


def test_a_dense_group_is_bootstrapped_from_before_the_reset():
    recorder = DenseRecorder(GROUP, "g", 1, "cpu")
    decide(recorder, 1, 0)
    recorder.close(transition(5, 1, truncated=True, final_obs=2))
    decide(recorder, 5, 1)
    recorder.close(transition(6, 2))
    assert rows(recorder.finish(torch.tensor([[[6.0]]]))) == [(1, 2, 0, 1, False), (5, 6, 1, 2, False)]


def play(env: ArrayEnv, fragments: list[int]) -> Counter[tuple]:
    """All complete transitions of a policy that is a function of what it sees, sampled in fragments."""
    obs = env.reset(seed=5)
    recorders = {name: SparseRecorder(group, name, env.num_envs, "cpu") for name, group in env.groups.items()}
    found: Counter[tuple] = Counter()
    for steps in fragments:
        for _ in range(steps):
            actions = {}
            for name, recorder in recorders.items():
                choice = (obs[name].sum(dim=-1) * 7).long().abs() % env.groups[name].action_space.n
                recorder.decide(obs[name], env.active().get(name), Decision(choice.flatten()))
                actions[name] = choice
            step = env.step(actions)
            for recorder in recorders.values():
                recorder.close(step)
            obs = step.obs
        for name, recorder in recorders.items():
            found.update((name, *row) for row in rows(recorder.finish(obs[name])))
    return found


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from([SlowGame, ChainGame]))
def test_how_steps_are_cut_into_fragments_changes_no_transition(fragments, game):
    def build() -> ArrayEnv:
        return game(game.Params(), num_envs=3)

    assert play(build(), fragments) == play(build(), [sum(fragments)])


def test_both_recorders_write_the_same_of_a_group_that_always_decides():
    game = TargetGame(TargetGame.Params(horizon=3), num_envs=2)
    obs = game.reset(seed=1)["a"]
    dense, sparse = (kind(game.groups["a"], "a", 2, "cpu") for kind in (DenseRecorder, SparseRecorder))
    for _ in range(8):
        decision = Decision(obs.argmax(dim=-1).flatten())
        for recorder in (dense, sparse):
            recorder.decide(obs, None, decision)
        step = game.step({"a": decision.action.view(2, 1)})
        for recorder in (dense, sparse):
            recorder.close(step)
        obs = step.obs["a"]
    assert Counter(rows(dense.finish(obs))) == Counter(rows(sparse.finish(obs)))
