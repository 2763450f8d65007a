"""Mean-variance utility."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from environments.base import Params as Parameters
from environments.market.rewards import Outcome


class MeanVariance:
    """r - aversion / 2 x r^2: in the mean over bars, a mean-variance utility (Markowitz 1952).

    The square of a bar's log return r stands for its variance, since its mean is small beside its deviation (Ritter
    2017, "Machine learning for trading").

    Unit: log return. Range: at most 1 / (2 x aversion).
    """

    class Params(Parameters):
        """Parameters.

        Attributes:
            aversion: To risk; 0: the log return.
        """

        aversion: float = Field(1.0, ge=0)

    def __init__(self, params: Params) -> None:
        self._half = 0.5 * params.aversion

    def __call__(self, outcome: Outcome) -> Tensor:
        """The utility of each column."""
        return outcome.return_EM - self._half * outcome.return_EM.square()
