"""What a person sees of a sweep while it runs, and what its figures show of it."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from wealtharena.tuning.figures import curves, forest, parallel
from wealtharena.tuning.view import SweepView, short, value_text, values_text


@dataclass
class Shown:
    """As much of Tune's trial as is shown."""

    name: str
    status: str
    score: float | None
    lr: float = 1e-3
    error_file: str = "error.txt"
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = {"point": {"values": {"members.stocks.params.lr": self.lr}}}

    @property
    def last_result(self) -> dict[str, Any]:
        known = {} if self.score is None else {"score": self.score}
        return {"iteration": 3, "env_steps": 4096, "reason": None, **known}

    def is_finished(self) -> bool:
        return self.status in ("TERMINATED", "ERROR")

    def __str__(self) -> str:
        return self.name


TRIALS: list[Any] = [
    Shown("trial_0000", "TERMINATED", 1.0),
    Shown("trial_0001", "RUNNING", None),
    Shown("trial_0002", "TERMINATED", 2.0),
    Shown("trial_0003", "RUNNING", 0.5, lr=2e-4),
]
SUMMARY: dict[str, Any] = {
    "metric": "team_return",
    "mode": "max",
    "clock": "iteration",
    "rungs": [2.0],
    "best": "trial_0002",
    "space": {
        "lr": {"kind": "loguniform", "values": [1e-4, 1e-2]},
        "clip": {"kind": "uniform", "values": [0.1, 0.3]},
        "algorithm": {"kind": "choice", "values": ["policies.ppo:PPO", "policies.sac:SAC"]},
    },
    "trials": [
        {"name": "trial_0002", "score": 2.0, "values": {"lr": 1e-3, "algorithm": "policies.sac:SAC"}, "changes": []},
        {
            "name": "trial_0000",
            "score": 1.0,
            "values": {"lr": 1e-2, "clip": 0.2, "algorithm": "policies.ppo:PPO"},
            "changes": [{"iteration": 2, "from": "trial_0002", "values": {}}],
        },
        {"name": "trial_0001", "score": None, "values": {"lr": 1e-4}, "changes": []},
    ],
}


@pytest.mark.parametrize(("sign", "best"), [(1, "trial_0002"), (-1, "trial_0000")])
def test_the_table_has_those_that_are_on_first_and_then_the_best(sign: int, best: str) -> None:
    table = SweepView("team_return", sign=sign, trials=5).table(TRIALS)
    names = list(table.columns[0].cells)
    assert names == ["trial_0003", "trial_0001", best, "trial_0000" if sign == 1 else "trial_0002"]
    assert table.title == "2 of 5 trials are over"
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table)
    assert "stocks.lr=0.0002" in capture.get()


def test_without_a_terminal_there_is_a_line_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    view = SweepView("team_return", sign=1, trials=5)
    view.setup()
    view.on_trial_result(1, TRIALS, TRIALS[3], TRIALS[3].last_result)
    view.on_trial_complete(1, TRIALS, TRIALS[0])
    view.on_trial_error(1, TRIALS, TRIALS[0])
    view.on_experiment_end(TRIALS)
    assert capsys.readouterr().out.splitlines() == [
        "[2/5] trial_0003  iteration 3  4,096 steps  team_return 0.5",
        "[2/5] trial_0000  ended: stopped by the scheduler",
        "[2/5] trial_0000  failed: see error.txt",
    ]


def test_values_in_words() -> None:
    values = {"members.stocks.params.lr": 0.00123456, "members.crypto.algorithm": "policies.sac:SAC", "kind": "mean"}
    assert values_text(values) == "stocks.lr=0.001235  crypto.algorithm=SAC  kind=mean"
    assert short("environment.params.reward.terms.volatility") == "reward.terms.volatility"
    assert value_text({"kind": "neural"}) == "{'kind': 'neural'}"
    assert value_text([64, 64]) == "[64, 64]"


def test_parallel_coordinates_of_trials_with_a_score() -> None:
    figure = parallel(SUMMARY)
    assert figure is not None
    rate, clip, algorithm, score = figure["data"][0]["dimensions"]
    assert rate["values"] == pytest.approx([-3, -2])  # log10
    assert rate["ticktext"] == ["0.0001", "0.00032", "0.001", "0.0032", "0.01"]
    assert clip["values"] == pytest.approx([0.07, 0.2])  # what a trial has not lies below the range
    assert (clip["tickvals"][0], clip["ticktext"][0]) == (pytest.approx(0.07), "none")
    assert (algorithm["values"], algorithm["ticktext"]) == ([1, 0], ["PPO", "SAC"])
    assert score["values"] == [2.0, 1.0]
    assert parallel({**SUMMARY, "trials": SUMMARY["trials"][:1]}) is None


def test_learning_curves_with_rungs_and_changes() -> None:
    table = pd.DataFrame({"iteration": [1, 2, 3], "score": [float("nan"), 1.0, 2.0]})
    figure = curves({"trial_0002": table, "trial_0000": table, "trial_0001": table[["iteration"]]}, SUMMARY)
    assert figure["data"][-1]["name"] == "trial_0002"  # the best on top
    assert (figure["data"][-1]["x"], figure["data"][-1]["y"]) == ([2, 3], [1.0, 2.0])
    (diamond,) = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert (diamond["x"], diamond["text"]) == ([2], ["trial_0000 goes on from trial_0002"])
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [2.0]


def test_a_forest_of_differences() -> None:
    gap = {"value": 0.3, "low": 0.1, "high": 0.6}
    levels = [{"level": "mean", "difference": None}, {"level": "neural", "difference": gap}]
    figure = forest({"dimensions": [{"dimension": "fusion", "levels": levels}]})
    assert figure is not None
    assert figure["data"][0]["y"] == ["fusion: neural"]
    assert figure["data"][0]["error_x"]["array"] == pytest.approx([0.3])
    assert figure["data"][0]["error_x"]["arrayminus"] == pytest.approx([0.2])
    assert forest({"dimensions": [{"dimension": "fusion", "levels": levels[:1]}]}) is None
