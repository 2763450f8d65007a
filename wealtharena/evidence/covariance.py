"""Covariance for the minimum-variance baseline: shrunk correlations, and the long-only portfolio of least variance."""

from __future__ import annotations

import numpy as np

from wealtharena.evidence.track import FloatArray

SWEEPS = 500
CONVERGED = 1e-10


def shrunk_correlation(return_RN: FloatArray) -> FloatArray:
    """Correlation matrix (N, N), shrunk towards the identity as in Ledoit & Wolf (2004, J. Multivar. Anal. 88).

    Their estimator (section 3.3) is applied to standardised returns, so that currencies and crypto, whose variances
    are a hundredfold apart, keep their own variances.

    Args:
        return_RN: R >= 2 returns of N assets, none constant.
    """
    score_RN = (return_RN - return_RN.mean(axis=0)) / return_RN.std(axis=0)
    rows = len(score_RN)
    sample_NN = score_RN.T @ score_RN / rows
    target_NN = np.eye(sample_NN.shape[0])
    distance = float(((sample_NN - target_NN) ** 2).sum())
    # Sum over rows of ||x x' - S||^2 / R^2, with ||x x'||^2 = (x'x)^2: the sampling error of S.
    error = (float(((score_RN**2).sum(axis=1) ** 2).mean()) - float((sample_NN**2).sum())) / rows
    intensity = min(error / distance, 1.0) if distance > 0 else 1.0
    return np.asarray(intensity * target_NN + (1 - intensity) * sample_NN)


def minimum_variance_weights(correlation_NN: FloatArray, deviation_N: FloatArray) -> FloatArray:
    """Weights (N,) >= 0 with sum 1 that minimise the variance w' Sigma w, Sigma = correlation x deviations.

    The minimiser is, up to its scale, that of x' Sigma x / 2 - sum(x) over x >= 0. In units of risk, y = deviation x,
    this is y' R y / 2 - y' (1 / deviation), solved by projected Gauss-Seidel (Cryer 1971), which converges for
    positive definite R whatever the scale of the assets.
    """
    gain_N = deviation_N.min() / deviation_N
    risk_N = np.zeros(len(gain_N))
    for _ in range(SWEEPS):
        before_N = risk_N.copy()
        for n in range(len(gain_N)):
            slope = gain_N[n] - correlation_NN[n] @ risk_N
            risk_N[n] = max(0.0, risk_N[n] + slope / correlation_NN[n, n])
        if np.abs(risk_N - before_N).max() < CONVERGED:
            break
    weight_N = risk_N / deviation_N
    return np.asarray(weight_N / weight_N.sum())
