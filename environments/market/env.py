"""The market: signals -> fusion -> allocation -> risk -> orders -> execution -> ledger -> reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor

from environments.base import ArrayEnv, Transition
from environments.market import bar, observations, roster
from environments.market.allocation import equal_budgets, sleeves
from environments.market.config import ALLOCATOR, MarketParams
from environments.market.ledger import Book
from environments.market.orders import Orders, decide, from_targets
from environments.market.record import MarketRecord
from environments.market.state import State, choose, restored, saved
from environments.market.tables import Rows
from environments.market.world import World, build_world
from environments.random import uniform

RUIN = 0.2  # of the capital: an episode that falls to it ends
START_STREAM = 0


class MarketEnv(ArrayEnv):
    """Trades a panel of prices: a group of agents for each class, an agent for each asset, an allocator above them.

    Time: at the close of bar t agents see what is known then and decide; orders fill at the open of the asset's next
    own bar and stand until then; the book is marked at the close of bar t + 1, and the reward is what came in between.

    Actions: of a trader ``trade`` (Discrete(3): Sell, Hold, Buy), ``levels`` (Discrete(5)) or ``continuous`` (Box(1)),
    see ``signals``; of the allocator Box(K), see ``allocation.budgets``. What is asked for is a share of the asset's
    sleeve (``allocation.sleeves``). A Hold leaves the shares alone, until the sleeve changes: then it is kept to scale.

    Observation: of a trader the features of its asset and ``observations.TRADER_FEATURES``; of the allocator the
    features of all classes and the state of the portfolio. ``feature_names`` names every column.

    Reward: see ``rewards``. A trader is paid for its own sleeve, whatever capital the allocator gives it;
    the allocator for the portfolio.

    Start: all cash, at the window's first bar or (with a horizon) at one drawn at random.
    End: truncated after the horizon or at the window's last bar; terminated at ``RUIN`` of the capital.

    Attributes:
        params: As given.
        panel: The data.
        window_bars: First and last bar that an episode may touch.
        feature_names: group -> names of the columns of its observation.
    """

    Params: ClassVar[type[BaseModel]] = MarketParams

    def __init__(self, params: MarketParams, *, num_envs: int, device: str = "cpu") -> None:
        """Builds E = ``num_envs`` copies.

        Raises:
            DataError: The data cannot be used, or does not go with the parameters.
        """
        self.params = params
        self.num_envs = num_envs
        self.device = device
        self._world: World = build_world(params, device)
        self.panel = self._world.panel
        self.window_bars = self._world.window
        self.feature_names = roster.feature_names(params, self._world.traders, self.panel, self._world.tables)
        self.groups = roster.groups(params, self._world.traders, self.panel, self.feature_names)
        self._always_active = roster.always_active(params, self._world.traders, self._world.tables, self.window_bars)
        self._columns = {player.name: player.assets for player in self._world.traders} | {ALLOCATOR: slice(-1, None)}
        self._seed = 0
        self._state: State | None = None
        self._record: MarketRecord | None = None

    # ---- what others may ask

    @property
    def record(self) -> MarketRecord:
        """What the last step brought, before any automatic reset."""
        if self._record is None:
            raise RuntimeError("MarketEnv.record: nothing has been stepped yet; call step() or trade() first")
        return self._record

    @property
    def bar_E(self) -> Tensor:
        """The current bar of each copy: int64, an index into ``panel.dates_T``."""
        return self._running().bar_E

    def listed_EN(self) -> Tensor:
        """Which assets may be held now: bool (E, N)."""
        return self._world.tables.listed(self._running().bar_E)

    def active(self) -> dict[str, Tensor]:
        """Who decides now; a group that always does is left out."""
        state = self._running()
        active_EN = self._world.tables.active(state.bar_E)
        found = {
            player.name: active_EN[:, player.assets]
            for player in self._world.traders
            if player.name not in self._always_active
        }
        if self.params.allocator is not None and ALLOCATOR not in self._always_active:
            found[ALLOCATOR] = (state.step_E % self.params.allocator.every == 0).unsqueeze(1)
        return found

    def get_state(self) -> dict[str, Any]:
        """The seed, and copies of all tensors of the state."""
        return {"seed": self._seed, "state": saved(self._running())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what ``get_state`` gave: to the bit, with the same parameters and number of copies."""
        copies = len(state["state"]["nav_E"])
        if copies != self.num_envs:
            raise ValueError(f"MarketEnv.set_state: a state of {copies} copies; this environment has {self.num_envs}")
        self._seed = state["seed"]
        self._state = restored(state["state"], self.device)
        self._record = None

    # ---- the episode

    @torch.no_grad()
    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Starts new episodes in all copies; see ``ArrayEnv.reset``."""
        if seed is not None or self._state is None:
            self._seed = seed or 0
            episode_E = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        else:
            episode_E = self._state.episode_E + 1
        self._state = self._fresh(episode_E)
        self._record = None
        return self._observe(self._state)

    @torch.no_grad()
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        """Trades one bar on the decisions of all groups; see ``ArrayEnv.step``."""
        before = self._running()
        now = self._world.tables.rows(before.bar_E)
        orders = decide(self._world, before, now, actions)
        after, reward_EM, ended_E, cut_E = self._advance(before, now, orders)
        final_obs = self._observe(after)
        obs = final_obs if self._state is after else self._observe(self._running())
        return Transition(
            obs=obs,
            final_obs=final_obs,
            reward={name: reward_EM[:, self._columns[name]] for name in self.groups},
            terminated=self._per_agent(ended_E),
            truncated=self._per_agent(cut_E),
            done=ended_E | cut_E,
            active=self.active(),
        )

    @torch.no_grad()
    def trade(self, target_EN: Tensor, order_EN: Tensor) -> MarketRecord:
        """Advances one bar on target weights, without agents: what baselines run on, under the same costs and calendar.

        Orders, execution and ledger are those of ``step``, and so are ends and resets. No cap holds but that on gross
        exposure, at max(1, ``max_gross``), so that nothing is bought with money that is not there.

        Args:
            target_EN: Weights; read where an order is given.
            order_EN: bool, where an order is given: it replaces one that stands. For an asset not listed it is dropped.
        """
        before = self._running()
        now = self._world.tables.rows(before.bar_E)
        orders = from_targets(self._world, before, now, target_EN, order_EN)
        self._advance(before, now, orders)
        return self.record

    def _running(self) -> State:
        if self._state is None:
            raise RuntimeError("MarketEnv: no episode is running; call reset() first")
        return self._state

    def _fresh(self, episode_E: Tensor) -> State:
        """The first state of an episode."""
        bar_E, end_E = self._span(episode_E)
        price_EN = self._world.tables.close_TN.index_select(0, bar_E)
        zero_EN = torch.zeros_like(price_EN)
        cash_E = torch.full_like(price_EN[:, 0], self.params.capital)
        budget_K = equal_budgets(len(self.panel.classes), with_cash=self.params.allocator is not None)
        budget_EK = budget_K.to(self.device).expand(len(bar_E), -1)
        sleeve_EN = sleeves(budget_EK, self._world.classes, self._world.tables.rows(bar_E).per_asset_EN)
        return State(
            book=Book(cash_E, zero_EN, price_EN, price_EN),
            nav_E=cash_E,
            weight_EN=zero_EN,
            bar_E=bar_E,
            end_E=end_E,
            step_E=torch.zeros_like(bar_E),
            episode_E=episode_E,
            budget_EK=budget_EK,
            sleeve_EN=sleeve_EN,
            sized_EN=sleeve_EN,
            order_EN=torch.zeros_like(zero_EN, dtype=torch.bool),
            stand_EN=zero_EN,
            held_EN=zero_EN,
            drawdown_EM=torch.zeros_like(price_EN[:, :1]).expand(-1, price_EN.shape[1] + 1),
            score_EJ=torch.zeros_like(price_EN[:, :1]).expand(-1, len(self._world.traders)),
        )

    def _span(self, episode_E: Tensor) -> tuple[Tensor, Tensor]:
        """First and last bar of an episode."""
        (first, last), horizon = self.window_bars, self.params.horizon
        if horizon is None:
            return torch.full_like(episode_E, first), torch.full_like(episode_E, last)
        copy_E = torch.arange(self.num_envs, device=self.device)
        draw_E = uniform(self._seed, copy_E, episode_E, START_STREAM)
        bar_E = first + (draw_E * (last - horizon - first + 1)).long()
        return bar_E, bar_E + horizon

    def _advance(self, before: State, now: Rows, orders: Orders) -> tuple[State, Tensor, Tensor, Tensor]:
        """Trades one bar and restarts the copies that end: the state before that, rewards, terminated, truncated."""
        after, record, reward_EM = bar.trade(self._world, before, now, orders)
        if bool(after.held_EN.isnan().any()):
            copy = int(after.held_EN.isnan().any(1).nonzero()[0])
            raise ValueError(
                f"MarketEnv: an action of copy {copy} was NaN or a target weight infinite; give finite ones"
            )
        ended_E = after.nav_E <= RUIN * self.params.capital
        cut_E = (after.bar_E >= after.end_E) & ~ended_E
        done_E = ended_E | cut_E
        self._state = choose(done_E, self._fresh(after.episode_E + 1), after) if bool(done_E.any()) else after
        self._record = record
        return after, reward_EM, ended_E, cut_E

    # ---- what agents see

    def _observe(self, state: State) -> dict[str, Tensor]:
        drawdown_E1 = -torch.expm1(-state.drawdown_EM[:, -1:])
        exposure_EC = self._world.classes.sums(state.weight_EN.abs())
        portfolio = (
            state.held_EN,
            state.sleeve_EN * len(self.panel.symbols),
            observations.unrealised(state.book.shares_EN, state.book.price_EN, state.book.entry_EN),
            state.order_EN,
            drawdown_E1,
            self._world.classes.spread(exposure_EC),
        )
        traders_ENF = observations.of_traders(self._world.tables.asset_TNF.index_select(0, state.bar_E), portfolio)
        obs = {player.name: traders_ENF[:, player.assets] for player in self._world.traders}
        if self.params.allocator is not None:
            classes_EF = self._world.tables.class_TF.index_select(0, state.bar_E)
            obs[ALLOCATOR] = observations.of_allocator(classes_EF, state.budget_EK, exposure_EC, drawdown_E1)
        return obs

    def _per_agent(self, flag_E: Tensor) -> dict[str, Tensor]:
        flag_E1 = flag_E.unsqueeze(1)
        return {name: flag_E1.expand(-1, len(group.agent_ids)) for name, group in self.groups.items()}
