"""Members whose gradients are no numbers: which updates were skipped, and when there is no use in going on."""

from __future__ import annotations

import math
from collections.abc import Mapping

from policies.algorithm import Algorithm
from policies.learner_options import SKIPPED_UPDATES, UPDATES
from wealtharena.errors import UserError

_MOST_IN_A_ROW = 3


class Soundness:
    """Counts, for each member, the iterations in a row in which more than half of its updates were skipped."""

    def __init__(self, members: Mapping[str, Algorithm]) -> None:
        """Takes the team's members."""
        self._members = members
        self._in_a_row = dict.fromkeys(members, 0)

    def see(self, learned: Mapping[str, Mapping[str, float]]) -> None:
        """Looks at what an iteration's updates measured: member -> metric -> value.

        Raises:
            UserError: It was so for the third time in a row for a member: says which losses, and what to change.
        """
        for name, figures in learned.items():
            if name not in self._members or not figures.get(UPDATES):
                continue
            failed = 2 * figures.get(SKIPPED_UPDATES, 0) > figures[UPDATES]
            self._in_a_row[name] = self._in_a_row[name] + 1 if failed else 0
            if self._in_a_row[name] >= _MOST_IN_A_ROW:
                raise UserError(self._advice(name, figures))

    def _advice(self, name: str, figures: Mapping[str, float]) -> str:
        algorithm = self._members[name]
        losses = {shown: figures[key] for key, shown in algorithm.metrics.items() if key in figures}
        broken = ", ".join(loss for loss, value in losses.items() if not math.isfinite(value)) or "the gradient alone"
        return (
            f"members.{name} ({type(algorithm).__name__}): training stopped, because in {_MOST_IN_A_ROW} iterations in "
            f"a row more than half of its updates had a gradient that is NaN or infinite and were skipped (no number: "
            f"{broken}). Its weights and the last checkpoint are sound. Lower {_rates(name, algorithm)}, or scale "
            f"the rewards of '{name}' down; then begin a new run, with members.{name}.start_from: RUN for what it has "
            "learnt"
        )


def _rates(name: str, algorithm: Algorithm) -> str:
    """The hyperparameters to lower, with their values, as the experiment file names them."""
    given = algorithm.params.model_dump()
    steps = {key: value for key, value in given.items() if key == "lr" or key.endswith("_lr") or key == "grad_clip"}
    return ", ".join(f"members.{name}.params.{key} ({value or 'no limit'})" for key, value in steps.items())
