"""Tune's PB2 as a population that goes on; apart, for it brings in scikit-learn: an extra, and seconds to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from ray.tune.schedulers.pb2 import PB2

from wealtharena.tuning.population import Population


class ModelledPopulation(Population, PB2):
    """Tune's PB2, with what its model of gains is made of."""

    def get_state(self) -> dict[str, Any]:
        """What goes on with the trials, and all scores so far."""
        data = self.data
        for trial in self.unsaved():
            at = self._trial_state[trial].last_perturbation_time
            data = data[(data.Trial != str(trial)) | (data.Time != at)]
        return {**super().get_state(), "data": data, "explored": self.last_exploration_time, "current": self.current}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes what ``get_state`` gave."""
        super().set_state(state)
        self.data: pd.DataFrame = state["data"]
        self.last_exploration_time, self.current = state["explored"], state["current"]
