"""What the parameters of a process say in short: a number, a list or a matrix, made a tensor and checked."""

from __future__ import annotations

import torch
from torch import Tensor

Row = tuple[float, ...]
PerAsset = float | Row
Matrix = float | Row | tuple[Row, ...]

_ROUNDING = 1e-9  # relative: a matrix computed by the user is symmetric up to this


def vector(name: str, value: PerAsset, size: int) -> Tensor:
    """A number for all, or one for each: float64 (size,).

    Raises:
        ValueError: The list has another length.
    """
    if isinstance(value, tuple) and len(value) != size:
        raise ValueError(f"{name} has {len(value)} numbers; give one for all or {size}")
    return torch.as_tensor(value, dtype=torch.float64).expand(size).clone()


def square(name: str, value: Matrix, size: int) -> Tensor:
    """A number times the identity, a list as the diagonal, or the matrix itself: float64 (size, size).

    Raises:
        ValueError: The shape is another.
    """
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return rectangle(name, value, size, size)
    if isinstance(value, tuple) and len(value) != size:
        raise ValueError(f"{name} has {len(value)} rows; give a number, {size} numbers or a {size} x {size} matrix")
    return torch.as_tensor(value, dtype=torch.float64).expand(size).diag()


def rectangle(name: str, value: Matrix, rows: int, columns: int) -> Tensor:
    """The matrix itself, rows of equal length: float64 (rows, columns).

    Raises:
        ValueError: The shape is another.
    """
    lengths = {len(row) if isinstance(row, tuple) else 0 for row in value} if isinstance(value, tuple) else set()
    if not isinstance(value, tuple) or len(value) != rows or lengths != {columns}:
        raise ValueError(f"{name} must be a {rows} x {columns} matrix, a list of {rows} rows of {columns} numbers")
    return torch.tensor(value, dtype=torch.float64)


def covariance(name: str, value: Matrix, size: int) -> Tensor:
    """A ``square`` that is symmetric and positive definite: float64 (size, size).

    Raises:
        ValueError: It is not, or the shape is another.
    """
    matrix = square(name, value, size)
    if not torch.allclose(matrix, matrix.T, rtol=_ROUNDING, atol=0.0):
        raise ValueError(f"{name} must be symmetric: entry (i, j) equals entry (j, i)")
    matrix = (matrix + matrix.T) / 2
    if torch.linalg.cholesky_ex(matrix).info.item() != 0:
        raise ValueError(f"{name} must be positive definite: no combination of the columns may have a variance of 0")
    return matrix


def spectral_radius(matrix: Tensor) -> float:
    """The largest absolute value of the eigenvalues."""
    return float(torch.linalg.eigvals(matrix).abs().max())


def stationary(transition: Tensor, innovation: Tensor) -> Tensor:
    """S = A S A' + Q, the covariance that f' = A f + N(0, Q) settles in: float64 (K, K).

    Args:
        transition: A, spectral radius below 1.
        innovation: Q.
    """
    size = len(transition)
    kernel = torch.eye(size * size, dtype=torch.float64) - torch.kron(transition, transition)
    solved = torch.linalg.solve(kernel, innovation.reshape(-1)).reshape(size, size)
    return (solved + solved.T) / 2


def applied(matrix: Tensor, vector_EN: Tensor) -> Tensor:
    """The matrix (M, N) times each row: (E, M). Not ``@``, whose rounding may depend on E."""
    return (vector_EN.unsqueeze(1) * matrix).sum(-1)
