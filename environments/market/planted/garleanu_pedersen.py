"""Trading on decaying signals with quadratic costs: the optimal policies.

State: positions x (N) in shares, signals f (K) with f' = (I - Phi) f + eps, cov(eps) = Omega. The price change of the
coming bar is B f + u, cov(u) = Sigma. On seeing f a trade dx = x - x_before is made; the bar's utility is

    rb (x'B f - gamma/2 x' Sigma x) - 1/2 dx' Lambda dx        with rb = 1 - rho

discounted by rb per bar. Source: Garleanu, Pedersen (2013), Dynamic trading with predictable returns and transaction
costs, equations (1) to (4) and propositions 1 to 3; the finite horizon is their recursion, started from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Problem:
    """N assets and K signals; all rates per bar.

    Attributes:
        loading_NK: B.
        decay_KK: Phi; the signals are stationary where all eigenvalues of I - Phi are below 1 in size.
        innovation_KK: Omega.
        covariance_NN: Sigma.
        impact_NN: Lambda, symmetric and positive definite.
        aversion: gamma.
        discount: rho; 0: the average utility per bar is what counts.
    """

    loading_NK: Array
    decay_KK: Array
    innovation_KK: Array
    covariance_NN: Array
    impact_NN: Array
    aversion: float
    discount: float = 0.0

    @classmethod
    def of(
        cls,
        *,
        loading: ArrayLike,
        decay: ArrayLike,
        innovation: ArrayLike,
        covariance: ArrayLike,
        impact: ArrayLike,
        aversion: float,
        discount: float = 0.0,
    ) -> Self:
        """The problem, from numbers (one asset, one signal) or nested sequences.

        Raises:
            ValueError: Shapes do not go together, the signals are not stationary, or a matrix is not what it must be.
        """
        loading_NK = np.atleast_2d(np.asarray(loading, dtype=np.float64))
        assets, signals = loading_NK.shape
        problem = cls(
            loading_NK=loading_NK,
            decay_KK=_square("decay", decay, signals),
            innovation_KK=_square("innovation", innovation, signals),
            covariance_NN=_square("covariance", covariance, assets),
            impact_NN=_square("impact", impact, assets),
            aversion=float(aversion),
            discount=float(discount),
        )
        problem._check()
        return problem

    def _check(self) -> None:
        for name, matrix in (("covariance", self.covariance_NN), ("impact", self.impact_NN)):
            if not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix).min() <= 0:
                raise ValueError(f"{name} {matrix.tolist()}: it must be symmetric and positive definite")
        if not self.aversion > 0 or not 0 <= self.discount < 1:
            raise ValueError(f"aversion {self.aversion}, discount {self.discount}: > 0, and in [0, 1)")
        if np.abs(np.linalg.eigvals(self.keep_KK)).max() >= 1:
            raise ValueError(f"decay {self.decay_KK.tolist()}: eigenvalues of I - decay must be below 1 in size")

    @property
    def kept(self) -> float:
        """The discount factor rb = 1 - rho."""
        return 1.0 - self.discount

    @property
    def keep_KK(self) -> Array:
        """I - Phi: what is left of the signals one bar later."""
        return np.eye(len(self.decay_KK)) - self.decay_KK

    @property
    def markowitz_NK(self) -> Array:
        """(gamma Sigma)^-1 B: the best positions per signal if trading were free."""
        return np.linalg.solve(self.aversion * self.covariance_NN, self.loading_NK)

    @cached_property
    def signals_KK(self) -> Array:
        """The stationary covariance of the signals: S = (I - Phi) S (I - Phi)' + Omega."""
        return lyapunov(self.keep_KK, self.innovation_KK)


@dataclass(frozen=True, eq=False)
class Linear:
    """x = keep x_before + follow f: (N, N) and (N, K)."""

    keep_NN: Array
    follow_NK: Array


@dataclass(frozen=True, eq=False)
class Value:
    """V(x, f) = -1/2 x'A_xx x + x'A_xf f + 1/2 f'A_ff f + A_0 before the trade, f being seen."""

    xx_NN: Array
    xf_NK: Array
    ff_KK: Array
    constant: float

    def from_flat(self, signals_KK: Array) -> float:
        """Its expectation without positions, the signals drawn with covariance ``signals_KK``."""
        return self.constant + float(np.trace(self.ff_KK @ signals_KK)) / 2


def finite(problem: Problem, bars: int) -> tuple[list[Linear], Value]:
    """The optimal policy of each of ``bars`` bars, the first bar's first, and the value at the start.

    Dynamic programming from the end, where the value is 0: with J = gamma rb Sigma + Lambda + rb A_xx and
    j = rb (B + A_xf (I - Phi)), the best positions are J^-1 (Lambda x_before + j f).
    """
    assets, signals = problem.loading_NK.shape
    value = Value(np.zeros((assets, assets)), np.zeros((assets, signals)), np.zeros((signals, signals)), 0.0)
    policies = []
    for _ in range(bars):
        policy, value = _step_back(problem, value)
        policies.append(policy)
    return policies[::-1], value


def _step_back(problem: Problem, after: Value) -> tuple[Linear, Value]:
    rb, impact_NN, keep_KK = problem.kept, problem.impact_NN, problem.keep_KK
    curvature_NN = problem.aversion * rb * problem.covariance_NN + impact_NN + rb * after.xx_NN
    slope_NK = rb * (problem.loading_NK + after.xf_NK @ keep_KK)
    policy = Linear(np.linalg.solve(curvature_NN, impact_NN), np.linalg.solve(curvature_NN, slope_NK))
    return policy, Value(
        xx_NN=impact_NN - impact_NN @ policy.keep_NN,
        xf_NK=impact_NN @ policy.follow_NK,
        ff_KK=slope_NK.T @ policy.follow_NK + rb * keep_KK.T @ after.ff_KK @ keep_KK,
        constant=rb * (after.constant + float(np.trace(problem.innovation_KK @ after.ff_KK)) / 2),
    )


def infinite(problem: Problem) -> Linear:
    """The optimal policy of a world without end: x = x_before + Lambda^-1 A_xx (aim - x_before), aim = A_xx^-1 A_xf f.

    A_xx and A_xf in closed form (proposition 1 and its proof); at rho = 0 their limit.
    """
    xx_NN, xf_NK = _stationary(problem)
    keep_NN = np.eye(len(xx_NN)) - np.linalg.solve(problem.impact_NN, xx_NN)
    return Linear(keep_NN, np.linalg.solve(problem.impact_NN, xf_NK))


def _stationary(problem: Problem) -> tuple[Array, Array]:
    """A_xx and A_xf of the infinite horizon."""
    rb, aversion = problem.kept, problem.aversion
    root_NN = _power(problem.impact_NN, 0.5)
    inverse_NN = _power(problem.impact_NN, -0.5)
    risk_NN = aversion * inverse_NN @ problem.covariance_NN @ inverse_NN
    half_NN = (problem.discount / rb * np.eye(len(root_NN)) + risk_NN) / 2
    xx_NN = root_NN @ (_power(risk_NN + half_NN @ half_NN, 0.5) - half_NN) @ root_NN
    rest_NN = np.eye(len(root_NN)) - np.linalg.solve(problem.impact_NN, xx_NN).T  # R = I - A_xx Lambda^-1
    return xx_NN, rb * sylvester(rb * rest_NN, problem.keep_KK, rest_NN @ problem.loading_NK)


# ---- linear algebra


def lyapunov(step_ZZ: Array, noise_ZZ: Array) -> Array:
    """The M with M = step M step' + noise."""
    return sylvester(step_ZZ, step_ZZ.T, noise_ZZ)


def sylvester(left: Array, right: Array, constant: Array) -> Array:
    """The X with X = left X right + constant, by vec(left X right) = (right' kron left) vec(X)."""
    matrix = np.eye(constant.size) - np.kron(right.T, left)
    return np.linalg.solve(matrix, constant.reshape(-1, order="F")).reshape(constant.shape, order="F")


def _power(matrix: Array, exponent: float) -> Array:
    """A power of a symmetric positive definite matrix."""
    size, axes = np.linalg.eigh(matrix)
    return (axes * size**exponent) @ axes.T


def _square(name: str, value: ArrayLike, size: int) -> Array:
    matrix = np.atleast_2d(np.asarray(value, dtype=np.float64))
    if matrix.shape != (size, size):
        raise ValueError(f"{name} has shape {matrix.shape}; with this loading it must be ({size}, {size})")
    return matrix
