"""What the Learners get: train rows and replayed transitions, from rollouts written by hand."""

import numpy as np
import pytest

from policies.experience import transitions
from policies.on_policy import train_rows
from policies.rollout import Rollout


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None, None]


def rollout(**changes) -> Rollout:
    """One agent, three complete slots of four: the second is cut off, seen from outside at 100."""
    parts = {
        "obs": np.array([1, 2, 3, 4, 5], dtype=np.float32)[:, None, None, None],
        "action": np.array([0, 1, 2, 9], dtype=np.int64)[:, None, None],
        "reward": column(1, 2, 4, 999),
        "terminated": np.zeros((4, 1, 1), dtype=bool),
        "truncated": np.array([0, 1, 0, 0], dtype=bool)[:, None, None],
        "count": np.array([[3]]),
        "final_index": np.array([[1, 0, 0]]),
        "final_obs": np.array([[100.0]], dtype=np.float32),
        "steps": 4,
        "logp": column(-1, -2, -3, -4),
        "dist_inputs": np.zeros((4, 1, 1, 3), dtype=np.float32),
        "value": column(10, 20, 30, 40, 50),
        "final_value": np.array([60.0], dtype=np.float32),
    }
    return Rollout(**{**parts, **changes})


def test_train_rows_worked_by_hand():
    rows = train_rows([rollout()], gamma=0.5, trace_decay=0.5)
    # deltas: 1 + .5*20 - 10 = 1; 2 + .5*60 - 20 = 12, a cut; 4 + .5*40 - 30 = -6, the fragment's end.
    raw = np.array([1 + 0.25 * 12, 12, -6])
    np.testing.assert_allclose(rows["value_targets"], raw + np.array([10, 20, 30]))
    np.testing.assert_allclose(rows["advantages"], (raw - raw.mean()) / raw.std(), rtol=1e-6)
    assert rows["actions"].tolist() == [0, 1, 2]
    assert rows["obs"].tolist() == [[1], [2], [3]]
    assert rows["action_logp"].tolist() == [-1, -2, -3]


def test_after_a_termination_no_value_follows():
    ended = rollout(
        truncated=np.zeros((4, 1, 1), dtype=bool), terminated=np.array([0, 1, 0, 0], dtype=bool)[:, None, None]
    )
    rows = train_rows([ended], gamma=0.5, trace_decay=0.0)
    np.testing.assert_allclose(rows["value_targets"], [1 + 10, 2, 4 + 20])


def test_transitions_worked_by_hand():
    rows = transitions(rollout(), n=2, gamma=0.5)
    assert rows["rewards"].tolist() == [1 + 0.5 * 2, 2, 4]
    assert rows["n_step"].tolist() == [2, 1, 1]
    assert rows["new_obs"].tolist() == [[100], [100], [4]]
    assert rows["truncateds"].tolist() == [True, True, False]
    assert rows["terminateds"].tolist() == [False, False, False]


def test_rows_of_a_whole_fragment_are_its_columns():
    whole, partly = rollout(count=np.array([[4]])), rollout()
    assert np.shares_memory(whole.rows(whole.reward), whole.reward)
    assert whole.rows(whole.reward).tolist() == [1, 2, 4, 999]
    assert partly.rows(partly.obs[:-1]).tolist() == [[1], [2], [3]]


def test_fragments_of_several_runners_make_one_batch():
    rows = train_rows([rollout(), rollout()], gamma=0.5, trace_decay=0.5)
    assert len(rows["obs"]) == 6
    assert rows["advantages"].mean() == pytest.approx(0.0, abs=1e-6)


def test_an_off_policy_rollout_has_no_train_rows():
    with pytest.raises(ValueError, match="carries no values"):
        train_rows([rollout(value=None, final_value=None)], gamma=0.5, trace_decay=0.5)
    with pytest.raises(ValueError, match="carries no log-probabilities"):
        train_rows([rollout(logp=None)], gamma=0.5, trace_decay=0.5)
