"""The files of cluster/, held offline against what reads them: Ray's schema and validators, and a part of KubeRay's."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = sorted(CLUSTER.glob("*.yaml"))
MANIFESTS = sorted((CLUSTER / "kuberay").glob("*.yaml"))
SCHEMA = json.loads((Path(__file__).parent / "kuberay.schema.json").read_text())


def loaded(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    return content


def cluster_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    return spec


def groups_of(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {group["groupName"]: group for group in cluster_of(manifest)["workerGroupSpecs"]}


def gpus(group: dict[str, Any]) -> int:
    (container,) = group["template"]["spec"]["containers"]
    return int(container["resources"]["limits"].get("nvidia.com/gpu", "0"))


def test_there_are_files_to_test() -> None:
    assert [file.name for file in LAUNCHERS] == ["aws.yaml", "gcp.yaml"]
    assert [file.name for file in MANIFESTS] == ["raycluster.yaml", "rayjob.yaml"]


# ---- ray up


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.name)
def test_ray_up_would_take_the_file(file: Path) -> None:
    validate_config(prepare_config(loaded(file)))


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.name)
def test_a_misspelt_key_would_be_noticed(file: Path) -> None:
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config(loaded(file) | {"max_worker": 3}))


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.name)
def test_learners_are_on_demand_and_runners_on_spot(file: Path) -> None:
    config = loaded(file)
    head = config["available_node_types"][config["head_node_type"]]["node_config"]
    runners = config["available_node_types"]["runners"]
    assert not re.search("spot|preemptible", json.dumps(head), re.IGNORECASE)
    assert re.search("spot", json.dumps(runners["node_config"]), re.IGNORECASE)
    assert runners["min_workers"] == 2  # with the head, three nodes


@pytest.mark.parametrize("file", LAUNCHERS, ids=lambda file: file.name)
def test_a_launched_cluster_asks_for_a_token_and_opens_its_dashboard_to_nobody(file: Path) -> None:
    config = loaded(file)
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert any(path.endswith("/auth_token") for path in config["file_mounts"])


# ---- KubeRay


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_kuberay_would_take_the_manifest(file: Path) -> None:
    jsonschema.validate(loaded(file), SCHEMA)


def test_the_reduced_schema_refuses_what_kuberay_does() -> None:
    manifest = loaded(CLUSTER / "kuberay" / "raycluster.yaml")
    manifest["spec"]["workerGroupSpecs"][0]["minReplica"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, SCHEMA)


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_replicas_lie_between_their_bounds(file: Path) -> None:
    for group in groups_of(loaded(file)).values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_a_kubernetes_cluster_asks_for_a_token_and_has_four_gpus_that_no_spot_node_holds(file: Path) -> None:
    manifest = loaded(file)
    groups = groups_of(manifest)
    assert cluster_of(manifest)["authOptions"] == {"mode": "token"}
    assert cluster_of(manifest)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert {name: gpus(group) for name, group in groups.items()} == {"learners": 4, "runners": 0}
    assert "spot" in json.dumps(groups["runners"]["template"])
    assert "spot" not in json.dumps(groups["learners"]["template"])


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_requests_are_limits(file: Path) -> None:
    spec = cluster_of(loaded(file))
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        for container in group["template"]["spec"]["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]


# ---- versions and paths


def test_everything_runs_the_pinned_ray() -> None:
    pinned = version("ray")
    assert f"FROM rayproject/ray:{pinned}-py311-" in (CLUSTER / "Dockerfile").read_text()
    assert f"ray=={pinned}\n" in (ROOT / "constraints.txt").read_text()
    assert {cluster_of(loaded(file))["rayVersion"] for file in MANIFESTS} == {pinned}


def test_the_image_holds_what_the_project_needs() -> None:
    copied = re.findall(r"^COPY --chown=ray:users (.+) \S+$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert packages <= names
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= names
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert names <= kept
    assert all((ROOT / name).exists() for name in names)


def test_commands_name_files_that_exist() -> None:
    text = "".join(file.read_text() for file in (*LAUNCHERS, *MANIFESTS, CLUSTER / "local.sh", CLUSTER / "README.md"))
    named = set(re.findall(r"(?:tune_configs|cluster)/[\w./-]+\.(?:yaml|sh|json|md)", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


# ---- local.sh


def test_the_script_is_bash_that_parses_and_says_what_it_does() -> None:
    subprocess.run(["bash", "-n", CLUSTER / "local.sh"], check=True)
    told = subprocess.run([CLUSTER / "local.sh"], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    for command in ("up", "status", "kill N", "join N", "down"):
        assert f"cluster/local.sh {command}" in told.stdout
    wrong = subprocess.run([CLUSTER / "local.sh", "kill", "3"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, "local.sh: got '3', give a worker node: 1 or 2\n")
