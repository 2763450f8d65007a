"""Adaptive scaling: rewards over a running size of their discounted sum, so that a learner sees numbers of order 1.

The sum of VecNormalize (Raffin et al. 2021, "Stable-Baselines3") and of Engstrom et al. 2020, "Implementation matters
in deep RL", section 3: G <- discount x G + reward from an episode's start, and reward / sqrt(mean of G^2), cut. The
mean is exponential and not centred, so that a reward that never varies is 1, not infinite. It goes on over episodes,
for each copy and column on its own.
"""

from __future__ import annotations

from torch import Tensor

from environments.market.config_reward import AdaptiveParams
from environments.market.terms.base import Memory, averaged, kept, nothing_yet

LEAST = 1e-12  # of a size, for a division: until there was a reward, there is none to scale


def begin(zero_EM: Tensor, before: Memory) -> Memory:
    """The sum, anew with each episode, and the mean of its squares, which goes on; see ``Remembering.begin``."""
    return zero_EM, *(before[1:] or nothing_yet(zero_EM))


def scaled(reward_EM: Tensor, memory: Memory, params: AdaptiveParams) -> tuple[Tensor, Memory]:
    """The rewards of a bar, float64 (E, M) within +- ``most``, and what is remembered from then on."""
    sum_EM = params.discount * memory[0] + reward_EM
    mean_EM, weight_E1 = averaged(memory[1:], sum_EM.square(), kept(params.half_life))
    size_EM = mean_EM.sqrt().clamp(min=LEAST)
    return (reward_EM / size_EM).clamp(-params.most, params.most), (sum_EM, mean_EM, weight_E1)
