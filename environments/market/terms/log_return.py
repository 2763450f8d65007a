"""Log return."""

from __future__ import annotations

from torch import Tensor

from environments.market.rewards import Outcome


class LogReturn:
    """log(value after / value before), net of all costs: those of an episode add up.

    Unit: log return of the bar, on the column's own sleeve. Range: at least log(1e-6).
    ``reward.profit`` is the same in the unit of ``reward.unit``.
    """

    def __call__(self, outcome: Outcome) -> Tensor:
        """The log return of each column."""
        return outcome.return_EM
