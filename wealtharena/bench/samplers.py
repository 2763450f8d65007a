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

    ``alone`` is what the machine allows: the same samplers at the same time, handing nothing over and waiting for
    nobody. Two processes that share memory bandwidth do less than twice as much as one.
    """
    with _teams(plan) as teams:
        most = max(plan.runners)
        rates = {f"runners_{n}": _timed(team, plan) for n, team in teams.items()}
        alone = {f"alone_{n}": _by_themselves(teams[n], plan) for n in sorted({1, most})}
        found = in_turn(rates | alone, plan.rounds)
        return {
            "ratio": found[f"runners_{most}"].median / found["runners_1"].median,
            "alone_ratio": found[f"alone_{most}"].median / found["alone_1"].median,
            **{name: samples.as_dict() for name, samples in found.items()},
            **_traffic(teams[most]),
        }


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


def _timed(team: Team, plan: SamplersPlan) -> Measure:
    def work() -> int:
        return sum(agent_steps(fragment) for fragment in sampled(team))

    work()
    return lambda: rate(work, plan.seconds)


def _by_themselves(team: Team, plan: SamplersPlan) -> Measure:
    """The remote samplers' own rates, added up."""

    def work(runner: Any) -> float:
        return rate(lambda: agent_steps(runner.sample()), plan.seconds)

    return lambda: sum(team.env_runner_group.foreach_env_runner(work, local_env_runner=False))


def sampled(team: Team) -> list[Fragment]:
    """A fragment from each sampler, here."""
    local = team.config.num_env_runners == 0
    fragments: list[Fragment] = team.env_runner_group.foreach_env_runner(_sample, local_env_runner=local)
    return fragments


def _sample(runner: Any) -> Any:
    return runner.sample()


def _traffic(team: Team) -> dict[str, int]:
    """What an iteration sends: bytes of fragments, those of them that were copied, and how often weights go out."""
    fragments, watch = sampled(team), Stopwatch()
    watch.watch("weights", team.env_runner_group, "sync_weights")
    team.train()
    return {
        "fragment_bytes": sum(map(stored_bytes, fragments)),
        "copied_bytes": sum(map(copied_bytes, fragments)),
        "weight_syncs": watch.calls["weights"],
    }
