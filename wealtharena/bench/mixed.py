"""The mixed team as a benchmark: five members with algorithms of their own, each with an optimum, and an allocator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from environments.market.config import ALLOCATOR, MarketParams
from environments.market.config_coordination import AllocatorParams
from environments.market.env import MarketEnv
from environments.market.planted.base import Actions, Observations, Reference
from environments.market.planted.markets.team import MemberReference, TeamMarket, best_budgets
from wealtharena.bench.problem import Problem, Rewards, Yardstick
from wealtharena.evidence.track import FloatArray

BURN_IN = 20  # bars of an episode that do not count: everybody begins without positions
MEASURED_SEED = 7


@dataclass(frozen=True)
class MixedTeam(Problem):
    """Each trader against the best policy of its own market, the allocator against Kelly's budgets for these traders.

    All scores are expected log returns per bar, of a trader's sleeve or of the portfolio. Traders are judged under
    equal budgets: a sleeve that changes its size is a cost of the allocator's making. The best policies of all play at
    once: traders have nothing in common but the costs and the ruin of one portfolio, which move a share by thousandths.
    The allocator's optimum depends on what the traders have become: their returns are measured, and the best fixed
    budgets follow (``best_budgets``).

    Attributes:
        market: The market.
    """

    market: TeamMarket = field(default_factory=TeamMarket)

    def params(self) -> MarketParams:
        """See ``Problem``."""
        return self.market.params()

    def yardsticks(self, env: MarketEnv, team: Reference) -> Mapping[str, Yardstick]:
        """One for each group."""
        equal, best = self._equal(team), self._equal(_each(self.market.references(env)))
        found = {
            name: Yardstick(member.optimum, best, None, self._score(name), judged=equal)
            for name, member in self.market.members.items()
        }
        budget_K, growth = self._kelly(env, equal)
        fixed_K = _action(budget_K, env.params.allocator or AllocatorParams()).to(env.device)
        kelly = _instead(team, ALLOCATOR, lambda obs_E1F: fixed_K.expand(len(obs_E1F), 1, -1))
        return found | {ALLOCATOR: Yardstick(growth, kelly, None, self._score(ALLOCATOR), follows_team=True)}

    def _equal(self, team: Reference) -> Reference:
        """The team under equal budgets."""
        budgets = len(self.market.members) + 1
        return _instead(team, ALLOCATOR, lambda obs_E1F: obs_E1F.new_zeros(len(obs_E1F), 1, budgets))

    def _score(self, group: str) -> _Score:
        return _Score(group, self.market.scale)

    def _kelly(self, env: MarketEnv, equal: Reference) -> tuple[FloatArray, float]:
        """The best fixed budgets for the traders as they are, and the growth per bar that they promise."""
        mean_C, variance_C = self._measured(env, equal)
        budget_K = np.asarray(best_budgets(mean_C, variance_C), dtype=np.float64)
        budget_C = budget_K[:-1]
        return budget_K, float((budget_C * mean_C - budget_C**2 * variance_C / 2).sum())

    def _measured(self, env: MarketEnv, equal: Reference) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of the bar's return on each class's sleeve.

        The mean is that of the reward, in which nothing is left to chance, with the half variance put back.
        """
        classes = list(self.market.members)
        obs, nav_E = env.reset(seed=MEASURED_SEED), env.value_EN.new_full((env.num_envs,), env.params.capital)
        rewards, returns = [], []
        for _ in range(self.market.horizon):
            transition = env.step(equal(obs))
            rewards.append(torch.cat([transition.reward[name] for name in classes], dim=1).double())
            returns.append(env.record.pnl_EN / nav_E.unsqueeze(1) * (len(classes) + 1))
            obs = transition.obs
            nav_E = torch.where(transition.done, env.params.capital, env.record.nav_E)
        reward_C = torch.stack(rewards)[BURN_IN:].mean((0, 1)) / self.market.scale
        variance_C = torch.stack(returns)[BURN_IN:].flatten(0, 1).var(0).clamp(min=1e-12)
        return (reward_C + variance_C / 2).cpu().numpy(), variance_C.cpu().numpy()


@dataclass(frozen=True)
class _Score:
    """The mean reward per bar of a group, in log returns."""

    group: str
    scale: float

    def __call__(self, rewards: Rewards) -> Tensor:
        return rewards[self.group][BURN_IN:].mean(0) / self.scale


def _each(members: Mapping[str, MemberReference]) -> Reference:
    """A policy for each group."""

    def act(obs: Observations) -> Actions:
        return {name: member(obs[name]) for name, member in members.items()}

    return act


def _instead(team: Reference, group: str, other: MemberReference) -> Reference:
    """The team with another policy in the place of one group's."""

    def act(obs: Observations) -> Actions:
        return {**team(obs), group: other(obs[group])}

    return act


def _action(budget_K: FloatArray, allocator: AllocatorParams) -> Tensor:
    """The allocator's action that gives these budgets, or as close to them as its sharpness allows."""
    least = math.exp(-2 * allocator.sharpness) * budget_K.max()
    logarithm_K = np.log(np.maximum(budget_K, least)) / allocator.sharpness
    return torch.as_tensor(logarithm_K - logarithm_K.max() + 1.0, dtype=torch.float32).view(1, 1, -1)
