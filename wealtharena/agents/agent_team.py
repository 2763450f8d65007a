"""The agents of a whole team, asked, saved and loaded together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from wealtharena.agents.agent import Agent, Observation
from wealtharena.agents.checkpoints import agents_of, checkpoint_at
from wealtharena.agents.files import MEMBERS, holds_agent, members_at, read_agent, write_agent, write_folder
from wealtharena.document import close_match
from wealtharena.errors import UserError


class AgentTeam(Mapping[str, Agent]):
    """Group -> its agent. A policy of one team goes into another: ``AgentTeam({**team, "stocks": agent})``."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = dict(agents)

    def __getitem__(self, group: str) -> Agent:
        return self._agents[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._agents)

    def __len__(self) -> int:
        return len(self._agents)

    def predict(
        self, observations: Mapping[str, Observation], deterministic: bool = True
    ) -> dict[str, npt.NDArray[Any]]:
        """What each group does: group -> actions, as ``Agent.predict``; a group that need not decide is left out.

        Raises:
            UserError: There is no such group, or its agent cannot take the observation.
        """
        for group in observations:
            if group not in self._agents:
                hint = close_match(group, self._agents)
                raise UserError(f"the team has no group {group!r}{hint} (its groups: {', '.join(self._agents)})")
        return {group: self[group].predict(seen, deterministic) for group, seen in observations.items()}

    def reset(self) -> None:
        """All agents begin a new episode; see ``Agent.reset``."""
        for agent in self.values():
            agent.reset()

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Saves all agents in a folder, each in a folder of its own, at once or not at all.

        Args:
            path: The folder; must not exist, or be empty.
            overwrite: Replaces a team that was saved there; anything else stays.

        Raises:
            UserError: An agent has not been trained, the folder holds something, or it cannot be written.
        """
        learned = {group: agent.learned for group, agent in self.items()}

        def write(folder: Path) -> None:
            for group, known in learned.items():
                place = folder / MEMBERS / group
                place.mkdir(parents=True)
                write_agent(place, self[group].profile, known)

        write_folder(Path(path), write, replaceable=lambda there: bool(members_at(there)), overwrite=overwrite)

    def __repr__(self) -> str:
        return f"AgentTeam({', '.join(f'{group}: {agent!r}' for group, agent in self.items())})"


def load_team(path: str | os.PathLike[str]) -> AgentTeam:
    """The agents of a run (its best checkpoint), of a checkpoint, or of a team that was saved.

    Needs no running Ray and no prices. This unpickles: load only what you trust.

    Raises:
        UserError: There is no team, or it is damaged.
    """
    folder = Path(path)
    if members := members_at(folder):
        return AgentTeam({group: Agent(*read_agent(place)) for group, place in members.items()})
    checkpoint = checkpoint_at(folder)
    if checkpoint is None:
        hint = "; one agent is loaded with Agent.load" if holds_agent(folder) else ""
        raise UserError(f"{folder}: holds no run, no checkpoint and no saved team{hint}")
    return AgentTeam({group: Agent(*parts) for group, parts in agents_of(checkpoint).items()})
