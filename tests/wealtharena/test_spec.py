"""The experiment file: what it may say, what is refused, and with which words."""

from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.dqn import DQN
from policies.ppo import PPO
from tests.games import TargetGame
from tests.wealtharena.conftest import GAME
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.spec import WindowSpec


def message(config: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_experiment(str(config), overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_file_becomes_classes_and_parameters(game: Path) -> None:
    experiment = load_experiment(str(game), ["stop.env_steps=2e3"])
    assert experiment.environment is TargetGame
    assert experiment.params.groups["right"].agents == 2
    assert isinstance(experiment.members["left"], PPO)
    assert isinstance(experiment.members["right"], DQN)
    assert experiment.members["left"].params.lr == 1e-3  # YAML 1.1 would read a text here
    assert experiment.spec.stop.env_steps == 2000
    assert list(experiment.groups) == ["left", "right"]


def test_the_resolved_experiment_loads_as_itself(game: Path, tmp_path: Path) -> None:
    resolved = load_experiment(str(game), ["members.right.params.n_step=2"]).resolved()
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(resolved, sort_keys=False))
    assert load_experiment(str(again)).resolved() == resolved
    assert resolved["members"]["left"]["params"]["gamma"] == 0.99  # a default, spelt out
    assert resolved["members"]["right"]["params"]["n_step"] == 2


def test_set_reaches_any_depth_and_makes_sections_the_file_leaves_out(game: Path) -> None:
    overrides = [
        "members.left.params.hidden=[8, 8]",
        "early_stopping.patience=3",
        "environment.params.groups.left.agents=3",
    ]
    experiment = load_experiment(str(game), overrides)
    assert experiment.members["left"].params.hidden == (8, 8)
    assert experiment.spec.early_stopping is not None
    assert len(experiment.groups["left"].agent_ids) == 3


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("stop.iteration=3", ["stop.iteration", "did you mean 'iterations'", "--set stop.iteration=3"]),
        (
            "members.left.params.lrr=1",
            ["members.left.params.lrr", "did you mean 'lr'", "--set members.left.params.lrr=1"],
        ),
        (
            "environment.params.groups.left.agent=2",
            ["groups.left.agent:", "did you mean 'agents'", "kind, agents, every"],
        ),
        ("members.left.params.clip=-1", ["members.left.params.clip = -1", "greater than 0"]),
        ("members.left.params.gamma=7", ["members.left.params.gamma = 7", "less than or equal to 1"]),
        ("sampling.fragment=0", ["sampling.fragment = 0", "greater than or equal to 1"]),
        ("sampling.fragment=many", ["sampling.fragment = 'many'", "valid integer"]),
        ("sampling.fragment=true", ["sampling.fragment = True", "must be a number"]),
        ("members.left.params.lr='3e-4'", ["members.left.params.lr = '3e-4'", "must be a number"]),
        ("members.left.params.lr=.inf", ["members.left.params.lr = inf", "finite number"]),
        ("seed=1.5", ["seed = 1.5", "valid integer"]),
        ("name=a/b", ["name = 'a/b'", "pattern"]),
        ("name.first=a", ["name is 'game', not a section"]),
        ("stop={}", ["stop", "at least one of env_steps, iterations, seconds"]),
        ("stop", ["--set stop", "path.to.key=value"]),
        ("a..b=1", ["--set a..b=1", "path.to.key=value"]),
        ("seed=[1", ["--set seed=[1", "not valid YAML"]),
        ("environment.class=tests.games:TargetGam", ["environment.class", "did you mean 'TargetGame'"]),
        ("environment.class=tests.gams:TargetGame", ["environment.class", "no module", "did you mean 'tests.games'"]),
        ("environment.class=TargetGame", ["environment.class = 'TargetGame'", "module:Class"]),
        (
            "environment.class=policies.ppo:PPO",
            ["environment.class = 'policies.ppo:PPO'", "subclass of environments.base.ArrayEnv"],
        ),
        ("members.left.algorithm=policies.pp:PPO", ["members.left.algorithm", "did you mean 'policies.ppo'"]),
        ("members.left.algorithm=nothing.here:PPO", ["members.left.algorithm", "there is no module nothing"]),
        (
            "members.left.algorithm=policies.algorithm:Algorithm",
            ["members.left.algorithm", "subclass of policies.algorithm.Algorithm"],
        ),
        ("members.rigt.algorithm=policies.ppo:PPO", ["members.rigt", "no such group", "did you mean 'right'"]),
        ("members={left: {algorithm: 'policies.ppo:PPO'}}", ["members", "no member for right"]),
        ("members={}", ["members", "at least 1"]),
        ("environment.params.groups.right.kind=continuous", ["members.right.algorithm", "DQN cannot act", "line 7"]),
        ("checkpoint.metric=lef/episode_return", ["checkpoint.metric = 'lef/episode_return'", "did you mean 'left'"]),
        ("early_stopping={patience: 3, metric: loss}", ["early_stopping.metric = 'loss'", "<group>/<metric>"]),
        ("early_stopping={}", ["early_stopping.patience", "is missing"]),
        ("evaluation.window={start: 2020-01-01}", ["evaluation.window", "TargetGame has no windows"]),
        ("evaluation.window={start: 2020-02-01, end: 2020-01-01}", ["evaluation.window", "is after end"]),
        ("evaluation.window={start: 2020-13-01}", ["--set evaluation.window", "not valid YAML"]),
    ],
)
def test_a_wrong_value_is_named_with_its_rule_and_where_it_was_given(
    game: Path, override: str, parts: list[str]
) -> None:
    text = message(game, override)
    assert all(part in text for part in parts), text


def test_a_fault_in_the_file_comes_with_its_line(game: Path) -> None:
    game.write_text(GAME.replace("lr: 1e-3", "lr: -1"))
    assert f"members.left.params.lr = -1: must be greater than 0 [{game}, line 6]" == message(game)


def test_every_fault_is_counted_and_a_misspelt_key_comes_first(game: Path) -> None:
    game.write_text(GAME.replace("stop:", "stopp:"))
    assert "stopp: unknown key; did you mean 'stop'?" in message(game)
    assert "(and 1 more)" in message(game)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty"]),
        (b"# nothing but a comment\n", ["is empty"]),
        (b"just words", ["must hold sections", "'just words'"]),
        (b"- a\n- b\n", ["must hold sections"]),
        (b"name: a\nname: b\n", ["line 2", "'name' is given twice", "first on line 1"]),
        (b"stop:\n  iterations: 1\n  iterations: 2\n", ["line 3", "'iterations' is given twice"]),
        (b"name: a\n\tseed: 1\n", ["line 2", "not valid YAML", "'\\t'"]),
        (b"name: [a\n", ["not valid YAML"]),
        (b"a: &x {b: *x}\n", ["refers to itself"]),
        (b"? [a, b]\n: 1\n", ["line 1", "a key must be one word"]),
        (b"a: 2020-13-45\n", ["line 1", "2020-13-45", "month must be in 1..12"]),
        (b"a: !!python/object:os.system x\n", ["line 1", "not valid YAML"]),
        (b"PAR1\x00\x15\x04\xff\xfe", ["not a text file"]),
        (b"a: \x00b\n", ["not a text file"]),
        (b"---\na: 1\n---\nb: 2\n", ["not valid YAML"]),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    text = message(path)
    assert all(part in text for part in [str(path), *parts]), text


def test_a_missing_file_suggests_its_neighbour(game: Path) -> None:
    assert "no such experiment file; did you mean 'game.yaml'?" in message(game.with_name("gane.yaml"))
    assert "cannot be read" in message(game.parent)


def test_a_module_that_fails_is_quoted(game: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brokenalgo.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = message(game, "members.left.algorithm=brokenalgo:Mine")
    assert "brokenalgo cannot be imported: ModuleNotFoundError: No module named 'surely_not_installed'" in text


DATES = st.none() | st.dates(date(2020, 1, 1), date(2020, 1, 8))


@settings(max_examples=100, deadline=None)
@given(DATES, DATES, DATES, DATES)
def test_windows_overlap_when_they_share_a_day(a: date | None, b: date | None, c: date | None, d: date | None) -> None:
    days = [date(2019, 12, 31), *(date(2020, 1, i) for i in range(1, 10))]

    def inside(day: date, start: date | None, end: date | None) -> bool:
        return (start is None or start <= day) and (end is None or day <= end)

    if (a and b and a > b) or (c and d and c > d):
        return
    shared = any(inside(day, a, b) and inside(day, c, d) for day in days)
    assert WindowSpec(start=a, end=b).overlaps(WindowSpec(start=c, end=d)) == shared
