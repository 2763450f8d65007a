"""Finished episodes, told by the stage that they were played in.

E copies, K stages, G groups, T steps, M finished episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from environments.staged import StagedEnv
from wealtharena.team.episodes import EpisodeLog, Episodes


@dataclass(frozen=True)
class Ended:
    """The episodes that a fragment finished, one after the other.

    Attributes:
        stage: int64 (M,).
        length: Steps, int64 (M,).
        group_return: group -> float64 (M,), the mean over the agents that the stage has; NaN where it has none.
    """

    stage: NDArray[np.int64]
    length: NDArray[np.int64]
    group_return: Mapping[str, NDArray[np.float64]]

    def metric(self, name: str) -> NDArray[np.float64]:
        """``team_return``, ``episode_length`` or ``<group>/episode_return`` of each episode, float64 (M,)."""
        if name == "episode_length":
            return self.length.astype(np.float64)
        if name != "team_return":
            return self.group_return[name.partition("/")[0]]
        return_GM = np.stack(list(self.group_return.values()))
        there_GM = ~np.isnan(return_GM)
        team_M: NDArray[np.float64] = np.where(there_GM, return_GM, 0.0).sum(axis=0) / there_GM.sum(axis=0)
        return team_M


class StagedEpisodeLog(EpisodeLog):
    """Keeps the stages apart. What it tells of returns is of the last stage, by which runs are compared.

    Attributes:
        ended: All episodes that the last fragment finished.
    """

    def __init__(self, env: StagedEnv, *, window: int) -> None:
        agents = {name: len(group.agent_ids) for name, group in env.groups.items()}
        super().__init__(agents, env.num_envs, env.device, window=window)
        self._agents_KG = torch.stack([env.present[name].sum(dim=1) for name in agents], dim=1)
        self._stages: list[Tensor] = []
        self.ended: Ended | None = None

    def playing(self, stage_E: Tensor) -> None:
        """Notes which stage each copy plays in the coming step, -1 for those that wait."""
        self._stages.append(stage_E)

    def finish(self) -> Episodes:
        """Of the episodes of the last stage; see ``EpisodeLog.finish``."""
        stage_TE = torch.stack(self._stages)
        done_TE, sofar_TLE = self._take()
        self._stages = []
        when_M, copy_M = done_TE.nonzero().unbind(dim=1)
        stage_M, of_MX = stage_TE[when_M, copy_M], sofar_TLE[when_M, :, copy_M]
        return_MG = of_MX[:, 1:] / self._agents_KG[stage_M]  # 0 / 0 is NaN, where a stage has nobody of a group
        by_group = dict(zip(self._agents, return_MG.T.cpu().numpy(), strict=True))
        self.ended = Ended(stage_M.cpu().numpy(), of_MX[:, 0].long().cpu().numpy(), by_group)
        last_M = (stage_M == len(self._agents_KG) - 1).nonzero().squeeze(1)
        recent = last_M[-self._window :]
        means = return_MG[recent].mean(dim=0).tolist()
        return Episodes(len(last_M), float(of_MX[recent, 0].mean()), dict(zip(self._agents, means, strict=True)))

    def _goes_on(self, done_TE: Tensor) -> Tensor:
        """Steps in which a copy waits are no part of its next episode."""
        return ~done_TE & (torch.stack(self._stages) >= 0)

    def get_state(self) -> dict[str, Any]:
        """The sums of the episodes under way, and those that ended last."""
        return super().get_state() | {"ended": self.ended}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        super().set_state(state)
        self.ended = state["ended"]
