"""Several traders speak about one asset: who has been right lately is heard more.

Exponential weights over the traders' recent performance (Vovk 1990; Freund and Schapire 1997, "A Decision-Theoretic
Generalization of On-Line Learning", section 2), with a performance that forgets. J traders of one class.
"""

from __future__ import annotations

import torch
from torch import Tensor


def voices(score_EJ: Tensor, temperature: float) -> Tensor:
    """How much each trader is heard: softmax(score / temperature), float64 (E, J), rows sum to 1."""
    return torch.softmax(score_EJ / temperature, dim=1)


def fuse(signal_JEA: Tensor, moved_JEA: Tensor, voice_EJ: Tensor) -> tuple[Tensor, Tensor]:
    """Weighs the signals of J traders.

    A trader that holds speaks for what is held; an order is wanted as soon as one of them wants one.

    Returns:
        signal_EA: float64, the weighted mean.
        moved_EA: bool.
    """
    voice_JE1 = voice_EJ.T.unsqueeze(-1)
    return (signal_JEA * voice_JE1).sum(0), moved_JEA.any(0)


def follow(score_EJ: Tensor, signal_JEA: Tensor, surprise_EA: Tensor, half_life: float) -> Tensor:
    """Updates the performances with what one bar showed.

    Args:
        score_EJ: float64, an exponential mean per bar.
        signal_JEA: float64, what each trader said.
        surprise_EA: float64, the asset's return in the bar that followed, in units of its volatility.
        half_life: In bars.
    """
    keep = 0.5 ** (1.0 / half_life)
    earned_EJ = (signal_JEA * surprise_EA).mean(2).T
    return keep * score_EJ + (1.0 - keep) * earned_EJ
