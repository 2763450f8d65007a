"""Simulated prices: every copy and episode draws a path of its own, bar by bar.

A bar opens where the last one closed. All randomness comes from counters (seed, copy, episode, bar), so that prices
do not depend on what is traded, but for the permanent impact that the parameters ask for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from environments.errors import DataError
from environments.market.alignment import Ints
from environments.market.config import MarketParams
from environments.market.config_data import SimulationParams
from environments.market.feed import Feed, Opening, Rows
from environments.market.processes.base import Process
from environments.market.state import State
from environments.random import Seed, normal

PRICE_STREAM = 1


@dataclass(frozen=True)
class Simulated:
    """What is traded: ``STOCKS01`` is the first asset of class stocks, and so on."""

    symbols: tuple[str, ...]
    classes: tuple[str, ...]
    class_N: Ints


@dataclass(frozen=True)
class _Part:
    """The process of one class, and which columns are its own."""

    name: str
    process: Process
    assets: slice
    hidden: slice
    draws: slice


class SimulatedFeed(Feed):
    """The processes of all classes side by side."""

    overnight = False

    def __init__(self, simulation: SimulationParams, params: MarketParams, device: str) -> None:
        """Builds the processes.

        Raises:
            DataError: Prices that may fall to 0 cannot be traded in weights.
        """
        assert params.horizon is not None  # MarketParams refuses a simulation without one
        built = {name: spec.build(simulation.years, device) for name, spec in simulation.classes.items()}
        _check_sizing(built, params)
        self.positive = all(process.positive for process in built.values())
        self._parts = _side_by_side(built)
        self._draws = sum(process.draws for process in built.values())
        self.listing = _listing(built)
        self.window = (0, params.horizon)
        self.asset_names = {name: process.features for name, process in built.items()}
        self.shared_names = {name: process.shared for name, process in built.items()}
        self.class_names = tuple(
            f"{name}/{feature}"
            for name, process in built.items()
            for feature in (*(f"mean_{feature}" for feature in process.features), *process.shared)
        )
        self.always_N = torch.ones(len(self.listing.symbols), dtype=torch.bool, device=device)
        class_N = torch.from_numpy(self.listing.class_N).to(device)
        self._per_asset_N = 1.0 / class_N.bincount().to(torch.float64)[class_N]
        self._years_1 = torch.tensor([simulation.years], dtype=torch.float64, device=device)

    def open(self, seed: Seed, copy_E: Tensor, episode_E: Tensor) -> Opening:
        """Starts at bar 0, each copy with a draw of its own."""
        bar_E = torch.zeros_like(episode_E)
        normal_EX = self._normals(seed, copy_E, episode_E, bar_E)
        starts = [part.process.start(normal_EX[:, part.draws]) for part in self._parts]
        prices, hidden = zip(*starts, strict=True)
        return Opening(bar_E, bar_E + self.window[1], torch.cat(prices, dim=1), torch.cat(hidden, dim=1))

    def rows(self, seed: Seed, state: State) -> Rows:
        """Draws the next bar."""
        copy_E = torch.arange(len(state.bar_E), device=state.bar_E.device)
        normal_EX = self._normals(seed, copy_E, state.episode_E, state.bar_E + 1)
        price_EN = state.book.price_EN
        steps = [
            (*part.process.step(price_EN[:, part.assets], hidden_EK, normal_EX[:, part.draws]), expected_EN)
            for part, hidden_EK, expected_EN in self._expectations(state)
        ]
        closes, hidden, expected = (torch.cat(columns, dim=1) for columns in zip(*steps, strict=True))
        always_EN = self.always_N.expand_as(price_EN)
        return Rows(
            open_EN=price_EN,
            close_EN=closes,
            slope_EN=None,
            per_asset_EN=self.per_asset(state.bar_E),
            years_E=self._years_1.expand_as(state.bar_E),
            active_EN=always_EN,
            listed_EN=always_EN,
            trades_EN=always_EN,
            settles_EN=None,
            expected_EN=expected,
            hidden_EK=hidden,
        )

    def _expectations(self, state: State) -> list[tuple[_Part, Tensor, Tensor]]:
        found = []
        for part in self._parts:
            hidden_EK = state.hidden_EK[:, part.hidden]
            expected_EN = part.process.expected(state.book.price_EN[:, part.assets], hidden_EK)
            found.append((part, hidden_EK, expected_EN))
        return found

    def _normals(self, seed: Seed, copy_E: Tensor, episode_E: Tensor, bar_E: Tensor) -> Tensor:
        draw_X = torch.arange(self._draws, device=bar_E.device)
        return normal(seed, copy_E.unsqueeze(1), episode_E.unsqueeze(1), PRICE_STREAM, bar_E.unsqueeze(1), draw_X)

    def per_asset(self, bar_E: Tensor) -> Tensor:
        """See ``Feed``."""
        return self._per_asset_N.expand(len(bar_E), -1)

    def surprise(self, state: State, now: Rows) -> Tensor:
        """See ``Feed``; the price change in standard deviations of the process."""
        deviation_EN = torch.cat([self._deviation(part, state) for part in self._parts], dim=1)
        return (now.close_EN - now.open_EN) / deviation_EN.clamp(min=1e-12)

    def _deviation(self, part: _Part, state: State) -> Tensor:
        """The standard deviation of each asset's next price change: (E, n)."""
        price_EN, hidden_EK = state.book.price_EN[:, part.assets], state.hidden_EK[:, part.hidden]
        one_share_NN = torch.eye(part.process.assets, dtype=torch.float64, device=price_EN.device)
        variances = [
            part.process.variance(one_share_N.expand_as(price_EN), price_EN, hidden_EK).sum(1)
            for one_share_N in one_share_NN
        ]
        return torch.stack(variances, dim=1).sqrt()

    def variance(self, state: State, position_EN: Tensor) -> Tensor:
        """See ``Feed``."""
        return torch.cat(
            [
                part.process.variance(
                    position_EN[:, part.assets],
                    state.book.price_EN[:, part.assets],
                    state.hidden_EK[:, part.hidden],
                )
                for part in self._parts
            ],
            dim=1,
        )

    def observe(self, state: State, portfolio_EPN: Tensor) -> dict[str, Tensor]:
        """See ``Feed``."""
        own_ENP = portfolio_EPN.transpose(1, 2)
        return {
            part.name: torch.cat([self._seen(part, state).float(), own_ENP[:, part.assets]], dim=-1)
            for part in self._parts
        }

    def observe_shared(self, state: State) -> dict[str, Tensor]:
        """See ``Feed``."""
        return {part.name: self._seen_shared(part, state).float() for part in self._parts if part.process.shared}

    def overview(self, state: State) -> Tensor:
        """The means over each class's assets, then what is seen of the class as a whole."""
        columns = [
            column_EF
            for part in self._parts
            for column_EF in (self._seen(part, state).mean(1), self._seen_shared(part, state))
        ]
        return torch.cat(columns, dim=1).float()

    def _seen(self, part: _Part, state: State) -> Tensor:
        return part.process.observe(state.book.price_EN[:, part.assets], state.hidden_EK[:, part.hidden])

    def _seen_shared(self, part: _Part, state: State) -> Tensor:
        return part.process.observe_shared(state.book.price_EN[:, part.assets], state.hidden_EK[:, part.hidden])


def _check_sizing(built: dict[str, Process], params: MarketParams) -> None:
    for name, process in built.items():
        if params.sizing == "weights" and not process.positive:
            raise DataError(
                f"data.simulation.classes.{name}: prices of this {type(process).__name__} may fall to 0 and below; "
                "trade them with sizing: shares, or make the process geometric"
            )


def _side_by_side(built: dict[str, Process]) -> tuple[_Part, ...]:
    parts, asset, hidden, draw = [], 0, 0, 0
    for name, process in built.items():
        columns = slice(asset, asset + process.assets), slice(hidden, hidden + process.hidden)
        parts.append(_Part(name, process, *columns, slice(draw, draw + process.draws)))
        asset, hidden, draw = asset + process.assets, hidden + process.hidden, draw + process.draws
    return tuple(parts)


def _listing(built: dict[str, Process]) -> Simulated:
    symbols = tuple(f"{name.upper()}{i + 1:02d}" for name, process in built.items() for i in range(process.assets))
    class_N = np.repeat(np.arange(len(built)), [process.assets for process in built.values()])
    return Simulated(symbols, tuple(built), class_N.astype(np.int64))
