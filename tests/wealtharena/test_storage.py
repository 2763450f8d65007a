"""A run that is kept behind a URI: complete there or absent, fetched again, refused where nothing can be written."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, PyFileSystem
from ray.tune import Callback
from typer.testing import CliRunner

from tests.wealtharena.conftest import GAME
from wealtharena.cli import app
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.training import mirror
from wealtharena.training.metrics_log import read_rows
from wealtharena.training.mirror import fetched, here, kept
from wealtharena.training.ray_session import ray_session
from wealtharena.training.run_dir import Mark, RunDir
from wealtharena.training.storage import LINKS, Storage
from wealtharena.tuning.folder import SweepDir
from wealtharena.tuning.setup import begin_sweep
from wealtharena.tuning.sweep import run_sweep


def written(folder: Path, iteration: int) -> RunDir:
    """A run with a checkpoint more."""
    run = RunDir(folder)
    folder.mkdir(exist_ok=True)
    run.write_config({"name": "x"})
    run.save(Mark(iteration=iteration), lambda path: (path / "weights").write_text(f"{iteration}"), keep=1)
    run.metrics.mkdir(exist_ok=True)
    (run.metrics / "progress.csv").write_text("iteration\n" + "".join(f"{i + 1}\n" for i in range(iteration)))
    return run


def listed(storage: Storage) -> set[str]:
    found = storage.files.get_file_info(FileSelector(storage.root, recursive=True, allow_not_found=True))
    return {info.path[len(storage.root) :].lstrip("/") for info in found if info.type == FileType.File}


class Bucket(FSSpecHandler):
    """A store in memory that can be made to fail, and that writes down what it was asked for."""

    def __init__(self) -> None:
        memory = fsspec.filesystem("memory")
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]
        super().__init__(memory)
        self.moved: list[str] = []
        self.full = False

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        if self.full:
            raise OSError(28, "No space left on device", path)
        return super().open_output_stream(path, metadata)

    def move(self, source: str, target: str) -> None:
        super().move(source, target)
        self.moved.append(target)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def storage(bucket: Bucket) -> Storage:
    return Storage("memory://b/run", PyFileSystem(bucket), "/b/run")


# ---- what is there, is complete


def test_a_checkpoint_is_marked_when_all_of_it_is_there(tmp_path: Path, storage: Storage, bucket: Bucket) -> None:
    run = written(tmp_path / "run", 2)
    storage.push(run.path)
    checkpoint = {"checkpoints/iter_000002/weights", "checkpoints/iter_000002/mark.json"}
    assert listed(storage) == {"config.yaml", LINKS, "metrics/progress.csv", *checkpoint}
    order = [target.removeprefix("/b/run/") for target in bucket.moved]
    assert order.index("checkpoints/iter_000002/mark.json") > order.index("checkpoints/iter_000002/weights")
    assert order.index("checkpoints/iter_000002/mark.json") > order.index("metrics/progress.csv")


def test_what_has_not_changed_is_not_copied_again_and_what_has_gone_goes(
    tmp_path: Path, storage: Storage, bucket: Bucket
) -> None:
    run = written(tmp_path / "run", 2)
    storage.push(run.path)
    bucket.moved.clear()
    storage.push(run.path)
    assert bucket.moved == [f"/b/run/{LINKS}"]
    written(run.path, 4)
    written(run.path, 6)  # keeps the last one and the best, which is the newest of equals
    storage.push(run.path)
    assert [name for name in listed(storage) if name.endswith("mark.json")] == ["checkpoints/iter_000006/mark.json"]
    assert not any("iter_000002" in name for name in listed(storage))


def test_a_copy_that_breaks_off_leaves_the_last_checkpoint(tmp_path: Path, storage: Storage, bucket: Bucket) -> None:
    run = written(tmp_path / "run", 2)
    storage.push(run.path)
    written(run.path, 4)
    bucket.full = True
    with pytest.raises(OSError, match="No space left"):
        storage.push(run.path)
    storage.pull(tmp_path / "again")
    assert [found.mark.iteration for found in RunDir(tmp_path / "again").checkpoints()] == [2]
    bucket.full = False
    storage.push(run.path)
    storage.pull(tmp_path / "third")
    assert [found.mark.iteration for found in RunDir(tmp_path / "third").checkpoints()] == [4]


def test_readers_leave_out_what_is_half_there(tmp_path: Path, storage: Storage) -> None:
    run = written(tmp_path / "run", 2)
    storage.push(run.path)
    for name in ("checkpoints/iter_000004/weights", "report.html.partial"):
        with storage.files.open_output_stream(f"/b/run/{name}") as stream:
            stream.write(b"half")
    storage.pull(tmp_path / "again")
    again = RunDir(tmp_path / "again")
    assert [found.path.name for found in again.checkpoints()] == ["iter_000002"]
    assert sorted(path.name for path in (again.path / "checkpoints").iterdir()) == ["best", "iter_000002", "latest"]
    assert (again.path / "checkpoints/latest/weights").read_text() == "2"
    assert not list(again.path.glob("*.partial"))


def test_a_link_that_leads_out_of_the_run_is_not_made(tmp_path: Path, storage: Storage) -> None:
    storage.push(written(tmp_path / "run", 2).path)
    with storage.files.open_output_stream(f"/b/run/{LINKS}") as stream:
        stream.write(b'{"checkpoints/out": "../../..", "checkpoints/latest": "iter_000002"}')
    storage.pull(tmp_path / "again")
    assert (tmp_path / "again/checkpoints/latest").is_symlink()
    assert not (tmp_path / "again/checkpoints/out").is_symlink()


def test_files_that_are_being_written_stay_here(tmp_path: Path, storage: Storage) -> None:
    run = written(tmp_path / "run", 2)
    (run.path / "checkpoints/.iter_000004.partial").mkdir()
    (run.path / "checkpoints/.iter_000004.partial/weights").write_text("half")
    (run.path / ".lock").touch()
    storage.push(run.path)
    assert not any("partial" in name or "lock" in name for name in listed(storage))


# ---- while a run goes on


def wait_for(storage: Storage, name: str) -> None:
    limit = time.monotonic() + 20
    while not storage.holds(name):
        assert time.monotonic() < limit, listed(storage)
        time.sleep(0.02)


def test_each_checkpoint_is_copied_while_the_run_goes_on(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "POLL", 0.02)
    folder = tmp_path / "parent" / "run"
    folder.parent.mkdir()
    with kept(RunDir(folder, storage)):
        for iteration in (2, 4):
            written(folder, iteration)
            wait_for(storage, f"checkpoints/iter_00000{iteration}/mark.json")
        (folder / "report.html").write_text("end")
    assert storage.holds("report.html")
    assert not folder.parent.exists()


def test_a_storage_that_fails_for_a_while_does_not_end_the_run(
    tmp_path: Path, storage: Storage, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mirror, "POLL", 0.02)
    monkeypatch.setattr(mirror, "RETRY", 0.02)
    folder = tmp_path / "parent" / "run"
    folder.parent.mkdir()
    bucket.full = True
    with caplog.at_level(logging.WARNING, "wealtharena"), kept(RunDir(folder, storage)):
        written(folder, 2)
        limit = time.monotonic() + 20
        while not caplog.records:
            assert time.monotonic() < limit
            time.sleep(0.02)
        bucket.full = False
        wait_for(storage, "checkpoints/iter_000002/mark.json")
    assert "memory://b/run: the run could not be copied: " in caplog.text
    assert "trying again" in caplog.text


def test_a_run_that_could_not_be_copied_at_the_end_stays_and_says_where(
    tmp_path: Path, storage: Storage, bucket: Bucket
) -> None:
    bucket.full = True
    folder = tmp_path / "parent" / "run"
    folder.parent.mkdir()
    with pytest.raises(UserError, match=f"could not be copied: .*it lies in {folder}"), kept(RunDir(folder, storage)):
        written(folder, 2)
    assert RunDir(folder).latest() is not None


# ---- from the command line


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere://bucket/runs", "is no URI of a filesystem"),
        ("file:///proc/wealtharena", "cannot be written to"),
    ],
)
def test_what_cannot_be_written_is_refused_before_training(game: Path, given: str, message: str) -> None:
    swept = ("tune", "--set", "tune={trials: 2, space: {seed: {choice: [0, 1]}}}")
    for command in (("train",), swept):
        for arguments in (("--set", f"storage={given}"), ("--out", f"{given}/x")):
            refused = run(command[0], "game.yaml", *command[1:], *arguments)
            assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
            assert message in refused.stderr
            assert given in refused.stderr
    assert not Path("runs").exists()


def test_a_uri_without_a_run_and_one_that_holds_one_are_told_apart(game: Path, tmp_path: Path) -> None:
    absent, present = f"file://{tmp_path}/absent", f"file://{tmp_path}/present"
    written(tmp_path / "present", 2)
    assert "holds no run" in run("train", absent, "--resume").stderr
    assert "holds no run" in run("report", absent).stderr
    assert "holds no sweep" in run("tune", absent, "--resume").stderr
    assert "already holds a run" in run("train", "game.yaml", "--out", present).stderr
    other = run("train", present, "--resume", "--out", absent)
    assert "the run that goes on stays in its folder" in other.stderr


def test_a_folder_named_as_storage_holds_the_runs(tmp_path: Path) -> None:
    with here(str(tmp_path)) as found:
        assert (found.path, found.home) == (tmp_path, str(tmp_path))


@pytest.mark.ray
def test_a_run_kept_elsewhere_goes_on_is_evaluated_and_reported(game: Path, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/bucket/first"
    first = run("train", "game.yaml", "--out", uri)
    assert first.exit_code == 0, first.output
    assert f"Report: {uri}/report.html" in first.stdout
    again = run("train", uri, "--resume", "--set", "stop.iterations=6")
    assert again.exit_code == 0, again.output
    there = RunDir(tmp_path / "bucket/first")
    assert [found.mark.iteration for found in there.checkpoints()] == [4, 6]
    assert [int(row["iteration"]) for row in read_rows(there.metrics / "progress.csv")] == [1, 2, 3, 4, 5, 6]
    assert yaml.safe_load(there.config.read_text())["stop"]["iterations"] == 6
    (there.path / "report.html").unlink()
    shutil.rmtree(there.path / "checkpoints/iter_000004")
    assert run("report", uri).exit_code == 0
    assert (there.path / "report.html").is_file()
    judged = run("evaluate", uri, "--set", "evaluation.episodes=8")
    assert judged.exit_code == 0, judged.output
    assert f"Written: {uri}/evaluations/iter_000006-001" in judged.stdout
    assert (there.path / "evaluations/iter_000006-001/evaluation.json").is_file()
    assert fetched(uri).latest() is not None


def test_a_local_filesystem_is_what_a_file_uri_means(tmp_path: Path) -> None:
    assert isinstance(Storage.at(f"file://{tmp_path}/a").files, type(FileSystem.from_uri("file:///")[0]))
    assert Storage.at(f"file://{tmp_path}/a/").name == "a"


# ---- sweeps

TUNE = "tune: {trials: 1, concurrency: 1, metric: left/episode_return, space: {seed: {grid: [0, 1]}}}\n"


class Kill(Callback):
    """Copies the store of a sweep in the middle of its second trial: what a kill would have left."""

    def __init__(self, bucket: Path, copy: Path) -> None:
        self.bucket, self.copy = bucket, copy

    def on_trial_result(self, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if str(trial) == "trial_0001" and result["iteration"] >= 8 and not self.copy.exists():
            shutil.copytree(self.bucket, self.copy)


@pytest.mark.ray
def test_a_sweep_kept_elsewhere_goes_on_after_a_kill_and_is_reported(
    game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0.1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # the trials' processes import the game
    game.write_text(GAME.replace("iterations: 4", "iterations: 12") + TUNE)
    killed, uri = SweepDir(tmp_path / "killed"), f"file://{tmp_path}/killed"
    with ray_session():
        sweep, folder = begin_sweep("game.yaml", [], f"file://{tmp_path}/bucket")
        run_sweep(sweep, folder, [Kill(tmp_path / "bucket", killed.path)], resume=False)
    assert not list(folder.path.glob("tune"))
    shutil.rmtree(folder.path.parent)
    assert killed.trial("trial_0000").config.is_file()
    assert not killed.summary.exists()

    resumed = run("tune", uri, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert f"Best: {uri}/best.yaml" in resumed.stdout
    assert f"Report: {uri}/sweep.html" in resumed.stdout
    assert [name for name, _ in killed.trials()] == ["trial_0000", "trial_0001"]
    for name, record in killed.trials():
        rows = read_rows(killed.trial(name).metrics / "progress.csv")
        assert [int(row["iteration"]) for row in rows] == list(range(1, 13))
        assert record["status"] == "finished"
    assert killed.best.latest() is not None
    assert load_experiment(str(killed.best_config)).spec.evaluation.trials == 2

    killed.report.unlink()
    assert run("report", uri).exit_code == 0
    assert "trial_0001" in killed.report.read_text(encoding="utf-8")
    assert "already holds a run" in run("tune", "game.yaml", "--out", uri).stderr
