"""What the traders say, and what is heard of it: one signal for each asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market import fusion
from environments.market.config_coordination import MeanFusion, NeuralFusion, VotingFusion, WeightedFusion
from environments.market.desks import Desk
from environments.market.feed import Rows
from environments.market.fusion import Fused, Spoken
from environments.market.missing import left_out
from environments.market.roster import Trader
from environments.market.state import State
from environments.market.world import World


@dataclass(frozen=True)
class Heard:
    """What is heard at the close of bar t.

    Attributes:
        signal_EN: float64.
        asks_EN: bool, an order is wanted.
        score_EJ: float64, the traders' performances once the next bar is known (see ``fusion``).
        said_EM: float64, what each trader said last, a column for each of its assets.
        voice_EM: float64, how much of it is heard.
    """

    signal_EN: Tensor
    asks_EN: Tensor
    score_EJ: Tensor
    said_EM: Tensor
    voice_EM: Tensor


def hear(world: World, before: State, now: Rows, actions: Mapping[str, Tensor]) -> Heard:
    """Reads the actions of all traders, and fuses those about the same assets.

    Between its decisions a trader speaks with what it said last, and asks for no order.
    """
    action_EM = torch.cat([_given(player, before, now, actions) for player in world.traders], dim=1).to(torch.float64)
    turn_EM, active_EM = world.speak(before.step_E), now.active_EN
    if world.one_each:
        signal_EN, asks_EN = world.dialect.read(action_EM, before.held_EN)
        if turn_EM is not None:
            asks_EN, active_EM = asks_EN & turn_EM, active_EM & turn_EM
        said_EM = torch.where(active_EM, signal_EN, before.said_EM) if world.attends else before.said_EM
        return Heard(signal_EN, asks_EN, before.score_EJ, said_EM, before.voice_EM)
    held_EM = before.held_EN.index_select(1, world.asset_M)
    signal_EM, asks_EM = world.dialect.read(action_EM, held_EM)
    if turn_EM is not None:
        signal_EM, asks_EM = torch.where(turn_EM, signal_EM, before.said_EM), asks_EM & turn_EM
    columns = [signal_EM, asks_EM]
    if isinstance(world.params.fusion, VotingFusion):
        push_EM = world.dialect.push(action_EM)
        if turn_EM is not None:
            push_EM = torch.where(turn_EM, push_EM, world.dialect.standing(before.said_EM, held_EM))
        columns.append(push_EM)
    said = list(zip(*(torch.split(column_EM, world.counts, dim=1) for column_EM in columns), strict=True))
    spoken = [
        Spoken(*(torch.stack(parts) for parts in zip(*(said[j] for j in desk.traders), strict=True)))
        for desk in world.desks
    ]
    fused = [_fused(world, before, now, actions, *pair) for pair in zip(world.desks, spoken, strict=True)]
    active_EM = now.active_EN.index_select(1, world.asset_M)
    return Heard(
        signal_EN=torch.cat([one.signal_EA for one in fused], dim=1),
        asks_EN=torch.cat([one.asks_EA for one in fused], dim=1),
        score_EJ=_followed(world, before, now, spoken),
        said_EM=torch.where(active_EM, signal_EM, before.said_EM),
        voice_EM=torch.where(active_EM, _by_trader(world, fused), before.voice_EM),
    )


def _given(player: Trader, before: State, now: Rows, actions: Mapping[str, Tensor]) -> Tensor:
    """The actions of one group, a column for each of its assets; of one that is left out or quotes, any."""
    if player.name in actions and player.kind != "quotes":
        return actions[player.name].flatten(1)
    active_EA = now.active_EN[:, player.assets]
    if player.params.clock > 1:
        active_EA = active_EA & (before.step_E % player.params.clock == 0).unsqueeze(1)
    return torch.zeros_like(_silent(player.name, active_EA, actions), dtype=torch.float32)


def _silent(name: str, active_EA: Tensor, actions: Mapping[str, Tensor]) -> Tensor:
    """Who decides in a group that may have been left out: only one in which nobody does may be."""
    if name not in actions and bool(active_EA.any()):
        raise left_out(name)
    return active_EA


def _fused(world: World, before: State, now: Rows, actions: Mapping[str, Tensor], desk: Desk, spoken: Spoken) -> Fused:
    """What is heard of the traders of one class; a trader that is alone is heard as it is."""
    traders = len(desk.traders)
    if traders == 1:
        return Fused(spoken.signal_JEA[0], spoken.asks_JEA[0], torch.ones_like(spoken.signal_JEA))
    match world.params.fusion:
        case MeanFusion():
            return fusion.fuse(spoken, torch.full_like(spoken.signal_JEA[:, :1, :1], 1.0 / traders))
        case WeightedFusion(temperature=temperature):
            voice_EJ = fusion.voices(_scores(before.score_EJ, desk), temperature)
            return fusion.fuse(spoken, voice_EJ.T.unsqueeze(-1))
        case VotingFusion() as rule:
            return fusion.vote(spoken, before.held_EN[:, desk.assets], desk.threshold_J11, rule)
        case NeuralFusion(sharpness=sharpness):
            return fusion.fuse(spoken, fusion.chosen_voices(_weighed(desk, now, actions), sharpness))


def _weighed(desk: Desk, now: Rows, actions: Mapping[str, Tensor]) -> Tensor:
    """The actions of a class's fuser: (E, A, J)."""
    assert desk.fuser is not None  # neural fusion of several traders has one
    if desk.fuser.name in actions:
        return actions[desk.fuser.name]
    active_EA = _silent(desk.fuser.name, now.active_EN[:, desk.assets], actions)
    return torch.zeros_like(active_EA, dtype=torch.float32).unsqueeze(2).expand(-1, -1, len(desk.traders))


def _scores(score_EJ: Tensor, desk: Desk) -> Tensor:
    return torch.stack([score_EJ[:, j] for j in desk.traders], dim=1)


def _followed(world: World, before: State, now: Rows, spoken: Sequence[Spoken]) -> Tensor:
    """The performances of all traders, where they matter."""
    rule = world.params.fusion
    if not isinstance(rule, WeightedFusion | NeuralFusion):
        return before.score_EJ
    surprise_EN, scores = world.feed.surprise(before, now), list(before.score_EJ.unbind(1))
    for desk, said in zip(world.desks, spoken, strict=True):
        spoken_JEA = torch.where(now.active_EN[:, desk.assets], said.signal_JEA, 0.0)
        found_EJ = fusion.follow(
            _scores(before.score_EJ, desk), spoken_JEA, surprise_EN[:, desk.assets], rule.half_life
        )
        for j, score_E in zip(desk.traders, found_EJ.unbind(1), strict=True):
            scores[j] = score_E
    return torch.stack(scores, dim=1)


def _by_trader(world: World, fused: Sequence[Fused]) -> Tensor:
    """The voices of all traders, side by side: (E, M); 0 of those who quote beside others."""
    found = {
        j: voice_EA
        for desk, one in zip(world.desks, fused, strict=True)
        for j, voice_EA in zip(desk.traders, one.voice_JEA, strict=True)
    }
    silent = {j: torch.zeros_like(fused[0].signal_EA[:, :1]) for j in range(len(world.traders)) if j not in found}
    columns = [found[j] if j in found else silent[j].expand(-1, world.counts[j]) for j in range(len(world.traders))]
    return torch.cat(columns, dim=1)
