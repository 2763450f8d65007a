"""What a benchmark trains on, and what it holds the result against: the best policy and a base for each score."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted.base import GROUP, Observations, PlantedMarket, Reference

Rewards = Mapping[str, Tensor]
"""Group -> rewards of one episode of each copy, summed over its agents: float64 (T, E)."""


@dataclass(frozen=True)
class Yardstick:
    """What one score is held against.

    Attributes:
        optimum: The expected score of the best policy that there is.
        optimal: That policy.
        base: The policy whose score is 0% of the optimum; None: a score of 0 is.
        score: The score of each copy's episode, (E,), from the rewards; more is better.
        judged: What is held against it; None: the team as it is.
        follows_team: The best policy and the base depend on what the team has learnt, as those of an allocator over
            trained members do.
    """

    optimum: float
    optimal: Reference
    base: Reference | None
    score: Callable[[Rewards], Tensor]
    judged: Reference | None = None
    follows_team: bool = False


class Problem(abc.ABC):
    """A market whose best scores are known; each score has a name, that of the group whose learning it judges."""

    @abc.abstractmethod
    def params(self) -> MarketParams:
        """The market, for training and for evaluation; its horizon is the length of an episode."""

    @abc.abstractmethod
    def yardsticks(self, env: MarketEnv, team: Reference) -> Mapping[str, Yardstick]:
        """What each score is held against in an environment of these parameters, beside the team as it is now."""


@dataclass(frozen=True)
class Planted(Problem):
    """A planted market that one group trades.

    Attributes:
        market: The market.
        from_zero: A score of 0 counts as 0% of the optimum, instead of the market's own base.
    """

    market: PlantedMarket
    from_zero: bool = False

    def params(self) -> MarketParams:
        """See ``Problem``."""
        return self.market.params()

    def yardsticks(self, env: MarketEnv, team: Reference) -> Mapping[str, Yardstick]:
        """The market's own optimum and base."""
        references = self.market.references(env)
        score = self.market.score
        return {
            GROUP: Yardstick(
                optimum=self.market.optimum,
                optimal=references["optimal"],
                base=None if self.from_zero else references[self.market.base],
                score=lambda rewards: score(rewards[GROUP]),
            )
        }


def play(env: MarketEnv, policy: Reference, *, seed: int) -> dict[str, Tensor]:
    """Plays one episode in each copy; see ``Rewards``."""
    obs: Observations = env.reset(seed=seed)
    rewards: dict[str, list[Tensor]] = {name: [] for name in env.groups}
    for _ in range(env.params.horizon or 0):
        transition = env.step(policy(obs))
        for name, reward_EA in transition.reward.items():
            rewards[name].append(reward_EA.double().sum(1))
        obs = transition.obs
    return {name: torch.stack(reward) for name, reward in rewards.items()}
