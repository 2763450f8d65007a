"""Jobs on a real Ray head of this machine: training, evaluation and sweeps; with and without a token."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.wealtharena.conftest import GAME
from wealtharena.experiment import load_experiment
from wealtharena.training.metrics_log import read_rows
from wealtharena.training.run_dir import RunDir

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 4
WAIT = 180.0
LISTED = ("git", "ls-files", "--cached", "--others", "--exclude-standard")


@dataclass(frozen=True)
class Head:
    """A running head, and the variables with which a client reaches it."""

    address: str
    variables: dict[str, str]

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Submits a job, as soon as the head takes one; its agent comes up a little after it."""
        limit = time.monotonic() + WAIT
        while "No available agent" in (made := self.ray("job", "submit", *arguments)).stderr:
            assert time.monotonic() < limit, made.stderr
        return made

    def ray(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line of Ray as a client."""
        environment = {**clean(), **self.variables, "RAY_API_SERVER_ADDRESS": self.address, **variables}
        return subprocess.run(
            [Path(sys.executable).parent / "ray", *arguments],
            env=environment, capture_output=True, text=True, timeout=WAIT, check=False,
        )  # fmt: skip


def clean() -> dict[str, str]:
    """This process's variables without those that would reach other Rays, or other files of this project."""
    named = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), named.get("PATH", "")])
    return {**named, "PATH": path, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def free_port() -> int:
    """Outside of 10002 to 19999, which Ray's workers use."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 10002 <= port <= 19999:
            return port
    raise AssertionError("no port is free")


@contextmanager
def head(**variables: str) -> Iterator[Head]:
    folder = tempfile.mkdtemp(prefix="wa-", dir="/tmp")  # sockets must have short names
    port, dashboard = free_port(), free_port()
    arguments = [
        "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2",
        "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard),
        "--metrics-export-port", str(free_port()), "--dashboard-agent-listen-port", str(free_port()),
        "--temp-dir", folder, "--disable-usage-stats",
    ]  # fmt: skip
    stopping = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60", "RAY_worker_niceness": "0"}
    log = Path(folder, "head.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "ray", *arguments],
            env={**clean(), **stopping, **variables}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: "Ray runtime started" in log.read_text() or process.poll() is not None, log.read_text)
        assert process.poll() is None, log.read_text()
        wait_until(lambda: answers(dashboard), log.read_text)
        yield Head(f"http://127.0.0.1:{dashboard}", variables)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(done: Callable[[], bool], told: Callable[[], str]) -> None:
    limit = time.monotonic() + WAIT
    while not done():
        assert time.monotonic() < limit, told()
        time.sleep(0.1)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a fresh clone of what is here would hold, and an experiment."""
    listed = subprocess.run([*LISTED, "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone")
    folder = tmp_path / "clone"
    for name in listed.stdout.split("\0"):
        if name.startswith(("environments/", "policies/", "wealtharena/", "tests/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "game.yaml").write_text(GAME.replace("iterations: 4", "iterations: 100000"))
    (folder / "sweep.yaml").write_text(GAME + "tune: {concurrency: 1, space: {seed: {grid: [0, 1]}}}\n")
    return folder


@pytest.mark.ray
def test_jobs_are_submitted_followed_stopped_resumed_evaluated_and_swept(clone: Path, tmp_path: Path) -> None:
    out, sweep = tmp_path / "shared" / "first", tmp_path / "shared" / "sweep"
    train, evaluate, tune = (("--", "python", "-m", "wealtharena", name) for name in ("train", "evaluate", "tune"))
    with head(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) as cluster:
        refused = cluster.ray("job", "list", RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="")
        assert refused.returncode != 0
        assert "token authentication is enabled" in refused.stderr.lower()

        folder = ("--working-dir", str(clone))
        begun = cluster.submit(*folder, "--submission-id", "first", "--no-wait", *train, "game.yaml", "--out", str(out))
        assert begun.returncode == 0, begun.stderr
        progress = out / "metrics" / "progress.csv"
        wait_until(lambda: len(read_rows(progress)) >= 3, lambda: cluster.ray("job", "logs", "first").stdout)
        stopped = cluster.ray("job", "stop", "first")
        assert stopped.returncode == 0, stopped.stderr
        log = cluster.ray("job", "logs", "first").stdout
        for part in ("Stopping after this iteration", "interrupted", f"wealtharena train {out} --resume"):
            assert part in log
        assert f"dashboard {cluster.address}" in log
        assert "1 node: 1 x 2 CPU; free: 2 CPU" in log
        (code,) = [line for line in log.splitlines() if line.startswith("environments ")]
        assert code.endswith("/environments")
        assert "/runtime_resources/working_dir_files/" in code
        own = log[log.index("\nexperiment ") : log.index("\nReport: ")]  # without what Ray's client says
        assert "\niteration 1 " in own
        assert "\x1b" not in own
        latest = RunDir(out).latest()
        assert latest is not None
        reached = latest.mark.iteration
        assert reached == len(read_rows(progress))
        assert (out / "report.html").is_file()

        more = ("--resume", "--set", f"stop.iterations={reached + 3}")
        resumed = cluster.submit(*folder, *train, str(out), *more)
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        assert "the limit in stop is reached" in resumed.stdout
        assert "succeeded" in resumed.stdout

        judged = cluster.submit(*folder, *evaluate, str(out), "--set", "evaluation.episodes=8")
        assert judged.returncode == 0, judged.stdout + judged.stderr
        (evaluation,) = out.glob("evaluations/*/evaluation.json")
        assert f"Written: {evaluation}" in judged.stdout
        swept = cluster.submit(*folder, *tune, "sweep.yaml", "--out", f"file://{sweep}")
        assert swept.returncode == 0, swept.stdout + swept.stderr
        assert "[1/2] trial_0001  iteration 4 " in swept.stdout
        assert f"Report: file://{sweep}/sweep.html" in swept.stdout
    assert json.loads((sweep / "sweep.json").read_text())["ran"] == 2
    assert load_experiment(str(sweep / "best.yaml")).spec.evaluation.trials == 2
    assert [int(row["iteration"]) for row in read_rows(progress)] == list(range(1, reached + 4))


@pytest.mark.ray
def test_a_job_without_authentication(clone: Path) -> None:
    with head(RAY_AUTH_MODE="disabled") as cluster:
        code = "import environments; print('code:', *environments.__path__)"
        job = cluster.submit("--working-dir", str(clone), "--", "python", "-c", code)
    assert job.returncode == 0, job.stdout + job.stderr
    (where,) = [line for line in job.stdout.splitlines() if line.startswith("code: ")]
    assert "/runtime_resources/working_dir_files/" in where
