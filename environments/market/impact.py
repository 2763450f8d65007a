"""Linear price impact: Almgren and Chriss (2001), "Optimal execution of portfolio transactions", eqs. 6-8."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.errors import DataError
from environments.market.config_costs import Matrix


def matrix(name: str, value: Matrix, assets: int, device: str) -> Tensor | None:
    """A number, a number for each asset or a matrix, as a symmetric positive semidefinite N x N matrix; None if all 0.

    Raises:
        DataError: It has another shape, or trading could gain from it.
    """
    given = torch.tensor(value, dtype=torch.float64, device=device)
    if given.shape not in ((), (assets,), (assets, assets)):
        raise DataError(
            f"{name}: shape {tuple(given.shape)}; with {assets} assets give a number, {assets} numbers "
            f"or a {assets} x {assets} matrix"
        )
    full_NN = given if given.dim() == 2 else torch.diag(given.expand(assets))
    if not torch.equal(full_NN, full_NN.T):
        raise DataError(f"{name}: the matrix is not symmetric")
    if float(torch.linalg.eigvalsh(full_NN).min()) < -1e-12 * float(full_NN.abs().max()):
        raise DataError(f"{name}: the matrix is not positive semidefinite, so that trading could gain from its impact")
    return full_NN if bool(full_NN.any()) else None


def check_no_free_profit(temporary_NN: Tensor | None, permanent_NN: Tensor | None) -> None:
    """Refuses a permanent impact beyond the temporary one.

    At prices that stand still, trades dx that add up to 0 earn -1/2 sum dx' (L - G) dx: with L - G not positive
    semidefinite, some of them earn without risk (Huberman and Stanzl 2004, "Price Manipulation and Quasi-Arbitrage").

    Raises:
        DataError: It is.
    """
    if permanent_NN is None:
        return
    net_NN = -permanent_NN if temporary_NN is None else temporary_NN - permanent_NN
    if float(torch.linalg.eigvalsh(net_NN).min()) < -1e-12 * float(permanent_NN.abs().max()):
        raise DataError(
            "linear_impact: permanent is larger than temporary in some direction, so that buying and selling again "
            "would earn without risk; make temporary at least as large"
        )


def narrowed(impact_NN: Tensor | None) -> Tensor | None:
    """The diagonal alone, (N,), where each asset's trades move no price but its own: N times less to compute."""
    if impact_NN is None or not torch.equal(impact_NN, torch.diag(impact_NN.diagonal())):
        return impact_NN
    return impact_NN.diagonal().clone()


def per_asset(impact: Tensor, shares_EN: Tensor) -> Tensor:
    """The price change of each asset by trades of so many shares, float64 (E, N).

    Products are summed row by row: a matrix product's rounding may depend on the number of copies.

    Args:
        impact: float64, a matrix (N, N) or its diagonal (N,), see ``narrowed``.
        shares_EN: float64.
    """
    return shares_EN * impact if impact.dim() == 1 else (shares_EN.unsqueeze(1) * impact).sum(-1)
