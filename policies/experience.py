"""What members remember that learn from replay: n-step transitions, as their networks take them.

B transitions, A agents of a group, N scenes, M places of scenes, F features, G = F + 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns

from policies.networks import Attention, Conv, Gru, Mlp, Summarising, Transformer
from policies.replay import ReplayBuffer
from policies.returns import goes_on, n_step
from policies.rollout import Bools, Floats, Ints, Rollout
from policies.seen import DECIDED, units
from policies.window_replay import Trails, WindowReplay

Rows = dict[str, NDArray[Any]]

_COPY = "copy"


class Remembering(Protocol):
    """What of ``ReplayParams`` matters here."""

    @property
    def network(self) -> Any:
        """Settings of the network."""

    @property
    def replay_size(self) -> int:
        """Transitions kept."""

    @property
    def n_step(self) -> int:
        """Rewards of a transition."""

    @property
    def gamma(self) -> float:
        """Discount per decision."""


class Experience:
    """Of networks that see the present alone: rows of a ring buffer.

    Attributes:
        together: Transitions of a draw.
        bars: Observations that a transition is drawn with, before it and after it.
    """

    together = 1
    bars = 1

    def __init__(self, params: Remembering, *, seed: int) -> None:
        self._params, self._seed = params, seed
        self._buffer = self._ring()

    def _ring(self) -> ReplayBuffer:
        return ReplayBuffer(self._params.replay_size, seed=self._seed)

    @property
    def added(self) -> int:
        """Transitions that ever came in."""
        return self._buffer.added

    def add(self, rollout: Rollout) -> None:
        """Takes the complete slots of a rollout."""
        rows = self._rows(rollout)
        if len(rows[Columns.REWARDS]):
            self._buffer.add(rows)

    def _rows(self, rollout: Rollout) -> Rows:
        return transitions(rollout, n=self._params.n_step, gamma=self._params.gamma)

    def sample(self, count: int) -> Rows:
        """Draws uniformly, with replacement: RLlib's column names -> (count, ...)."""
        return self._buffer.sample(count)

    def get_state(self) -> dict[str, Any]:
        """All that the next draw depends on."""
        return {"buffer": self._buffer.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._buffer.set_state(state["buffer"])


class WindowExperience(Experience):
    """Of networks that look back: what was seen is drawn as windows (see ``policies.window_replay``)."""

    def __init__(self, params: Remembering, *, seed: int) -> None:
        super().__init__(params, seed=seed)
        self._trails = Trails()
        self.bars = params.network.window

    def _ring(self) -> ReplayBuffer:
        return WindowReplay(self._params.replay_size, self._params.network.window, seed=self._seed)

    def _rows(self, rollout: Rollout) -> Rows:
        rows = super()._rows(rollout)
        return rows | self._trails.links(rollout, rows["n_step"], first_row=self._buffer.added)

    def get_state(self) -> dict[str, Any]:
        """All that the next draw depends on, and where the agents are."""
        return super().get_state() | {"trails": self._trails.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        super().set_state(state)
        self._trails.set_state(state["trails"])


class SceneExperience(Experience):
    """Of attention: a draw is a scene, with the transitions of all agents that went on to one and the same next scene.

    An agent that missed the others' next moment is left out of that draw.

    Attributes:
        together: A, the agents of a scene; 1 before the first came in.
    """

    @property
    def added(self) -> int:
        """Transitions there was room for in the scenes that ever came in."""
        return super().added * self.together

    def _rows(self, rollout: Rollout) -> Rows:
        self._seat(rollout.count.shape[1])
        columns = columns_of(rollout, n=self._params.n_step, gamma=self._params.gamma)
        copy_E11 = np.arange(len(rollout.count))[:, None]
        columns[_COPY] = np.broadcast_to(copy_E11, rollout.reward.shape)
        seen_NAG, mask_NA, rows = units(self._params.network, rollout, columns)
        ends_NA, copy_N = rows[Columns.TERMINATEDS], rows.pop(_COPY).max(axis=1)
        next_NA = rows[Columns.NEXT_OBS][..., -1].astype(np.int64)
        next_N = _most_common(next_NA, mask_NA)
        mask_NA &= (next_NA == next_N[:, None]) | ends_NA
        assert rollout.context is not None  # sampled for attention
        next_NAG = rollout.context[next_N, copy_N]
        asked = {Columns.OBS: _asked(seen_NAG, mask_NA), Columns.NEXT_OBS: _asked(next_NAG, mask_NA)}
        return {**rows, **asked, DECIDED: mask_NA}

    def _seat(self, agents: int) -> None:
        """Makes room for as many scenes as hold ``replay_size`` transitions."""
        if self.together == 1:
            self.together = agents
            self._buffer = ReplayBuffer(max(1, self._params.replay_size // agents), seed=self._seed)

    def get_state(self) -> dict[str, Any]:
        """All that the next draw depends on."""
        return super().get_state() | {"together": self.together}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self._seat(state["together"])
        super().set_state(state)


def experience_for(network: Mlp | Summarising) -> type[Experience]:
    """What a member with such a network remembers."""
    if isinstance(network, Attention):
        return SceneExperience
    return WindowExperience if isinstance(network, Conv | Gru | Transformer) else Experience


def transitions(rollout: Rollout, *, n: int, gamma: float) -> Rows:
    """The n-step transitions of all complete slots: RLlib's column names -> (B, ...).

    ``n_step`` is how many rewards a row's sum holds: the bootstrap is discounted by ``gamma ** n_step``.
    """
    valid_SEA = rollout.valid_SEA
    columns = columns_of(rollout, n=n, gamma=gamma)
    return {Columns.OBS: rollout.obs[:-1][valid_SEA], **{name: own[valid_SEA] for name, own in columns.items()}}


def columns_of(rollout: Rollout, *, n: int, gamma: float) -> Rows:
    """The same, but for what was seen, of all slots: (S, E, A, ...)."""
    going_SEA = goes_on(rollout.terminated, rollout.truncated, rollout.valid_SEA)
    ahead = n_step(rollout.reward, going_SEA, n=n, discount=gamma)
    copy_E, agent_A = (np.arange(size) for size in rollout.reward.shape[1:])
    last = (ahead.last, copy_E[:, None], agent_A)
    return {
        Columns.NEXT_OBS: rollout.next_obs()[last],
        Columns.ACTIONS: rollout.action,
        Columns.REWARDS: ahead.reward,
        Columns.TERMINATEDS: rollout.terminated[last],
        Columns.TRUNCATEDS: rollout.truncated[last],
        "n_step": ahead.length.astype(np.float32),
    }


def _most_common(place_NA: Ints, mask_NA: Bools) -> Ints:
    """The place that most of the agents named by the mask have, (N,)."""
    same_NAA = (place_NA[:, :, None] == place_NA[:, None, :]) & mask_NA[:, None, :]
    votes_NA = same_NAA.sum(axis=-1) * mask_NA
    return np.take_along_axis(place_NA, votes_NA.argmax(axis=1)[:, None], axis=1)[:, 0]


def _asked(scene_NAG: Floats, mask_NA: Bools) -> Floats:
    """Scenes that say whose summaries are asked for (see ``AttentionCore``)."""
    return np.concatenate([scene_NAG, mask_NA[..., None].astype(scene_NAG.dtype)], axis=-1)
