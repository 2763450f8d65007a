"""Holding one of a few positions in a spread that reverts to its mean, with a cost of trading: dynamic programming.

The spread is x' = phi x + N(0, innovation^2). On seeing x and the position held, the next position is chosen; the bar
earns position (x' - x) and costs ``cost`` times the change of the position. The gain (the average per bar in the long
run) and the relative values h solve

    gain + h(x, held) = max over chosen of  -(1 - phi) x chosen - cost |chosen - held| + E h(x', chosen)

the average-reward optimality equation (Puterman 1994, Markov decision processes, 8.4), here by policy iteration.
The best choice changes at a few spreads only (in continuous time: Leung, Li 2015, Optimal mean reversion trading with
transaction costs and stop-loss exit), between which h is smooth: with nodes laid between these cuts, the expectation
is a Gauss-Legendre sum that is exact to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]

REACH = 7.0  # stationary deviations on each side of 0; what lies beyond has no weight
PANEL = 2.0  # longest stretch between nodes' ends, in innovations
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
SCAN = 2001  # spreads at which a change of the best choice is looked for
HALVINGS = 60
ROUNDS = 50
ROUNDING = 1e-13  # of an innovation: a gain that rises by less has converged


@dataclass(frozen=True)
class Problem:
    """Money per unit of position and of spread.

    Attributes:
        phi: In [0, 1).
        innovation: Standard deviation of a bar's noise.
        cost: Per unit of change of the position.
        positions: To choose from, ascending.
        notch: The largest change of the position in one bar.
    """

    phi: float = 0.95
    innovation: float = 1.0
    cost: float = 1.0
    positions: tuple[float, ...] = (-1.0, 0.0, 1.0)
    notch: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.phi < 1 or self.innovation <= 0:
            raise ValueError(f"phi {self.phi}, innovation {self.innovation}: they must be in [0, 1) and > 0")
        if list(self.positions) != sorted(set(self.positions)) or len(self.positions) < 2:
            raise ValueError(f"positions {self.positions}: two or more, ascending")
        if not 0 <= self.cost <= self.deviation * (REACH - 2):
            raise ValueError(
                f"cost {self.cost}: in [0, {self.deviation * (REACH - 2):.6g}], {REACH - 2} stationary deviations of "
                "the spread; with a higher one there is nothing to trade"
            )

    @property
    def deviation(self) -> float:
        """The stationary standard deviation of the spread."""
        return self.innovation / math.sqrt(1 - self.phi**2)

    @property
    def reach(self) -> float:
        """The largest spread that is looked at."""
        return REACH * self.deviation

    def reward(self, spread_X: Array) -> Array:
        """What is expected at each spread from each position held to each chosen, (X, P, P)."""
        held_P = np.array(self.positions)
        change_PP = np.abs(held_P[None, :] - held_P[:, None])
        cost_PP = np.where(change_PP <= self.notch, self.cost * change_PP, np.inf)
        return -(1 - self.phi) * spread_X[:, None, None] * held_P - cost_PP


@dataclass(frozen=True, eq=False)
class Policy:
    """Which position to choose: for each position held, cuts in the spread and the choice between them.

    Attributes:
        cuts: For each position held, ascending spreads, (C,).
        choices: For each position held, indices into ``positions``, (C + 1,): below the first cut, and so on.
    """

    cuts: tuple[Array, ...]
    choices: tuple[Indices, ...]

    def choose(self, spread_X: Array) -> Indices:
        """The index of the position chosen, at each spread for each position held: (X, P)."""
        columns = [choice[np.searchsorted(cut, spread_X)] for cut, choice in zip(self.cuts, self.choices, strict=True)]
        return np.stack(columns, axis=1)

    def scaled(self, factor: float) -> Policy:
        """The same with all cuts multiplied by a factor > 0."""
        return Policy(tuple(cut * factor for cut in self.cuts), self.choices)


@dataclass(frozen=True, eq=False)
class Worth:
    """What a policy is worth.

    Attributes:
        gain: Expected reward per bar in the long run.
        node_X: Spreads.
        weight_X: Of the nodes, for an integral over the spread.
        relative_XP: h at the nodes, for each position held.
    """

    gain: float
    node_X: Array
    weight_X: Array
    relative_XP: Array


def switching(problem: Problem, entry: float) -> Policy:
    """Goes as long as it may at or below a spread of -``entry``, as short at or above ``entry``, else waits."""
    held_P = np.array(problem.positions)
    cut = np.array([-entry, entry])
    choices = []
    for index, held in enumerate(problem.positions):
        allowed = np.flatnonzero(np.abs(held_P - held) <= problem.notch)
        choices.append(np.array([allowed[-1], index, allowed[0]]))
    return Policy((cut,) * len(choices), tuple(choices))


def evaluate(problem: Problem, policy: Policy) -> Worth:
    """Solves gain + h = reward + E h under a policy, with h = 0 at the first node and position: exact."""
    node_X, weight_X = _nodes(problem, np.concatenate(policy.cuts))
    points, positions = len(node_X), len(problem.positions)
    chosen_XP = policy.choose(node_X)
    reward_XP = np.take_along_axis(problem.reward(node_X), chosen_XP[:, :, None], axis=2)[:, :, 0]
    chance_XX = _chance(problem, node_X, node_X, weight_X)
    step_XPPX = np.where(chosen_XP[:, :, None, None] == np.arange(positions)[:, None], chance_XX[:, None, None, :], 0.0)
    step_ZZ = step_XPPX.transpose(1, 0, 2, 3).reshape(positions * points, positions * points)
    system_ZZ = np.eye(len(step_ZZ)) - step_ZZ
    system_ZZ[:, 0] = 1.0  # h of the first state is 0; the gain takes its column
    solution_Z = np.linalg.solve(system_ZZ, reward_XP.T.reshape(-1))
    gain, solution_Z[0] = float(solution_Z[0]), 0.0
    return Worth(gain, node_X, weight_X, solution_Z.reshape(positions, points).T)


def solve(problem: Problem) -> tuple[Policy, float]:
    """The best policy and its gain."""
    policy = switching(problem, 0.0)
    worth = evaluate(problem, policy)
    for _ in range(ROUNDS):
        policy = improve(problem, worth)
        gain, worth = worth.gain, evaluate(problem, policy)
        if worth.gain - gain <= ROUNDING * problem.innovation:
            break
    return policy, worth.gain


def improve(problem: Problem, worth: Worth) -> Policy:
    """The policy that is best at each spread if h follows: the cuts are found by halving."""
    scan_X = np.linspace(-problem.reach, problem.reach, SCAN)
    best_XP = _best(problem, worth, scan_X)
    cuts, choices = [], []
    for held, best_X in enumerate(best_XP.T):
        change_C = np.flatnonzero(np.diff(best_X))
        low_C, high_C = scan_X[change_C], scan_X[change_C + 1]
        for _ in range(HALVINGS):
            middle_C = (low_C + high_C) / 2
            below_C = _best(problem, worth, middle_C)[:, held] == best_X[change_C]
            low_C, high_C = np.where(below_C, middle_C, low_C), np.where(below_C, high_C, middle_C)
        cuts.append((low_C + high_C) / 2)
        choices.append(best_X[np.append(change_C, SCAN - 1)])
    return Policy(tuple(cuts), tuple(choices))


def _best(problem: Problem, worth: Worth, spread_X: Array) -> Indices:
    """The best choice at each spread for each position held, (X, P)."""
    next_XP = _chance(problem, spread_X, worth.node_X, worth.weight_X) @ worth.relative_XP
    return (problem.reward(spread_X) + next_XP[:, None, :]).argmax(axis=2)


def _chance(problem: Problem, from_X: Array, node_Y: Array, weight_Y: Array) -> Array:
    """Of each node one bar later, (X, Y): normal density times weight, made to add up to 1."""
    z_XY = (node_Y - problem.phi * from_X[:, None]) / problem.innovation
    mass_XY = np.exp(-(z_XY**2) / 2) * weight_Y
    return mass_XY / mass_XY.sum(1, keepdims=True)


def _nodes(problem: Problem, cuts: Array) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on short panels, none of which has a cut inside."""
    reach, longest = problem.reach, PANEL * problem.innovation
    inside = cuts[np.abs(cuts) < reach]
    even = np.linspace(-reach, reach, 1 + math.ceil(2 * reach / longest))
    edges = np.unique(np.concatenate([even, inside]))
    centre, radius = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return (centre[:, None] + radius[:, None] * NODES).reshape(-1), (radius[:, None] * WEIGHTS).reshape(-1)
