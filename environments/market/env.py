"""The market: signals -> fusion -> allocation -> risk -> orders -> execution -> ledger -> reward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor

from environments.base import ArrayEnv, Transition
from environments.market import allocation, execution, fusion, ledger, observations, rewards, risk, roster, signals
from environments.market.config import ALLOCATOR, MarketParams
from environments.market.panel import Panel
from environments.market.record import MarketRecord
from environments.market.roster import Trader
from environments.market.state import State, choose, restored, saved
from environments.market.tables import Rows, build
from environments.random import uniform

RUIN = 0.2  # of the capital: an episode that falls to it ends
START_STREAM = 0
ROUNDING = 1e-12  # a cap that changes a weight by less gives no order


@dataclass(frozen=True)
class Orders:
    """What is wanted at the close of bar t.

    Attributes:
        target_EN: float64, target weights.
        order_EN: bool, where an order stands.
        signal_EN: float64, what was asked for, before caps.
        budget_EK: float64.
        sleeve_EN: float64.
        score_EJ: float64, the traders' performances (see ``fusion``) after this step.
        caps: What holds after the fills.
    """

    target_EN: Tensor
    order_EN: Tensor
    signal_EN: Tensor
    budget_EK: Tensor
    sleeve_EN: Tensor
    score_EJ: Tensor
    caps: risk.Limits


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
        self.panel: Panel = roster.prices(params.data)
        self.window_bars: tuple[int, int] = roster.window_bars(params, self.panel)
        self._traders = roster.traders(params, self.panel)
        self._tables = build(self.panel, params, device)
        self.feature_names = roster.feature_names(params, self._traders, self.panel, self._tables)
        self.groups = roster.groups(params, self._traders, self.panel, self.feature_names)
        self._always_active = roster.always_active(params, self._traders, self._tables, self.window_bars)
        self._set_constants()
        self._seed: int | None = None
        self._state: State | None = None
        self._record: MarketRecord | None = None

    def _set_constants(self) -> None:
        params, classes = self.params, self.panel.classes
        class_N = torch.from_numpy(self.panel.class_N).to(self.device)

        def per_asset(values: Iterable[float]) -> Tensor:
            return torch.tensor(list(values), dtype=torch.float64, device=self.device)[class_N]

        costs = [params.cost(name) for name in classes]
        self._classes = risk.Classes(class_N, class_N.bincount().cumsum(0) - 1)
        self._flat_N = per_asset((cost.spread_bps / 2 + cost.commission_bps) * 1e-4 for cost in costs)
        self._borrow_N = per_asset(cost.borrow_rate for cost in costs)
        self._lowest_N = per_asset(roster.lowest(name, params) for name in classes)
        self._caps = risk.Limits(params.risk.max_position, params.risk.max_class, params.risk.max_gross)
        budget_K = allocation.equal_budgets(len(classes), with_cash=params.allocator is not None)
        self._budget_K = budget_K.to(self.device)
        self._desks = [[j for j, player in enumerate(self._traders) if player.asset_class == name] for name in classes]
        self._agent_columns = {player.name: player.assets for player in self._traders} | {ALLOCATOR: slice(-1, None)}

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
        return self._tables.listed(self._running().bar_E)

    def active(self) -> dict[str, Tensor]:
        """Who decides now; a group that always does is left out."""
        state = self._running()
        active_EN = self._tables.active(state.bar_E)
        found = {
            player.name: active_EN[:, player.assets]
            for player in self._traders
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
        now = self._tables.rows(before.bar_E)
        after, reward_EM = self._trade(before, now, self._decide(before, now, actions))
        ended_E, cut_E = self._ends(after)
        final_obs = self._observe(after)
        self._state = self._restarted(after, ended_E | cut_E)
        obs = final_obs if self._state is after else self._observe(self._state)
        return Transition(
            obs=obs,
            final_obs=final_obs,
            reward={name: reward_EM[:, self._agent_columns[name]] for name in self.groups},
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
        now = self._tables.rows(before.bar_E)
        order_EN = order_EN & now.listed_EN
        target_EN = torch.where(order_EN, target_EN.to(torch.float64), before.stand_EN)
        orders = Orders(
            target_EN=target_EN,
            order_EN=order_EN | before.order_EN,
            signal_EN=target_EN / before.sleeve_EN,
            budget_EK=before.budget_EK,
            sleeve_EN=before.sleeve_EN,
            score_EJ=before.score_EJ,
            caps=risk.Limits(torch.inf, torch.inf, max(1.0, self.params.risk.max_gross)),
        )
        after, _ = self._trade(before, now, orders)
        ended_E, cut_E = self._ends(after)
        self._state = self._restarted(after, ended_E | cut_E)
        return self.record

    def _running(self) -> State:
        if self._state is None:
            raise RuntimeError("MarketEnv: no episode is running; call reset() first")
        return self._state

    def _fresh(self, episode_E: Tensor) -> State:
        """The first state of an episode."""
        bar_E, end_E = self._span(episode_E)
        price_EN = self._tables.close_TN.index_select(0, bar_E)
        zero_EN = torch.zeros_like(price_EN)
        cash_E = torch.full_like(price_EN[:, 0], self.params.capital)
        budget_EK = self._budget_K.expand(len(bar_E), -1)
        per_asset_EN = self._tables.rows(bar_E).per_asset_EN
        return State(
            book=ledger.Book(cash_E, zero_EN, price_EN, price_EN),
            nav_E=cash_E,
            weight_EN=zero_EN,
            bar_E=bar_E,
            end_E=end_E,
            step_E=torch.zeros_like(bar_E),
            episode_E=episode_E,
            budget_EK=budget_EK,
            sleeve_EN=allocation.sleeves(budget_EK, self._classes.class_N, per_asset_EN),
            order_EN=torch.zeros_like(zero_EN, dtype=torch.bool),
            stand_EN=zero_EN,
            held_EN=zero_EN,
            drawdown_EM=torch.zeros_like(price_EN[:, :1]).expand(-1, price_EN.shape[1] + 1),
            score_EJ=torch.zeros_like(price_EN[:, :1]).expand(-1, len(self._traders)),
        )

    def _span(self, episode_E: Tensor) -> tuple[Tensor, Tensor]:
        """First and last bar of an episode."""
        (first, last), horizon = self.window_bars, self.params.horizon
        if horizon is None:
            return torch.full_like(episode_E, first), torch.full_like(episode_E, last)
        copy_E = torch.arange(self.num_envs, device=self.device)
        draw_E = uniform(self._seed or 0, copy_E, episode_E, START_STREAM)
        bar_E = first + (draw_E * (last - horizon - first + 1)).long()
        return bar_E, bar_E + horizon

    def _ends(self, after: State) -> tuple[Tensor, Tensor]:
        """Who is terminated and who is truncated."""
        if not bool(after.nav_E.isfinite().all()):
            copy = int((~after.nav_E.isfinite()).nonzero()[0])
            raise ValueError(
                f"MarketEnv: the value of copy {copy} is {after.nav_E[copy]}: an action was NaN or infinite"
            )
        ended_E = after.nav_E <= RUIN * self.params.capital
        return ended_E, (after.bar_E >= after.end_E) & ~ended_E

    def _restarted(self, after: State, done_E: Tensor) -> State:
        if not bool(done_E.any()):
            return after
        return choose(done_E, self._fresh(after.episode_E + 1), after)

    # ---- one bar

    def _decide(self, before: State, now: Rows, actions: Mapping[str, Tensor]) -> Orders:
        """From actions to orders: signals, fusion, allocation, risk."""
        budget_EK = self._budgets(before, actions)
        sleeve_EN = allocation.sleeves(budget_EK, self._classes.class_N, now.per_asset_EN)
        asked_EN, asked_anew_EN, score_EJ = self._signals(before, now, actions)
        moved_EN = asked_anew_EN & now.active_EN
        signal_EN = torch.where(moved_EN, asked_EN, before.held_EN)
        resized_EN = moved_EN | ((sleeve_EN != before.sleeve_EN) & now.listed_EN)
        wanted_EN = torch.where(resized_EN, signal_EN * sleeve_EN, before.stand_EN)
        target_EN = risk.capped(wanted_EN, self._classes, self._caps)
        trimmed_EN = (target_EN - wanted_EN).abs() > ROUNDING
        order_EN = before.order_EN | resized_EN | trimmed_EN
        return Orders(target_EN, order_EN, signal_EN, budget_EK, sleeve_EN, score_EJ, self._caps)

    def _budgets(self, before: State, actions: Mapping[str, Tensor]) -> Tensor:
        params = self.params.allocator
        if params is None:
            return before.budget_EK
        acts_E1 = (before.step_E % params.every == 0).unsqueeze(1)
        if ALLOCATOR not in actions:
            _check_left_out(ALLOCATOR, acts_E1)
            return before.budget_EK
        budget_EK = allocation.budgets(actions[ALLOCATOR].squeeze(1), params.sharpness)
        return torch.where(acts_E1, budget_EK, before.budget_EK)

    def _signals(self, before: State, now: Rows, actions: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What is asked for, where it is asked anew, and the traders' performances."""
        said = [self._said(player, before, now, actions) for player in self._traders]
        heard, score_EJ = [], before.score_EJ
        for desk in self._desks:
            if len(desk) == 1:
                heard.append(said[desk[0]])
                continue
            signal_JEA, moved_JEA = (torch.stack(parts) for parts in zip(*(said[j] for j in desk), strict=True))
            voice_EJ = fusion.voices(before.score_EJ[:, desk], self.params.fusion.temperature)
            heard.append(fusion.fuse(signal_JEA, moved_JEA, voice_EJ))
            surprise_EA = self._tables.surprise_TN[before.bar_E, self._traders[desk[0]].assets]
            score_EJ = score_EJ.clone()
            score_EJ[:, desk] = fusion.follow(
                before.score_EJ[:, desk], signal_JEA, surprise_EA, self.params.fusion.half_life
            )
        signals_EA, moved_EA = zip(*heard, strict=True)
        return torch.cat(signals_EA, dim=1), torch.cat(moved_EA, dim=1), score_EJ

    def _said(self, player: Trader, before: State, now: Rows, actions: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The signals of one group; one that is left out holds."""
        held_EA = before.held_EN[:, player.assets]
        if player.name not in actions:
            _check_left_out(player.name, now.active_EN[:, player.assets])
            return held_EA, torch.zeros_like(held_EA, dtype=torch.bool)
        return signals.read(player.kind, actions[player.name], held_EA, player.lowest)

    def _trade(self, before: State, now: Rows, orders: Orders) -> tuple[State, Tensor]:
        """From orders to the close of the next bar: execution, ledger, reward."""
        book = before.book
        years_E = self._tables.years_T.index_select(0, before.bar_E)
        carry_EN, interest_E = ledger.accrue(
            book, self._borrow_N * years_E.unsqueeze(1), self.params.cash_rate * years_E
        )
        fill_EN = (orders.order_EN & now.trades_EN) | now.settles_EN
        fills = execution.fill(
            shares_EN=book.shares_EN,
            open_EN=now.open_EN,
            cash_E=book.cash_E + interest_E + carry_EN.sum(1),
            target_EN=torch.where(now.settles_EN, 0.0, orders.target_EN),
            fill_EN=fill_EN,
            flat_N=self._flat_N,
            slope_EN=now.slope_EN,
            classes=self._classes,
            caps=orders.caps,
        )
        book, pnl_EN = ledger.settle(book, fills, now.open_EN, now.close_EN, carry_EN, interest_E)
        value_EN = book.shares_EN * book.price_EN
        nav_E = book.cash_E + value_EN.sum(1)
        drawdown_EM, reward_EM = self._rewards(before, nav_E, pnl_EN, fills.cost_EN, orders.sleeve_EN)
        weight_EN = value_EN / nav_E.clamp(min=1e-6).unsqueeze(1)
        order_EN = orders.order_EN & ~fill_EN
        stand_EN = torch.where(order_EN, orders.target_EN, weight_EN)
        held_EN = torch.maximum((stand_EN / orders.sleeve_EN).clamp(max=1.0), self._lowest_N)
        after = replace(
            before,
            book=book,
            nav_E=nav_E,
            weight_EN=weight_EN,
            bar_E=before.bar_E + 1,
            step_E=before.step_E + 1,
            budget_EK=orders.budget_EK,
            sleeve_EN=orders.sleeve_EN,
            order_EN=order_EN,
            stand_EN=stand_EN,
            held_EN=held_EN,
            drawdown_EM=drawdown_EM,
            score_EJ=orders.score_EJ,
        )
        self._record = MarketRecord(
            bar_E=after.bar_E,
            nav_E=nav_E,
            value_EN=value_EN,
            traded_EN=fills.traded_EN,
            cost_EN=fills.cost_EN,
            carry_EN=carry_EN,
            pnl_EN=pnl_EN,
            interest_E=interest_E,
            budget_EK=orders.budget_EK,
            signal_EN=orders.signal_EN,
        )
        return after, reward_EM

    def _rewards(
        self, before: State, nav_E: Tensor, pnl_EN: Tensor, cost_EN: Tensor, sleeve_EN: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The new drawdowns, and the rewards of assets and of the portfolio (last)."""
        asset_EN, portfolio_E = rewards.log_returns(pnl_EN, before.nav_E, nav_E)
        return_EM = rewards.columns(asset_EN, portfolio_E, sleeve_EN)
        paid_EN = cost_EN / before.nav_E.unsqueeze(1)
        cost_EM = rewards.columns(paid_EN, paid_EN.sum(1), sleeve_EN)
        drawdown_EM = rewards.drawdown(before.drawdown_EM, return_EM)
        deeper_EM = drawdown_EM - before.drawdown_EM
        return drawdown_EM, rewards.reward(return_EM, cost_EM, deeper_EM, self.params.reward)

    # ---- what agents see

    def _observe(self, state: State) -> dict[str, Tensor]:
        drawdown_E1 = -torch.expm1(-state.drawdown_EM[:, -1:])
        exposure_EC = self._classes.sums(state.weight_EN.abs())
        portfolio = (
            state.held_EN,
            state.sleeve_EN * len(self.panel.symbols),
            observations.unrealised(state.book.shares_EN, state.book.price_EN, state.book.entry_EN),
            state.order_EN,
            drawdown_E1,
            self._classes.spread(exposure_EC),
        )
        traders_ENF = observations.of_traders(self._tables.asset_TNF.index_select(0, state.bar_E), portfolio)
        obs = {player.name: traders_ENF[:, player.assets] for player in self._traders}
        if self.params.allocator is not None:
            classes_EF = self._tables.class_TF.index_select(0, state.bar_E)
            obs[ALLOCATOR] = observations.of_allocator(classes_EF, state.budget_EK, exposure_EC, drawdown_E1)
        return obs

    def _per_agent(self, flag_E: Tensor) -> dict[str, Tensor]:
        return {name: flag_E.unsqueeze(1).expand(-1, len(group.agent_ids)) for name, group in self.groups.items()}


def _check_left_out(name: str, active: Tensor) -> None:
    if bool(active.any()):
        raise ValueError(
            f"step: group {name!r} has active agents but no actions; only a group with none may be left out"
        )
