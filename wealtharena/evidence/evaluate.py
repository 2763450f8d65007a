"""Out of sample: a trained team walks once through a window it never saw, and the baselines walk beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from environments.market import roster
from environments.market.config import MarketParams
from environments.market.config_coordination import fuser_of
from environments.market.env import MarketEnv
from wealtharena.evidence import sharpe
from wealtharena.evidence.baselines import BASELINES, Baseline, BoolArray, History
from wealtharena.evidence.bootstrap import LEVEL, RESAMPLES, Resampled, block_length
from wealtharena.evidence.evaluation import Evaluation, versions
from wealtharena.evidence.limits import limits
from wealtharena.evidence.metrics import contribution, excess_returns, find_trades, summary
from wealtharena.evidence.objectives import objectives
from wealtharena.evidence.playing import Act, Playing
from wealtharena.evidence.recorder import Recorder
from wealtharena.evidence.roles import DIMENSIONS, above, behaviour, role
from wealtharena.evidence.tally import Tally
from wealtharena.evidence.track import IntArray, Track
from wealtharena.evidence.voices import voices

TEAM, AGAINST = "team", "equal_weight"
MORE_TRIALS = (10, 100)


def evaluate_market(
    env_class: type[MarketEnv],
    params: MarketParams,
    policies: Mapping[str, Act],
    *,
    train_window: tuple[str, str] | None = None,
    seeds: Sequence[int] = (),
    trials: int | None = None,
    rules: Mapping[str, Baseline] = BASELINES,
    device: str = "cpu",
) -> Evaluation:
    """Evaluates deterministic policies over the whole of ``params.window``, beside the baselines.

    Args:
        env_class: The market.
        params: Its parameters, with the test window; the horizon is lifted, so that one episode spans it.
        policies: group -> policy, for every group of the market.
        train_window: First and last date of the training, for the record.
        seeds: Seeds of the training, for the record.
        trials: How many teams were tried on this window, of which this is the best; as many as ``seeds`` if not given.
        rules: The baselines; ``equal_weight`` must be among them, since the team is measured against it.
        device: Where the market runs.
    """
    played = play(env_class, params, policies, rules=rules, device=device)
    return judge(played, train_window=train_window, seeds=seeds, trials=trials)


@dataclass(frozen=True)
class Played:
    """What happened in a test.

    Attributes:
        env: The market that was walked through.
        team: The team's books.
        others: Those of the baselines.
        tallies: group -> what its agents did.
    """

    env: MarketEnv
    team: Track
    others: tuple[Track, ...]
    tallies: Mapping[str, Tally]


def play(
    env_class: type[MarketEnv],
    params: MarketParams,
    policies: Mapping[str, Act],
    *,
    rules: Mapping[str, Baseline] = BASELINES,
    device: str = "cpu",
) -> Played:
    """Walks through the test window with the team, then with every baseline; see ``evaluate_market``."""
    whole = params.model_copy(update={"horizon": None})
    env = env_class(whole, num_envs=1, device=device)
    team, tallies = run_team(env, policies)
    others = run_baselines(env_class(whole, num_envs=len(rules), device=device), rules)
    return Played(env, team, others, tallies)


def judge(
    played: Played, *, train_window: tuple[str, str] | None, seeds: Sequence[int], trials: int | None
) -> Evaluation:
    """What a test was worth, in numbers; see ``evaluate_market``."""
    team, params = played.team, played.env.params
    content = {
        "kind": "market",
        "windows": {"train": _dates(train_window), "test": _test_dates(team)},
        "bars": len(team.returns_T),
        "years": team.years,
        **_compared(team, played.others, params.cash_rate),
        "trials": _trials(team, params.cash_rate, seeds, trials),
        "agents": {name: _agents(team, played.env, name, tally) for name, tally in played.tallies.items()},
        "classes": _classes(team),
        "objectives": objectives(played.env, team, played.others),
        "fusion": voices(played.env, team),
        "risk": limits(params.risk, team),
        "costs": _cost_model(params, team.classes),
        "data": {
            "symbols": len(team.symbols),
            "notes": list(played.env.panel.notes),
            "planted": None if params.data.synthetic is None else params.data.synthetic.predictability,
        },
        "seeds": list(seeds),
        "versions": versions(),
    }
    return Evaluation(content, (team, *played.others))


def run_team(env: MarketEnv, policies: Mapping[str, Act]) -> tuple[Track, dict[str, Tally]]:
    """Walks one copy through the window with the team's policies."""
    obs, recorder, playing = env.reset(seed=0), Recorder(env), Playing(env, policies)
    tallies = {name: Tally(group) for name, group in env.groups.items()}
    while not recorder.finished:
        active = env.active()
        with torch.no_grad():
            actions = playing.actions(obs)
        transition = env.step(actions)
        playing.note(transition)
        recorder.add()
        for name, tally in tallies.items():
            tally.add(actions[name], transition.reward[name], active.get(name))
        obs = transition.obs
    return recorder.tracks([TEAM], budget=env.params.divides_capital)[0], tallies


def run_baselines(env: MarketEnv, rules: Mapping[str, Baseline]) -> tuple[Track, ...]:
    """Walks through the window with one copy per rule, all of them at once."""
    env.reset(seed=0)
    recorder = Recorder(env)
    first, last = env.window_bars
    ordered_EN = np.zeros((len(rules), len(env.panel.symbols)), dtype=bool)
    for bar in range(first, last):
        listed_EN = env.listed_EN().cpu().numpy()
        ordered_EN &= listed_EN  # what fell silent was closed out: a rule that buys once buys it again when it is back
        target_EN = np.full(listed_EN.shape, np.nan)
        for copy, rule in enumerate(rules.values()):
            weight_N = rule(_history(env, bar, listed_EN[copy], ordered_EN[copy]))
            if weight_N is not None:
                target_EN[copy] = weight_N
        order_EN = listed_EN & ~np.isnan(target_EN)
        ordered_EN |= order_EN
        wanted_EN = torch.as_tensor(np.nan_to_num(target_EN), device=env.device)
        env.trade(wanted_EN, torch.as_tensor(order_EN, device=env.device))
        recorder.add()
    return recorder.tracks(tuple(rules), budget=False)


def _history(env: MarketEnv, bar: int, listed_N: BoolArray, ordered_N: BoolArray) -> History:
    panel, until = env.panel, slice(bar + 1)
    months = panel.dates_T[max(bar - 1, 0) : bar + 1].astype("datetime64[M]")
    return History(
        dates_T=panel.dates_T[until],
        close_TN=panel.close_TN[until],
        own_TN=panel.traded_TN[until],
        listed_N=listed_N,
        ordered_N=ordered_N.copy(),
        due=bool(not ordered_N.any() or months[0] != months[-1]),
    )


def _compared(team: Track, others: Sequence[Track], cash_rate: float) -> dict[str, Any]:
    """The numbers of the team and of the baselines, their intervals, and the team's differences from the baselines."""
    tracks = {track.name: track for track in (team, *others)}
    found = {name: summary(track, cash_rate) | sharpe.confidence(track, cash_rate) for name, track in tracks.items()}
    drawn = {name: Resampled.of(track, cash_rate) for name, track in tracks.items()}
    gaps = {
        other.name: {name: gap.as_dict(verdict=True) for name, gap in drawn[team.name].minus(drawn[other.name]).items()}
        for other in others
    }
    return {
        "team": found.pop(team.name),
        "baselines": found,
        "intervals": {
            track: {name: interval.as_dict() for name, interval in draws.intervals().items()}
            for track, draws in drawn.items()
        },
        "difference": {
            "against": AGAINST,
            "level": LEVEL,
            "method": "stationary block bootstrap, paired, percentile (Politis & Romano 1994)",
            "block_length": block_length(len(team.returns_T)),
            "resamples": RESAMPLES,
            **gaps[AGAINST],
        },
        "differences": gaps,
    }


def _trials(team: Track, cash_rate: float, seeds: Sequence[int], trials: int | None) -> dict[str, Any]:
    """The team's Sharpe ratio as the best of the trials, and as the best of more than were counted."""
    found = sharpe.estimate(excess_returns(team, cash_rate))
    count = max(1, len(seeds)) if trials is None else trials
    return {
        **sharpe.as_best_of(found, count, team.years),
        "counted": "seeds of this run" if trials is None else "given",
        "if_more": [sharpe.as_best_of(found, more, team.years) for more in MORE_TRIALS if more > count],
    }


def _agents(team: Track, env: MarketEnv, name: str, tally: Tally) -> dict[str, Any]:
    """What a group did; for a group of traders also what the assets of its class brought."""
    trader = next((trader for trader in roster.traders(env.params, env.panel) if trader.name == name), None)
    if trader is None:
        named = {fuser_of(asset_class): list(names) for asset_class, names in env.params.shared_classes.items()}
        told = above(env, name)
        labels = named.get(name) or DIMENSIONS.get(told.get("role", "")) or [*team.classes, "cash"]
        return told | tally.as_dict(labels) | behaviour(team, name)
    asset = np.arange(len(team.symbols))[trader.assets]
    owner = {"asset_class": team.classes[int(team.class_N[asset[0]])], **role(trader)}
    did = behaviour(team, name) if trader.makes_markets else _books(team, asset)
    return owner | tally.as_dict(_labels(trader)) | did


def _labels(trader: roster.Trader) -> list[str] | None:
    """What each action of a trader means; None for a continuous one of one dimension."""
    if trader.makes_markets:
        return DIMENSIONS["market_making"]
    if trader.kind == "trade":
        return ["Sell", "Hold", "Buy"]
    if trader.kind != "levels":
        return None
    return [_level(level) for level in np.linspace(trader.lowest, 1.0, trader.params.levels)]


def _level(signal: float) -> str:
    if signal == 0:
        return "flat"
    return f"{'long' if signal > 0 else 'short'} {abs(signal):.0%}"


def _classes(team: Track) -> dict[str, Any]:
    return {name: _books(team, np.flatnonzero(team.class_N == index)) for index, name in enumerate(team.classes)}


def _books(team: Track, asset: IntArray) -> dict[str, float | None]:
    """Sums over some of the assets, as shares of the capital at the start, and what they brought bar by bar."""
    trades, capital = find_trades(team).within(asset), float(team.nav[0])
    return {
        "pnl": float(team.pnl_TN[:, asset].sum()) / capital,
        "costs": float(team.cost_TN[:, asset].sum()) / capital,
        "carry": float(team.carry_TN[:, asset].sum()) / capital,
        "traded": float(team.traded_TN[:, asset].sum()) / capital,
        "trades": float(len(trades.pnl)),
        "win_rate": trades.win_rate,
        "average_trade_return": trades.average_return,
        **contribution(team, asset),
    }


def _dates(window: tuple[str, str] | None) -> dict[str, str] | None:
    return None if window is None else {"start": window[0], "end": window[1]}


def _test_dates(team: Track) -> dict[str, str]:
    start, end = (str(date.astype("datetime64[D]")) for date in (team.dates[0], team.dates[-1]))
    return {"start": start, "end": end}


def _cost_model(params: MarketParams, classes: Sequence[str]) -> dict[str, Any]:
    """What the ledger charged: the same for the team and for the baselines."""
    return {"cash_rate": params.cash_rate, "classes": {name: params.cost(name).model_dump() for name in classes}}
