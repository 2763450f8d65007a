"""The structured log: an object a line, added to, with what was going on when something went wrong."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.wealtharena.test_train import ScriptedTeam, Silent
from wealtharena.experiment import load_experiment
from wealtharena.training import train as training
from wealtharena.training.logs import event, run_log
from wealtharena.training.run_dir import new_run
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import train


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "logs" / "run.jsonl").read_text().splitlines()]


def test_an_event_has_a_time_and_what_was_going_on(tmp_path: Path) -> None:
    with run_log(tmp_path):
        event("started", run="first", iteration=0, seed=3)
        event("iteration", iteration=1, team_return=0.5)
        logging.getLogger("wealtharena.team").warning("runner %d is gone", 2)
    started, iteration, warning = lines(tmp_path)
    assert started.items() >= {"event": "started", "run": "first", "iteration": 0, "seed": 3, "level": "info"}.items()
    assert iteration.items() >= {"event": "iteration", "run": "first", "iteration": 1, "team_return": 0.5}.items()
    assert (
        warning.items() >= {"event": "warning", "message": "runner 2 is gone", "run": "first", "iteration": 1}.items()
    )
    when = datetime.fromisoformat(started["time"])
    assert when.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)


def test_an_error_is_logged_with_its_traceback_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_log(tmp_path):
        raise ZeroDivisionError("of a test")
    (error,) = lines(tmp_path)
    assert (error["event"], error["level"]) == ("error", "error")
    assert "ZeroDivisionError" in error["error"]
    assert 'raise ZeroDivisionError("of a test")' in error["traceback"]


def test_a_log_is_added_to_and_a_cut_line_stays_alone(tmp_path: Path) -> None:
    with run_log(tmp_path):
        event("started", iteration=0)
    file = tmp_path / "logs" / "run.jsonl"
    before = file.read_bytes()
    with file.open("a") as log:
        log.write('{"time": "2026')
    with run_log(tmp_path):
        event("resumed", iteration=0)
    assert file.read_bytes().startswith(before)
    whole, cut, more = file.read_text().splitlines()
    assert (json.loads(whole)["event"], cut, json.loads(more)["event"]) == ("started", '{"time": "2026', "resumed")


def test_warnings_are_shown_and_events_are_not(tmp_path: Path) -> None:
    shown: list[str] = []
    with run_log(tmp_path, shown.append):
        event("started", iteration=0)
        logging.getLogger("wealtharena.x").info("small")
        logging.getLogger("wealtharena.x").warning("odd")
    logging.getLogger("wealtharena.x").debug("later")
    assert shown == ["warning: odd"]
    assert [line["event"] for line in lines(tmp_path)] == ["started", "info", "warning"]


def test_a_training_tells_its_course(game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, stop = new_run("game", None), StopSignal(lambda: None)
    for iterations in (2, 3):
        team = ScriptedTeam([1.0] * 9)
        monkeypatch.setattr(
            training, "team_config", lambda experiment, t=team: type("C", (), {"build_algo": lambda s: t})()
        )
        monkeypatch.setattr(training, "_restored", lambda last, t=team: t)
        monkeypatch.setattr(training, "read_provenance", lambda path: {})
        with run_log(run.path):
            train(load_experiment(str(game), [f"stop.iterations={iterations}"]), run, view=Silent(), stop=stop)
    told = lines(run.path)
    assert [(line["event"], line["iteration"]) for line in told] == [
        ("started", 0), ("iteration", 1), ("iteration", 2), ("checkpoint", 2), ("ended", 2),
        ("resumed", 2), ("iteration", 3), ("checkpoint", 3), ("ended", 3),
    ]  # fmt: skip
    assert told[0].keys() >= {"versions", "code", "resources", "seed", "experiment", "host", "pid"}
    assert told[0]["code"].keys() == {"environments", "policies", "wealtharena"}
    assert told[1].keys() >= {"env_steps", "team_return", "left/episode_return"}
    assert told[3]["path"] == "checkpoints/iter_000002"
    assert told[4]["reason"] == "the limit in stop is reached"
