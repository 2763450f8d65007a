"""Many samplers: what a second process brings, and what goes between processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wealtharena.bench.contest import team_config, traders_only
from wealtharena.bench.fragments import agent_steps, copied_bytes, stored_bytes
from wealtharena.bench.timing import Measure, Stopwatch, in_turn, rate
from wealtharena.team.algorithm import Team
from wealtharena.team.runner import Fragment
from wealtharena.team.sampling import Sampling

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class SamplersPlan:
    """How it is measured.

    Attributes:
        runners: Numbers of samplers; 0 samples in this process.
        assets: Traders of the market they step.
        copies: Of the market, in each sampler.
        fragment: Steps that are sampled at a time.
        seconds: Of one measurement.
        rounds: Measurements that count.
    """

    runners: Sequence[int] = (0, 1, 2)
    assets: int = 30
    copies: int = 64
    fragment: int = 64
    seconds: float = 3.0
    rounds: int = 5


def measure_runners(plan: SamplersPlan) -> dict[str, Any]:
    """The part ``runners`` of the document: agent-steps per second of sampling alone. Ray must run.

    Samplers do as in a team whose sampling and learning overlap (``runners``), and as in one in which every iteration
    asks anew and waits for the slowest (``in_step``). ``alone`` is what the machine allows: the same samplers at the
    same time, handing nothing over and waiting for nobody. Two processes that share memory bandwidth do less than twice
    as much as one.
    """
    with _teams(plan) as teams:
        most, remote = max(plan.runners), [n for n in plan.runners if n]
        measures = {f"runners_{n}": _timed(team, plan, overlap=n > 0) for n, team in teams.items()}
        measures |= {f"in_step_{n}": _timed(teams[n], plan, overlap=False) for n in remote}
        measures |= {f"alone_{n}": _by_themselves(teams[n], plan) for n in remote}
        found = in_turn(measures, plan.rounds)
        ratios = {
            f"{prefix}ratio": found[f"{kind}_{most}"].median / found[f"{kind}_1"].median
            for kind, prefix in (("runners", ""), ("in_step", "in_step_"), ("alone", "alone_"))
        }
        return {**ratios, **{name: samples.as_dict() for name, samples in found.items()}, **_traffic(teams[most])}


@contextmanager
def _teams(plan: SamplersPlan) -> Iterator[dict[int, Team]]:
    """A team for each number of samplers, all at once: who is not measured waits."""
    teams: dict[int, Team] = {}
    try:
        for runners in plan.runners:
            config = team_config(traders_only(plan.assets), copies=plan.copies, fragment=plan.fragment, runners=runners)
            teams[runners] = config.env_runners(num_cpus_per_env_runner=0).build_algo()
        yield teams
    finally:
        for team in teams.values():
            team.stop()


def _timed(team: Team, plan: SamplersPlan, *, overlap: bool) -> Measure:
    def measure() -> float:
        sampling = Sampling(
            team.env_runner_group,
            overlap=overlap,
            patience_s=_PATIENCE_S,
            fragment_env_steps=plan.copies * plan.fragment,
        )

        def work() -> int:
            return sum(agent_steps(result.fragment) for result in sampling.next(0))

        work()
        found = rate(work, plan.seconds)
        sampling.finish()
        return found

    return measure


def _by_themselves(team: Team, plan: SamplersPlan) -> Measure:
    """The remote samplers' own rates, added up."""

    def work(runner: Any) -> float:
        return rate(lambda: agent_steps(runner.sample()), plan.seconds)

    return lambda: sum(team.env_runner_group.foreach_env_runner(work, local_env_runner=False))


def _sample(runner: Any) -> Fragment:
    fragment: Fragment = runner.sample()
    return fragment


def _traffic(team: Team) -> dict[str, int]:
    """What an iteration sends: bytes of fragments, those of them that were copied, and how often weights go out."""
    fragments: list[Fragment] = team.env_runner_group.foreach_env_runner(_sample, local_env_runner=False)
    watch = Stopwatch()
    watch.watch("weights", team.env_runner_group, "sync_weights")
    team.train()
    return {
        "fragment_bytes": sum(map(stored_bytes, fragments)),
        "copied_bytes": sum(map(copied_bytes, fragments)),
        "weight_syncs": watch.calls["weights"],
    }
