"""Who speaks about the assets of a class: its traders and, with neural fusion, the fuser that weighs them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from environments.errors import DataError
from environments.market.config import MarketParams
from environments.market.config_coordination import NeuralFusion, VotingFusion, fuser_of
from environments.market.feed import Listing
from environments.market.roster import Trader, assets_of


@dataclass(frozen=True)
class Fuser:
    """A group of agents, one for each asset of a class, that weigh what the traders of the class say.

    At the close of a bar it decides together with the traders: it sees what they said last, not what they say now, and
    its weights are those of what they say now.

    Attributes:
        name: Of the group.
        asset_class: Whose traders it weighs.
        assets: Of that class.
        traders: The places of its traders.
        names: Names of the columns of its observation.
        columns: The columns seen; None: all.
        whole: Paid for the portfolio; otherwise for the sleeve of the asset.
    """

    name: str
    asset_class: str
    assets: slice
    traders: tuple[int, ...]
    names: tuple[str, ...]
    columns: Tensor | None
    whole: bool

    def see(self, said: tuple[Tensor, ...], score_EJ: Tensor, seen_EAF: Tensor, shared_EG: Tensor | None) -> Tensor:
        """The observation, float32 (E, A, F): what each trader said, how it performed, then what the traders see.

        Args:
            said: Of each trader of the market, (E, A).
            score_EJ: Their performances.
            seen_EAF: float32, what is seen of each asset.
            shared_EG: float32, what is seen of the class as a whole, if anything.
        """
        assets = seen_EAF.shape[1]
        told_EAJ = torch.stack([said[j] for j in self.traders], dim=2)
        score_E1J = torch.stack([score_EJ[:, j] for j in self.traders], dim=1).unsqueeze(1)
        columns = [told_EAJ.float(), score_E1J.float().expand(-1, assets, -1), seen_EAF]
        if shared_EG is not None:
            columns.append(shared_EG.unsqueeze(1).expand(-1, assets, -1))
        all_EAF = torch.cat(columns, dim=2)
        return all_EAF if self.columns is None else all_EAF.index_select(2, self.columns)

    def earns(self, reward_EM: Tensor) -> Tensor:
        """What it is paid, float32 (E, A), of the rewards of the assets and the portfolio (last)."""
        if self.whole:
            return reward_EM[:, -1:].expand(-1, self.assets.stop - self.assets.start)
        return reward_EM[:, self.assets]


@dataclass(frozen=True)
class Desk:
    """The traders of one class.

    Attributes:
        asset_class: Its name.
        assets: Its assets.
        traders: Their places in ``World.traders``; those who quote beside others give no signal and are left out.
        threshold_J11: float64, the size of a direction up to which each abstains from a vote.
        fuser: Who weighs them; None: a rule.
    """

    asset_class: str
    assets: slice
    traders: tuple[int, ...]
    threshold_J11: Tensor
    fuser: Fuser | None


def desks(
    params: MarketParams,
    players: tuple[Trader, ...],
    listing: Listing,
    views: dict[str, tuple[tuple[str, ...], tuple[str, ...]]],
    device: str,
) -> tuple[Desk, ...]:
    """A desk for each class.

    Args:
        params: Of the market.
        players: Its traders.
        listing: Its assets.
        views: Class -> names of what is seen of each of its assets, and of it as a whole.
        device: Of the tensors.

    Raises:
        DataError: A fuser is to observe what is not there.
    """
    made = []
    for name in listing.classes:
        members = [j for j, player in enumerate(players) if player.asset_class == name]
        places = tuple(j for j in members if not players[j].makes_markets) or tuple(members)
        thresholds = [_threshold(params, players[j]) for j in places]
        assets = assets_of(name, listing)
        fuser = None
        if isinstance(params.fusion, NeuralFusion) and len(places) > 1:
            own = tuple(f"{what}/{players[j].name}" for what in ("said", "score") for j in places)
            columns, names = _chosen(name, params.fusion, (*own, *views[name][0], *views[name][1]), device)
            fuser = Fuser(fuser_of(name), name, assets, places, names, columns, params.fusion.paid == "portfolio")
        threshold_J11 = torch.tensor(thresholds, dtype=torch.float64, device=device).view(-1, 1, 1)
        made.append(Desk(name, assets, places, threshold_J11, fuser))
    return tuple(made)


def _threshold(params: MarketParams, player: Trader) -> float:
    """Of a vote; a direction that is chosen from a few is small only where it is none."""
    if not isinstance(params.fusion, VotingFusion) or player.kind not in ("continuous", "adjust"):
        return 0.0
    return params.fusion.threshold or 0.0


def _chosen(
    asset_class: str, fusion: NeuralFusion, there: tuple[str, ...], device: str
) -> tuple[Tensor | None, tuple[str, ...]]:
    if fusion.observe is None:
        return None, there
    for name in fusion.observe:
        if name not in there:
            raise DataError(
                f"fusion.observe: the fuser of {asset_class} has no feature {name!r}; there are {', '.join(there)}"
            )
    at = [there.index(name) for name in fusion.observe]
    return torch.tensor(at, dtype=torch.int64, device=device), fusion.observe
