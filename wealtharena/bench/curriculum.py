"""Is a curriculum worth its steps? Three ways to the same stage, held against the best policy there is.

The market is Garleanu and Pedersen's (``cases.G1``) with profits as they come, luck included. In the stages before, the
variance of the luck is 1/100 and 1/10 of that, and the aversion to it as many times as large: the utility of every
policy, and so the best policy, is the same in all stages. Only what is learnt from is clearer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import ray

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted.base import GROUP
from environments.staged import StagedEnv
from policies.ppo import PPO
from wealtharena.bench.cases import G1, NINETY, Case, Member
from wealtharena.bench.share import Share, over_seeds, student_quantile
from wealtharena.bench.trial import Plan, run_trial, team_config
from wealtharena.spec_curriculum import CurriculumSpec
from wealtharena.team.algorithm import Team

LUCK = {"quiet": 0.01, "calm": 0.1, "full": 1.0}
"""Stage -> the variance of what nobody can foresee, as a share of the last stage's."""

PPO_OF_G1 = {
    "lr": 1e-3, "gamma": 0.95, "epochs": 6, "minibatch_size": 1600, "entropy_coeff": 0.0, "initial_log_std": -1.0,
    "squash_mean": False,
}  # fmt: skip
CASE = Case("g1", G1, {GROUP: Member(PPO, PPO_OF_G1, NINETY)}, env_steps=192_000, quick_steps=32_000)

FINAL = "final stage only"
RULES: dict[str, dict[str, Any] | None] = {
    "curriculum": {"kind": "promotion", "promote_above": 0.6 * 5.0 * 2.9985, "patience": 2},
    "uniform mixture": {"kind": "mixture"},
    FINAL: None,
}
"""Promotion at 60% of the best return, 2.9985 times the scale of 5."""


@dataclass(frozen=True)
class Trained:
    """One training.

    Attributes:
        way: How it went through the stages.
        seed: Of the training.
        env_steps: Of the training.
        share: Of the optimum, in the end.
        error: Its standard error over the episodes of the evaluation.
        seconds: Of the training.
    """

    way: str
    seed: int
    env_steps: int
    share: float
    error: float
    seconds: float


def params_of(luck: float) -> MarketParams:
    """The market of a stage; the utility of a policy does not depend on ``luck``."""
    plain = G1.params().model_dump(by_alias=True)
    for process in plain["data"]["simulation"]["classes"].values():
        process["params"]["covariance"] = (luck * np.array(process["params"]["covariance"])).tolist()
    for trader in plain["traders"].values():
        trader["risk_aversion"] /= luck
    plain["reward"]["expected"] = False
    return MarketParams.model_validate(plain)


def build(way: str, env_steps: int, seed: int) -> Team:
    """A team that has not learned yet."""
    config, rule = team_config(CASE, env_steps, seed), RULES[way]
    stages = {name: params_of(luck).model_dump(by_alias=True) for name, luck in LUCK.items()}
    if rule is None:
        return config.environment(env=MarketEnv, env_config=stages["full"]).build_algo()
    told = {"stages": {name: {"luck": luck} for name, luck in LUCK.items()} | {"full": {}}, "rule": rule}
    staged = config.environment(env=StagedEnv, env_config={"env": MarketEnv, "stages": stages})
    return staged.curriculum(CurriculumSpec.model_validate(told)).build_algo()


def run(*, seeds: int, quick: bool, parallel: int | None, known: Sequence[Trained] = ()) -> Iterator[Trained]:
    """Trains each way on seeds 0, 1, ... for the same number of steps; Ray must be running.

    Args:
        seeds: How many of each.
        quick: Few steps.
        parallel: How many at the same time; None: as many as the cluster has cores.
        known: What need not be trained again.

    Yields:
        What is known, then each training as it ends.
    """
    yield from known
    plan = Plan(CASE.quick_steps if quick else CASE.env_steps, tries=1, copies=256, final_copies=4096)
    there = {(one.way, one.seed) for one in known}
    waiting = [(way, seed) for seed in range(seeds) for way in RULES if (way, seed) not in there]
    limit, running = parallel or int(ray.cluster_resources().get("CPU", 1)), list[Any]()
    task = ray.remote(num_cpus=1)(_train)
    while waiting or running:
        while waiting and len(running) < limit:
            running.append(task.remote(*waiting.pop(0), plan))
        (ended,), running = ray.wait(running, num_returns=1)
        yield ray.get(ended)


def _train(way: str, seed: int, plan: Plan) -> Trained:
    outcome = run_trial(CASE, plan, seed, build=lambda: build(way, plan.env_steps, seed))
    found = outcome.shares[GROUP]
    return Trained(way, seed, outcome.env_steps, found.value, found.error, outcome.seconds)


def document(trained: Sequence[Trained], *, quick: bool) -> dict[str, Any]:
    """What ``--json`` writes: a row for each way, and every training."""
    by_way = {way: {one.seed: one for one in trained if one.way == way} for way in RULES}
    rows = [_row(way, own, by_way[FINAL]) for way, own in by_way.items() if own]
    ordered = sorted(trained, key=lambda one: (one.seed, list(RULES).index(one.way)))
    return {"quick": quick, "rows": rows, "trainings": [asdict(one) for one in ordered]}


def _row(way: str, own: Mapping[int, Trained], final: Mapping[int, Trained]) -> dict[str, Any]:
    """Its mean share, and how much more that is than without stages, both with Student's interval over the seeds."""
    interval = over_seeds([Share(one.share, one.error, 0.0, 1.0) for one in own.values()])
    gained = [own[seed].share - final[seed].share for seed in sorted(own.keys() & final.keys())]
    row = {"way": way, "seeds": len(own), "env_steps": max(one.env_steps for one in own.values())}
    row |= {"share": interval.value, "share_low": interval.low, "share_high": interval.high}
    if way == FINAL or len(gained) < 2:
        return row
    mean = float(np.mean(gained))
    half = student_quantile(len(gained) - 1) * float(np.std(gained, ddof=1)) / len(gained) ** 0.5
    return row | {"gain": mean, "gain_low": mean - half, "gain_high": mean + half}


def known_of(content: Mapping[str, Any], *, seeds: int, quick: bool) -> list[Trained]:
    """The trainings that a file of ``--json`` holds, of these settings."""
    if content.get("quick") != quick:
        return []
    found = [Trained(**one) for one in content.get("trainings", ())]
    return [one for one in found if one.seed < seeds and one.way in RULES]
