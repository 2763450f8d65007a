"""What all tests share: one local Ray, started when the first test needs it."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
import ray
import torch

from wealtharena.training.ray_session import quiet_ray

# Read by Ray when it is imported or started; its own warnings about a future release are not ours to act on.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray's workers run at the lowest priority but for this, and beside other tests on a busy machine they starve.
os.environ.setdefault("RAY_worker_niceness", "0")
# A Ray of 24 CPUs would start 24 processes at once, whatever is asked of it.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray come first, those of few tests, which take the longest, before the others.

    So no process is left with a long file when the others have ended.
    """
    tests = Counter(item.path for item in items)
    with_ray = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: (item.path not in with_ray, tests[item.path]))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small networks are faster on one thread, and two cores are shared with Ray's processes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _no_ray_left_running() -> Iterator[None]:
    """Some tests start Ray, and some look whether a command does: none finds another module's."""
    yield
    ray.shutdown()


@pytest.fixture
def local_ray() -> None:
    """A local Ray with CPUs enough for every placement a test asks for."""
    quiet_ray()
    if not ray.is_initialized():
        ray.init(
            address="local",
            num_cpus=24,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address="127.0.0.1",
            object_store_memory=256 * 1024**2,
            runtime_env={"env_vars": {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}},
        )
