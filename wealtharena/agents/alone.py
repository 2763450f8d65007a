"""The market in which an agent trades alone: its class, and no allocator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.panel import Panel, load_panel, panel_from_frame
from wealtharena.agents.parts import Learned, Profile
from wealtharena.agents.recipe import trader_of, user_errors
from wealtharena.document import Document, shown
from wealtharena.errors import UserError
from wealtharena.evidence.check import frame_of
from wealtharena.team.provenance import feature_difference
from wealtharena.validation import validate

Source = str | os.PathLike[str] | pd.DataFrame | Mapping[str, Any] | None
Window = tuple[str | date | None, str | date | None]

MADE_UP: Mapping[str, Any] = {"bars": 2500, "predictability": 0.03}
"""The market of the quickstart, of which a small part can be foreseen."""

OWN_FIELDS = ("data", "window", "traders", "allocator")


def market_of(
    profile: Profile, data: Source, window: Window | None, market: Mapping[str, Any], folder: Path
) -> MarketParams:
    """The parameters of a market in which the agent's class is alone, without an allocator.

    Args:
        profile: Who trades.
        data: As ``Agent.train`` takes it.
        window: First and last date; None: all of the data.
        market: Further parameters of ``MarketEnv``.
        folder: Where the prices of its class are written; they must stay there while the market is used.

    Raises:
        UserError: The parameters or the data cannot be used.
    """
    if own := [name for name in market if name in OWN_FIELDS]:
        raise UserError(f"market: {own[0]} follows from the agent and from data and window; leave it out of market")
    given = {
        **market,
        "data": _source(profile, data, folder),
        "traders": {profile.name: trader_of(profile).model_dump()},
        "allocator": None,
        **({} if window is None else {"window": _dates(window)}),
    }
    return validate(MarketParams, Document("market", given, {}))


def require_alike(name: str, before: Learned, world: MarketEnv) -> None:
    """Refuses a market in which an agent would see, or could do, something else than it learned with.

    Raises:
        UserError: Its observation or its actions differ; the message names the columns.
    """
    group, policy = world.groups[name], before.policy
    offered = (int(group.observation_space.shape[0]), world.feature_names[name])
    if difference := feature_difference((policy.features, before.provenance.features), offered):
        raise UserError(f"agent {name!r}: {difference}; bring the extra columns and settings it was trained with")
    if group.action_space != policy.action_space:
        raise UserError(
            f"agent {name!r}: acts in {policy.action_space}, and in this market it would act in {group.action_space}"
        )


def _source(profile: Profile, data: Source, folder: Path) -> Mapping[str, Any]:
    """Where its prices come from, as ``DataParams`` takes it."""
    asset_class = trader_of(profile).asset_class
    if data is None:
        return {"synthetic": {"assets": {asset_class: 4}, **MADE_UP}}
    if isinstance(data, Mapping) and "path" not in data:
        return data
    with user_errors():
        panel = _panel(data["path"] if isinstance(data, Mapping) else data)
    bars = frame_of(panel)
    own = bars[bars["asset_class"] == asset_class]
    if own.empty:
        raise UserError(f"data: holds no assets of class {asset_class!r}; its classes are {', '.join(panel.classes)}")
    path = folder / f"{profile.name}.parquet"
    own.to_parquet(path, index=False)
    return {"path": str(path)}


def _panel(data: Any) -> Panel:
    if isinstance(data, pd.DataFrame):
        return panel_from_frame(data, origin="data")
    if isinstance(data, str | os.PathLike):
        return load_panel(Path(data))
    raise UserError(
        f"data = {shown(data)}: must be a price file (Parquet or CSV), a pandas DataFrame with its columns, "
        "the data parameters of a market, or None for made-up prices"
    )


def _dates(window: Any) -> dict[str, Any]:
    if not (isinstance(window, tuple | list) and len(window) == 2):
        raise UserError(f"window = {shown(window)}: must be two dates, (first, last); None: as far as the data goes")
    return dict(zip(("start", "end"), window, strict=True))
