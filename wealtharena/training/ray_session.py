"""The Ray cluster that a run uses: one that is running already, or a local one of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray


def quiet_ray() -> None:
    """Leaves only the errors of what Ray and RLlib log in this process."""
    for name in ("ray", "ray.rllib"):  # RLlib's has a level of its own
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def ray_session() -> Iterator[str]:
    """Connects to the cluster at ``RAY_ADDRESS``, or starts a quiet local Ray that nothing outside can reach.

    Yields:
        What it is connected to, in words, with the dashboard's address.
    """
    address, cluster = os.environ.get("RAY_ADDRESS"), "a local Ray"
    if address:
        dashboard = ray.init(address=address, log_to_driver=False).dashboard_url
        cluster = f"the Ray cluster at {address}" + (f", dashboard http://{dashboard}" if dashboard else "")
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            # Without a runtime_env: one costs each process another start of Python. Workers import the user's modules
            # from where the command was given, and see the variables of this process, all the same.
        )
    try:
        yield cluster
    finally:
        ray.shutdown()
