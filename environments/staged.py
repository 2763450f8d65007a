"""E copies of one world in several settings: each copy plays a stage, and changes it between two episodes.

Stages may differ in how many agents a group has. A group is as wide here as in the stage that has most of them; an
agent that a copy's stage does not have is inactive there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from pydantic import Field, ImportString
from torch import Tensor

from environments.base import ArrayEnv, Group, Params, Transition
from environments.errors import DataError

Groups = Mapping[str, Group]


class StagedParams(Params):
    """Which world, and in which settings.

    Attributes:
        env: An ArrayEnv class, or its name ``module:Class``.
        stages: Name -> the parameters of that environment, as an experiment file holds them.
    """

    env: ImportString[type[ArrayEnv]]
    stages: dict[str, dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True)
class _Part:
    """The copies that play one stage, side by side."""

    stage: int
    copies: int
    env: ArrayEnv


class StagedEnv(ArrayEnv):
    """E copies of a world, each in one of K stages; all begin in the first.

    ``assign`` says how many copies play each stage. No episode sees two of them: those under way are played to their
    end, a copy whose episode has ended waits (its agents are inactive), and when the last one has ended all copies
    begin anew. So no episode is cut off, and short ones do not count more often than long ones.

    Each stage that is played is an environment of its own, so its copies draw other numbers when there are more or
    fewer of them.

    Attributes:
        stages: The names of the stages.
        present: group -> bool (K, A): which agents a stage has.

    Raises:
        DataError: The stages differ in what their groups see, do or are called (see ``join_groups``).
    """

    Params = StagedParams

    def __init__(self, params: StagedParams, *, num_envs: int, device: str = "cpu") -> None:
        self.num_envs, self.device = num_envs, device
        self.stages = tuple(params.stages)
        self._make = params.env
        self._settings = [params.env.Params.model_validate(given) for given in params.stages.values()]
        found = {
            name: params.env(own, num_envs=1).groups for name, own in zip(self.stages, self._settings, strict=True)
        }
        self.groups = join_groups(found)
        self.present = {
            name: _present(name, list(found.values()), len(group.agent_ids)).to(device)
            for name, group in self.groups.items()
        }
        self._seed, self._changes = 0, 0
        self._goal = (num_envs, *(0 for _ in self.stages[1:]))
        self._new_E = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._wait(~self._new_E)
        self._parts = [_Part(0, num_envs, self._world(0, num_envs))]

    def _world(self, stage: int, copies: int) -> ArrayEnv:
        return self._make(self._settings[stage], num_envs=copies, device=self.device)

    @property
    def stage_E(self) -> Tensor:
        """The stage of each copy's episode, int64; -1 where a copy waits."""
        played = [torch.full((part.copies,), part.stage, device=self.device) for part in self._parts]
        return torch.cat(played).masked_fill(self._waiting_E, -1)

    def assign(self, copies: Sequence[int]) -> dict[str, Tensor] | None:
        """Says how many copies shall play each stage, from their next episodes on.

        Args:
            copies: Of each of the K stages, E in all.

        Returns:
            The first observations, group -> (E, A, F), if all copies begin anew at once, as no episode is under way;
            otherwise None: a later ``step`` brings them.

        Raises:
            ValueError: These are not E copies of K stages.
        """
        if len(copies) != len(self.stages) or sum(copies) != self.num_envs or min(copies) < 0:
            raise ValueError(f"assign({list(copies)}): {len(self.stages)} stages take {self.num_envs} copies in all")
        self._goal = tuple(copies)
        return self._begin_anew() if self._changing and bool(self._new_E.all()) else None

    @property
    def _changing(self) -> bool:
        played = {part.stage: part.copies for part in self._parts}
        return self._anyone_waits or self._goal != tuple(played.get(k, 0) for k in range(len(self.stages)))

    def _begin_anew(self) -> dict[str, Tensor]:
        """Puts all copies into the stages they are assigned to, at the beginning of episodes."""
        self._changes += 1
        before = {(part.stage, part.copies): part.env for part in self._parts}
        played = [(stage, copies) for stage, copies in enumerate(self._goal) if copies]
        self._parts = [_Part(*own, before.get(own) or self._world(*own)) for own in played]
        self._new_E = torch.ones_like(self._waiting_E)
        self._wait(~self._new_E)
        return self._joined(
            [
                part.env.reset(seed=None if own in before else self._seed_of(part.stage))
                for own, part in zip(played, self._parts, strict=True)
            ],
            self._seen,
        )

    def _wait(self, waiting_E: Tensor) -> None:
        self._waiting_E, self._anyone_waits = waiting_E, bool(waiting_E.any())

    def _seed_of(self, stage: int) -> int:
        return int(np.random.SeedSequence((self._seed, self._changes, stage)).generate_state(1)[0]) >> 1

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Starts new episodes in all copies; see ``ArrayEnv.reset``."""
        self._new_E = torch.ones_like(self._waiting_E)
        if seed is None:
            return self._begin_anew() if self._changing else self._restart([None] * len(self._parts))
        self._seed, self._changes = seed % (1 << 63), 0
        if self._changing:
            self._begin_anew()
        return self._restart([self._seed_of(part.stage) for part in self._parts])

    def _restart(self, seeds: Sequence[int | None]) -> dict[str, Tensor]:
        obs = [part.env.reset(seed=seed) for part, seed in zip(self._parts, seeds, strict=True)]
        return self._joined(obs, self._seen)

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        """Steps all copies; see ``ArrayEnv.step``."""
        brought = [part.env.step(own) for part, own in zip(self._parts, self._dealt(actions), strict=True)]
        transition = Transition(
            obs=self._joined([step.obs for step in brought], self._seen),
            final_obs=self._joined([step.final_obs for step in brought], self._seen),
            reward=self._joined([step.reward for step in brought], self._paid),
            terminated=self._joined([step.terminated for step in brought], self._flag),
            truncated=self._joined([step.truncated for step in brought], self._flag),
            done=torch.cat([step.done for step in brought]),
            active={},
        )
        self._new_E = transition.done
        if self._changing:
            transition = self._change(transition)
        return replace(transition, active=self.active())

    def _dealt(self, actions: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """The actions of each part's agents. For copies that wait nobody may have been asked: they do anything."""
        copies = [part.copies for part in self._parts]
        if self._anyone_waits:
            actions = {name: self._anything(group) for name, group in self.groups.items()} | dict(actions)
        rows = {name: torch.split(action, copies) for name, action in actions.items()}
        for place, part in enumerate(self._parts):
            groups = part.env.groups.items()
            yield {name: rows[name][place][:, : len(group.agent_ids)] for name, group in groups if name in rows}

    def _anything(self, group: Group) -> Tensor:
        agents, space = (self.num_envs, len(group.agent_ids)), group.action_space
        if isinstance(space, Discrete):
            return torch.full(agents, int(space.start), device=self.device)
        nearest_0 = torch.from_numpy(np.clip(0.0, space.low, space.high)).to(self.device, torch.float32)
        return nearest_0.expand(*agents, *space.shape)

    def _change(self, step: Transition) -> Transition:
        """A step in which nothing happens to the copies that wait; after the last end all copies begin anew."""
        step = _left_alone(step, self._waiting_E)
        self._wait(self._waiting_E | step.done)
        return replace(step, obs=self._begin_anew()) if bool(self._waiting_E.all()) else step

    def figures(self) -> dict[str, Tensor]:
        """Those that all stages have, of the copies in the order of their stages."""
        found = [part.env.figures() for part in self._parts]
        return {name: torch.cat([figures[name] for figures in found]) for name in set.intersection(*map(set, found))}

    def active(self) -> dict[str, Tensor]:
        """Who decides on the current observations: group -> bool (E, A), of every group."""
        told = [part.env.active() for part in self._parts]
        everyone = [
            {
                name: own.get(name, self._flag(name).new_ones(part.copies, len(group.agent_ids)))
                for name, group in part.env.groups.items()
            }
            for part, own in zip(self._parts, told, strict=True)
        ]
        plays_E1 = ~self._waiting_E.unsqueeze(1)
        return {name: active_EA & plays_E1 for name, active_EA in self._joined(everyone, self._flag).items()}

    def _joined(self, columns: Sequence[Mapping[str, Tensor]], blank: Callable[[str], Tensor]) -> dict[str, Tensor]:
        """Each part's columns (E_part, A_part, ...) as (E, A, ...).

        Args:
            columns: Of each part, group -> column.
            blank: What stands where a part has no such agent, (1, A, ...).
        """
        return {
            name: torch.cat(
                [
                    _widened(own.get(name), blank(name), part.copies)
                    for part, own in zip(self._parts, columns, strict=True)
                ]
            )
            for name in self.groups
        }

    def _seen(self, name: str) -> Tensor:
        group = self.groups[name]
        return torch.zeros(1, len(group.agent_ids), *group.observation_space.shape, device=self.device)

    def _paid(self, name: str) -> Tensor:
        return torch.zeros(1, len(self.groups[name].agent_ids), device=self.device)

    def _flag(self, name: str) -> Tensor:
        return torch.zeros(1, len(self.groups[name].agent_ids), dtype=torch.bool, device=self.device)

    def get_state(self) -> dict[str, Any]:
        """Who plays which stage, who waits, and the state of each stage's copies."""
        return {
            "seed": self._seed,
            "changes": self._changes,
            "new_E": self._new_E.clone(),
            "goal": self._goal,
            "waiting_E": self._waiting_E.clone(),
            "parts": [(part.stage, part.copies, part.env.get_state()) for part in self._parts],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave.

        Raises:
            ValueError: The state is of another number of copies.
        """
        if len(state["waiting_E"]) != self.num_envs:
            raise ValueError(f"a state of {len(state['waiting_E'])} copies; this environment has {self.num_envs}")
        self._seed, self._changes, self._new_E = state["seed"], state["changes"], state["new_E"].to(self.device)
        self._goal = tuple(state["goal"])
        self._wait(state["waiting_E"].to(self.device))
        self._parts = [_Part(stage, copies, self._world(stage, copies)) for stage, copies, _ in state["parts"]]
        for part, (_, _, own) in zip(self._parts, state["parts"], strict=True):
            part.env.set_state(own)


def _left_alone(step: Transition, waiting_E: Tensor) -> Transition:
    """The same step, but that nothing happened in some copies."""

    def off(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: column.masked_fill(waiting_E.unsqueeze(1), 0) for name, column in columns.items()}

    waits_E11 = waiting_E.view(-1, 1, 1)
    return replace(
        step,
        final_obs={name: torch.where(waits_E11, step.obs[name], own) for name, own in step.final_obs.items()},
        reward=off(step.reward),
        terminated=off(step.terminated),
        truncated=off(step.truncated),
        done=step.done & ~waiting_E,
    )


def _widened(column: Tensor | None, blank: Tensor, copies: int) -> Tensor:
    """A column (E, A_part, ...) as (E, A, ...)."""
    blanks = blank.expand(copies, *blank.shape[1:])
    if column is None:
        return blanks
    if column.shape[1] == blanks.shape[1]:
        return column
    return torch.cat([column, blanks[:, column.shape[1] :]], dim=1)


def _present(name: str, stages: Sequence[Groups], most: int) -> Tensor:
    """Which of ``most`` agents each stage has: bool (K, A)."""
    counts = [len(groups[name].agent_ids) if name in groups else 0 for groups in stages]
    return torch.arange(most) < torch.tensor(counts).unsqueeze(1)


def join_groups(stages: Mapping[str, Groups]) -> dict[str, Group]:
    """The groups of all stages, each with as many agents as it has in the stage that has most of them.

    Args:
        stages: Name -> its groups. The last stage has all of them.

    Raises:
        DataError: A stage has a group that the last has not, or its agents see, do or decide otherwise than there.
    """
    last, final = list(stages.items())[-1]
    for stage, groups in stages.items():
        for name, group in groups.items():
            if name not in final:
                raise DataError(
                    f"stage {stage} has a group {name!r}, and the last one, {last}, has not "
                    f"({', '.join(final)}): nobody would be tested there"
                )
            for what in ("observation_space", "action_space", "every"):
                here, there = getattr(group, what), getattr(final[name], what)
                if here != there:
                    raise DataError(
                        f"stage {stage}: the {what} of group {name!r} is {here}, and {there} in the last "
                        f"stage, {last}: one policy plays all stages, so keep what it sees and does"
                    )
    return {name: max((groups[name] for groups in stages.values() if name in groups), key=_size) for name in final}


def _size(group: Group) -> int:
    return len(group.agent_ids)
