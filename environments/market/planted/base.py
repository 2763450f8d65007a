"""The contract of a planted market: ordinary parameters, a known optimum, and policies to hold against it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv

GROUP = "trader"
ASSETS = "stocks"
CAPITAL = 1e12  # where positions are numbers of shares: far from ruin and from every cap

Observations = Mapping[str, Tensor]
Actions = dict[str, Tensor]
Reference = Callable[[Observations], Actions]
"""From observations alone to actions of the environment, as an agent would give them."""


class PlantedMarket(abc.ABC):
    """A market that one group, ``GROUP``, of one agent trades, and whose best score is known.

    Attributes:
        name: Of the problem.
        unit: Of its scores.
        base: The reference whose score counts as 0% of the optimum.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    base: ClassVar[str]

    @property
    @abc.abstractmethod
    def optimum(self) -> float:
        """The expected score of the best policy that there is."""

    @abc.abstractmethod
    def params(self, *, expected: bool = True) -> MarketParams:
        """The market, in ordinary parameters.

        Args:
            expected: Rewards leave out what nobody could expect (see ``RewardParams``): the same optimum, less noise.
        """

    @abc.abstractmethod
    def references(self, env: MarketEnv) -> Mapping[str, Reference]:
        """Policies for an environment of these parameters: ``optimal``, others, and ``base`` last."""

    @abc.abstractmethod
    def score(self, reward_TE: Tensor) -> Tensor:
        """The score of each copy's episode, (E,), from the group's rewards; more is better."""


def play(env: MarketEnv, policy: Reference, *, seed: int) -> Tensor:
    """Plays one episode in each copy: the rewards of the group's agent, float64 (T, E)."""
    obs = env.reset(seed=seed)
    rewards = []
    for _ in range(env.params.horizon or 0):
        transition = env.step(policy(obs))
        rewards.append(transition.reward[GROUP][:, 0].double())
        obs = transition.obs
    return torch.stack(rewards)


@dataclass(frozen=True)
class Reader:
    """Finds what a policy needs in the observation of ``GROUP``, by the names of its columns."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, env: MarketEnv) -> Reader:
        """A reader for the environment's observations."""
        return cls(env.feature_names[GROUP])

    def __call__(self, obs: Observations, feature: str) -> Tensor:
        """A feature of each asset of the agent's, (E, N), or what all of them share, (E, 1): float64.

        Raises:
            KeyError: It is not observed.
        """
        columns = [at for at, name in enumerate(self.names) if name.rpartition("/")[2] == feature]
        if not columns:
            raise KeyError(f"no feature {feature!r} is observed; there are {', '.join(self.names)}")
        return obs[GROUP][:, 0, columns].double()


def boxed(action_EU: Tensor) -> Actions:
    """Actions of a Box, cut to its bounds of -1 and 1: float32 (E, 1, U)."""
    return {GROUP: action_EU.clamp(-1.0, 1.0).float().unsqueeze(1)}


def one_trader(trader: dict[str, Any], **params: Any) -> MarketParams:
    """The parameters of a market with nobody but ``GROUP`` in it, paid by all that it earns."""
    traders = {GROUP: {"asset_class": ASSETS, "paid": "portfolio", **trader}}
    return MarketParams.model_validate({"allocator": None, "traders": traders, **params})


def free_of_charge(**charged: float) -> dict[str, dict[str, float]]:
    """The costs of the only class: none but those given."""
    return {ASSETS: {"spread_bps": 0.0, "commission_bps": 0.0, "impact": 0.0, "borrow_rate": 0.0} | charged}


def simulated(process: str, bars_per_year: float, **params: Any) -> dict[str, Any]:
    """The ``data`` of one process, named ``module:Class`` below ``environments.market.processes``."""
    spec = {"class": f"environments.market.processes.{process}", "params": params}
    return {"simulation": {"bars_per_year": bars_per_year, "classes": {ASSETS: spec}}}
