"""Prices of a panel: every copy walks along the same bars, from a start of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

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
        own = portfolio_EPN.transpose(1, 2).split_with_sizes(list(self._sizes.values()), dim=1)
        seen = chain.from_iterable(self._market(table, state.bar_E) for table in self.tables.assets)
        return {name: torch.cat(parts, dim=2) for name, *parts in zip(self._sizes, seen, own, strict=True)}

    def _market(self, table: AssetTable, bar_E: Tensor) -> Sequence[Tensor]:
        """The features of prices of each of the table's classes."""
        sizes = [self._sizes[name] for name in table.classes]
        return table.value_TNF.index_select(0, bar_E).split_with_sizes(sizes, dim=1)

    def observe_shared(self, state: State) -> dict[str, Tensor]:
        """A panel's classes show nothing beside their assets."""
        return {}

    def overview(self, state: State) -> Tensor:
        """See ``Feed``."""
        return self.tables.class_TF.index_select(0, state.bar_E)
