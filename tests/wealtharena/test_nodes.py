"""Nodes of a cluster that are lost with all that ran on them, and others that join."""

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from unittest import mock

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.tune import Callback

from policies.ppo import PPO, PPOParams
from tests.conftest import FOR_WORKERS
from tests.games import TargetGame
from wealtharena.document import read_document
from wealtharena.spec import ExperimentSpec
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.training import train as module
from wealtharena.training.metrics_log import read_rows
from wealtharena.training.progress import Progress
from wealtharena.training.ray_session import quiet_ray
from wealtharena.training.run_dir import Mark
from wealtharena.training.setup import begin
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import iterate, train
from wealtharena.tuning.check import sweep_of
from wealtharena.tuning.folder import SweepDir
from wealtharena.tuning.outcome import summarise
from wealtharena.tuning.sweep import run_sweep

pytestmark = pytest.mark.ray

LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 for another address of the machine's when a driver connects to a cluster."""
PATIENCE = 180.0


class Place(NamedTuple):
    """Where a process is."""

    node: str
    pid: int


def place_of(_: object) -> Place:
    """Asked in that process."""
    return Place(ray.get_runtime_context().get_node_id(), os.getpid())


class Nodes:
    """A head without CPUs, and nodes of one CPU each: each process of a run has a node of its own."""

    def __init__(self, folder: str) -> None:
        self.cluster = Cluster()
        self.cluster.add_node(num_cpus=0, include_dashboard=False, node_ip_address=LOOPBACK, temp_dir=folder)

    def join(self) -> None:
        """Starts a node."""
        self.cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK)

    def lose(self, place: Place) -> None:
        """Kills the processes of a node, as when a machine goes."""
        (lost,) = [node for node in self.cluster.worker_nodes if node.node_id == place.node]
        self.cluster.remove_node(lost, allow_graceful=False)
        with contextlib.suppress(ProcessLookupError):  # it ends with its node, but may deliver something before
            os.kill(place.pid, signal.SIGKILL)

    def of(self, pid: int) -> Place:
        """Where a process is: nodes start their workers."""
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        (node,) = [node for node in self.cluster.worker_nodes if node.all_processes["raylet"][0].process.pid == parent]
        return Place(node.node_id, pid)

    def stop(self) -> None:
        """Stops all of them."""
        self.cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    quiet_ray()
    folder = tempfile.mkdtemp(prefix="wa-", dir="/tmp")  # sockets must have short names
    with mock.patch.dict(os.environ, FOR_WORKERS):
        started = Nodes(folder)
        try:
            started.join()
            started.join()
            ray.init(
                address=started.cluster.address,
                _node_ip_address=LOOPBACK,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            yield started
        finally:
            ray.shutdown()
            started.stop()
            shutil.rmtree(folder, ignore_errors=True)


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end


def test_a_run_goes_on_without_a_node_and_its_runners_join_again_when_one_comes(nodes: Nodes) -> None:
    config = TeamConfig().environment(env=TargetGame).team({"a": PPO(PPOParams(hidden=(8,), minibatch_size=32))})
    team = config.env_runners(num_env_runners=2, num_envs_per_env_runner=4, rollout_fragment_length=12).build_algo()
    of_one, found = 4 * 12, dict[str, Any]()

    def healthy(count: int) -> bool:
        found.update(team.train())
        return bool(found["runners"]["healthy_runners"] == count)

    assert healthy(2)
    lost, _ = team.env_runner_group.foreach_env_runner(place_of, local_env_runner=False)
    nodes.lose(lost)
    before = team.train()["num_env_steps_sampled_lifetime"]
    assert before == 3 * of_one  # what the runner on that node sampled counts nowhere
    assert healthy(1)
    assert found["num_env_steps_sampled_lifetime"] == before + of_one
    nodes.join()
    until(lambda: healthy(2))
    assert found["runners"]["restarts"] == 1
    before = found["num_env_steps_sampled_lifetime"]
    assert healthy(2)
    assert found["num_env_steps_sampled_lifetime"] == before + 2 * of_one
    team.stop()


class Silent:
    def update(self, progress: Progress, done: float) -> None: ...


def test_a_run_that_loses_the_node_of_one_of_two_learners_goes_on_from_its_last_checkpoint(
    nodes: Nodes, game: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both learn for all members: the other one stays behind with gradients that nobody averages."""
    teams: list[Team] = []

    def disturbed(spec: ExperimentSpec, team: Team, mark: Mark, started: float) -> tuple[Progress, Mark]:
        if team not in teams:
            teams.append(team)
        if mark.iteration == 3 and len(teams) == 1:
            one, other = (found.get() for found in team.learner_group.foreach_learner(place_of))
            assert one.node != other.node
            nodes.lose(one)
            nodes.join()
        return iterate(spec, team, mark, started)

    monkeypatch.setattr(module, "iterate", disturbed)
    alike = 'members.right={algorithm: "policies.ppo:PPO", params: {lr: 1.0e-3}}'
    experiment, run = begin("game.yaml", [alike, "learning.learners=2"], "run")
    outcome = train(experiment, run, view=Silent(), stop=StopSignal(lambda: None))
    assert outcome.reason == "the limit in stop is reached"
    assert len(teams) == 2
    rows = read_rows(run.metrics / "progress.csv")
    assert [int(row["iteration"]) for row in rows] == [1, 2, 3, 4]
    assert [int(row["env_steps"]) for row in rows] == [128, 256, 384, 512]
    assert [int(row["recoveries"]) for row in rows] == [0, 0, 1, 1]


class Loss(Callback):
    """Loses the node of a trial in its fourth iteration, once."""

    nodes: ClassVar[Nodes | None] = None
    seen: ClassVar[list[int]] = []

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        Loss.seen.append(result["iteration"])
        if result["iteration"] == 4 and (there := Loss.nodes):
            Loss.nodes = None
            there.lose(there.of(result["pid"]))


def test_a_trial_whose_node_is_lost_goes_on_from_its_last_checkpoint_on_another(nodes: Nodes, game: Path) -> None:
    tune = "tune={trials: 1, metric: left/episode_return, space: {seed: {grid: [0]}}, max_failures: 1}"
    made = sweep_of(read_document("game.yaml", [tune, "stop.iterations=6"]))
    folder = SweepDir(Path("sweep"))
    folder.path.mkdir()
    Loss.nodes = nodes
    run_sweep(made, folder, [Loss()], resume=False)
    assert Loss.nodes is None
    assert Loss.seen[:4] == [1, 2, 3, 4]
    assert Loss.seen[4:] in ([3, 4, 5, 6], [5, 6])  # from the checkpoint of the fourth iteration, if that was complete
    (trial,) = summarise(made, folder)["trials"]
    assert trial["iteration"] == 6
    rows = read_rows(folder.trial("trial_0000").metrics / "progress.csv")
    assert [int(row["iteration"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [int(row["env_steps"]) for row in rows] == [128 * number for number in range(1, 7)]
