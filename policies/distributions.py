"""Actions, their log-probabilities and entropies, as RLlib's distributions have them, in fewer passes over the rows.

P members, B rows, A discrete actions, U continuous dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def categorical(logits_PBA: Tensor, action_PB: Tensor) -> tuple[Tensor, Tensor]:
    """Of Discrete actions: the log-probability of the one taken, and the entropy, both (P, B)."""
    logp_PBA = functional.log_softmax(logits_PBA, dim=-1)
    taken_PB = logp_PBA.gather(-1, action_PB.unsqueeze(-1)).squeeze(-1)
    return taken_PB, -(logp_PBA.exp() * logp_PBA).sum(dim=-1)


def gaussian(dist_inputs_PBD: Tensor, action_PBU: Tensor) -> tuple[Tensor, Tensor]:
    """Of Box actions, whose inputs are U means and U log deviations: as ``categorical``."""
    mean_PBU, log_std_PBU = dist_inputs_PBD.chunk(2, dim=-1)
    score_PBU = (action_PBU - mean_PBU) * torch.exp(-log_std_PBU)
    constant = 0.5 * math.log(2 * math.pi)
    logp_PB = -(0.5 * score_PBU.square() + log_std_PBU + constant).sum(dim=-1)
    return logp_PB, (log_std_PBU + (0.5 + constant)).sum(dim=-1)


def draw(dist_inputs: Tensor, *, discrete: bool) -> tuple[Tensor, Tensor]:
    """An action of each row from torch's own stream, and its log-probability.

    Args:
        dist_inputs: (..., D): logits of Discrete actions, or U means and U log deviations.
        discrete: Which of the two.

    Returns:
        The actions, int64 (...) or float32 (..., U), and (...).
    """
    return _draw_categorical(dist_inputs) if discrete else _draw_gaussian(dist_inputs)


def _draw_categorical(logits: Tensor) -> tuple[Tensor, Tensor]:
    """By the inverse of the distribution function: one uniform number a row, where torch draws one for each action.

    The threshold is less than the last sum in floating point too, so that no action of probability 0 is drawn.
    """
    score = logits - logits.amax(dim=-1, keepdim=True)
    cumulative = score.exp().cumsum(dim=-1)
    total = cumulative[..., -1:]
    threshold = torch.rand_like(total) * total
    action = (cumulative[..., :-1] <= threshold).sum(dim=-1, keepdim=True)
    logp = score.gather(-1, action) - total.log()
    return action.squeeze(-1), logp.squeeze(-1)


def _draw_gaussian(dist_inputs: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_std = dist_inputs.chunk(2, dim=-1)
    action = mean + log_std.exp() * torch.randn_like(mean)
    logp, _ = gaussian(dist_inputs, action)
    return action, logp
