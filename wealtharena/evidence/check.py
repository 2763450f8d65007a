"""The laws of an environment, tried on the user's own data and configuration before anything is trained.

Every law plays random actions. Those of the accounts and of time look into the market's books and change its data, so
they are tried where the environment is a market; the others hold for any environment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from environments.base import ArrayEnv, Group, Transition
from environments.market.env import MarketEnv
from environments.market.panel import Panel
from wealtharena.experiment import Experiment

COPIES = 4
STEPS = 150
CUTS = 3
"""Bars after which data is changed: on one day alone, what knows tomorrow now and then may not show."""
TOLERANCE = 1e-9
"""Of the accounts, relative to the value of the portfolio."""

Build = Callable[[int], ArrayEnv]
Snapshot = Mapping[str, Tensor]
Actions = Mapping[str, Tensor]


@dataclass(frozen=True)
class Verdict:
    """Whether a law holds, and what was looked at or found."""

    law: str
    passed: bool
    detail: str


def check_laws(experiment: Experiment, *, seed: int = 0) -> Iterator[Verdict]:
    """Tries every law on the experiment's environment, one after the other.

    Args:
        experiment: What would be trained.
        seed: Of the random actions, and of the bar after which data is changed.
    """

    def build(num_envs: int) -> ArrayEnv:
        return experiment.environment(experiment.params, num_envs=num_envs)

    plans = random_actions(build(1).groups, COPIES, STEPS, seed)
    yield observations_are_as_declared(build, plans)
    yield same_seed_same_trajectory(build, plans)
    yield batch_equals_single(build, plans)
    world = build(COPIES)
    if isinstance(world, MarketEnv) and world.params.dated:
        yield accounts_balance(world, plans)
        yield nothing_is_known_early(experiment, world, seed)


def random_actions(groups: Mapping[str, Group], copies: int, steps: int, seed: int) -> Sequence[Actions]:
    """Uniformly random actions of all groups, one mapping per step."""
    generator = torch.Generator().manual_seed(seed)

    def draw(group: Group) -> Tensor:
        shape, space = (copies, len(group.agent_ids)), group.action_space
        if isinstance(space, gym.spaces.Discrete):
            return torch.randint(int(space.n), shape, generator=generator)
        low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
        return low + (high - low) * torch.rand((*shape, *space.shape), generator=generator)

    return [{name: draw(group) for name, group in groups.items()} for _ in range(steps)]


def play(world: ArrayEnv, plans: Sequence[Actions], *, seed: int = 0) -> Iterator[Snapshot]:
    """Everything that can be seen of the world: after the reset, then after each step, by name.

    Of each action the first E rows are played, so that worlds of different sizes can be given the same plans.
    """
    yield {f"obs of {group}": obs.clone() for group, obs in world.reset(seed=seed).items()}
    for plan in plans:
        transition = world.step({group: action[: world.num_envs] for group, action in plan.items()})
        yield {**_flat(transition), **(_of_market(world) if isinstance(world, MarketEnv) else {})}


def _of_market(world: MarketEnv) -> dict[str, Tensor]:
    return {**_flat(world.record), "next_value_EN": world.value_EN.clone()}


def _flat(parts: Transition | Any) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for field in fields(parts):
        value = getattr(parts, field.name)
        named = {f"{field.name} of {group}": v for group, v in value.items()} if isinstance(value, dict) else {}
        flat |= named or ({field.name: value} if isinstance(value, Tensor) else {})
    return {name: value.clone() for name, value in flat.items()}


def observations_are_as_declared(build: Build, plans: Sequence[Actions]) -> Verdict:
    """Every observation is finite, float32 and of the declared shape; every reward is finite."""
    law, world = "observations and rewards are finite and as declared", build(COPIES)
    for step, snapshot in enumerate(play(world, plans)):
        for name, group in world.groups.items():
            obs, shape = snapshot[f"obs of {name}"], (COPIES, len(group.agent_ids), *group.observation_space.shape)
            if obs.shape != shape or obs.dtype != torch.float32 or not obs.isfinite().all():
                found = f"{tuple(obs.shape)} {obs.dtype}, {int((~obs.isfinite()).sum())} not finite"
                return Verdict(law, False, f"{name} at step {step}: {found}, declared {shape} float32")
            if step and not snapshot[f"reward of {name}"].isfinite().all():
                return Verdict(law, False, f"{name} at step {step}: a reward that is NaN or infinite")
    return Verdict(law, True, f"{len(world.groups)} groups, {COPIES} copies, {len(plans)} steps")


def same_seed_same_trajectory(build: Build, plans: Sequence[Actions]) -> Verdict:
    """Two worlds with the same seed and actions are equal to the bit."""
    difference = _first_difference(play(build(COPIES), plans), play(build(COPIES), plans))
    return Verdict("the same seed gives the same trajectory", not difference, difference or f"{len(plans)} steps")


def batch_equals_single(build: Build, plans: Sequence[Actions]) -> Verdict:
    """A copy goes its way whether it is stepped alone or among others."""
    law = "a copy in a batch equals the same world alone"
    for alone in (1, COPIES - 1):
        difference = _first_difference(play(build(alone), plans), play(build(COPIES), plans))
        if difference:
            return Verdict(law, False, f"{alone} against {COPIES} copies: {difference}")
    return Verdict(law, True, f"1 and {COPIES - 1} against {COPIES} copies, {len(plans)} steps")


def accounts_balance(world: MarketEnv, plans: Sequence[Actions]) -> Verdict:
    """Value after = value before + shares x price changes + captured - costs + carry + interest.

    Shares follow from the recorded position values and the panel's closes, so that the ledger's own sums are not used.
    """
    law, panel = "the accounts balance", world.panel
    open_TN, close_TN = torch.as_tensor(panel.open_TN), torch.as_tensor(panel.close_TN)
    fresh_E = torch.full((world.num_envs,), float(world.params.capital), dtype=torch.float64)
    world.reset(seed=0)
    nav_E, value_EN, worst = fresh_E, world.value_EN, 0.0
    for snapshot in list(play(world, plans))[1:]:
        bar_E = snapshot["bar_E"]
        before_EN = value_EN / close_TN[bar_E - 1]
        after_EN = snapshot["value_EN"] / close_TN[bar_E]
        gain_EN = before_EN * (open_TN[bar_E] - close_TN[bar_E - 1]) + after_EN * (close_TN[bar_E] - open_TN[bar_E])
        gain_EN += snapshot["captured_EN"] - snapshot["cost_EN"] + snapshot["carry_EN"]
        change_E = gain_EN.sum(1) + snapshot["interest_E"]
        worst = max(worst, float(((nav_E + change_E - snapshot["nav_E"]) / nav_E).abs().max()))
        nav_E = torch.where(snapshot["done"], fresh_E, snapshot["nav_E"])
        value_EN = snapshot["next_value_EN"]
    return Verdict(law, worst <= TOLERANCE, f"largest relative error {worst:.1e} in {len(plans)} steps")


def nothing_is_known_early(experiment: Experiment, world: MarketEnv, seed: int) -> Verdict:
    """Data after a random bar is changed, ``CUTS`` times: nothing observed, done or earned up to that bar may move."""
    law, generator = "nothing is known before its time", np.random.default_rng(seed)
    tried = []
    for _ in range(CUTS):
        day, difference, moved = _other_future(experiment, world, generator)
        if difference:
            return Verdict(law, False, f"data after {day} changed: {difference}")
        tried.append(day if moved else f"{day} (nothing followed)")
    return Verdict(law, True, f"data after {', '.join(tried)} changed: nothing before it moved")


def _other_future(experiment: Experiment, world: MarketEnv, generator: np.random.Generator) -> tuple[str, str, bool]:
    """Plays up to a random bar and beyond it, twice: its day, what differs up to it, whether anything does after."""
    first, last = world.window_bars
    steps = min(STEPS, last - first)
    first = max(first, _first_of_day(world.panel, int(generator.integers(first, last - steps, endpoint=True))))
    cut = first + int(generator.integers(steps // 2, steps))
    plans = random_actions(world.groups, 1, steps, int(generator.integers(2**31)))
    with tempfile.TemporaryDirectory() as folder:
        start = _day(world.panel, first)
        tables = _futures(world.panel, cut, generator)
        pasts = [list(play(_retold(experiment, table, Path(folder), start), plans)) for table in tables]
    known = cut - first + 1  # the reset, and the steps that end at the bar of the cut or before
    before = _first_difference(pasts[0][:known], pasts[1][:known])
    return _day(world.panel, cut), before, bool(_first_difference(*pasts))


def _retold(experiment: Experiment, table: pd.DataFrame, folder: Path, start: str) -> ArrayEnv:
    """The same market over other bars: one episode, from ``start`` to the end of the window."""
    file = folder / "panel.parquet"
    table.to_parquet(file, index=False)
    given = experiment.params.model_dump()
    changes = {"data": {"path": file}, "horizon": None, "window": {**given["window"], "start": start}}
    params = experiment.environment.Params.model_validate({**given, **changes})
    return experiment.environment(params, num_envs=1)


def _futures(panel: Panel, cut: int, generator: np.random.Generator) -> Iterator[pd.DataFrame]:
    """The panel's bars as they are, then with everything after bar ``cut`` changed."""
    table = frame_of(panel)
    yield table
    later = (table["date"] > panel.dates_T[cut]).to_numpy()
    factor = np.where(later, np.exp(generator.normal(0.0, 0.3, len(table))), 1.0)
    amounts = table.columns.difference(["date", "symbol", "asset_class"])
    yield table.assign(**{name: table[name] * factor for name in amounts})


def frame_of(panel: Panel) -> pd.DataFrame:
    """The bars of a panel, one row per asset and own bar, as a price file holds them."""
    bar, asset = np.nonzero(panel.traded_TN)
    names = ("open", "high", "low", "close", "volume")
    columns = {name: getattr(panel, f"{name}_TN") for name in names} | dict(panel.extras)
    return pd.DataFrame(
        {
            "date": panel.dates_T[bar],
            "symbol": np.array(panel.symbols)[asset],
            "asset_class": np.array(panel.classes)[panel.class_N[asset]],
            **{name: value_TN[bar, asset] for name, value_TN in columns.items()},
        }
    )


def _first_difference(ones: Iterator[Snapshot] | list[Snapshot], others: Iterator[Snapshot] | list[Snapshot]) -> str:
    """Where two trajectories part, in their common copies, or nothing."""
    for step, (one, other) in enumerate(zip(ones, others, strict=True)):
        for name, value in one.items():
            if not torch.equal(value, other[name][: len(value)]):
                return f"{name} differs at step {step}"
    return ""


def _first_of_day(panel: Panel, bar: int) -> int:
    """The first bar of a bar's day: where a window that is given by that day begins."""
    days_T = panel.dates_T.astype("datetime64[D]")
    return int(np.searchsorted(days_T, days_T[bar]))


def _day(panel: Panel, bar: int) -> str:
    return str(panel.dates_T[bar].astype("datetime64[D]"))
