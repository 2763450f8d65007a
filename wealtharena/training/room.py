"""Whether processes find a place on the nodes of a cluster: at all, and now. Nothing waits without an end."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.state import list_actors, list_jobs, list_placement_groups
from ray.util.state.exception import RayStateApiException

from wealtharena.errors import UserError

Bundle = Mapping[str, float]
"""What one process asks for: Ray's resource names -> how much."""

PATIENCE, NOTICE = 60.0, 2.0
"""Seconds until a run that finds no room is given up, and until it says that it waits."""
_TURN = {"name": "starting", "namespace": "wealtharena"}
"""The one actor of this name in a cluster belongs to the run whose turn it is to start its processes."""
_LOOK = 0.2
"""Seconds between two looks whether it is a run's turn."""
_GRAIN = 10_000
"""Ray counts in ten-thousandths."""
_COUNTED = ("CPU", "GPU")
_LOG = logging.getLogger(__name__)


@dataclass
class _Node:
    """What is free on a node, in Ray's grains: CPUs, and each GPU by itself, for no process has half of each of two."""

    cpu: int
    gpus: list[int]

    @classmethod
    def of(cls, resources: Bundle) -> Self:
        return cls(_grains(resources.get("CPU", 0.0)), [_GRAIN] * int(resources.get("GPU", 0.0)))

    def take(self, bundle: Bundle) -> bool:
        """Gives a process its place, if there is one."""
        cpu, gpu = _grains(bundle.get("CPU", 0.0)), _grains(bundle.get("GPU", 0.0))
        whole, share = divmod(gpu, _GRAIN)
        free = [index for index, left in enumerate(self.gpus) if left == _GRAIN][:whole]
        shared = [index for index, left in enumerate(self.gpus) if index not in free and left >= share]
        if cpu > self.cpu or len(free) < whole or (share and not shared):
            return False
        self.cpu -= cpu
        for index in free:
            self.gpus[index] = 0
        if share:
            self.gpus[min(shared, key=lambda index: self.gpus[index])] -= share
        return True


def _grains(amount: float) -> int:
    return round(amount * _GRAIN)


def without_place(bundles: Iterable[Bundle], nodes: Sequence[Bundle]) -> list[Bundle]:
    """The processes that fit on no node, when all nodes are empty and the largest come first.

    Exact for what a team asks for, which is GPUs in equal parts, and single CPUs.

    Args:
        bundles: What each process asks for.
        nodes: What each node has.
    """
    free = [_Node.of(node) for node in nodes]
    in_turn = sorted(bundles, key=lambda bundle: (bundle.get("GPU", 0.0), bundle.get("CPU", 0.0)), reverse=True)
    return [bundle for bundle in in_turn if not any(node.take(bundle) for node in free)]


def nodes() -> list[Bundle]:
    """What each node has of the cluster that Ray is connected to."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def in_words(there: Sequence[Bundle]) -> str:
    """What there is, in words: ``3 nodes: 1 x 16 CPU 4 GPU, 2 x 16 CPU``, and how much of it is free."""
    free = _counted(ray.available_resources())
    left = ", ".join(f"{amount:g} {name}" for name, amount in free.items()) or "nothing"
    return f"{len(there)} {'node' if len(there) == 1 else 'nodes'}: {_processes(there)}; free: {left}"


def require_places(bundles: Sequence[Bundle], there: Sequence[Bundle]) -> None:
    """Refuses processes that fit on no node, however much all nodes have together.

    Args:
        bundles: What each process asks for.
        there: What each node has.

    Raises:
        UserError: Some process would wait without an end.
    """
    missing = without_place(bundles, there)
    if missing:
        raise UserError(
            f"{_processes(bundles)} do not fit on the cluster's nodes ({_processes(there)}): no node has room for "
            f"{_processes(missing)}; a process lies on one node, and a part of a GPU on one GPU: change "
            "sampling.runners, learning.learners or learning.gpus_per_learner, or use other nodes"
        )


def wait_for_room(bundles: Sequence[Bundle], *, patience: float = PATIENCE) -> None:
    """Waits until all of these processes could start at once, and says for what it waits.

    Nothing is held when this returns: whoever starts them does so at once.

    Args:
        bundles: What each process asks for.
        patience: Seconds.

    Raises:
        UserError: There was no room for so long.
    """
    if not bundles:
        return
    group = placement_group([dict(bundle) for bundle in bundles])
    try:
        if group.wait(min(NOTICE, patience)):
            return
        _LOG.warning("%s; waiting up to %g s", shortage(bundles), patience)
        if not group.wait(max(0.0, patience - NOTICE)):
            raise UserError(
                f"{shortage(bundles)}; gave up after {patience:g} s: start again when others have ended, or lower "
                "sampling.runners and learning.learners"
            )
    finally:
        remove_placement_group(group)


@contextmanager
def room(bundles: Sequence[Bundle], *, patience: float = PATIENCE) -> Iterator[None]:
    """Room for these processes, which are started within it: no other run starts any meanwhile.

    Two runs that find the same room at the same moment would otherwise take a part of it each, and wait without an end.

    Args:
        bundles: What each process asks for.
        patience: Seconds, of each of three waits: for room, for this run's turn, and for room if it has gone by then.

    Raises:
        UserError: There was no room for so long, or others were starting for so long.
    """
    if not bundles:
        yield
        return
    wait_for_room(bundles, patience=patience)
    turn = _turn(patience)
    try:
        wait_for_room(bundles, patience=patience)
        yield
    finally:
        ray.kill(turn)


class _Starting:
    """Goes with the run that made it, however that ends."""


def _turn(patience: float) -> Any:
    began, told = time.monotonic(), False
    while True:
        try:
            return ray.remote(num_cpus=0)(_Starting).options(**_TURN).remote()
        except ValueError as error:  # the name is taken
            waited = time.monotonic() - began
            if waited > patience:
                raise UserError(
                    f"another run on this cluster has been starting its processes for {patience:g} s; start this one "
                    "again when it has, or stop the other"
                ) from error
            if waited > NOTICE and not told:
                _LOG.warning("another run on this cluster is starting its processes; waiting up to %g s", patience)
                told = True
            time.sleep(_LOOK)


def shortage(bundles: Sequence[Bundle]) -> str:
    """What is needed, what is free and who has the rest, in words."""
    free, total = ray.available_resources(), ray.cluster_resources()
    needed = {name: sum(bundle.get(name, 0.0) for bundle in bundles) for name in _COUNTED}
    asked = ", ".join(f"{needed[name]:g} {name}" for name in _COUNTED if needed[name])
    left = ", ".join(f"{free.get(name, 0.0):g} of {total.get(name, 0.0):g} {name}" for name in _COUNTED if needed[name])
    return f"the run needs {asked}, and free are {left}{_taken()}"


def _taken() -> str:
    """By whom, as far as the cluster's state can be asked (the dashboard's process answers)."""
    try:
        taken = _by_job()
        entrypoints = {job.job_id: job.entrypoint for job in list_jobs(detail=True) if job.job_id}
    except (RayStateApiException, ConnectionError, RuntimeError):
        return ""
    told = [f"{_processes(had)} by job {job} ({entrypoints.get(job, '?')})" for job, had in taken.items()]
    return f"; taken: {', '.join(told)}" if told else ""


def _by_job() -> dict[str, list[Bundle]]:
    """Job -> what each of its actors holds, and what is reserved for it."""
    held: dict[str, list[Bundle]] = {}
    for actor in list_actors(filters=[("state", "=", "ALIVE")], detail=True):
        if actor.placement_group_id is None:
            held.setdefault(actor.job_id, []).append(_counted(actor.required_resources or {}))
    for group in list_placement_groups(filters=[("state", "=", "CREATED")], detail=True):
        reserved = [_counted(bundle["unit_resources"]) for bundle in group.bundles or []]
        held.setdefault(group.creator_job_id, []).extend(reserved)
    return {job: taken for job, had in held.items() if (taken := [one for one in had if one])}


def _counted(resources: Mapping[str, float]) -> dict[str, float]:
    return {name: resources[name] for name in _COUNTED if resources.get(name)}


def _processes(bundles: Iterable[Bundle]) -> str:
    """Bundles in words: ``40 x 1 CPU, 4 x 1 GPU``."""
    alike = Counter(" ".join(f"{amount:g} {name}" for name, amount in _counted(one).items()) for one in bundles)
    return ", ".join(f"{count} x {text or 'nothing'}" for text, count in alike.items())
