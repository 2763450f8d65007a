"""``wealtharena bench samples``: how many samples default hyperparameters take, against those of rl-baselines3-zoo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ray

from environments.market.planted.base import GROUP
from policies.ppo import PPO, PPOParams
from wealtharena.bench.cases import G1, TEAM
from wealtharena.bench.mixed import MixedTeam
from wealtharena.bench.race import Attempt, Contender, Race, run_race
from wealtharena.errors import UserError

RL_ZOO = PPOParams(
    lr=3e-4,
    gamma=0.99,
    gae_lambda=0.95,
    clip=0.2,
    epochs=10,
    minibatch_size=64,
    entropy_coeff=0.0,
    value_coeff=0.5,
    grad_clip=0.5,
    hidden=(64, 64),
    activation="tanh",
    initial_log_std=0.0,
    squash_mean=False,
    normalize_observations=True,
)
"""PPO for continuous control in rl-baselines3-zoo (Raffin 2020, github.com/DLR-RM/rl-baselines3-zoo,
hyperparams/ppo.yml at 208b6fd, ``mujoco-defaults``): ``normalize: true`` and Stable-Baselines3's own defaults for the
rest, 2,048 rows between two updates.

What PPO here does otherwise: advantages are standardised over the update's rows and not over each minibatch's, Adam's
epsilon is 1e-8 and not 1e-5, and rewards are not divided by the running deviation of their discounted sum.
"""

DEFAULTS = Contender("WealthArena", copies=16, fragment=64)
"""The usual fragment, of fewer copies: with 64 of them, 8,192 samples would be no more than two updates."""
ZOO = Contender("rl-zoo's PPO", copies=32, fragment=64, algorithm=PPO(RL_ZOO))
CONTENDERS = (DEFAULTS, ZOO)

RACES = (
    Race("g1", G1, {GROUP: PPO}, env_steps=128_000, quick_steps=32_000),
    Race(
        "team",
        MixedTeam(),
        {name: member.algorithm for name, member in TEAM.items()},
        env_steps=256_000,
        quick_steps=16_000,
        copies=128,  # a try plays 13 times over, most of it against optima that are looked up bar by bar
    ),
)


@dataclass(frozen=True)
class Ended:
    """A training that has come to its end."""

    race: Race
    contender: Contender
    attempt: Attempt


def chosen(names: Sequence[str], races: Sequence[Race] = RACES) -> tuple[Race, ...]:
    """The races of these names; all if no name is given.

    Raises:
        UserError: There is no such race.
    """
    known = [race.name for race in races]
    for name in names:
        if name not in known:
            raise UserError(f"--case {name}: there is no such case; there are {', '.join(known)}")
    return tuple(race for race in races if not names or race.name in names)


def run(
    races: Sequence[Race],
    *,
    seeds: int,
    quick: bool = False,
    parallel: int | None = None,
    known: Sequence[Ended] = (),
) -> Iterator[Ended]:
    """Trains every contender in each race on seeds 0, 1, ...; Ray must be running.

    Args:
        races: What is learnt.
        seeds: How many trainings of each.
        quick: Smaller budgets, and tries of fewer episodes.
        parallel: How many at the same time, each on one thread; None: as many as the cluster has cores.
        known: What need not be trained again.

    Yields:
        What is known, then each training as it ends, in any order.
    """
    yield from known
    there = {(one.race.name, one.contender.name, one.attempt.seed) for one in known}
    limit = parallel or int(ray.cluster_resources().get("CPU", 1))
    task = ray.remote(num_cpus=1)(run_race)
    waiting = [
        (race, contender, seed)
        for race in races
        for seed in range(seeds)
        for contender in CONTENDERS
        if (race.name, contender.name, seed) not in there
    ]
    running: dict[ray.ObjectRef, tuple[Race, Contender]] = {}
    while waiting or running:
        while waiting and len(running) < limit:
            race, contender, seed = waiting.pop(0)
            budget, copies = (race.quick_steps, 128) if quick else (race.env_steps, race.copies)
            running[task.remote(race, contender, seed, budget=budget, copies=copies)] = race, contender
        (ended,), _ = ray.wait(list(running), num_returns=1)
        yield Ended(*running.pop(ended), ray.get(ended))
