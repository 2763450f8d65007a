"""Training in phases: who trains when and from which weights, who is frozen, how a run goes on, what a phase gained."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from environments.market.config import MarketParams
from environments.market.config_traders import TraderParams
from environments.market.env import MarketEnv
from policies.dqn import DQN, DQNParams
from policies.ppo import PPO, PPOParams
from tests.games import TargetGame
from tests.wealtharena.teams import weights
from tests.wealtharena.test_cli import ROOT
from tests.wealtharena.test_cli import run as command
from tests.wealtharena.test_train import ScriptedTeam, Silent
from tests.wealtharena.tracks import track_from_returns
from wealtharena import load_team
from wealtharena.document import read_document
from wealtharena.errors import UserError
from wealtharena.evidence.metrics import annual_return
from wealtharena.evidence.phase_rows import phase_rows, phases_notes
from wealtharena.evidence.phases import PhaseResult, phase_contents
from wealtharena.evidence.report import write_report
from wealtharena.experiment import Experiment, load_experiment
from wealtharena.team.config import TeamConfig
from wealtharena.team.policy import load_policies
from wealtharena.training import train as training
from wealtharena.training.assess import assess_run
from wealtharena.training.phases import Phase, phases_of
from wealtharena.training.run_dir import RunDir, new_run
from wealtharena.training.setup import begin, enter
from wealtharena.training.side_by_side import train_side_by_side
from wealtharena.training.solo import SoloMarket, SoloParams, solo_params
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import team_config
from wealtharena.training.train_phases import train_phases

ALONE = "{name: first, kind: individual}"
TOGETHER = "{name: joint, kind: joint, members: {stocks: {lr: 5.0e-5}}, stop: {iterations: 1}}"
ABOVE = "{name: meta, kind: meta}"
PHASES = f"phases=[{ALONE}, {TOGETHER}, {ABOVE}]"


class Watching(Silent):
    def __init__(self) -> None:
        self.titles: list[str] = []

    def begin(self, title: str) -> None:
        self.titles.append(title)


@pytest.fixture
def stop() -> StopSignal:
    return StopSignal(lambda: None)


# ---- the plan


def plan(market: Path, *overrides: str) -> tuple[Experiment, tuple[Phase, ...]]:
    experiment = load_experiment(str(market), [PHASES, *overrides])
    return experiment, phases_of(experiment)


def test_who_trains_when_and_from_which_weights(market: Path) -> None:
    _, (alone, joint, meta) = plan(market)
    folders = [task.folder for phase in (alone, joint, meta) for task in phase.tasks]
    assert folders == ["01-first-stocks", "01-first-crypto", "02-joint", "03-meta"]
    assert [task.members for task in alone.tasks] == [("stocks",), ("crypto",)]
    assert [dict(task.starts) for task in alone.tasks] == [{}, {}]
    assert joint.tasks[0].starts == {"stocks": "01-first-stocks", "crypto": "01-first-crypto"}
    assert meta.tasks[0].starts == dict.fromkeys(("stocks", "crypto", "allocator"), "02-joint")
    specs = [task.experiment.spec for phase in (alone, joint, meta) for task in phase.tasks]
    assert [spec.stop.iterations for spec in specs] == [2, 2, 1, 2]
    assert [spec.frozen_members for spec in specs] == [(), (), (), ("stocks", "crypto")]
    assert len({spec.seed for spec in specs}) == 4
    assert [task.experiment.members["stocks"].params.lr for task in (joint.tasks[0], meta.tasks[0])] == [
        5e-5,
        PPOParams().lr,
    ]


def test_the_weights_of_a_phase_are_looked_for_where_the_run_is(market: Path) -> None:
    _, (_, joint, _) = plan(market)
    ready = joint.tasks[0].ready(RunDir(Path("somewhere"))).spec.members
    assert ready["stocks"].start_from == Path("somewhere/phases/01-first-stocks")
    assert ready["allocator"].start_from is None
    assert joint.tasks[0].experiment.spec.members["stocks"].start_from is None  # so that a run can be moved


def test_what_is_best_for_a_trader_that_is_alone_is_its_own(market: Path) -> None:
    _, (alone, joint, _) = plan(market, "checkpoint.metric=stocks/episode_return")
    metrics = [task.experiment.spec.checkpoint.metric for task in (*alone.tasks, *joint.tasks)]
    assert metrics == ["stocks/episode_return", "team_return", "stocks/episode_return"]


def test_every_training_can_be_loaded_as_a_run_of_its_own(market: Path) -> None:
    _, phases = plan(market)
    for task in (task for phase in phases for task in phase.tasks):
        run = new_run("task", None)
        run.write_config(task.experiment.resolved())
        again = load_experiment(str(run.config))
        assert again.resolved() == task.experiment.resolved()
        assert again.groups.keys() == set(task.members)


REFUSED: Mapping[str, tuple[str, str]] = {
    "member": (
        "[{name: j, kind: joint, frozen: [stoks]}]",
        r"phases\.0\.frozen = 'stoks': there is no such member; did you mean 'stocks'\? \(members: stocks, crypto, all",
    ),
    "params": ("[{name: j, kind: joint, members: {stocks: {lr: -1}}}]", r"phases\.0\.members\.stocks\.lr = -1: must "),
    "unknown": ("[{name: j, kind: joint, members: {stocks: {rl: 1}}}]", r"phases\.0\.members\.stocks\.rl: unknown key"),
    "networks": (
        "[{name: j, kind: joint, members: {stocks: {hidden: [8]}}}]",
        r"phases\.0\.members\.stocks\.hidden: must be the same in all phases, .* set members\.stocks\.params\.hidden",
    ),
    "last": (f"[{ALONE}]", r"phases\.0\.kind = 'individual': must not be the last: a joint or a meta phase after it"),
    "twice": (
        f"[{TOGETHER}, {TOGETHER}]",
        r"phases\.1\.name = 'joint': is the name of an earlier phase; give each its own",
    ),
    "nobody": (
        "[{name: j, kind: joint, frozen: [stocks, crypto, allocator]}]",
        r"phases\.0\.frozen: leaves nobody who learns",
    ),
    "meta": (
        "[{name: m, kind: meta, frozen: [allocator]}]",
        r"phases\.0\.frozen = 'allocator': must leave out the allocator, which learns in a meta phase",
    ),
    "alone": (
        f"[{{name: i, kind: individual, frozen: [stocks]}}, {TOGETHER}]",
        r"phases\.0\.frozen: must be left out of an individual phase",
    ),
    "allocator": (
        f"[{{name: i, kind: individual, members: {{allocator: {{lr: 1.0e-3}}}}}}, {TOGETHER}]",
        r"phases\.0\.members\.allocator: the allocator takes no part in an individual phase",
    ),
    "parallel": (
        "[{name: j, kind: joint, parallel: 2}]",
        r"phases\.0\.parallel = 2: must be 1 in a phase that trains the team together",
    ),
    "kind": ("[{name: j, kind: solo}]", r"phases\.0\.kind = 'solo': must be 'individual', 'joint' or 'meta'"),
    "key": ("[{name: j, kind: joint, steps: 3}]", r"phases\.0\.steps: unknown key; did you mean 'stop'\?"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(market: Path, name: str) -> None:
    phases, message = REFUSED[name]
    with pytest.raises(UserError, match=f"^{message}") as refusal:
        begin(str(market), [f"phases={phases}"], None)
    assert str(refusal.value).endswith(f"[--set phases={phases}]")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.walk_forward={folds: 2}", r"^phases: cannot be walked forward with"),
        ("sampling.runners=1", r"^phases\.0\.parallel = 2: must be 1 with sampling\.runners"),
        ("members.stocks.frozen=true", r"^members\.stocks\.frozen = True: must be false in a training in phases"),
        ("environment.params.allocator=null", r"^phases\.1\.kind = 'meta': must not be meta: the environment has no g"),
    ],
)
def test_what_does_not_go_with_phases_is_refused(market: Path, override: str, message: str) -> None:
    phases = "phases=[{name: i, kind: individual, parallel: 2}, {name: m, kind: meta}]"
    text = market.read_text()
    if "allocator" in override:
        market.write_text(text.replace('  allocator: {algorithm: "policies.ppo:PPO"}\n', ""))
    with pytest.raises(UserError, match=message):
        begin(str(market), [phases, override], None)


def test_a_game_has_nobody_who_could_be_alone(game: Path) -> None:
    with pytest.raises(UserError, match=r"^phases\.0\.kind = 'individual': must be joint: only the market "):
        begin(str(game), ["phases=[{name: i, kind: individual}, {name: j, kind: joint}]"], None)


def test_a_message_names_the_line(market: Path) -> None:
    market.write_text(market.read_text() + "phases:\n  - {name: a, kind: joint}\n  - name: b\n    kind: individual\n")
    lines = market.read_text().splitlines()
    with pytest.raises(UserError, match=rf"small\.yaml, line {lines.index('    kind: individual') + 1}\]$"):
        phases_of(load_experiment(str(market)), read_document(str(market)))


# ---- alone in the market

WORLD: Mapping[str, Any] = {
    "data": {"synthetic": {"assets": {"stocks": 2, "currencies": 2, "crypto": 1}, "bars": 300}},
    "horizon": 20,
    "warmup": 20,
}


def random_actions(env: SoloMarket | MarketEnv, random: np.random.Generator) -> dict[str, torch.Tensor]:
    actions = {}
    for name, group in env.groups.items():
        group.action_space.seed(int(random.integers(2**31)))
        drawn = [[group.action_space.sample() for _ in group.agent_ids] for _ in range(env.num_envs)]
        actions[name] = torch.as_tensor(np.array(drawn))
    return actions


@pytest.mark.parametrize("only", ["stocks", "currencies", "crypto"])
def test_nobody_else_owns_anything(only: str) -> None:
    params = MarketParams.model_validate(WORLD)
    env = SoloMarket(solo_params(params, only, ("stocks", "currencies", "crypto")), num_envs=3)
    team = MarketEnv(params.model_copy(update={"allocator": None}), num_envs=3)
    random, others = np.random.default_rng(0), np.array(team.panel.classes)[team.panel.class_N] != only
    assert env.groups == {only: team.groups[only]}
    assert torch.equal(env.reset(seed=3)[only], team.reset(seed=3)[only])  # it sees what it sees in the team
    traded = False
    for _ in range(45):
        transition = env.step(random_actions(env, random))
        value_EN = env.market.value_EN
        assert not value_EN[:, others].any()
        traded |= bool(value_EN[:, ~others].any())
        assert transition.obs.keys() == transition.reward.keys() == transition.terminated.keys() == {only}
        assert env.active().keys() <= {only}
    assert traded


def test_the_others_of_its_own_class_are_absent() -> None:
    two = {"fast": {"asset_class": "stocks"}, "slow": {"asset_class": "stocks"}, "fx": {"asset_class": "currencies"}}
    params = MarketParams.model_validate({**WORLD, "traders": {**two, "coin": {"asset_class": "crypto"}}})
    found = solo_params(params, "slow", ("fast", "slow", "fx", "coin"))
    assert {name: trader.kind for name, trader in (found.traders or {}).items()} == {
        "slow": "trade",
        "fx": "trade",
        "coin": "trade",
    }
    assert (found.only, found.allocator, found.horizon) == ("slow", None, 20)


def test_a_solo_market_goes_on_to_the_bit() -> None:
    params = solo_params(MarketParams.model_validate(WORLD), "stocks", ("stocks", "currencies", "crypto"))
    one, other = (SoloMarket(params, num_envs=2) for _ in range(2))
    one.reset(seed=1)
    for _ in range(5):
        one.step(random_actions(one, np.random.default_rng(2)))
    other.set_state(one.get_state())
    actions = random_actions(one, np.random.default_rng(3))
    assert torch.equal(one.step(actions).obs["stocks"], other.step(actions).obs["stocks"])


def test_a_solo_market_has_no_allocator() -> None:
    with pytest.raises(ValueError, match="allocator"):
        SoloParams.model_validate({**WORLD, "only": "stocks", "allocator": {}})


# ---- frozen


def frozen_team(**algorithms: Any) -> TeamConfig:
    return (
        TeamConfig()
        .environment(env=TargetGame, env_config={"groups": {name: {} for name in algorithms}})
        .team(algorithms, frozen=("held", "deep"))
        .env_runners(num_envs_per_env_runner=8, rollout_fragment_length=16)
    )


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_frozen_member_acts_and_its_weights_stay_to_the_bit() -> None:
    ppo, dqn = PPO(PPOParams(hidden=(8,))), DQN(DQNParams(hidden=(8,), learning_starts=8))
    config = frozen_team(held=ppo, free=ppo, deep=dqn)
    assert config.families() == {"held": ["held"], "free": ["free"], "deep": ["deep"]}
    team = config.build_algo()
    before = weights(team)
    results = [team.train() for _ in range(2)]
    after = weights(team)
    for name in ("held", "deep"):
        assert all(np.array_equal(before[name][key], after[name][key]) for key in before[name]), name
        assert sum(results[-1]["groups"][name][f"action_{index}"] for index in range(2)) > 0.5
    for part in ("normalizer", "encoder"):
        changed = [key for key in before["free"] if part in key]
        assert any(not np.array_equal(before["free"][key], after["free"][key]) for key in changed), part
    team.stop()


def test_a_frozen_dqn_explores_as_at_the_end_of_its_schedule(game: Path) -> None:
    own = "members.right.params={epsilon_start: 0.9, epsilon_end: 0.03}"
    free, held = (
        team_config(load_experiment(str(game), [own, f"members.right.frozen={frozen}"])).members["right"].params
        for frozen in ("false", "true")
    )
    assert (free.epsilon_start, held.epsilon_start, held.epsilon_end) == (0.9, 0.03, 0.03)


# ---- a run, with teams that report returns instead of learning


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    built: list[str] = []

    def team(experiment: Experiment) -> Any:
        starts = sorted(name for name, member in experiment.spec.members.items() if member.start_from)
        built.append(f"{experiment.spec.name} {' '.join(starts)}".strip())
        return SimpleNamespace(build_algo=lambda: ScriptedTeam([1.0] * 9))

    def restored(checkpoint: Any) -> ScriptedTeam:
        found = ScriptedTeam([1.0] * 9)
        found.iteration = checkpoint.mark.iteration
        built.append(checkpoint.path.name)
        return found

    monkeypatch.setattr(training, "team_config", team)
    monkeypatch.setattr(training, "_restored", restored)
    monkeypatch.setattr(training, "starts_of", lambda experiment: {})
    return built


def test_phases_follow_each_other(market: Path, scripted: list[str], stop: StopSignal) -> None:
    experiment, run = begin(str(market), [PHASES], None)
    view = Watching()
    outcome = train_phases(experiment, run, view=view, stop=stop)
    assert scripted == [
        "small-first-stocks",
        "small-first-crypto",
        "small-joint crypto stocks",
        "small-meta allocator crypto stocks",
    ]
    assert view.titles == [
        "phase 1 of 3, first: stocks",
        "phase 1 of 3, first: crypto",
        "phase 2 of 3, joint: stocks, crypto, allocator",
        "phase 3 of 3, meta: allocator",
    ]
    assert (outcome.reason, outcome.mark.iteration) == ("all 3 phases are trained", 7)
    best = run.best()
    assert best is not None
    assert best.path.resolve().parents[1].name == "03-meta"
    assert (run.metrics / "progress.csv").is_file()


def interrupted_in(number: int, scripted: list[str], stop: StopSignal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks to stop in the first iteration of the training of this number."""
    original = ScriptedTeam.train

    def train(team: ScriptedTeam) -> dict[str, Any]:
        stop.requested = stop.requested or len(scripted) == number
        return original(team)

    monkeypatch.setattr(ScriptedTeam, "train", train)


@pytest.mark.parametrize(("number", "where"), [(2, "1 of 3, first"), (3, "2 of 3, joint"), (4, "3 of 3, meta")])
def test_an_interrupted_run_goes_on_in_its_training_and_repeats_none(
    market: Path, scripted: list[str], stop: StopSignal, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    two = PHASES.replace("iterations: 1", "iterations: 2")
    experiment, run = begin(str(market), [two], None)
    with monkeypatch.context() as patched:
        interrupted_in(number, scripted, stop, patched)
        outcome = train_phases(experiment, run, view=Watching(), stop=stop)
    assert (outcome.reason, outcome.interrupted) == (f"interrupted in phase {where}", True)
    assert outcome.mark.iteration == 2 * number - 1
    assert (run.best() is None) == (number < 3)
    begun, stop.requested = len(scripted), False
    outcome = train_phases(experiment, run, view=Watching(), stop=stop)
    assert (outcome.interrupted, outcome.mark.iteration) == (False, 8)
    assert scripted[begun] == "iter_000001"
    assert len(scripted) == 5


def test_a_phase_that_was_followed_stays_as_it_is(market: Path, scripted: list[str], stop: StopSignal) -> None:
    run = begin(str(market), [PHASES], None)[1]
    train_phases(load_experiment(str(market), [PHASES]), run, view=Watching(), stop=stop)
    scripted.clear()
    longer = load_experiment(str(market), [PHASES, "stop.iterations=3"])
    assert train_phases(longer, run, view=Watching(), stop=stop).mark.iteration == 8
    assert scripted == ["iter_000002"]  # the last phase alone


# ---- the real team


def trained(experiment: Experiment, name: str, stop: StopSignal) -> RunDir:
    run = new_run(name, None)
    run.write_config(experiment.resolved())
    train_phases(experiment, run, view=Watching(), stop=stop)
    return run


def learned(folder: RunDir) -> dict[str, torch.Tensor]:
    return {
        f"{group}/{key}": value
        for group, policy in load_policies(folder.path / "checkpoints/latest").items()
        for key, value in policy.module.state_dict().items()
    }


def same(one: RunDir, other: RunDir, part: str = "") -> bool:
    left, right = learned(one), learned(other)
    assert left.keys() & right.keys()
    return all(torch.equal(left[key], right[key]) for key in left.keys() & right.keys() if key.startswith(part))


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_resumed_and_side_by_side_it_is_the_same_to_the_bit_and_the_frozen_stay(market: Path, stop: StopSignal) -> None:
    phases = PHASES.replace("iterations: 1", "iterations: 2")
    experiment = load_experiment(str(market), [phases])
    whole = trained(experiment, "whole", stop)

    class Stopping(Watching):
        def update(self, progress: Any, done: float) -> None:
            stop.requested = progress.iteration == 1 and self.titles[-1].startswith("phase 2")

    parts = new_run("parts", None)
    parts.write_config(experiment.resolved())
    shutil.copytree(whole.phases, parts.phases, ignore=shutil.ignore_patterns("0[23]-*"))  # a phase that was finished
    assert train_phases(experiment, parts, view=Stopping(), stop=stop).interrupted
    stop.requested = False
    assert not train_phases(experiment, parts, view=Watching(), stop=stop).interrupted
    assert same(whole, parts)

    joint, meta = (RunDir(whole.phases / name) for name in ("02-joint", "03-meta"))
    assert same(joint, meta, "stocks/")
    assert not same(joint, meta, "allocator/")
    best = RunDir(whole.phases / "01-first-crypto")
    assert not same(best, joint, "crypto/")

    beside = new_run("beside", None)
    alone = phases_of(experiment)[0].tasks
    for task in alone:
        enter(task.within(beside), task.experiment)
    train_side_by_side(alone, beside, at_once=2, view=Watching(), stop=stop)
    assert all(same(task.within(whole), task.within(beside)) for task in alone)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_side_by_side_they_tell_their_progress_and_stop_when_asked(market: Path, stop: StopSignal) -> None:
    sides = "phases=[{name: i, kind: individual, parallel: 2, stop: {iterations: 500}}, {name: j, kind: joint}]"
    experiment, run = begin(str(market), [sides], None)

    class Stopping(Watching):
        def update(self, progress: Any, done: float) -> None:
            self.titles.append(",".join(progress.groups))
            stop.requested = {"stocks", "crypto"} <= set(self.titles)

    view = Stopping()
    assert train_phases(experiment, run, view=view, stop=stop).reason == "interrupted in phase 1 of 2, i"
    assert view.titles[0] == "phase 1 of 2, i: stocks, crypto, 2 at a time"
    marks = [RunDir(run.phases / f"01-i-{name}").latest() for name in ("stocks", "crypto")]
    assert all(mark is not None and 0 < mark.mark.iteration < 500 for mark in marks)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_what_goes_wrong_side_by_side_is_said_in_one_line(market: Path, stop: StopSignal) -> None:
    experiment, run = begin(str(market), [PHASES.replace("individual}", "individual, parallel: 2}")], None)
    task = phases_of(experiment)[0].tasks[0]
    enter(task.within(run), task.experiment)
    with task.within(run).alone(), pytest.raises(UserError, match="another process trains in this folder"):
        train_phases(experiment, run, view=Watching(), stop=stop)


@pytest.mark.ray
def test_the_example_from_check_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = yaml.safe_load((ROOT / "tune_configs/phases.yaml").read_text())
    for phase in given["phases"]:
        phase.pop("stop", None)
    given |= {"sampling": {"envs_per_runner": 4, "fragment": 8}, "stop": {"iterations": 1}}
    given["environment"]["params"]["data"]["synthetic"]["bars"] = 1600
    Path("phases.yaml").write_text(yaml.safe_dump(given))
    result = command("train", "phases.yaml", "--out", "out")
    assert result.exit_code == 0, result.output
    for part in ("phase 1 of 3, individual: stocks", "phase 3 of 3, meta: allocator", "Phases of the training"):
        assert part in result.stdout
    found = json.loads(Path("out/evaluation.json").read_text())
    individual, joint, meta = found["phases"]
    assert meta["team"].items() <= found["team"].items()  # the run's own evaluation is that of its last phase
    assert (individual["env_steps"], joint["env_steps"], individual["difference"]) == (64, 32, None)
    assert joint["difference"]["against"] == "individual"
    gain = joint["team"]["annual_return"] - individual["team"]["annual_return"]
    assert joint["difference"]["annual_return"]["value"] == pytest.approx(gain)
    text = Path("out/report.html").read_text(encoding="utf-8")
    assert '<h2 id="phases-section">Phases of the training</h2>' in text
    assert "trained in phases, the last for 1 iterations" in " ".join(text.split())

    refused = command("train", "out", "--resume", "--set", "phases=[]")
    assert "only stop may change" in refused.stderr
    again = command("evaluate", "out", "--out", "elsewhere")
    assert again.exit_code == 0, again.output
    assert json.loads(Path("elsewhere/evaluation.json").read_text()) == found
    one = command("evaluate", "out/checkpoints/latest", "--out", "one")
    assert one.exit_code == 0, one.output
    assert "phases" not in json.loads(Path("one/evaluation.json").read_text())
    alone = command("evaluate", "out/phases/01-individual-etf")
    assert alone.exit_code == 0, alone.output
    refused = command("evaluate", "out", "--set", "phases=[]")
    assert "phases say how a run is trained and cannot be changed afterwards" in refused.stderr
    agents = load_team("out"), load_team("out/phases/01-individual-etf")
    assert [team["etf"].profile.trader for team in agents] == [TraderParams(asset_class="etf")] * 2


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_game_is_trained_in_phases_too(game: Path, stop: StopSignal) -> None:
    phases = "phases=[{name: both, kind: joint}, {name: one, kind: joint, frozen: [right]}]"
    experiment = load_experiment(str(game), [phases, "stop={iterations: 1}"])
    run = trained(experiment, "game", stop)
    found = assess_run(run, experiment)
    assert [phase["name"] for phase in found["phases"]] == ["both", "one"]
    assert found["phases"][1]["team"] == found["team"]
    assert found["phases"][1]["difference"] is None
    assert "Mean episode return" in write_report(run.path).read_text(encoding="utf-8")


# ---- what a phase gained

DRIFT = np.random.default_rng(5).normal(0.0, 0.01, 250)


def results(*drifts: float, finished: bool = True) -> list[PhaseResult]:
    kinds = ("individual", "joint", "meta")
    return [
        PhaseResult(kind, kind, 100, 90.0 * number, finished, track_from_returns(list(DRIFT + drift)))
        for number, (kind, drift) in enumerate(zip(kinds, drifts, strict=False), start=1)
    ]


def test_a_gain_is_paired_with_the_phase_before() -> None:
    first, second, third = phase_contents(results(0.0, 0.004, 0.004), cash_rate=0.0)
    assert first["difference"] is None
    gain = second["difference"]
    assert (gain["against"], gain["sharpe"]["verdict"]) == ("individual", "above")
    track = track_from_returns(list(DRIFT))
    value = annual_return(float(track.nav[-1] / track.nav[0]), track.years)
    assert first["team"]["annual_return"] == pytest.approx(value)
    assert gain["sharpe"]["value"] == pytest.approx(second["team"]["sharpe"] - first["team"]["sharpe"])
    # The same returns: what moves both cancels, to nothing at all.
    assert third["difference"]["sharpe"] == {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "not distinguishable"}
    json.dumps([first, second, third], allow_nan=False)


def test_rows_say_what_was_gained_and_no_more() -> None:
    phases = phase_contents(results(0.0, 0.004, -0.004), cash_rate=0.0)
    assert [row.verdict for row in phase_rows(phases)] == ["–", "a gain", "a loss"]
    assert [row.time for row in phase_rows(phases)] == ["90 s", "3.0 min", "4.5 min"]
    assert "Every interval leaves out zero." in phases_notes(phases)[1]
    assert phases_notes(phases)[0].startswith("Tested after individual: the traders as each was trained alone")
    unsure = phase_contents(results(0.0, 0.00001), cash_rate=0.0)
    unsure[1]["difference"]["sharpe"] |= {"low": -0.1, "high": 0.2, "verdict": "not distinguishable"}
    assert phase_rows(unsure)[1].verdict == "not distinguishable"
    assert "Not distinguishable from no gain: joint." in phases_notes(unsure)[1]
    left = phase_contents(results(0.0, finished=False), cash_rate=0.0)
    assert phase_rows(left)[0].label == "(individual)"
    assert phases_notes(left)[-1] == "The training of individual was interrupted: tested as it stands."
