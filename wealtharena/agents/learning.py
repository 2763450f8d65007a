"""Training one agent by itself: a team of one, in this process, on a Ray of its own if none runs."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_ENV_RUNNER, COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from policies.algorithm import EPISODE_RETURN
from wealtharena.agents.alone import require_alike
from wealtharena.agents.parts import Learned, Profile
from wealtharena.agents.recipe import user_errors
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.policy import Policy
from wealtharena.team.provenance import Provenance, provenance_of
from wealtharena.training.ray_session import quiet_ray, ray_session
from wealtharena.training.warm_start import begin_from

Memory = Mapping[str, Any]
Row = Mapping[str, float]


@dataclass(frozen=True)
class Lesson:
    """One call of ``Agent.train``.

    Attributes:
        market: The world.
        env_steps: How many more steps of the environment to train on, over all copies.
        copies: E, of the market.
        fragment: T, steps between two updates.
        number: How many lessons the agent had before.
    """

    market: MarketParams
    env_steps: int
    copies: int
    fragment: int
    number: int


@dataclass(frozen=True)
class LessonResult:
    """What a lesson brought.

    Attributes:
        learned: The policy as it is now.
        memory: What the next lesson goes on from: weights, optimisers, replay, statistics, random streams.
        curve: A row for each iteration.
    """

    learned: Learned
    memory: Memory
    curve: tuple[Row, ...]


def learn(profile: Profile, lesson: Lesson, before: Learned | None, memory: Memory | None) -> LessonResult:
    """Trains for one lesson.

    Args:
        profile: Who learns.
        lesson: On what, and how long.
        before: What it had learned; None at the beginning.
        memory: Of the lesson before; None for an agent that comes from a file.

    Raises:
        UserError: The market does not go with the algorithm, or with what was learned before.
    """
    with user_errors():
        world = MarketEnv(lesson.market, num_envs=1)
        profile.algorithm.check(profile.name, world.groups[profile.name].action_space)
    provenance = provenance_of(world)[profile.name]
    if before is not None:
        require_alike(profile.name, before, world)
        provenance = before.provenance.then(provenance)
    with _some_ray(), _one_thread():
        team = _config(profile, lesson).build_algo()
        try:
            _go_on(team, profile.name, before, memory)
            curve = tuple(_iterations(team, profile.name, lesson.env_steps))
            return _result(team, profile, provenance, curve)
        finally:
            team.stop()


def _config(profile: Profile, lesson: Lesson) -> TeamConfig:
    return (
        TeamConfig()
        .environment(env=MarketEnv, env_config=lesson.market.model_dump(by_alias=True))
        .team({profile.name: profile.algorithm})
        .env_runners(num_envs_per_env_runner=lesson.copies, rollout_fragment_length=lesson.fragment)
        .debugging(seed=_seed(profile.seed, lesson.number))
    )


def _seed(seed: int, lesson: int) -> int:
    """The agent's own in its first lesson, as in a run of a team; others later, for other episodes."""
    return seed if lesson == 0 else int(np.random.SeedSequence((seed, lesson)).generate_state(1)[0]) >> 1


def _go_on(team: Team, name: str, before: Learned | None, memory: Memory | None) -> None:
    if memory is not None:
        team.set_state(copy.deepcopy(dict(memory)))  # of an interrupted lesson nothing stays behind
    elif before is not None:
        begin_from(team, {name: before})
        own = team.get_state(components="team")["team"]
        team.set_state({"team": {**own, "env_steps": before.env_steps}})


def _iterations(team: Team, name: str, env_steps: int) -> Iterator[Row]:
    start = team.get_state(components="team")["team"]["env_steps"]
    reached = start
    while reached < start + env_steps:
        results = team.train()
        reached = int(results["num_env_steps_sampled_lifetime"])
        yield {"env_steps": float(reached), EPISODE_RETURN: math.nan, **results["groups"][name]}


def _result(team: Team, profile: Profile, provenance: Provenance, curve: tuple[Row, ...]) -> LessonResult:
    # The market's state is left out: the next lesson begins new episodes, perhaps in another market.
    state = team.get_state(not_components=COMPONENT_ENV_RUNNER)
    memory = {key: state[key] for key in (COMPONENT_LEARNER_GROUP, "team", "training_iteration")}
    weights = state[COMPONENT_LEARNER_GROUP][profile.name][COMPONENT_LEARNER][COMPONENT_RL_MODULE][profile.name]
    observation_space, action_space = team.spaces[profile.name]
    module = profile.algorithm.module_spec(observation_space, action_space, inference_only=False).build()
    module.set_state(weights)
    policy = Policy(profile.algorithm, module, action_space)
    return LessonResult(Learned(policy, provenance, state["team"]["env_steps"]), memory, curve)


@contextmanager
def _some_ray() -> Iterator[None]:
    """The Ray that this process is connected to, or else a quiet one for the time of a lesson."""
    if ray.is_initialized():
        yield
        return
    quiet_ray()
    with ray_session():
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """As a run does, small networks being faster on one thread; then the caller's setting again."""
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
