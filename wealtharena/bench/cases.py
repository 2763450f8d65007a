"""The cases of ``wealtharena bench optimum``: market, algorithm, hyperparameters, budget and what is required."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.market.planted.base import GROUP
from environments.market.planted.markets.almgren_chriss import AlmgrenChriss
from environments.market.planted.markets.garleanu_pedersen import THREE_ASSETS, GarleanuPedersen
from environments.market.planted.markets.kelly import Kelly
from environments.market.planted.markets.market_making import MarketMaking
from environments.market.planted.markets.mean_reversion import MeanReversion
from policies.a2c import A2C
from policies.algorithm import Algorithm
from policies.dqn import DQN
from policies.ppo import PPO
from policies.sac import SAC
from wealtharena.bench.mixed import MixedTeam
from wealtharena.bench.problem import Planted, Problem
from wealtharena.errors import UserError


@dataclass(frozen=True)
class Required:
    """What a case has to reach: a share, or a distance from the optimum, in the unit of its score.

    Attributes:
        share: Of the optimum.
        within: Largest distance from the optimum; counts in place of ``share``.
        quick: Share that is required of the smaller budget of ``--quick``.
    """

    share: float = 0.0
    within: float | None = None
    quick: float = 0.0

    def as_share(self, span: float) -> float:
        """The share required, where the optimum is ``span`` above the base."""
        return self.share if self.within is None else 1 - self.within / span


@dataclass(frozen=True)
class Member:
    """A group's algorithm, its hyperparameters besides the annealing, and what it has to reach."""

    algorithm: type[Algorithm]
    params: Mapping[str, Any]
    required: Required

    def built(self, env_steps: int) -> Algorithm:
        """With learning rates that fall to nothing by the end of the training."""
        return self.algorithm(self.algorithm.Params.model_validate({"lr_steps": env_steps} | dict(self.params)))


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        name: Of the market, as the user calls it.
        problem: What is traded, and what the result is held against.
        members: Group -> who learns it.
        env_steps: Of the training.
        quick_steps: Of the training with ``--quick``.
        copies: Of the market, in training.
        fragment: Steps of each between two updates.
        tries: How often the greedy policy is tried on the way.
    """

    name: str
    problem: Problem
    members: Mapping[str, Member]
    env_steps: int
    quick_steps: int
    copies: int = 128
    fragment: int = 50
    tries: int = 16

    @property
    def key(self) -> str:
        """What names this training and no other: its market, and the algorithm if there is one alone."""
        algorithms = [member.algorithm.__name__.lower() for member in self.members.values()]
        return f"{self.name}-{algorithms[0]}" if len(algorithms) == 1 else self.name

    def team(self, env_steps: int) -> dict[str, Algorithm]:
        """The members' algorithms for a training of ``env_steps``."""
        return {group: member.built(env_steps) for group, member in self.members.items()}


def _alone(algorithm: type[Algorithm], required: Required, **params: Any) -> dict[str, Member]:
    return {GROUP: Member(algorithm, params, required)}


G1 = Planted(GarleanuPedersen(scale=5.0))
G1_NARROW = Planted(GarleanuPedersen(reach=3.0))
"""For SAC: its critic learns all actions there are, so few that are never wanted; and its loss is linear beyond 1, so
that large rewards are learnt slowly."""
G3 = Planted(GarleanuPedersen(THREE_ASSETS, scale=3.0))
SPREAD = Planted(MeanReversion())
KELLY = Planted(Kelly())
EXECUTION = Planted(AlmgrenChriss())
QUOTES = Planted(MarketMaking(scale=0.5), from_zero=True)

NINETY = Required(0.9, quick=0.5)
TEAM = {
    "stocks": Member(PPO, {"lr": 1e-3, "gamma": 0.0, "gae_lambda": 0.0, "epochs": 6, "minibatch_size": 640,
                           "entropy_coeff": 0.0, "initial_log_std": -1.0, "squash_mean": False}, NINETY),
    "crypto": Member(SAC, {"actor_lr": 1e-3, "critic_lr": 1e-3, "temperature_lr": 3e-3, "gamma": 0.0,
                           "hidden": (64, 64), "initial_temperature": 0.02, "updates_per_step": 0.5}, NINETY),
    "etf": Member(A2C, {"lr": 2e-3, "gamma": 0.0, "gae_lambda": 0.0, "entropy_coeff": 0.0, "minibatch_size": 400,
                        "initial_log_std": -1.0, "squash_mean": False}, NINETY),
    "currencies": Member(DQN, {"lr": 1e-3, "gamma": 0.9, "n_step": 1, "batch_size": 512, "epsilon_steps": 100_000,
                               "updates_per_step": 0.5, "tau": 0.02}, NINETY),
    "reits": Member(PPO, {"lr": 1e-3, "gamma": 0.9, "epochs": 6, "minibatch_size": 640, "entropy_coeff": 0.01},
                    NINETY),
    "allocator": Member(PPO, {"lr": 1e-3, "gamma": 0.0, "gae_lambda": 0.0, "epochs": 10, "minibatch_size": 160,
                              "entropy_coeff": 0.0, "initial_log_std": -1.0, "squash_mean": False}, NINETY),
}  # fmt: skip
"""Without a position's cost the coming bar is all that counts: no discount is needed."""

CASES: tuple[Case, ...] = (
    Case("g1", G1, _alone(PPO, Required(0.98, quick=0.9), lr=1e-3, gamma=0.95, epochs=6, minibatch_size=1600,
                          entropy_coeff=0.0, initial_log_std=-1.0, squash_mean=False),
         env_steps=256_000, quick_steps=128_000),
    Case("g1", G1, _alone(A2C, Required(0.95, quick=0.9), lr=2e-3, gamma=0.95, entropy_coeff=0.0, minibatch_size=1600,
                          squash_mean=False),
         env_steps=512_000, quick_steps=256_000),
    Case("g1", G1_NARROW, _alone(SAC, Required(0.98, quick=0.8), actor_lr=1e-3, critic_lr=1e-3, temperature_lr=3e-3,
                                 gamma=0.93, hidden=(256, 256), activation="tanh", tau=0.01, initial_temperature=0.02,
                                 updates_per_step=4.0, replay_size=100_000, normalize_observations=False),
         env_steps=128_000, quick_steps=32_000, copies=64),
    Case("g3", G3, _alone(PPO, Required(0.95, quick=0.8), lr=1e-3, gamma=0.95, epochs=6, minibatch_size=1600,
                          entropy_coeff=0.0, squash_mean=False),
         env_steps=384_000, quick_steps=192_000),
    Case("spread", SPREAD, _alone(DQN, Required(0.95, quick=0.5), lr=1e-3, gamma=0.98, n_step=1, batch_size=512,
                                  epsilon_steps=50_000, updates_per_step=1.0, activation="tanh", tau=0.02),
         env_steps=160_000, quick_steps=96_000),
    Case("spread", SPREAD, _alone(PPO, Required(0.95, quick=0.5), lr=1e-3, gamma=0.98, epochs=6, minibatch_size=1600,
                                  entropy_coeff=0.0),
         env_steps=384_000, quick_steps=192_000),
    Case("kelly", KELLY, _alone(PPO, Required(within=0.0005, quick=0.9), lr=1e-3, gamma=0.0, gae_lambda=0.0,
                                epochs=4, minibatch_size=1600, entropy_coeff=0.0, initial_log_std=-1.5,
                                squash_mean=False),
         env_steps=80_000, quick_steps=40_000),
    Case("execution", EXECUTION, _alone(PPO, Required(within=25_507.0, quick=0.8), lr=2e-3, gamma=1.0, epochs=6,
                                        minibatch_size=640, entropy_coeff=0.0, initial_log_std=-2.0, squash_mean=False),
         env_steps=64_000, quick_steps=64_000, fragment=10),
    Case("quotes", QUOTES, _alone(PPO, Required(0.95, quick=0.8), lr=1e-3, gamma=0.99, gae_lambda=0.9, epochs=6,
                                  minibatch_size=3200, entropy_coeff=0.0, initial_log_std=-1.2, squash_mean=False),
         env_steps=384_000, quick_steps=192_000, copies=64, fragment=200),
    Case("team", MixedTeam(), TEAM, env_steps=320_000, quick_steps=64_000, copies=64),
)  # fmt: skip
"""``within`` of the execution is 2% of the least cost."""


def chosen(names: Sequence[str], cases: Sequence[Case] = CASES) -> tuple[Case, ...]:
    """The cases of these names or keys (``g1``: all on that market; ``g1-sac``: one); all if no name is given.

    Raises:
        UserError: There is no such case.
    """
    known = sorted({case.name for case in cases} | {case.key for case in cases})
    for name in names:
        if name not in known:
            raise UserError(f"--case {name}: there is no such case; there are {', '.join(known)}")
    return tuple(case for case in cases if not names or {case.name, case.key} & set(names))
