"""Recorder: gathers what each bar brought to the copies of a market, and hands it over as tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from environments.market.env import MarketEnv
from wealtharena.evidence.track import Track

AMOUNTS = ("value", "traded", "cost", "carry", "pnl")


class Recorder:
    """Books of E copies that walk through one window together, from its first bar to its last.

    A copy that is ruined before the window's end keeps its last value from there on, in cash: its later episodes, in
    which it would start again with fresh capital, are not its result.
    """

    def __init__(self, env: MarketEnv) -> None:
        """Starts at the window's first bar; the environment was just reset."""
        self._env = env
        self._first, self._last = env.window_bars
        copies, bars, assets = env.num_envs, self._last - self._first, len(env.panel.symbols)
        self._nav_ES = np.full((copies, bars + 1), env.params.capital, dtype=np.float64)
        self._amounts = {name: np.zeros((copies, bars, assets)) for name in AMOUNTS}
        self._interest_ET = np.zeros((copies, bars))
        self._budget_ETK = np.zeros((copies, bars, len(env.panel.classes) + 1))
        self._budget_ETK[..., -1] = 1.0
        self._objectives: dict[str, npt.NDArray[np.float64]] = {}
        self._voices: dict[str, npt.NDArray[np.float64]] = {}
        self._behaviour: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
        self._bound: dict[str, npt.NDArray[np.bool_]] = {}
        self._ended_E = np.zeros(copies, dtype=bool)
        self._step = 0

    @property
    def finished(self) -> bool:
        """All copies have come to the end of the window, or to their own."""
        return bool(self._ended_E.all())

    def add(self) -> None:
        """Takes over the environment's record of the step just made."""
        record, step = self._env.record, self._step
        going = np.flatnonzero(~self._ended_E)
        for name, amount_ETN in self._amounts.items():
            amount_ETN[going, step] = _array(getattr(record, f"{name}_EN"))[going]
        self._interest_ET[going, step] = _array(record.interest_E)[going]
        self._budget_ETK[going, step] = _array(record.budget_EK)[going]
        self._nav_ES[going, step + 1 :] = _array(record.nav_E)[going, None]
        for name, value_EM in self._env.objectives().items():
            sum_EM = self._objectives.setdefault(name, np.zeros(value_EM.shape))
            sum_EM[going] += _array(value_EM)[going]
        for group, did in self._env.behaviour().items():
            for name, value_E in did.items():
                sum_E = self._behaviour.setdefault((group, name), np.zeros(value_E.shape))
                sum_E[going] += _array(value_E)[going]
        for name, voice_E in self._env.voices().items():
            sum_E = self._voices.setdefault(name, np.zeros(voice_E.shape))
            sum_E[going] += _array(voice_E)[going]
        for name, bound_E in self._env.bound().items():
            bound_ET = self._bound.setdefault(name, np.zeros(self._interest_ET.shape, dtype=bool))
            bound_ET[going, step] = _array(bound_E)[going]
        self._step += 1
        # A copy that is not where its record was made has been reset.
        self._ended_E |= _array(self._env.bar_E) != _array(record.bar_E)

    def tracks(self, names: Sequence[str], *, budget: bool) -> tuple[Track, ...]:
        """One track per copy. ``budget``: whether anyone decided on the capital per class."""
        panel = self._env.panel
        return tuple(
            Track(
                name=name,
                dates=panel.dates_T[self._first : self._last + 1],
                nav=self._nav_ES[copy],
                interest_T=self._interest_ET[copy],
                budget_TK=self._budget_ETK[copy] if budget else None,
                symbols=panel.symbols,
                classes=panel.classes,
                class_N=panel.class_N,
                objectives={name: sum_EM[copy] for name, sum_EM in self._objectives.items()},
                voices={name: float(sum_E[copy]) for name, sum_E in self._voices.items()},
                behaviour={key: float(sum_E[copy]) for key, sum_E in self._behaviour.items()},
                bound={name: bound_ET[copy] for name, bound_ET in self._bound.items()},
                **self._of(copy),
            )
            for copy, name in enumerate(names)
        )

    def _of(self, copy: int) -> dict[str, Any]:
        return {f"{name}_TN": amount_ETN[copy] for name, amount_ETN in self._amounts.items()}


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    return np.asarray(tensor.detach().cpu().numpy())
