"""Runs cases on several seeds at a time, and makes one row of each score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from wealtharena.bench.cases import Case, Required
from wealtharena.bench.share import Point, over_seeds, reached, typical
from wealtharena.bench.trial import Outcome, Plan, run_trial
from wealtharena.evidence.aggregate import aggregate


@dataclass(frozen=True)
class Ended:
    """A seed of a case that has come to its end."""

    case: Case
    outcome: Outcome


def plan(case: Case, *, quick: bool) -> Plan:
    """How long a case is trained and how well it is tried."""
    if quick:
        return Plan(case.quick_steps, tries=case.tries // 2, copies=256, final_copies=1024)
    return Plan(case.env_steps, tries=case.tries)


def run(cases: Sequence[Case], *, seeds: int, quick: bool = False, parallel: int | None = None) -> Iterator[Ended]:
    """Trains each case on seeds 0, 1, ...; Ray must be running.

    Args:
        cases: What is trained.
        seeds: How many of each.
        quick: Smaller budgets.
        parallel: How many at the same time, each on one thread; None: as many as the cluster has cores.

    Yields:
        Each seed as it ends, in any order.
    """
    limit = parallel or int(ray.cluster_resources().get("CPU", 1))
    task = ray.remote(num_cpus=1)(run_trial)
    waiting = [(case, seed) for case in cases for seed in range(seeds)]
    running: dict[ray.ObjectRef, Case] = {}
    while waiting or running:
        while waiting and len(running) < limit:
            case, seed = waiting.pop(0)
            running[task.remote(case, plan(case, quick=quick), seed)] = case
        (ended,), _ = ray.wait(list(running), num_returns=1)
        yield Ended(running.pop(ended), ray.get(ended))


def document(
    cases: Sequence[Case], ended: Sequence[Ended], machine: Mapping[str, Any], *, quick: bool
) -> dict[str, Any]:
    """What ``--json`` writes: the rows in the order of the cases, and what they were measured on.

    Args:
        cases: That are trained; those of which no seed has ended have no row.
        ended: In any order.
        machine: See ``timing.machine``.
        quick: With smaller budgets.
    """
    by_case: dict[str, list[Outcome]] = {case.key: [] for case in cases}
    for one in sorted(ended, key=lambda one: one.outcome.seed):
        by_case[one.case.key].append(one.outcome)
    rows = [row for case in cases if by_case[case.key] for row in _rows(case, by_case[case.key], quick)]
    return {"quick": quick, "machine": dict(machine), "rows": rows}


def _rows(case: Case, outcomes: Sequence[Outcome], quick: bool) -> list[dict[str, Any]]:
    single = len(case.members) == 1
    return [
        {"case": case.name if single else f"{case.name}/{name}", "algorithm": member.algorithm.__name__}
        | _result(name, outcomes, Required(share=member.required.quick) if quick else member.required)
        for name, member in case.members.items()
    ]


def _result(name: str, outcomes: Sequence[Outcome], required: Required) -> dict[str, Any]:
    """One row; see README, "Is the optimum found?", for what its fields mean."""
    shares = [outcome.shares[name] for outcome in outcomes]
    curves = [outcome.curves[name] for outcome in outcomes]
    optimum = outcomes[0].optimum[name]
    span = float(np.mean([share.span for share in shares]))
    values = [share.value for share in shares]
    interval, middle = over_seeds(shares), aggregate(np.array(values)[:, None])
    wanted = required.as_share(span)
    return {
        "optimum": optimum,
        "score": optimum - float(np.mean([share.gap for share in shares])),
        "share": interval.value,
        "share_low": interval.low,
        "share_high": interval.high,
        "required": wanted,
        "passed": interval.value is not None and interval.value >= wanted,
        "seeds": len(outcomes),
        "env_steps": outcomes[0].env_steps,
        **_milestones(curves),
        "wall_s": float(np.median([outcome.seconds for outcome in outcomes])),
        "iqm": middle.as_dict(),
        "shares": values,
        "evaluation_errors": [share.error for share in shares],
        "curves": [[[point.env_steps, point.seconds, point.share] for point in curve] for curve in curves],
    }


def _milestones(curves: Sequence[Sequence[Point]]) -> Mapping[str, float | None]:
    """Median steps and seconds to 90% and 95%."""
    found: dict[str, float | None] = {}
    for percent in (90, 95):
        points = [reached(curve, percent / 100) for curve in curves]
        found[f"steps_to_{percent}"] = typical([None if point is None else point.env_steps for point in points])
        found[f"seconds_to_{percent}"] = typical([None if point is None else point.seconds for point in points])
    return found
