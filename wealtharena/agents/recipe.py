"""From what a caller says to a checked agent and a checked market, with one line for what does not fit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from environments.errors import DataError
from environments.market.config import ALLOCATOR, MarketParams, TraderParams
from environments.market.panel import Panel, load_panel, panel_from_frame
from environments.market.signals import action_space
from policies.algorithm import Algorithm
from policies.errors import MemberError
from wealtharena.agents.parts import Profile
from wealtharena.document import Document, shown
from wealtharena.errors import UserError
from wealtharena.evidence.check import frame_of
from wealtharena.experiment import load_class
from wealtharena.spec import Section, Target
from wealtharena.validation import validate

Source = str | os.PathLike[str] | pd.DataFrame | Mapping[str, Any] | None
Window = tuple[str | date | None, str | date | None]

ALGORITHMS: Mapping[str, Target] = {
    "crypto": "policies.sac:SAC",
    "etf": "policies.a2c:A2C",
    "currencies": "policies.dqn:DQN",
}
"""Of the quickstart, by class; any other class learns with PPO."""

MADE_UP: Mapping[str, Any] = {"bars": 2500, "predictability": 0.03}
"""The market of the quickstart, of which a small part can be foreseen."""

OWN_FIELDS = ("data", "window", "traders", "allocator")


class _Request(Section):
    """What ``Agent.create`` is told, before its parts are looked at."""

    algorithm: Target
    params: dict[str, Any]
    trader: dict[str, Any]
    seed: int


@contextmanager
def user_errors() -> Iterator[None]:
    """What is wrong with data or with an algorithm's actions is a ``UserError`` too."""
    try:
        yield
    except (DataError, MemberError) as error:
        raise UserError(str(error)) from error


def profile_of(
    asset_class: str,
    *,
    name: str | None,
    algorithm: str | None,
    params: Mapping[str, Any],
    trader: Mapping[str, Any],
    seed: int,
) -> Profile:
    """Checks what ``Agent.create`` was told.

    Raises:
        UserError: Something of it cannot be.
    """
    if asset_class == ALLOCATOR:
        raise UserError(f"Agent.create({ALLOCATOR!r}): it divides capital among classes; train a team to have one")
    data = {
        "algorithm": algorithm or ALGORITHMS.get(asset_class, "policies.ppo:PPO"),
        "params": dict(params),
        "trader": {"asset_class": asset_class, **trader},
        "seed": seed,
    }
    document = Document("Agent.create", data, {})
    validate(_Request, document)
    made = Profile(name or asset_class, validate(TraderParams, document, ("trader",)), algorithm_of(document), seed)
    with user_errors():
        made.algorithm.check(made.name, action_space(_trader(made), 1))
    return made


def algorithm_of(document: Document) -> Algorithm:
    """The algorithm that ``algorithm`` and ``params`` of a document describe.

    Raises:
        UserError: There is no such algorithm, or it has no such hyperparameters.
    """
    found = load_class(Algorithm, document.data["algorithm"], document, ("algorithm",))
    made: Algorithm = found(validate(found.Params, document, ("params",)))
    return made


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
        "traders": {profile.name: _trader(profile).model_dump()},
        "allocator": None,
        **({} if window is None else {"window": _dates(window)}),
    }
    return validate(MarketParams, Document("market", given, {}))


def _trader(profile: Profile) -> TraderParams:
    if profile.trader is None:
        raise UserError(
            f"agent {profile.name!r} trades no class of assets, so it cannot be trained alone; train a team with "
            f"'wealtharena train' in which members.{profile.name}.start_from names this agent"
        )
    return profile.trader


def _source(profile: Profile, data: Source, folder: Path) -> Mapping[str, Any]:
    """Where its prices come from, as ``DataParams`` takes it."""
    asset_class = _trader(profile).asset_class
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
