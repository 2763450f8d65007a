"""Several traders speak about one asset: what is heard of them, as one signal.

J traders of one class, A its assets. Weighted: exponential weights over the traders' recent performance (Vovk 1990;
Freund and Schapire 1997, "A Decision-Theoretic Generalization of On-Line Learning", section 2), with a performance that
forgets. Voting: the majority of their directions. Neural: the weights are a policy's action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market.config_coordination import VotingFusion


@dataclass(frozen=True)
class Spoken:
    """What J traders say about the assets of their class.

    Attributes:
        signal_JEA: float64, what each asks for; of one that holds, what is held.
        asks_JEA: bool, it wants an order.
        push_JEA: float64, its direction: a target, or a change of what is held; only where there is a vote.
    """

    signal_JEA: Tensor
    asks_JEA: Tensor
    push_JEA: Tensor | None = None


@dataclass(frozen=True)
class Fused:
    """What is heard of them.

    Attributes:
        signal_EA: float64.
        asks_EA: bool, an order is wanted.
        voice_JEA: float64, the weight of each trader in the signal.
    """

    signal_EA: Tensor
    asks_EA: Tensor
    voice_JEA: Tensor


def voices(score_EJ: Tensor, temperature: float) -> Tensor:
    """How much each trader is heard: softmax(score / temperature), float64 (E, J), rows sum to 1."""
    return torch.softmax(score_EJ / temperature, dim=1)


def chosen_voices(action_EAJ: Tensor, sharpness: float) -> Tensor:
    """The voices that a fuser chooses: softmax(sharpness x clip(action, -1, 1)), float64 (J, E, A)."""
    return torch.softmax(sharpness * action_EAJ.to(torch.float64).clamp(-1.0, 1.0), dim=2).permute(2, 0, 1)


def fuse(spoken: Spoken, voice_JEA: Tensor) -> Fused:
    """The weighted mean of the signals; an order is wanted as soon as one of the traders wants one.

    Args:
        spoken: By the traders.
        voice_JEA: float64, how much each is heard.
    """
    signal_EA = (spoken.signal_JEA * voice_JEA).sum(0)
    return Fused(signal_EA, spoken.asks_JEA.any(0), voice_JEA.expand_as(spoken.signal_JEA))


def vote(spoken: Spoken, held_EA: Tensor, threshold_J11: Tensor, rule: VotingFusion) -> Fused:
    """The majority of the directions: its mean signal, so that its size is the mean size of the winning side.

    A trader whose direction is no larger than its threshold abstains. Without a majority, or without a quorum, nothing
    is held (``tie: flat``) or what is held stays (``hold``); where nobody asks for an order it always stays.

    Args:
        spoken: By the traders, with their directions.
        held_EA: float64, the signal held.
        threshold_J11: float64.
        rule: Tie and quorum.
    """
    push_JEA = spoken.signal_JEA if spoken.push_JEA is None else spoken.push_JEA
    vote_JEA = torch.where(push_JEA.abs() <= threshold_J11, 0.0, push_JEA.sign())
    net_EA = vote_JEA.sum(0)
    undecided_EA = (net_EA == 0) | (vote_JEA.abs().sum(0) < rule.quorum)
    wins_JEA = (vote_JEA * net_EA > 0) & ~undecided_EA
    voice_JEA = wins_JEA / wins_JEA.sum(0).clamp(min=1).to(torch.float64)
    heard_EA, asks_EA = (spoken.signal_JEA * voice_JEA).sum(0), spoken.asks_JEA.any(0)
    if rule.tie == "flat":
        return Fused(heard_EA, asks_EA, voice_JEA)
    return Fused(torch.where(undecided_EA, heard_EA + held_EA, heard_EA), asks_EA & ~undecided_EA, voice_JEA)


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
