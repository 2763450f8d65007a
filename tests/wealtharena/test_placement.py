"""Runners and learners on the nodes of a cluster: all of it is used, and nothing waits without an end."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.cluster_utils import Cluster
from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.util.placement_group import placement_group, remove_placement_group

from wealtharena.document import read_document
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.training.resources import bundles_of, gpus_per_learner, of_the_cluster, require
from wealtharena.training.room import in_words, nodes, require_places, room, wait_for_room, without_place
from wealtharena.tuning.check import sweep_of
from wealtharena.tuning.trial import NUMBER, POINT, VALUES, TeamTrial, trial_config
from wealtharena.tuning.waiting import WaitingAloud

MULTI_NODE = Path(__file__).parents[2] / "tune_configs" / "multi_node_gpu.yaml"
NODE = {"CPU": 16.0, "GPU": 0.0}
SHAPES: dict[str, list[dict[str, float]]] = {
    "GPUs on one node": [NODE | {"GPU": 4.0}, NODE, NODE],
    "GPUs spread": [NODE | {"GPU": 2.0}, NODE | {"GPU": 1.0}, NODE | {"GPU": 1.0}],
}
CPU, GPU = {"CPU": 1.0}, {"GPU": 1.0}


# ---- by arithmetic


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_file_for_several_nodes_fills_the_gpus_of_three(shape: list[dict[str, float]]) -> None:
    there = {name: sum(node[name] for node in shape) for name in ("CPU", "GPU")}
    experiment = load_experiment(str(MULTI_NODE))
    asked = bundles_of(experiment, there)
    assert asked == [CPU] * 40 + [GPU] * 4
    assert without_place(asked, shape) == []
    trial = [CPU, *asked]
    assert without_place(trial, shape) == []
    assert without_place([*trial, GPU], shape) == [GPU]
    assert without_place(trial + [CPU] * 8, shape) == [CPU]


@pytest.mark.parametrize(
    ("bundles", "shape", "missing"),
    [
        ([{"GPU": 0.6}] * 3, [{"GPU": 2.0}], 1),  # 1.8 of 2 GPUs, but each has one place
        ([{"GPU": 0.5}] * 4, [{"GPU": 2.0}], 0),
        ([{"GPU": 1 / 3}] * 3, [{"GPU": 1.0}], 0),
        ([{"GPU": 2.0}], [{"GPU": 1.0}, {"GPU": 1.0}], 1),
        ([{"GPU": 1.0}, {"GPU": 0.5}, {"GPU": 0.5}], [{"GPU": 2.0}], 0),
        ([CPU] * 3, [{"CPU": 1.5}, {"CPU": 1.5}], 1),
        ([{"CPU": 1.0, "GPU": 1.0}], [{"CPU": 8.0}, {"GPU": 1.0}], 1),
        ([CPU, {"CPU": 1.0, "GPU": 1.0}], [{"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0}], 0),
        ([], [], 0),
    ],
)
def test_a_process_lies_on_one_node_and_its_part_of_a_gpu_on_one_gpu(
    bundles: list[dict[str, float]], shape: list[dict[str, float]], missing: int
) -> None:
    assert len(without_place(bundles, shape)) == missing


@settings(deadline=None, max_examples=60)
@given(
    share=st.sampled_from([0.2, 0.25, 0.3, 0.5, 0.6, 1.0, 2.0]),
    learners=st.integers(0, 12),
    runners=st.integers(0, 12),
    shape=st.lists(st.fixed_dictionaries({"CPU": st.integers(0, 4), "GPU": st.integers(0, 4)}), min_size=1, max_size=4),
)
def test_as_many_find_a_place_as_there_are_places(
    share: float, learners: int, runners: int, shape: list[dict[str, float]]
) -> None:
    on_one = math.floor(1 / share + 1e-9) if share <= 1 else 0
    places = sum(int(node["GPU"]) * on_one if share <= 1 else int(node["GPU"] // share) for node in shape)
    cpus = sum(int(node["CPU"]) for node in shape)
    missing = without_place([CPU] * runners + [{"GPU": share}] * learners, shape)
    assert len(missing) == max(0, learners - places) + max(0, runners - cpus)


def test_what_fits_in_all_but_on_no_node_is_refused_in_words() -> None:
    with pytest.raises(UserError) as refused:
        require_places([CPU] * 2 + [{"GPU": 0.6}] * 3, [{"CPU": 2.0, "GPU": 2.0}])
    message = str(refused.value)
    for part in ("2 x 1 CPU, 3 x 0.6 GPU do not fit", "1 x 2 CPU 2 GPU", "no node has room for 1 x 0.6 GPU"):
        assert part in message
    for name in ("sampling.runners", "learning.learners", "learning.gpus_per_learner"):
        assert name in message


# ---- on nodes of Ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Three nodes in this machine with four GPUs that are not there, on all of them."""
    monkey, started = pytest.MonkeyPatch(), Cluster()
    monkey.setenv("RAY_worker_niceness", "0")
    try:
        for number, node in enumerate(SHAPES["GPUs spread"]):
            head = {"include_dashboard": False} if number == 0 else {}
            started.add_node(num_cpus=int(node["CPU"]), num_gpus=int(node["GPU"]), **head)
        ray.init(address=started.address, log_to_driver=False, logging_level=logging.ERROR)
        yield
    finally:
        ray.shutdown()
        started.shutdown()
        monkey.undo()


def trial_bundles(file: Path) -> list[Mapping[str, float]]:
    """What a trial of a sweep over the file asks for."""
    document = read_document(str(file), ["tune={space: {seed: {choice: [0, 1]}}, trials: 2}"])
    sweep = sweep_of(document)
    config = {**trial_config(sweep.space.document), POINT: {NUMBER: 0, VALUES: sweep.first}}
    bundles: list[Mapping[str, float]] = TeamTrial.default_resource_request(config).bundles
    return bundles


@pytest.mark.ray
def test_three_nodes_with_four_gpus_are_used_fully(cluster: None) -> None:
    experiment, there = load_experiment(str(MULTI_NODE)), of_the_cluster()
    require(experiment, there, "the cluster")
    assert gpus_per_learner(experiment, there) == 1.0
    bundles = bundles_of(experiment, there)
    require_places(bundles, nodes())
    wait_for_room(bundles)
    trial = trial_bundles(MULTI_NODE)
    assert sum(bundle.get("CPU", 0) for bundle in trial) == 41
    assert sum(bundle.get("GPU", 0) for bundle in trial) == 4
    group = placement_group([dict(bundle) for bundle in trial])
    try:
        assert group.wait(30)
        left = ray.available_resources()
        assert (left.get("GPU", 0.0), left["CPU"]) == (0.0, 7.0)
    finally:
        remove_placement_group(group)


@pytest.mark.ray
def test_who_finds_no_room_says_so_and_gives_up(cluster: None, caplog: pytest.LogCaptureFixture) -> None:
    group = placement_group([GPU] * 3)
    try:
        assert group.wait(30)
        with caplog.at_level(logging.WARNING, "wealtharena"), pytest.raises(UserError) as refused:
            wait_for_room([CPU] * 2 + [GPU] * 2, patience=4.0)
    finally:
        remove_placement_group(group)
    assert "the run needs 2 CPU, 2 GPU, and free are 48 of 48 CPU, 1 of 4 GPU" in str(refused.value)
    assert "gave up after 4 s" in str(refused.value)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.endswith("waiting up to 4 s")
    wait_for_room([CPU] * 2 + [GPU] * 2)  # what it had asked for is free again


@pytest.mark.ray
def test_two_that_begin_at_once_do_not_take_the_same_room(cluster: None, caplog: pytest.LogCaptureFixture) -> None:
    """There are 48 CPUs, and each of the two wants 30: one has them, and the other says that there are too few."""

    def other() -> None:
        with room([CPU] * 30, patience=6.0):
            pytest.fail("both have found the same room")

    with ThreadPoolExecutor(1) as pool, caplog.at_level(logging.WARNING, "wealtharena"):
        with room([CPU] * 30):
            waiting = pool.submit(other)
            limit = time.monotonic() + 60
            while "another run on this cluster is starting its processes" not in caplog.text:
                assert time.monotonic() < limit
                time.sleep(0.05)
            group = placement_group([CPU] * 30)
            assert group.wait(30)
        with pytest.raises(UserError, match=r"the run needs 30 CPU, and free are 18 of 48 CPU.*gave up after 6 s"):
            waiting.result(60)
        remove_placement_group(group)


@pytest.mark.ray
def test_whose_turn_never_comes_says_so_and_gives_up(cluster: None) -> None:
    with room([CPU]), pytest.raises(UserError, match="has been starting its processes for 1 s"):
        room([CPU], patience=1.0).__enter__()
    with room([CPU]):  # the turn is free again
        pass


@pytest.mark.ray
def test_a_sweep_without_room_says_so_each_minute(
    cluster: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, watch, trial = [0.0], WaitingAloud(), Trial("trained", stub=True)
    trial.placement_group_factory = PlacementGroupFactory([CPU, GPU])
    monkeypatch.setattr("wealtharena.tuning.waiting.time.monotonic", lambda: now[0])
    with caplog.at_level(logging.WARNING, "wealtharena"):
        for status, seconds in ((Trial.PENDING, 59), (Trial.RUNNING, 1), (Trial.PENDING, 59), (Trial.PENDING, 60)):
            trial.status = status
            watch.on_step_begin(0, [trial])
            now[0] += seconds
        assert not caplog.records
        watch.on_step_begin(0, [trial])
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("no trial has found room for 60 s: the run needs 1 CPU, 1 GPU, and free are ")


@pytest.mark.ray
def test_the_nodes_are_told(cluster: None) -> None:
    told = in_words(nodes())
    assert told.startswith("3 nodes: ")
    assert "2 x 16 CPU 1 GPU" in told
    assert "1 x 16 CPU 2 GPU" in told
    assert "; free: " in told
