"""What others see of a run while it trains: gauges that Ray exports, the dashboard made of them, and trackers."""

import json
import re
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch
from gymnasium.spaces import Box

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.staged import StagedEnv
from policies.a2c import A2C
from policies.dqn import DQN
from policies.ppo import PPO
from policies.sac import SAC
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.monitoring.dashboard import ROWS, dashboard
from wealtharena.monitoring.gauges import Gauges
from wealtharena.monitoring.readings import MEANING, OF_GROUP, TAGS, Reading, readings
from wealtharena.monitoring.trackers import require_extras, trackers
from wealtharena.monitoring.watchers import Watchers
from wealtharena.training.progress import Progress
from wealtharena.training.run_dir import RunDir
from wealtharena.training.setup import begin
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import train

PROGRESS = Progress(
    iteration=3,
    env_steps=600,
    seconds=2.0,
    steps_per_s=300.0,
    groups={"stocks": {"episode_return": 1.5, "entropy": 0.7, "action_0": 0.5}, "crypto": {}},
    curriculum={"stage": 2.0, "success": 0.5, "share/basic": 0.25, "episodes/basic": 12.0, "return/basic": 3.0},
    runners={"healthy_runners": 2, "restarts": 1},
    environment={"equity": 1.1, "drawdown": 0.2, "capital/stocks": 0.6, "weather": 5.0},
    time_shares={"sample": 0.75, "learn": 0.25},
)


# ---- readings


def test_an_iteration_shows_what_it_knows_under_its_labels():
    assert set(readings(PROGRESS)) == {
        Reading("iteration", 3),
        Reading("env_steps", 600),
        Reading("steps_per_s", 300.0),
        Reading("team_return", 1.5),
        Reading("healthy_runners", 2),
        Reading("restarts", 1),
        Reading("time_share", 0.75, "sample"),
        Reading("time_share", 0.25, "learn"),
        Reading("episode_return", 1.5, "stocks"),
        Reading("entropy", 0.7, "stocks"),
        Reading("equity", 1.1),
        Reading("drawdown", 0.2),
        Reading("capital", 0.6, "stocks"),
        Reading("curriculum_stage", 2.0),
        Reading("curriculum_success", 0.5),
        Reading("stage_share", 0.25, "basic"),
        Reading("stage_return", 3.0, "basic"),
    }
    assert TAGS.keys() == MEANING.keys()
    assert {reading.gauge for reading in readings(PROGRESS)} <= TAGS.keys()


def test_every_gauge_of_a_group_is_a_figure_that_some_algorithm_logs():
    algorithms = (PPO(PPO.Params()), A2C(A2C.Params()), SAC(SAC.Params()), DQN(DQN.Params()))
    actions = Box(-1.0, 1.0, (1,))
    logged = {name for algorithm in algorithms for name in algorithm.shown_metrics(actions)}
    assert OF_GROUP.keys() <= logged


class Clumsy:
    """Fails at the second iteration."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def show(self, progress: Progress) -> None:
        self.shown.append(progress.iteration)
        if len(self.shown) == 2:
            raise ConnectionError("no agent")

    def close(self) -> None:
        self.shown.append(-1)


def test_a_watcher_that_fails_is_left_out_and_stops_no_run(caplog):
    clumsy, steady = Clumsy(), Gauges("runs/a-001")
    shown = []
    steady.show = shown.append
    with Watchers([clumsy, steady]) as watchers:
        for _ in range(3):
            watchers.show(PROGRESS)
    assert clumsy.shown == [3, 3]
    assert shown == [PROGRESS] * 3
    assert caplog.text.count("Clumsy failed and is not told of this run any more; the run goes on") == 1
    assert "no agent" in caplog.text


# ---- trackers


class StubRun:
    """What wandb.init gives."""

    def __init__(self, told: list) -> None:
        self.told = told

    def log(self, row, step):
        self.told.append(("log", step, row["stocks/entropy"]))

    def finish(self):
        self.told.append(("finish",))


def stub_wandb(told):
    def init(**settings):
        told.append(("init", settings))
        return StubRun(told)

    return SimpleNamespace(init=init)


def stub_mlflow(told):
    def start_run(run_id, run_name):
        told.append(("start", run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="0123"))

    return SimpleNamespace(
        set_tracking_uri=lambda uri: told.append(("uri", uri)),
        set_experiment=lambda name: told.append(("experiment", name)),
        start_run=start_run,
        log_dict=lambda config, file: told.append(("config", config["name"], file)),
        log_metrics=lambda row, step: told.append(("log", step, row["stocks/entropy"])),
        end_run=lambda: told.append(("end",)),
    )


def test_weights_and_biases_is_told_of_every_iteration_and_goes_on_with_a_resumed_run(market, tmp_path, monkeypatch):
    told: list = []
    monkeypatch.setitem(sys.modules, "wandb", stub_wandb(told))
    experiment = load_experiment(str(market), ["tracking.wandb={project: desk, entity: us}"])
    require_extras(experiment.spec.tracking)
    for _ in range(2):
        with Watchers(trackers(experiment, RunDir(tmp_path / "run"))) as watchers:
            watchers.show(PROGRESS)
    (_, first), log, finish, (_, again), *_ = told
    assert (log, finish) == (("log", 3, 0.7), ("finish",))
    assert first == again
    assert {key: first[key] for key in ("project", "entity", "resume")} == {
        "project": "desk",
        "entity": "us",
        "resume": "allow",
    }
    assert first["config"] == experiment.resolved()


def test_mlflow_is_told_of_every_iteration_and_goes_on_with_a_resumed_run(market, tmp_path, monkeypatch):
    told: list = []
    monkeypatch.setitem(sys.modules, "mlflow", stub_mlflow(told))
    experiment = load_experiment(str(market), ["tracking.mlflow={experiment: desk, uri: file:there}"])
    run = RunDir(tmp_path / "run")
    for _ in range(2):
        with Watchers(trackers(experiment, run)) as watchers:
            watchers.show(PROGRESS)
    once = [
        ("uri", "file:there"),
        ("experiment", "desk"),
        ("start", None, run.home),
        ("config", "small", "config.yaml"),
    ]
    again = [("uri", "file:there"), ("experiment", "desk"), ("start", "0123", run.home)]
    rest = [("log", 3, 0.7), ("end",)]
    assert told == [*once, *rest, *again, *rest]


@pytest.mark.parametrize(("extra", "line"), [("wandb", "{project: desk}"), ("mlflow", "{experiment: desk}")])
def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_written(market, extra, line, monkeypatch):
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(UserError, match=rf"tracking\.{extra}: .*install the extra 'wealtharena\[{extra}\]'"):
        begin(str(market), [f"tracking.{extra}={line}"], "run")
    assert not Path("run").exists()


# ---- what the market shows of itself


def small(**changes) -> MarketParams:
    data = {"synthetic": {"assets": {"stocks": 2, "crypto": 1}, "bars": 200}}
    return MarketParams.model_validate({"data": data, "horizon": 30, "warmup": 20, **changes})


def test_the_market_shows_equity_drawdown_and_the_capital_of_each_class():
    world = MarketEnv(small(), num_envs=3)
    world.reset(seed=1)
    now = world.figures()
    assert {name: figure_E.tolist() for name, figure_E in now.items() if not name.startswith("capital")} == {
        "equity": [1.0] * 3,
        "drawdown": [0.0] * 3,
    }
    peak_E = torch.ones(3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        actions = {}
        for name, group in world.groups.items():
            shape = (3, len(group.agent_ids), *(group.action_space.shape or ()))
            actions[name] = 2 * torch.rand(shape, generator=generator) - 1
        world.step(actions)
        now = world.figures()
        torch.testing.assert_close(now["equity"], world.record.nav_E / world.params.capital)
        peak_E = torch.maximum(peak_E, now["equity"])
        torch.testing.assert_close(now["drawdown"], 1 - now["equity"] / peak_E)
        shares_EC = torch.stack([now["capital/stocks"], now["capital/crypto"]], dim=1)
        torch.testing.assert_close(shares_EC, world.record.budget_EK[:, :2])
    assert float(now["drawdown"].max()) > 0


def test_a_staged_market_shows_what_all_of_its_stages_show():
    calm = small().model_dump(mode="json")
    stages = {"env": "environments.market.env:MarketEnv", "stages": {"one": calm, "two": {**calm, "horizon": 20}}}
    world = StagedEnv(StagedEnv.Params.model_validate(stages), num_envs=4)
    world.reset(seed=0)
    world.assign([1, 3])
    assert {name: tuple(figure_E.shape) for name, figure_E in world.figures().items()} == dict.fromkeys(
        ("equity", "drawdown", "capital/stocks", "capital/crypto"), (4,)
    )


# ---- the dashboard


def test_the_dashboard_is_the_one_that_is_made_of_the_gauges_and_names_no_other():
    file = Path(__file__).parents[2] / "cluster" / "grafana" / "wealtharena.json"
    text = file.read_text(encoding="utf-8")
    assert json.loads(text) == dashboard(), "write it anew: wealtharena.monitoring.dashboard.write"
    named = set(re.findall(r"ray_wealtharena_(\w+)", text))
    assert named == TAGS.keys()
    for gauge in named:
        labels = ", ".join(TAGS[gauge])
        assert f"max by ({labels}) (ray_wealtharena_{gauge}{{" in text


def test_every_gauge_is_in_the_documentation():
    text = (Path(__file__).parents[2] / "cluster" / "grafana" / "README.md").read_text(encoding="utf-8")
    for gauge, meaning in MEANING.items():
        labels = ", ".join(f"`{label}`" for label in TAGS[gauge])
        assert f"| `ray_wealtharena_{gauge}` | {labels} | {meaning} |" in text


def test_the_dashboard_is_one_that_grafana_imports():
    board = dashboard()
    assert board["schemaVersion"] == 27
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "run", "group"]
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(ROWS) + sum(map(len, ROWS.values()))
    cells: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert max(cells.values()) == 1, "panels lie on one another"
    targets = [panel for panel in panels if panel["type"] == "timeseries"]
    assert {panel["datasource"] for panel in targets} == {"${datasource}"}


# ---- the whole way


class Silent:
    def update(self, progress: Progress, done: float) -> None: ...


def scraped() -> set[tuple[str, str]]:
    """(gauge, labels of ours) of all series that this node's metrics endpoint has."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=5) as page:
        text = page.read().decode()
    series = re.findall(r"^ray_wealtharena_(\w+)\{(.*)\} (\S+)$", text, flags=re.MULTILINE)
    own = ("run", "group", "class", "part", "stage")
    return {
        (gauge, ",".join(sorted(found for found in re.findall(r'(\w+="[^"]*")', labels) if found.startswith(own))))
        for gauge, labels, _ in series
    }


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_run_is_found_on_the_metrics_endpoint_of_its_node(market, tmp_path):
    run = RunDir(tmp_path / "run")
    train(load_experiment(str(market), ["stop.iterations=2"]), run, view=Silent(), stop=StopSignal(lambda: None))
    mine = f'run="{run.home}"'
    expected = {
        ("iteration", mine),
        ("equity", mine),
        ("drawdown", mine),
        ("capital", f'class="crypto",{mine}'),
        ("entropy", f'group="stocks",{mine}'),
        ("policy_loss", f'group="allocator",{mine}'),
        ("skipped_updates", f'group="allocator",{mine}'),
        ("time_share", f'part="learn",{mine}'),
    }
    end = time.monotonic() + 60
    while not expected <= (found := scraped()):
        assert time.monotonic() < end, expected - found
        time.sleep(0.5)
