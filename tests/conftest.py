"""What all tests share: one local Ray, started when the first test needs it."""

import inspect
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
import xdist

from tests.forked_workers import forked_workers
from wealtharena.training.ray_session import quiet_ray

CPUS = 24  # of the local Ray: enough for every placement that a test asks for
FOR_WORKERS = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
"""Variables of Ray's workers, which have them from this process: a runtime_env would take each another second."""

# Read by Ray when it is imported or started; its own warnings about a future release are not ours to act on.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray's workers run at the lowest priority but for this, and beside other tests on a busy machine they starve.
os.environ.setdefault("RAY_worker_niceness", "0")
# A Ray of 24 CPUs would start 24 processes at once, whatever is asked of it.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
# RLlib inspects the stack for each connector that it makes, thirty for a team, and Python searches all modules for each
# frame that is of none: those of pytest and xdist at the bottom. Unless it is told of one, that is a second for a team.
OF_NO_MODULE = ("<string>", "<frozen runpy>", str(Path(xdist.__file__).with_name("remote.py")))
inspect.modulesbyfile |= dict.fromkeys(OF_NO_MODULE, "builtins")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray come first, those of few tests, which take the longest, before the others.

    So no process is left with a long file when the others have ended. Files that share a Ray come one after the other.
    """
    tests = Counter(item.path for item in items)
    sharing = {item.path for item in items if _shares_ray(item)}
    with_ray = sharing | {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: (item.path not in with_ray, item.path not in sharing, tests[item.path]))


def _shares_ray(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "local_ray" in item.fixturenames


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks are faster on one thread, and two cores are shared with Ray's processes."""
    torch.set_num_threads(1)
    yield
    ray.shutdown()


@pytest.fixture(scope="module", autouse=True)
def _in_shared_ray(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Files that want a local Ray share one, for it takes seconds to start; unless one leaves something in it."""
    shares = any(_shares_ray(item) for item in request.session.items if item.path == request.path)
    if not shares:
        ray.shutdown()
    yield shares
    if ray.is_initialized() and ray.available_resources().get("CPU") != CPUS:
        ray.shutdown()


@pytest.fixture(autouse=True)
def _no_ray_beside_its_own(request: pytest.FixtureRequest, _in_shared_ray: bool) -> None:
    """A test that starts a Ray of its own, in a file where others share one, finds none."""
    if _in_shared_ray and request.node.get_closest_marker("ray") and not _shares_ray(request.node):
        ray.shutdown()


@pytest.fixture(scope="session")
def python_of_workers() -> Iterator[str]:
    """See ``forked_workers``."""
    with forked_workers(FOR_WORKERS) as python:
        yield python
        ray.shutdown()


@pytest.fixture
def local_ray(python_of_workers: str) -> None:
    """A local Ray."""
    quiet_ray()
    if not ray.is_initialized():
        with pytest.MonkeyPatch.context() as monkey:  # what Ray itself sets must stay
            for name, value in FOR_WORKERS.items():
                monkey.setenv(name, value)
            monkey.setattr(sys, "executable", python_of_workers)
            ray.init(
                address="local",
                num_cpus=CPUS,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
                object_store_memory=256 * 1024**2,
            )
