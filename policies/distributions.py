"""Log-probabilities and entropies of actions, as RLlib's distributions have them, with fewer passes over the rows.

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
