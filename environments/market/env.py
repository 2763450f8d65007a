"""The market: signals -> fusion -> allocation -> risk -> orders -> execution -> ledger -> reward."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor

from environments.base import ArrayEnv, Transition
from environments.market import bar, inventory, opening, pay, rewards
from environments.market.config import ALLOCATOR, MarketParams
from environments.market.config_roles import RISK
from environments.market.desks import Desk
from environments.market.feed import Rows
from environments.market.groups import allocator_names, groups, risk_names
from environments.market.missing import left_out
from environments.market.nests import lone
from environments.market.orders import Orders, decide, from_targets
from environments.market.panel import Panel
from environments.market.record import MarketRecord
from environments.market.rewards import Memories, Outcome
from environments.market.sight import observe
from environments.market.state import State, choose, difference, of_copies, replaced, restored, saved
from environments.market.stepped import Step, Stepped, action_form, check_compiler, typed
from environments.market.world import World, build_world
from environments.random import Seed

Columns = dict[str, Tensor]  # group -> (E, ...)
RUIN = 0.2  # of the capital: an episode that falls to it ends


class MarketEnv(ArrayEnv):
    """Trades prices, of a panel or simulated: a group of agents for each class, an allocator above them.

    Time: at the close of bar t agents see what is known then and decide; orders fill at the open of the asset's next
    own bar and stand until then; the book is marked at the close of bar t + 1, and the reward is what came in between.

    Actions: of a trader ``trade`` (Discrete(3): Sell, Hold, Buy), ``levels`` (Discrete), ``continuous`` or ``adjust``
    (Box), see ``signals``, or ``quotes`` (Box(2)), see ``quotes``; of the allocator Box(K), see ``allocation.budgets``;
    of a fuser Box(J), see ``fusion.chosen_voices``; of a market maker Box(2), see ``inventory``; of the risk manager
    Box(2), see ``oversight``. A trader whose ``every`` is above 1 speaks with its last signal in between.
    What is asked for is a share of the asset's sleeve (``allocation.sleeves``), or a number of shares (``sizing``).
    A Hold leaves the shares alone, until the sleeve changes: then it is kept to scale.

    Observation: of a trader the features of its asset, ``observations.TRADER_FEATURES``, what is seen of the class as
    a whole and, with a finite horizon, the time left; of the allocator the features of all classes and the state of
    the portfolio. ``feature_names`` names every column.

    Reward: see ``rewards``. A trader is paid for its own sleeve, whatever capital the allocator gives it, or for the
    portfolio; the allocator for the portfolio.

    Start: all cash (or the positions that traders start with), at the window's first bar or (with a horizon) at one
    drawn at random; a simulation draws its own.
    End: after the horizon (terminated if it is finite, otherwise truncated), truncated at the window's last bar;
    terminated at ``RUIN`` of the capital.

    Attributes:
        params: As given.
        window_bars: First and last bar that an episode may touch.
        feature_names: group -> names of the columns of its observation.
    """

    Params: ClassVar[type[BaseModel]] = MarketParams
    in_flight = ("reward",)

    def __init__(self, params: MarketParams, *, num_envs: int, device: str = "cpu") -> None:
        """Builds E = ``num_envs`` copies.

        Raises:
            DataError: The data cannot be used, or does not go with the parameters.
        """
        self.params = params
        self.num_envs = num_envs
        self.device = device
        if params.compile:
            check_compiler(device)
        self._world: World = build_world(params, device)
        self.window_bars = self._world.feed.window
        self.feature_names = {seat.player.name: seat.names for seat in self._world.seats}
        self.feature_names |= {fuser.name: fuser.names for fuser in self._world.fusers}
        if params.allocator is not None:
            self.feature_names[ALLOCATOR] = allocator_names(self._world.feed, params)
        if params.risk_manager is not None:
            self.feature_names[RISK] = risk_names(self._world.feed, params)
        self.groups = groups(self._world, self.feature_names)
        self._sizes = {name: len(group.agent_ids) for name, group in self.groups.items()}
        self._forms = {name: action_form(group, num_envs) for name, group in self.groups.items()}
        always_N = self._world.feed.always_N
        speaking = {group.name: group.assets for group in self._world.traders if group.params.clock == 1}
        speaking |= {fuser.name: fuser.assets for fuser in self._world.fusers}
        self._always_active = {name for name, assets in speaking.items() if bool(always_N[assets].all())}
        self._seed: Seed = 0
        self._state: State | None = None
        self._rows: Rows | None = None
        self._wrong_E: Tensor | None = None
        self._compiled = self._compiled_step() if params.compile else None
        self._record: MarketRecord | None = None
        self._outcome: Callable[[], tuple[Outcome, Memories, Orders]] | None = None

    def _compiled_step(self) -> Step:
        from environments.market.compiled import CompiledStep  # noqa: PLC0415  (torch's compiler: seconds to import)

        return CompiledStep(self._twin_step)

    # ---- what others may ask

    @property
    def panel(self) -> Panel:
        """The data; simulated prices have none (``params.dated``)."""
        if not isinstance(self._world.feed.listing, Panel):
            raise TypeError("MarketEnv.panel: simulated prices have no panel; see MarketEnv.params.dated")
        return self._world.feed.listing

    @property
    def desks(self) -> tuple[Desk, ...]:
        """Who speaks about each class of assets."""
        return self._world.desks

    @property
    def record(self) -> MarketRecord:
        """What the last step brought, before any automatic reset."""
        if self._record is None:
            raise RuntimeError("MarketEnv.record: nothing has been stepped yet; call step() or trade() first")
        return self._record

    def objectives(self) -> dict[str, Tensor]:
        """Each objective of the last step, float64 (E, M), assets then portfolio: see ``rewards.objectives``."""
        if self._outcome is None:
            raise RuntimeError("MarketEnv.objectives: nothing has been stepped yet; call step() or trade() first")
        outcome, memories, _ = self._outcome()
        return rewards.objectives(outcome, self.params.reward, memories)

    def bound(self) -> dict[str, Tensor]:
        """Each limit of risk -> whether it bound at the last decision: bool (E,). ``trade`` has none."""
        if self._outcome is None:
            raise RuntimeError("MarketEnv.bound: nothing has been stepped yet; call step() or trade() first")
        _, _, orders = self._outcome()
        return {} if orders.ruling is None else orders.ruling.bound(self._world.classes)

    def voices(self) -> dict[str, Tensor]:
        """How much each trader that shares its class was heard in the last step: float64 (E,), mean over its assets."""
        sharing = {name for names in self.params.shared_classes.values() for name in names}
        if not sharing:
            return {}
        said = zip(self._world.traders, torch.split(self.record.voice_EM, self._world.counts, dim=1), strict=True)
        return {trader.name: voice_EA.mean(1) for trader, voice_EA in said if trader.name in sharing}

    def behaviour(self) -> dict[str, dict[str, Tensor]]:
        """What market makers and the risk manager did in the last step: group -> name -> float64 (E,).

        Of a maker ``pnl``, ``captured``, ``traded`` and ``inventory`` (absolute), as shares of the capital; of the risk
        manager the ``scale`` in force, the ``stop`` and whether it is ``resting``.
        """
        found = {}
        if self._world.makers is not None:
            found = inventory.behaviour(self._world.makers, self.record, self.params.capital)
        if self._world.oversight is not None and self._outcome is not None:
            _, _, orders = self._outcome()
            if orders.watch is not None:
                found[RISK] = orders.watch.shown()
        return found

    def figures(self) -> dict[str, Tensor]:
        """Of the portfolio: ``equity`` as a multiple of the capital, ``drawdown``, and ``capital/<class>``, its share.

        All float64 (E,), as they are now: at the beginning of an episode 1 and 0.
        """
        state = self._running()
        capital = dict(zip(self._world.feed.listing.classes, state.budget_EK.unbind(dim=1), strict=False))
        return {
            "equity": state.nav_E / self.params.capital,
            "drawdown": -torch.expm1(-state.drawdown_EM[:, -1]),
            **{f"capital/{name}": share_E for name, share_E in capital.items()},
        }

    @property
    def bar_E(self) -> Tensor:
        """The current bar of each copy: int64, an index into ``panel.dates_T``."""
        return self._running().bar_E

    @property
    def value_EN(self) -> Tensor:
        """What each position is worth now: float64, negative if short."""
        return self._running().book.value_EN

    def listed_EN(self) -> Tensor:
        """Which assets may be held now: bool (E, N)."""
        return self._next_rows().listed_EN

    def active(self) -> dict[str, Tensor]:
        """Who decides now; a group that always does is left out."""
        acts_E1, active_EN = self._running().acts_E1, self._next_rows().active_EN
        found = {name: active_EA for name, active_EA in self._deciding(active_EN) if name not in self._always_active}
        if self.params.allocator is not None and self.params.allocator.every > 1:
            found[ALLOCATOR] = acts_E1
        if self._world.oversight is not None and self.groups[RISK].every > 1:
            found[RISK] = self._world.oversight.acts(self._running().step_E)
        return found

    def get_state(self) -> dict[str, Any]:
        """The seed, and copies of all tensors of the state.

        Raises:
            ValueError: On a device other than the CPU, where ``step`` does not look: an action since was not finite.
        """
        self._refuse_what_was_wrong()
        return {"seed": self._seed, "state": saved(self._running())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what ``get_state`` gave: to the bit, with the same parameters and number of copies.

        Raises:
            ValueError: It is of another number of copies, or of another market.
        """
        copies, given = len(state["state"]["nav_E"]), restored(state["state"], self.device)
        if copies != self.num_envs:
            raise ValueError(f"MarketEnv.set_state: a state of {copies} copies; this environment has {self.num_envs}")
        differs = difference(given, self._state or self._first(state["seed"]))
        if differs is not None:
            raise ValueError(
                f"MarketEnv.set_state: a state of another market: its {differs} has other shapes or types than here; "
                "give one of an environment with the same parameters"
            )
        self._seed = state["seed"]
        self._begin(given)

    def _first(self, seed: Seed) -> State:
        """The beginning of each copy's first episode."""
        copy_E = torch.arange(self.num_envs, device=self.device)
        return opening.begin(self._world, seed, copy_E, torch.zeros_like(copy_E), ())

    # ---- the episode

    @torch.no_grad()
    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        """Starts new episodes in all copies; see ``ArrayEnv.reset``.

        Raises:
            ValueError: As ``get_state``.
        """
        self._refuse_what_was_wrong()
        if seed is not None or self._state is None:
            self._seed = seed or 0
            state = self._first(self._seed)
        else:
            copy_E = torch.arange(self.num_envs, device=self.device)
            state = opening.begin(self._world, self._seed, copy_E, self._state.episode_E + 1, self._state.terms)
        self._begin(state)
        return observe(self._world, state)

    @torch.no_grad()
    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        """Trades one bar on the decisions of all groups; see ``ArrayEnv.step``.

        Raises:
            ValueError: An action is not finite, or those of a group that decides are left out.
            DataError: At the first step, ``compile``: the step could not be compiled.
        """
        if self._compiled is not None:
            return self._step_compiled(self._compiled, actions)
        before, now = self._running(), self._next_rows()
        orders = decide(self._world, before, now, actions)
        reward, ended_E, cut_E = self._advance(before, now, orders)
        final_obs = observe(self._world, self._running())
        obs = self._go_on(ended_E | cut_E, final_obs)
        return self._told(obs, final_obs, reward, ended_E, cut_E)

    def _told(self, obs: Columns, final_obs: Columns, reward: Columns, ended_E: Tensor, cut_E: Tensor) -> Transition:
        return Transition(
            obs=obs,
            final_obs=final_obs,
            reward=reward,
            terminated=self._per_agent(ended_E),
            truncated=self._per_agent(cut_E),
            done=ended_E | cut_E,
            active=self.active(),
        )

    def _step_compiled(self, compiled: Step, actions: Mapping[str, Tensor]) -> Transition:
        for name in self.groups:
            if name not in actions and (name not in self.active() or bool(self.active()[name].any())):
                raise left_out(name)
        given, before = typed(actions, self._forms), self._running()
        stepped = compiled(self._seed, before, given)
        self._begin(stepped.state)
        self._record, self._outcome = stepped.record, partial(self._again, before, given)
        told = stepped.transition
        if not bool(stepped.eventful):
            return told
        self._wrong_E = stepped.wrong_E
        self._refuse_what_was_wrong()
        return replace(told, obs=self._go_on(told.done, told.final_obs, lone(stepped)), active=self.active())

    def _again(self, before: State, actions: Mapping[str, Tensor]) -> tuple[Outcome, Memories, Orders]:
        """The outcome of a compiled step, which does not tell it, what terms remembered before, and the decision."""
        now = self._world.rows(self._seed, before)
        orders = decide(self._world, before, now, actions)
        _, outcome, _ = bar.trade(self._world, before, now, orders)
        return outcome, before.terms, orders

    def _twin_step(self, seed: Seed, state: State, actions: Mapping[str, Tensor]) -> Stepped:
        """The step that is compiled: on another device's terms it looks at no tensor's numbers. No copy is reset."""
        twin = copy.copy(self)
        classes = replace(self._world.classes, number_N=self._world.classes.class_N.double())
        twin._world, twin._compiled = replace(self._world, on_host=False, classes=classes), None
        twin._seed, twin._wrong_E = seed, None
        twin._begin(state)
        now = twin._next_rows()
        reward, ended_E, cut_E = twin._advance(state, now, decide(twin._world, state, now, actions))
        seen = observe(twin._world, twin._running())
        transition = twin._told(seen, seen, reward, ended_E, cut_E)
        assert twin._wrong_E is not None  # on such terms it is always told
        eventful = (twin._wrong_E | transition.done).any()
        return Stepped(twin._running(), twin.record, twin._wrong_E, eventful, transition)

    @torch.no_grad()
    def trade(self, target_EN: Tensor, order_EN: Tensor) -> MarketRecord:
        """Advances one bar on target weights, without agents: what baselines run on, under the same costs and calendar.

        Orders, execution and ledger are those of ``step``, and so are ends and resets. No cap holds but that on gross
        exposure, at max(1, ``max_gross``), so that nothing is bought with money that is not there.

        Args:
            target_EN: Weights; read where an order is given.
            order_EN: bool, where an order is given: it replaces one that stands. For an asset not listed it is dropped.
        """
        before, now = self._running(), self._next_rows()
        orders = from_targets(self._world, before, now, target_EN, order_EN)
        _, ended_E, cut_E = self._advance(before, now, orders)
        self._go_on(ended_E | cut_E, {})
        return self.record

    def _running(self) -> State:
        if self._state is None:
            raise RuntimeError("MarketEnv: no episode is running; call reset() first")
        return self._state

    def _deciding(self, active_EN: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name of each trader, and which of its agents decide."""
        if self._world.clock_M is not None:
            return self._deciding_in_turn(active_EN)
        if self._world.plainly_paid:
            return zip(self.groups, active_EN.split_with_sizes(self._world.counts, dim=1), strict=False)
        traders = ((seat.player.name, seat.decides(active_EN)) for seat in self._world.seats)
        return chain(traders, ((fuser.name, active_EN[:, fuser.assets]) for fuser in self._world.fusers))

    def _deciding_in_turn(self, active_EN: Tensor) -> Iterator[tuple[str, Tensor]]:
        step_E = self._running().step_E
        for seat in self._world.seats:
            yield seat.player.name, seat.decides(active_EN) & (step_E % seat.player.params.clock == 0).unsqueeze(1)
        yield from ((fuser.name, active_EN[:, fuser.assets]) for fuser in self._world.fusers)

    def _next_rows(self) -> Rows:
        """What the coming step needs, found once: ``active`` tells of it before the step trades on it."""
        if self._rows is None:
            self._rows = self._world.rows(self._seed, self._running())
        return self._rows

    def _begin(self, state: State) -> None:
        self._state, self._rows, self._record, self._outcome = state, None, None, None

    def _go_on(self, done_E: Tensor, seen: Columns, own: Container[int] = ()) -> Columns:
        """Starts new episodes in the copies that are done; with what agents see then, where they saw ``seen``.

        Where the host may look, only what is new is made: copies are seldom done all at once. Tensors that nobody else
        has (see ``replaced``) are written to.
        """
        after = self._running()
        if not self._world.on_host:
            copy_E = torch.arange(self.num_envs, device=done_E.device)
            self._state = choose(
                done_E, opening.begin(self._world, self._seed, copy_E, after.episode_E + 1, after.terms), after
            )
            self._rows = None
            return observe(self._world, self._state) if seen else seen
        copy_X = done_E.nonzero().squeeze(1)
        if not len(copy_X):
            return seen
        episode_X, remembered = after.episode_E.index_select(0, copy_X) + 1, of_copies(after.terms, copy_X)
        fresh = opening.begin(self._world, self._seed, copy_X, episode_X, remembered)
        self._state, self._rows = replaced(after, copy_X, fresh, own), None
        anew = observe(self._world, fresh) if seen else seen
        return {name: seen_EAF.index_copy(0, copy_X, anew[name]) for name, seen_EAF in seen.items()}

    def _advance(self, before: State, now: Rows, orders: Orders) -> tuple[Columns, Tensor, Tensor]:
        """Trades one bar: rewards, and which copies have terminated or are truncated."""
        after, outcome, reward_EM = bar.trade(self._world, before, now, orders)
        self._hold_against(after, orders)
        ruined_E = after.nav_E <= RUIN * self.params.capital
        done_E = ruined_E | outcome.last_E
        ended_E = done_E if self.params.finite else ruined_E
        self._begin(after)
        self._record, self._outcome = outcome.record, lambda: (outcome, before.terms, orders)
        return pay.earned(self._world, before, now, outcome, reward_EM), ended_E, done_E > ended_E

    def _hold_against(self, after: State, orders: Orders) -> None:
        """Notes the copies whose actions were not finite, and says so where the host may look."""
        said = after.held_EN if orders.quote_EN2 is None else torch.cat([after.held_EN, *orders.quote_EN2.unbind(2)], 1)
        if self._world.on_host and not math.isnan(float(said.sum())):
            return
        wrong_E = said.sum(1).isnan()
        self._wrong_E = wrong_E if self._wrong_E is None else self._wrong_E | wrong_E
        if self._world.on_host:
            self._refuse_what_was_wrong()

    def _refuse_what_was_wrong(self) -> None:
        wrong_E, self._wrong_E = self._wrong_E, None
        if wrong_E is not None and bool(wrong_E.any()):
            copy = int(wrong_E.nonzero()[0])
            raise ValueError(
                f"MarketEnv: an action of copy {copy} was NaN or a target weight infinite; give finite ones"
            )

    def _per_agent(self, flag_E: Tensor) -> dict[str, Tensor]:
        flag_E1 = flag_E.unsqueeze(1)
        of_size = {size: flag_E1.expand(-1, size) for size in set(self._sizes.values())}
        return {name: of_size[size] for name, size in self._sizes.items()}
