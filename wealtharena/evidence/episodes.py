"""Evaluation in an environment that is no market: returns of whole episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from environments.base import ArrayEnv, Transition
from wealtharena.evidence.bootstrap import mean_interval
from wealtharena.evidence.evaluation import Evaluation, versions
from wealtharena.evidence.playing import Act, Playing
from wealtharena.evidence.tally import Tally
from wealtharena.evidence.track import FloatArray

FIRST_SEED = 2**31 - 1  # of evaluation: training counts its seeds from the other end


class _Returns:
    """Sums each group's rewards, the mean over its agents, over the episodes of E copies.

    Every copy contributes its first ``quota`` episodes: taking the first ones to finish would favour short ones.
    """

    def __init__(self, env: ArrayEnv, quota: int) -> None:
        self._quota = quota
        self._going_E = np.full(env.num_envs, quota)
        self._sums = {name: np.zeros(env.num_envs) for name in env.groups}
        self._alive = {name: _all_alive(env, name) for name in env.groups}
        self.lengths: list[float] = []
        self._length_E = np.zeros(env.num_envs)
        self.finished: dict[str, list[float]] = {name: [] for name in env.groups}

    @property
    def complete(self) -> bool:
        return not self._going_E.any()

    def add(self, transition: Transition) -> None:
        done_E = transition.done.cpu().numpy()
        counted_E = done_E & (self._going_E > 0)
        self._length_E += 1
        self.lengths += self._length_E[counted_E].tolist()
        self._length_E[done_E] = 0
        for name, alive_EA in self._alive.items():
            self._sums[name] += (transition.reward[name].double() * alive_EA).mean(dim=1).cpu().numpy()
            self.finished[name] += self._sums[name][counted_E].tolist()
            self._sums[name][done_E] = 0.0
            ended_EA = transition.terminated[name] | transition.truncated[name]
            self._alive[name] = (alive_EA & ~ended_EA) | transition.done[:, None]
        self._going_E -= counted_E


def evaluate_episodes(
    env: ArrayEnv,
    policies: Mapping[str, Act],
    episodes: int,
    *,
    seeds: Sequence[int] = (0,),
    max_steps: int = 1_000_000,
) -> Evaluation:
    """Plays whole episodes with deterministic policies.

    Args:
        env: E copies; each plays the same number of episodes, at least ``episodes`` together.
        policies: group -> what maps its observations (E, A, F) to actions.
        episodes: How many, at least.
        seeds: The seeds of the training, for the record; the first one also chooses that of the environment, which
            is never one that training draws from.
        max_steps: Steps of a copy after which an environment that ends no episode is given up.

    Returns:
        Returns as they are logged in training: ``agents.<group>.episode_return`` is the mean over the group's agents,
        ``team.episode_return`` the mean over the groups.

    Raises:
        ValueError: Not all episodes ended within ``max_steps``.
    """
    obs = env.reset(seed=FIRST_SEED - (seeds[0] if seeds else 0))
    returns, playing = _Returns(env, -(-episodes // env.num_envs)), Playing(env, policies)
    tallies = {name: Tally(group) for name, group in env.groups.items()}
    for _ in range(max_steps):
        active = env.active()
        with torch.no_grad():
            actions = playing.actions(obs)
        transition = env.step(actions)
        playing.note(transition)
        returns.add(transition)
        for name, tally in tallies.items():
            tally.add(actions[name], transition.reward[name], active.get(name))
        if returns.complete:
            return Evaluation(_content(env, returns, tallies, seeds), ())
        obs = transition.obs
    raise ValueError(f"{type(env).__name__}: {episodes} episodes did not end in {max_steps:,} steps; ask for fewer")


def _content(env: ArrayEnv, returns: _Returns, tallies: Mapping[str, Tally], seeds: Sequence[int]) -> dict[str, Any]:
    by_group = {name: np.array(values) for name, values in returns.finished.items()}
    team: FloatArray = np.mean(list(by_group.values()), axis=0)
    return {
        "kind": "episodes",
        "episodes": len(team),
        "episode_length": float(np.mean(returns.lengths)),
        "team": {"episode_return": float(team.mean())},
        "intervals": {"team": {"episode_return": mean_interval(team).as_dict()}},
        "agents": {
            name: {"episode_return": mean_interval(values).as_dict()} | tallies[name].as_dict()
            for name, values in by_group.items()
        },
        "environment": f"{type(env).__module__}:{type(env).__qualname__}",
        "seeds": list(seeds),
        "versions": versions(),
    }


def _all_alive(env: ArrayEnv, name: str) -> Tensor:
    return torch.ones(env.num_envs, len(env.groups[name].agent_ids), dtype=torch.bool, device=env.device)
