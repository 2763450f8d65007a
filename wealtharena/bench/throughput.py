"""``wealtharena bench throughput``: how fast a team is, against stock RLlib, a bare loop and nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch

from wealtharena.bench.contest import GUESSING, traders_only
from wealtharena.bench.end_to_end import Setting, TrainingPlan, compare_training
from wealtharena.bench.market_speed import MarketPlan, measure_market
from wealtharena.bench.sampling import SamplingPlan, compare_sampling, measure_sampling
from wealtharena.bench.team_shares import SharesPlan, measure_shares
from wealtharena.bench.timing import machine, one_thread
from wealtharena.errors import UserError

MARKET_ASSETS = 30
Part = tuple[str, Callable[[], dict[str, Any]]]


class Device(StrEnum):
    """Where environment and sampling run."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class ThroughputPlan:
    """How everything is measured."""

    sampling: SamplingPlan = field(default_factory=SamplingPlan)
    training: TrainingPlan = field(default_factory=TrainingPlan)
    market: MarketPlan = field(default_factory=MarketPlan)
    shares: SharesPlan = field(default_factory=SharesPlan)


QUICK = ThroughputPlan(
    SamplingPlan(stock_copies=(8, 64), team_copies=(256,), seconds=0.5, rounds=3),
    TrainingPlan(stock=(Setting(64),), iterations=2, bare_seconds=0.5, rounds=3),
    MarketPlan(steps=400, seconds=0.2, rounds=3, forms=("plain",)),  # to compile takes minutes
    SharesPlan(warm=2, rounds=1),
)


def run(plan: ThroughputPlan, *, device: Device = Device.CPU) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measures part after part, all of it on one thread; Ray must be running.

    Args:
        plan: How.
        device: Where environment and sampling run; with ``cuda`` these alone are measured, for the rest is not theirs.

    Yields:
        What a part is, in words, and what it adds to the document.

    Raises:
        UserError: There is no CUDA device.
    """
    if device is Device.CUDA and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; leave --device away to measure the CPU")
    with one_thread():
        yield "the machine", {"device": device.value, "machine": machine(device)}
        for words, measure in _on_cuda(plan) if device is Device.CUDA else _on_cpu(plan):
            yield words, measure()


def _on_cpu(plan: ThroughputPlan) -> tuple[Part, ...]:
    def sampling() -> dict[str, Any]:
        market = compare_sampling(traders_only(MARKET_ASSETS), plan.sampling)
        return {
            "sampling": {"ratio": market["ratio"], "market": market, "no_op": compare_sampling(GUESSING, plan.sampling)}
        }

    return (
        ("sampling", sampling),
        ("training from end to end, and the bare loop", lambda: compare_training(plan.training)),
        ("the market alone", lambda: {"market": measure_market(plan.market)}),
        ("the mixed team", lambda: {"mixed": measure_shares(plan.shares)}),
    )


def _on_cuda(plan: ThroughputPlan) -> tuple[Part, ...]:
    def sampling() -> dict[str, Any]:
        arenas = {"market": traders_only(MARKET_ASSETS), "no_op": GUESSING}
        return {
            "sampling": {
                name: {"team": measure_sampling(arena, plan.sampling, "cuda")} for name, arena in arenas.items()
            }
        }

    return (
        ("sampling", sampling),
        ("the market alone", lambda: {"market": measure_market(plan.market, "cuda")}),
    )
