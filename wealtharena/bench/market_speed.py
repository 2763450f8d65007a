"""The market alone: steps per second, whether the history's length matters, whether memory grows."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from environments.base import ArrayEnv
from environments.errors import DataError
from environments.faces import MultiAgentFace
from environments.market.stepped import check_compiler
from wealtharena.bench.contest import Arena, market
from wealtharena.bench.memory import resident
from wealtharena.bench.timing import Measure, Samples, in_turn, rate

FORMS = {"plain": False, "compiled": True}  # -> ``MarketParams.compile``
APART = "apart"
"""Histories are compared twice: as copies end by themselves, and with a copy ending at a step of its own (``APART``).

An end costs about half a step, and a longer history has more of them: its prices drift further apart, some copies are
ruined, and from then on end alone. With the same ends in both, what is left is the history's length.
"""

ACTION_SETS = 8  # drawn beforehand and used again and again: drawing them is no part of a step


@dataclass(frozen=True)
class MarketPlan:
    """How the market is measured.

    Attributes:
        assets: Sizes of markets.
        copies: Numbers of copies.
        histories: Bars of the two histories that are compared.
        history_copies: Copies with which they are.
        steps: Steps over which memory must not grow.
        seconds: Of one measurement.
        rounds: Measurements that count.
        forms: Of ``FORMS``; what cannot be compiled is measured in its plain form.
    """

    assets: Sequence[int] = (30, 1)
    copies: Sequence[int] = (1, 64, 1024)
    histories: tuple[int, int] = (500, 6_000)
    history_copies: int = 256
    steps: int = 2_000
    seconds: float = 1.0
    rounds: int = 5
    forms: Sequence[str] = tuple(FORMS)


def measure_market(plan: MarketPlan, device: str = "cpu") -> dict[str, Any]:
    """The part ``market`` of the document; rates are environment steps per second, of the faster form and of each."""
    forms = _forms(plan, device)
    found = in_turn(_subjects(plan, forms, device), plan.rounds)
    history = _compared(plan, found) | {APART: _compared(plan, found, APART)}
    parts = {form: {f"assets_{n}": _medians(f"{form}.assets_{n}.", found) for n in plan.assets} for form in forms}
    return _fastest(list(parts.values())) | {
        "forms": parts,
        "samples": {name: list(samples.values) for name, samples in found.items()},
        "history": {"bars": list(plan.histories)} | history,
        "memory": memory_growth(market(plan.assets[0]).build(64, device), plan.steps),
    }


def _compared(plan: MarketPlan, found: dict[str, Samples], ends: str = "") -> dict[str, Any]:
    """The cost of a step after the long history, against the short one; takes both out of what was found."""
    short, long = (found.pop(_history(bars, ends)) for bars in plan.histories)
    return {"cost_ratio": short.median / long.median, "short": short.as_dict(), "long": long.as_dict()}


def _forms(plan: MarketPlan, device: str) -> Sequence[str]:
    """The plain one alone where nothing can be compiled."""
    try:
        check_compiler(device)
    except DataError:
        return ("plain",)
    return plan.forms


def _fastest(forms: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """The best rate of each case."""
    return {size: {case: max(form[size][case] for form in forms) for case in cases} for size, cases in forms[0].items()}


def _medians(prefix: str, found: Mapping[str, Samples]) -> dict[str, float]:
    """What follows the prefix -> the median."""
    return {name.removeprefix(prefix): found[name].median for name in found if name.startswith(prefix)}


def _subjects(plan: MarketPlan, forms: Sequence[str], device: str) -> dict[str, Measure]:
    subjects: dict[str, Measure] = {}
    for assets, form in itertools.product(plan.assets, forms):
        arena, name = market(assets, compiled=FORMS[form]), f"{form}.assets_{assets}"
        for copies in plan.copies:
            subjects[f"{name}.copies_{copies}"] = _timed(stepper(arena.build(copies, device)), plan)
        subjects[f"{name}.face"] = _timed(face_stepper(arena), plan)
    for ends, bars in itertools.product(("", APART), plan.histories):
        arena = market(plan.assets[0], bars=bars)
        env = arena.build(plan.history_copies, device)
        work = stepper(env)
        if ends == APART:
            end_apart(env, arena.params["horizon"])
        subjects[_history(bars, ends)] = _timed(work, plan)
    return subjects


def _history(bars: int, ends: str) -> str:
    return f"history_{bars}_{ends}"


def end_apart(env: ArrayEnv, horizon: int) -> None:
    """Lets the first episodes of a market's copies end one after the other, in the coming ``horizon`` steps."""
    saved = env.get_state()
    state = saved["state"]
    left_E = 1 + torch.arange(env.num_envs, device=env.device) % horizon
    state["end_E"] = torch.minimum(state["end_E"], state["bar_E"] + left_E)
    env.set_state(saved)


def _timed(work: Callable[[], int], plan: MarketPlan) -> Measure:
    work()
    return lambda: rate(work, plan.seconds)


def stepper(env: ArrayEnv) -> Callable[[], int]:
    """A call makes as many steps as there are sets of actions, and says how many environment steps those were."""
    generator = torch.Generator().manual_seed(0)
    sets = [drawn_actions(env, generator) for _ in range(ACTION_SETS)]
    env.reset(seed=0)

    def step() -> int:
        for actions in sets:
            env.step(actions)
        if env.device == "cuda":
            torch.cuda.synchronize()
        return ACTION_SETS * env.num_envs

    return step


def drawn_actions(env: ArrayEnv, generator: torch.Generator) -> dict[str, Tensor]:
    """Uniform in each group's action space, (E, A) or (E, A, U), on the environment's device."""
    actions = {}
    for name, group in env.groups.items():
        shape = (env.num_envs, len(group.agent_ids))
        if isinstance(group.action_space, gym.spaces.Discrete):
            action = torch.randint(int(group.action_space.n), shape, generator=generator)
        else:
            action = torch.rand((*shape, *group.action_space.shape), generator=generator) * 2 - 1
        actions[name] = action.to(env.device)
    return actions


def face_stepper(arena: Arena) -> Callable[[], int]:
    """The same through the MultiAgentEnv face, episode after episode."""
    face = MultiAgentFace({"env": arena.env, "params": dict(arena.params)})
    generator = np.random.default_rng(0)
    sets = itertools.cycle([_face_actions(face, generator) for _ in range(ACTION_SETS)])
    face.reset(seed=0)

    def step() -> int:
        for actions in itertools.islice(sets, ACTION_SETS):
            _, _, terminated, truncated, _ = face.step(actions)
            if terminated["__all__"] or truncated["__all__"]:
                face.reset()
        return ACTION_SETS

    return step


def _face_actions(face: MultiAgentFace, generator: np.random.Generator) -> dict[str, Any]:
    return {
        agent: int(generator.integers(int(space.n)))
        if isinstance(space, gym.spaces.Discrete)
        else generator.uniform(-1, 1, space.shape).astype(np.float32)
        for agent, space in face.action_spaces.items()
    }


def memory_growth(env: ArrayEnv, steps: int) -> dict[str, int]:
    """How much more is held after ``steps`` steps than before, once warm: tensors, their bytes, resident bytes."""
    step = stepper(env)
    step()
    before, resident_before = _tensors(), resident()
    for _ in range(0, steps, ACTION_SETS):
        step()
    after, resident_after = _tensors(), resident()
    return {
        "steps": steps,
        "tensors": after[0] - before[0],
        "tensor_bytes": after[1] - before[1],
        "resident_bytes": resident_after - resident_before,
    }


def _tensors() -> tuple[int, int]:
    """How many tensors are alive, and their bytes."""
    gc.collect()
    sizes = [held.nbytes for held in gc.get_objects() if type(held) is Tensor]
    return len(sizes), sum(sizes)
