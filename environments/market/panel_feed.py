"""Prices of a panel: every copy walks along the same bars, from a start of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from environments.market import observations
from environments.market.config import MarketParams
from environments.market.feed import Feed, Opening, Rows
from environments.market.panel import Panel
from environments.market.state import State
from environments.market.tables import AssetTable, build
from environments.random import Seed, uniform

START_STREAM = 0


class PanelFeed(Feed):
    """The tables of a panel."""

    overnight = True
    positive = True

    def __init__(self, panel: Panel, window: tuple[int, int], params: MarketParams, device: str) -> None:
        self.window = window
        self.tables = build(panel, params, device)
        self.listing = replace(panel, notes=(*panel.notes, *self.tables.notes))
        self.asset_names = {name: table.names for table in self.tables.assets for name in table.classes}
        self.shared_names = dict.fromkeys(panel.classes, ())
        self.class_names = self.tables.class_names
        self.always_N = self.tables.active_TN[slice(*window)].all(0)
        self._settles = bool(self.tables.settles_TN[slice(*window)].any())
        self._horizon = params.horizon
        self._sizes = dict(zip(panel.classes, np.bincount(panel.class_N).tolist(), strict=True))

    def open(self, seed: Seed, copy_E: Tensor, episode_E: Tensor) -> Opening:
        """Starts at the window's first bar or, with a horizon, at one drawn at random."""
        bar_E, end_E = self.span(seed, copy_E, episode_E)
        price_EN = self.tables.close_TN.index_select(0, bar_E)
        return Opening(bar_E, end_E, price_EN, price_EN[:, :0])

    def span(self, seed: Seed, copy_E: Tensor, episode_E: Tensor) -> tuple[Tensor, Tensor]:
        """First and last bar of an episode of each copy."""
        (first, last), horizon = self.window, self._horizon
        if horizon is None:
            return torch.full_like(episode_E, first), torch.full_like(episode_E, last)
        draw_E = uniform(seed, copy_E, episode_E, START_STREAM)
        bar_E = first + (draw_E * (last - horizon - first + 1)).long()
        return bar_E, bar_E + horizon

    def rows(self, seed: Seed, state: State) -> Rows:
        """The same for every seed."""
        return self.tables.rows(state.bar_E, settling=self._settles)

    def per_asset(self, bar_E: Tensor) -> Tensor:
        """See ``Feed``."""
        return self.tables.per_asset_TN.index_select(0, bar_E)

    def surprise(self, state: State, now: Rows) -> Tensor:
        """See ``Feed``."""
        return self.tables.surprise_TN.index_select(0, state.bar_E)

    def variance(self, state: State, position_EN: Tensor) -> Tensor:
        """Nobody knows: ``MarketParams`` refuses what would ask."""
        raise NotImplementedError("a panel does not say what the variance of its next bar is")

    def observe(self, state: State, portfolio_EPN: Tensor) -> dict[str, Tensor]:
        """See ``Feed``."""
        tables = self.tables.assets
        if len(tables) == 1:
            return self._seen(tables[0], state.bar_E, portfolio_EPN)
        parts = portfolio_EPN.split_with_sizes([table.value_TNF.shape[1] for table in tables], dim=2)
        seen = (self._seen(table, state.bar_E, part_EPN) for table, part_EPN in zip(tables, parts, strict=True))
        return {name: seen_EAF for found in seen for name, seen_EAF in found.items()}

    def _seen(self, table: AssetTable, bar_E: Tensor, portfolio_EPN: Tensor) -> dict[str, Tensor]:
        seen_ENF = observations.of_traders(table.value_TNF.index_select(0, bar_E), portfolio_EPN)
        sizes = [self._sizes[name] for name in table.classes]
        return dict(zip(table.classes, seen_ENF.split_with_sizes(sizes, dim=1), strict=True))

    def observe_shared(self, state: State) -> dict[str, Tensor]:
        """A panel's classes show nothing beside their assets."""
        return {}

    def overview(self, state: State) -> Tensor:
        """See ``Feed``."""
        return self.tables.class_TF.index_select(0, state.bar_E)
