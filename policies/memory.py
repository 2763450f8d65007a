"""What agents must be shown besides the present while they act: kept between decisions, forgotten when episodes end.

A *record* is what a fragment's columns keep of a decision: the observation, and after it what a network of this kind
needs to see the same again. ``rows`` makes of records what the networks take. Rollouts leave with a ``context``, which
holds what their records leave out (see ``policies.seen``).

E copies, A agents, F features, R columns of a record, W bars of a window, S slots, M moments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from policies.networks import Attention, Mlp, Recurrent, Summarising

_MOMENTS = 2**23  # float32 tells them all apart


class Told(NamedTuple):
    """The records of a fragment, as in ``Rollout``, and their context."""

    obs: Tensor
    final_obs: Tensor
    context: Tensor | None


class Memory:
    """Of the agents of a group, for networks that see the present alone: there is nothing to keep."""

    def record(self, obs_EAF: Tensor, active_EA: Tensor | None) -> Tensor:
        """What is noted of a decision on these observations, (E, A, R).

        Args:
            obs_EAF: What the agents see.
            active_EA: Who decides; None: all.
        """
        return obs_EAF

    def rows(self, record_EAR: Tensor) -> Tensor:
        """What the networks take to decide on a record, in the order (E, A)."""
        return record_EAR.flatten(0, 1)

    def keep(self, record_EAR: Tensor, active_EA: Tensor | None, module: Any) -> None:
        """Remembers the decisions of those who were active."""

    def final(self, obs_EAF: Tensor, ended_EA: Tensor) -> Tensor:
        """Records (E, A, R) of what followed the last decisions of those whose episode ended; of others, anything."""
        return self.record(obs_EAF, None)

    def forget(self, ended_EA: Tensor) -> None:
        """Those whose episode ended begin anew."""

    def told(self, obs_SEAR: Tensor, final_obs_MR: Tensor, count_EA: Tensor) -> Told:
        """A fragment's records with their context.

        Args:
            obs_SEAR: Of each slot, and of the one after the last.
            final_obs_MR: Of the ends of episodes.
            count_EA: How many slots are complete.
        """
        return Told(obs_SEAR, final_obs_MR, None)

    def get_state(self) -> dict[str, Any]:
        """All that is remembered."""
        return dict(vars(self))

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        vars(self).update(state)


class WindowMemory(Memory):
    """The last W - 1 observations of each agent. A record is an observation and how many the episode had before it."""

    def __init__(self, window: int, features: int, copies: int, agents: int, device: str) -> None:
        self._age_EA = torch.zeros(copies, agents, device=device)
        self._past_EAWG = torch.zeros(copies, agents, window - 1, features + 1, device=device)
        self._before_WEAR = torch.zeros(window - 1, copies, agents, features + 1, device=device)

    def record(self, obs_EAF: Tensor, active_EA: Tensor | None) -> Tensor:
        """The observation and the agent's age, (E, A, F + 1)."""
        return torch.cat([obs_EAF, self._age_EA.unsqueeze(-1)], dim=-1)

    def rows(self, record_EAR: Tensor) -> Tensor:
        """Windows (E * A, W, F + 1)."""
        return self._grown(record_EAR).flatten(0, 1)

    def _grown(self, record_EAR: Tensor) -> Tensor:
        now_EAG = torch.cat([record_EAR[..., :-1], torch.ones_like(record_EAR[..., -1:])], dim=-1)
        return torch.cat([self._past_EAWG, now_EAG.unsqueeze(2)], dim=2)

    def keep(self, record_EAR: Tensor, active_EA: Tensor | None, module: Any) -> None:
        """Moves the windows of the active agents on."""
        moved_EAWG = self._grown(record_EAR)[:, :, 1:]
        if active_EA is None:
            self._past_EAWG, self._age_EA = moved_EAWG, self._age_EA + 1
        else:
            self._past_EAWG = torch.where(active_EA[..., None, None], moved_EAWG, self._past_EAWG)
            self._age_EA = self._age_EA + active_EA

    def forget(self, ended_EA: Tensor) -> None:
        """Empties the windows of those whose episode ended."""
        self._age_EA = self._age_EA.masked_fill(ended_EA, 0.0)
        self._past_EAWG = self._past_EAWG.masked_fill(ended_EA[..., None, None], 0.0)

    def told(self, obs_SEAR: Tensor, final_obs_MR: Tensor, count_EA: Tensor) -> Told:
        """With the W - 1 records of each agent before its first slot as context, (W - 1, E, A, F + 1)."""
        context_WEAR = self._before_WEAR
        places_W = torch.arange(len(context_WEAR), device=count_EA.device)
        last_WEA1 = (count_EA + places_W[:, None, None]).unsqueeze(-1)
        known_SEAR = torch.cat([context_WEAR, obs_SEAR])
        self._before_WEAR = known_SEAR.gather(0, last_WEA1.expand(-1, -1, -1, known_SEAR.shape[-1]))
        return Told(obs_SEAR, final_obs_MR, context_WEAR)


class StateMemory(Memory):
    """States of a recurrent policy and of its critic. A record is an observation and the states before it."""

    def __init__(self, states: int, copies: int, agents: int, device: str) -> None:
        self._state_EAH = torch.zeros(copies, agents, states, device=device)

    def record(self, obs_EAF: Tensor, active_EA: Tensor | None) -> Tensor:
        """The observation and the states, (E, A, F + 2 H)."""
        return torch.cat([obs_EAF, self._state_EAH], dim=-1)

    def rows(self, record_EAR: Tensor) -> Tensor:
        """Stretches of one decision, (E * A, 1, F + 2 H)."""
        return record_EAR.flatten(0, 1).unsqueeze(1)

    def keep(self, record_EAR: Tensor, active_EA: Tensor | None, module: Any) -> None:
        """Moves the states of the active agents on, as ``module.states_after`` says."""
        after_EAH = module.states_after(self.rows(record_EAR)).view_as(self._state_EAH)
        if active_EA is None:
            self._state_EAH = after_EAH
        else:
            self._state_EAH = torch.where(active_EA.unsqueeze(-1), after_EAH, self._state_EAH)

    def forget(self, ended_EA: Tensor) -> None:
        """Those whose episode ended begin with states of zeros."""
        self._state_EAH = self._state_EAH.masked_fill(ended_EA.unsqueeze(-1), 0.0)


class SceneMemory(Memory):
    """What all agents of a group saw at a moment: a record is an observation and the number of its moment.

    In the columns each agent has slots of its own, and those of one moment need not stand side by side: agents may be
    absent. So a rollout takes the scenes with it, (M, E, A, F + 1), and its records say which one they belong to.
    """

    def __init__(self, *, recording: bool) -> None:
        self._recording = recording
        self._clock = 0
        self._scenes: dict[int, Tensor] = {}
        self._present_EA: Tensor | None = None

    def record(self, obs_EAF: Tensor, active_EA: Tensor | None) -> Tensor:
        """The observation and the present moment, (E, A, F + 1)."""
        self._present_EA = None if active_EA is None else active_EA.to(obs_EAF.dtype)
        return self._noted(obs_EAF)

    def _noted(self, obs_EAF: Tensor) -> Tensor:
        if not self._recording:
            self._scenes.clear()
        present_EA = torch.ones_like(obs_EAF[..., 0]) if self._present_EA is None else self._present_EA
        self._scenes[self._clock] = torch.cat([obs_EAF, present_EA.unsqueeze(-1)], dim=-1)
        moment_EA1 = torch.full_like(obs_EAF[..., :1], self._clock)
        return torch.cat([obs_EAF, moment_EA1], dim=-1)

    def rows(self, record_EAR: Tensor) -> Tensor:
        """The scene (E, A, F + 1) that was recorded last."""
        return self._scenes[self._clock]

    def keep(self, record_EAR: Tensor, active_EA: Tensor | None, module: Any) -> None:
        """Goes on to the next moment."""
        self._clock = (self._clock + 1) % _MOMENTS

    def final(self, obs_EAF: Tensor, ended_EA: Tensor) -> Tensor:
        """Of a moment of its own, with those present who were there to decide last."""
        if not bool(ended_EA.any()):
            return torch.cat([obs_EAF, torch.zeros_like(obs_EAF[..., :1])], dim=-1)
        record_EAR = self._noted(obs_EAF)
        self._clock = (self._clock + 1) % _MOMENTS
        return record_EAR

    def told(self, obs_SEAR: Tensor, final_obs_MR: Tensor, count_EA: Tensor) -> Told:
        """With its scenes as context; the records' moments become places among them.

        Scenes are kept that open decisions, or the next ones, belong to.
        """
        moment_M = torch.tensor(sorted(self._scenes), dtype=obs_SEAR.dtype, device=obs_SEAR.device)
        context_MEAG = torch.stack([self._scenes[moment] for moment in sorted(self._scenes)])
        open_EA = obs_SEAR[..., -1].gather(0, count_EA.unsqueeze(0))
        self._scenes = {moment: self._scenes[moment] for moment in set(open_EA.long().flatten().tolist())}
        return Told(_placed(obs_SEAR, moment_M), _placed(final_obs_MR, moment_M), context_MEAG)


def _placed(records: Tensor, moment_M: Tensor) -> Tensor:
    """Records with the places of their moments; in slots that mean nothing with any place."""
    place = torch.searchsorted(moment_M, records[..., -1].contiguous()).clamp(max=len(moment_M) - 1)
    return torch.cat([records[..., :-1], place.unsqueeze(-1).to(records.dtype)], dim=-1)


def memory_of(
    network: Mlp | Summarising, features: int, copies: int, agents: int, device: str, *, recording: bool
) -> Memory:
    """What agents with such a network must remember.

    Args:
        network: Of the group's policy.
        features: F of an observation.
        copies: E.
        agents: A.
        device: Where they act.
        recording: Whether fragments will be ``told``.
    """
    match network:
        case Mlp():
            return Memory()
        case Recurrent(units=units):
            return StateMemory(2 * units, copies, agents, device)
        case Attention():
            return SceneMemory(recording=recording)
        case _:
            return WindowMemory(network.window, features, copies, agents, device)
