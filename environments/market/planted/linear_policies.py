"""Other policies for the problem of Garleanu and Pedersen (2013), and what any linear policy is worth: exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from environments.market.planted.garleanu_pedersen import Linear, Problem, finite, lyapunov

Array = NDArray[np.floating[Any]]

GOLDEN = (5**0.5 - 1) / 2
NARROWINGS = 100  # of an interval, by the golden section: more than a float64 can tell apart


def myopic(problem: Problem) -> Linear:
    """The best for the coming bar alone, its cost counted: (gamma rb Sigma + Lambda)^-1 (Lambda x_before + rb B f)."""
    policies, _ = finite(problem, 1)
    return policies[0]


def markowitz(problem: Problem, scale: float = 1.0) -> Linear:
    """``scale`` times the best positions if trading were free, whatever the way there costs."""
    return Linear(np.zeros_like(problem.covariance_NN), scale * problem.markowitz_NK)


def towards_markowitz(problem: Problem, rate: float) -> Linear:
    """Goes the share ``rate`` of the way to Markowitz each bar."""
    return Linear((1 - rate) * np.eye(len(problem.covariance_NN)), rate * problem.markowitz_NK)


def best_scale(problem: Problem) -> float:
    """The best ``scale`` of Markowitz, by the average utility per bar, which is quadratic in it."""
    once, twice = (average(problem, markowitz(problem, scale)) for scale in (1.0, 2.0))
    linear, quadratic = (4 * once - twice) / 2, (twice - 2 * once) / 2
    return -linear / (2 * quadratic)


def best_rate(problem: Problem) -> float:
    """The best constant rate towards Markowitz, by the average utility per bar: a search by the golden section."""
    low, high = 0.0, 1.0
    for _ in range(NARROWINGS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if average(problem, towards_markowitz(problem, left)) < average(problem, towards_markowitz(problem, right)):
            low = left
        else:
            high = right
    return (low + high) / 2


def idle(problem: Problem) -> Linear:
    """Never trades."""
    return Linear(np.eye(len(problem.covariance_NN)), np.zeros_like(problem.loading_NK))


# ---- what a linear policy is worth


def total(problem: Problem, policies: Sequence[Linear]) -> float:
    """Expected discounted utility of one policy for each bar, from no positions and stationary signals: exact.

    The joint second moments of (x_before, f) are carried forward; utility is a linear function of them.
    """
    assets = len(problem.covariance_NN)
    signals = len(problem.decay_KK)
    moment_ZZ = np.zeros((assets + signals, assets + signals))
    moment_ZZ[assets:, assets:] = problem.signals_KK
    utility = 0.0
    for bar, policy in enumerate(policies):
        utility += problem.kept**bar * _utility(problem, policy, moment_ZZ)
        step_ZZ, noise_ZZ = _transition(problem, policy)
        moment_ZZ = step_ZZ @ moment_ZZ @ step_ZZ.T + noise_ZZ
    return utility


def average(problem: Problem, policy: Linear) -> float:
    """Expected utility per bar in the long run, at the stationary joint moments of positions and signals: exact.

    A policy that follows no signal is taken to hold nothing, as it does when it starts with nothing.

    Raises:
        ValueError: The positions grow without bound.
    """
    if not policy.follow_NK.any():
        return 0.0
    step_ZZ, noise_ZZ = _transition(problem, policy)
    size = np.abs(np.linalg.eigvals(step_ZZ)).max()
    if size >= 1:
        raise ValueError(f"policy: the largest eigenvalue of what it keeps is {size:.6g}; it must be below 1")
    return _utility(problem, policy, lyapunov(step_ZZ, noise_ZZ))


def position_deviations(problem: Problem, policy: Linear) -> tuple[Array, Array]:
    """Stationary standard deviations of each asset's position and trade: (N,) and (N,), in shares."""
    step_ZZ, noise_ZZ = _transition(problem, policy)
    moment_ZZ = lyapunov(step_ZZ, noise_ZZ)
    gain_NZ = np.hstack([policy.keep_NN, policy.follow_NK])
    held_N, traded_N = (np.diag(rows @ moment_ZZ @ rows.T) for rows in (gain_NZ, _change(gain_NZ)))
    return np.sqrt(held_N), np.sqrt(traded_N)


def _utility(problem: Problem, policy: Linear, moment_ZZ: Array) -> float:
    """Expected utility of a bar, from the second moments of z = (x_before, f)."""
    gain_NZ = np.hstack([policy.keep_NN, policy.follow_NK])
    change_NZ = _change(gain_NZ)
    held_NN = gain_NZ @ moment_ZZ @ gain_NZ.T
    seen_NK = (gain_NZ @ moment_ZZ)[:, len(gain_NZ) :]
    traded_NN = change_NZ @ moment_ZZ @ change_NZ.T
    earned = (problem.loading_NK * seen_NK).sum() - problem.aversion / 2 * (problem.covariance_NN * held_NN).sum()
    return float(problem.kept * earned - (problem.impact_NN * traded_NN).sum() / 2)


def _change(gain_NZ: Array) -> Array:
    """From z = (x_before, f) to the trade, where ``gain_NZ`` leads to the positions."""
    return gain_NZ - np.eye(*gain_NZ.shape)


def _transition(problem: Problem, policy: Linear) -> tuple[Array, Array]:
    """The matrix that takes z = (x_before, f) to the next bar's, and the covariance of what is added."""
    assets, signals = problem.loading_NK.shape
    step_ZZ = np.block(
        [[policy.keep_NN, policy.follow_NK], [np.zeros((signals, assets)), problem.keep_KK]],
    )
    noise_ZZ = np.zeros_like(step_ZZ)
    noise_ZZ[assets:, assets:] = problem.innovation_KK
    return step_ZZ, noise_ZZ
