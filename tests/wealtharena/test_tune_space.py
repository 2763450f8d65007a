"""The space of a sweep: what trials it makes, and what is refused before the first of them."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wealtharena.conftest import GAME
from wealtharena.document import Document, read_document
from wealtharena.errors import UserError
from wealtharena.spec_tune import AshaSpec, Dimension, TuneSpec
from wealtharena.tuning.check import Sweep, sweep_of
from wealtharena.tuning.folder import SweepDir, has_state, keep_state
from wealtharena.tuning.setup import begin_sweep, resume_sweep
from wealtharena.tuning.space import Space, points
from wealtharena.tuning.strategies import all_points, last_rung, require_extras, rungs

LR = "members.left.params.lr"


def document_of(tune: dict[str, Any], **sections: Any) -> Document:
    return Document("game.yaml", {**yaml.safe_load(GAME.replace("1e-3", "0.001")), **sections, "tune": tune}, {})


def sweep(space: dict[str, Any], **more: Any) -> Sweep:
    return sweep_of(document_of({"space": space, **more}))


def refused(space: dict[str, Any], **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        sweep(space, **more)
    return str(caught.value)


ROOT = Path(__file__).parents[2]


def test_the_sweep_of_the_readme(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(# sweep\.yaml\n.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "sweep.yaml").write_text(block)
    made = sweep_of(read_document(str(tmp_path / "sweep.yaml")))
    assert made.count == 4
    assert isinstance(made.tune.scheduler, AshaSpec)
    assert last_rung(made.tune.scheduler, made.experiment.spec.stop) == 20


# ---- what trials there are


def test_draws_are_the_same_for_every_point_of_the_grid() -> None:
    made = sweep({LR: {"loguniform": [1e-4, 1e-2]}, "seed": {"grid": [0, 1, 2]}}, trials=2)
    assert made.points is not None
    assert [values["seed"] for values in made.points] == [0, 1, 2, 0, 1, 2]
    first, second = {values[LR] for values in made.points[:3]}, {values[LR] for values in made.points[3:]}
    assert len(first) == len(second) == 1
    assert first != second
    assert made.count == 6


def test_the_same_seed_gives_the_same_trials() -> None:
    space = {LR: {"uniform": [0.1, 0.2]}, "members.right.params.gamma": {"uniform": [0.5, 0.9]}}
    assert sweep(space, trials=4).points == sweep(space, trials=4).points
    assert sweep(space, trials=4).points != sweep(space, trials=4, searcher={"seed": 1}).points


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(1e-8, 1, allow_subnormal=False),
    times=st.floats(1.001, 1e6),
    kind=st.sampled_from(["uniform", "loguniform"]),
    seed=st.integers(0, 2**31 - 1),
)
def test_draws_lie_within_their_ends(low: float, times: float, kind: str, seed: int) -> None:
    tune = TuneSpec.model_validate(
        {"trials": 8, "searcher": {"seed": seed}, "space": {"x": {kind: [low, low * times]}}}
    )
    drawn = [values["x"] for values in points(Space(document_of({}), tune.space), tune)]
    assert all(low <= value <= low * times for value in drawn)


def test_loguniform_spreads_over_the_decades() -> None:
    tune = TuneSpec.model_validate({"trials": 3000, "space": {"x": {"loguniform": [1e-4, 1e-1]}}})
    drawn = [values["x"] for values in points(Space(document_of({}), tune.space), tune)]
    shares = [sum(low <= value < 10 * low for value in drawn) / 3000 for low in (1e-4, 1e-3, 1e-2)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)


def test_whole_numbers_include_both_ends() -> None:
    tune = TuneSpec.model_validate({"trials": 200, "space": {"x": {"integer": [2, 4]}}})
    assert {values["x"] for values in points(Space(document_of({}), tune.space), tune)} == {2, 3, 4}


def test_a_condition_decides_whether_a_value_is_there() -> None:
    made = sweep(
        {
            "members.left.algorithm": {"grid": ["policies.ppo:PPO", "policies.a2c:A2C"]},
            "members.left.params.clip": {"grid": [0.1, 0.3], "when": {"members.left.algorithm": "policies.ppo:PPO"}},
        }
    )
    assert made.points is not None
    assert [
        (values["members.left.algorithm"][-3:], values.get("members.left.params.clip")) for values in made.points
    ] == [
        ("PPO", 0.1),
        ("PPO", 0.3),
        ("A2C", None),
    ]


def test_a_condition_may_be_about_what_the_file_says() -> None:
    sac = {LR: {"grid": [1e-3], "when": {"members.right.algorithm": ["policies.sac:SAC", "policies.dqn:DQN"]}}}
    assert sweep(sac).count == 1


def test_cases_change_several_paths_and_add_sections() -> None:
    fast = {LR: 1e-2, "early_stopping": {"patience": 3}}
    made = sweep({"pace": {"cases": {"slow": {LR: 1e-4}, "fast": fast}}})
    assert made.points == ({"pace": "slow"}, {"pace": "fast"})
    changed = made.space.applied({"pace": "fast"})
    assert changed.data["early_stopping"] == {"patience": 3}
    assert changed.data["members"]["left"]["params"]["lr"] == 1e-2
    assert made.space.document.data["members"]["left"]["params"]["lr"] == 1e-3  # the file stays


def test_cases_may_complete_a_file_that_is_none_without_them() -> None:
    members = yaml.safe_load(GAME.replace("1e-3", "0.001"))["members"]
    right = members.pop("right")
    document = document_of({"space": {"right": {"cases": {"dqn": {"members.right": right}}}}}, members=members)
    assert sweep_of(document).count == 1


def test_members_of_a_population_have_seeds_of_their_own() -> None:
    made = sweep({LR: {"uniform": [1e-4, 1e-2]}}, trials=3, scheduler={"kind": "pbt", "interval": 2})
    assert [point["values"]["seed"] for point in all_points(made)] == [0, 1, 2]


def test_optuna_has_no_points_before_it_begins() -> None:
    made = sweep({LR: {"uniform": [1e-4, 1e-2]}}, trials=5, searcher={"kind": "optuna"})
    assert (made.points, made.count) == (None, 5)


# ---- what is refused, in one line


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "game.yaml"
    path.write_text(GAME + "tune:\n  space:\n    members.left.params.lrr: {uniform: [0.1, 0.2]}\n")
    with pytest.raises(UserError) as caught:
        sweep_of(read_document(str(path)))
    message = str(caught.value)
    assert "members.left.params.lrr: unknown key; did you mean 'lr'?" in message
    assert message.endswith(f"[{path}, line {len(GAME.splitlines()) + 3}]")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("path", "rule", "said"),
    [
        (LR, {"uniform": [0.1, 2.0]}, "members.left.params.lr = 2.0: must be less than or equal to 1"),
        (LR, {"choice": [1e-3, "fast"]}, "members.left.params.lr = 'fast': must be a valid number"),
        ("members.left.params.clip", {"grid": [0.2, 1.5]}, "clip = 1.5: must be less than 1"),
        ("members.left.algorithm", {"choice": ["policies.ppo:PPO", "policies.ppo:PPQ"]}, "has no class 'PPQ'"),
        (
            "members.left.algorithm",
            {"choice": ["policies.ppo:PPO", "policies.sac:SAC"]},
            "(in a trial with members.left.algorithm = ",
        ),
        ("seed.low", {"grid": [1]}, "seed"),
        ("nowhere.at.all", {"grid": [1]}, "unknown key"),
        (LR, {"uniform": [0.2, 0.1]}, "the first end must be below the second"),
        (LR, {"loguniform": [0.0, 0.1]}, "both ends must be above 0"),
        (LR, {"uniform": [0.1, 0.2], "choice": [0.1]}, "give exactly one of"),
        (LR, {}, "give exactly one of"),
        (LR, {"unifrom": [0.1, 0.2]}, "unifrom"),
    ],
)
def test_a_value_that_the_file_refuses(path: str, rule: dict[str, Any], said: str) -> None:
    assert said in refused({path: rule})


def test_a_condition_that_never_holds() -> None:
    clip = {"grid": [0.1], "when": {"members.right.algorithm": "policies.sac:SAC"}}
    assert "never holds" in refused({"members.left.params.clip": clip})
    algorithm = {"choice": ["policies.ppo:PPO"]}
    clip = {"grid": [0.1], "when": {"members.left.algorithm": "policies.ppo:PPQ"}}
    said = refused({"members.left.algorithm": algorithm, "members.left.params.clip": clip})
    assert "must be one of policies.ppo:PPO; did you mean" in said
    assert "must be listed above" in refused({"members.left.params.clip": clip, "members.left.algorithm": algorithm})


def test_a_metric_that_is_not_logged() -> None:
    assert "left logs no 'episode_retrun'; did you mean" in refused(
        {LR: {"grid": [1e-3]}}, metric="left/episode_retrun"
    )


@pytest.mark.parametrize("kind", ["pbt", "pb2"])
def test_what_a_running_team_cannot_change(kind: str) -> None:
    population = {"trials": 2, "scheduler": {"kind": kind, "interval": 2}}
    lr = {"uniform": [1e-4, 1e-2]}
    for path, rule, said in (
        ("members.right.params.replay_size", {"uniform": [1e3, 1e4]}, ""),
        ("members.left.params.initial_log_std", {"uniform": [-1, 0]}, "PPO settles initial_log_std at its start"),
        ("environment.params.horizon", {"uniform": [8, 9]}, "only members.<group>.params"),
        ("seed", {"uniform": [1, 2]}, "only members.<group>.params and nothing of the environment can change"),
        (LR, {"grid": [1e-3]}, "a grid cannot change in flight"),
        (LR, {**lr, "when": {"seed": 0}}, "a condition cannot change in flight"),
    ):
        assert said in refused({path: rule}, **population), path
    assert "leave concurrency out" in refused({LR: lr}, concurrency=1, **population)
    assert "two members at least" in refused({LR: lr}, trials=1, scheduler=population["scheduler"])
    assert "searcher.kind: random" in refused({LR: lr}, searcher={"kind": "optuna"}, **population)


def test_sizes_of_networks_are_refused_in_a_population() -> None:
    said = refused(
        {"members.left.params.hidden": {"choice": [[8], [16]]}}, trials=2, scheduler={"kind": "pbt", "interval": 2}
    )
    assert "tune.space.members.left.params.hidden: pbt changes values of a running team" in said
    assert "PPO settles hidden at its start" in said


def test_pb2_takes_numbers_only() -> None:
    said = refused({LR: {"choice": [1e-3, 1e-2]}}, trials=2, scheduler={"kind": "pb2", "interval": 2})
    assert "pb2 changes numbers only" in said


def test_searchers_take_what_they_can() -> None:
    assert "optuna draws and tries no grid" in refused({"seed": {"grid": [0, 1]}}, searcher={"kind": "optuna"})
    assert "searcher.kind: grid draws nothing" in refused({LR: {"uniform": [0.1, 0.2]}}, searcher={"kind": "grid"})
    assert "compare: speed must be a grid or cases" in refused(
        {"seed": {"grid": [0, 1]}}, compare={"dimensions": ["speed"]}
    )


def test_a_file_without_a_sweep(game: Path) -> None:
    with pytest.raises(UserError, match="tune: is missing: say what to try"):
        sweep_of(read_document(str(game)))


def test_phases_and_walk_forward_are_no_sweeps() -> None:
    space = {"space": {"seed": {"grid": [0]}}}
    with pytest.raises(UserError, match="leave phases out"):
        sweep_of(document_of(space, phases=[{"name": "all", "kind": "joint"}]))


# ---- schedulers and folders


def test_rungs() -> None:
    rules = AshaSpec(kind="asha", grace=3, reduction=3)
    assert rungs(rules, 30) == [3, 9, 27]
    assert rungs(AshaSpec(kind="asha", grace=3, reduction=2), 11) == [3, 6]


def test_the_last_rung_is_that_of_stop() -> None:
    made = sweep({"seed": {"grid": [0]}}, scheduler={"kind": "asha", "grace": 2})
    assert isinstance(made.tune.scheduler, AshaSpec)
    stop = made.experiment.spec.stop
    assert last_rung(made.tune.scheduler, stop) == 4
    with pytest.raises(UserError, match=r"tune.scheduler.grace = 4: the first rung must be before the last, 4"):
        last_rung(AshaSpec(kind="asha", grace=4), stop)
    with pytest.raises(UserError, match=r"tune.scheduler.most: is missing, and stop.env_steps is too"):
        last_rung(AshaSpec(kind="asha", grace=4, clock="env_steps"), stop)


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    spec = TuneSpec(searcher={"kind": "optuna"}, space={"x": Dimension(uniform=(0, 1))})  # pydantic reads the dict
    with pytest.raises(UserError, match=r"tune.searcher.kind = 'optuna': needs .* pip install 'wealtharena\[tune\]'"):
        require_extras(spec)


def test_a_sweep_begins_in_a_folder_and_goes_on_in_it(game: Path) -> None:
    game.write_text(GAME + "tune: {space: {seed: {grid: [0, 1]}}}\n")
    made, folder = begin_sweep("game.yaml", ["stop.iterations=2"], None)
    assert folder.path == Path("runs/game-001")
    again, same = resume_sweep("runs/game-001", [], None)
    assert (again.points, same) == (made.points, SweepDir(Path("runs/game-001")))
    resume_sweep("game.yaml", ["stop.iterations=2"], folder.path)
    for config, overrides, out, said in (
        ("game.yaml", [], folder.path, "is not the one that the sweep began with"),
        ("runs/game-001", ["seed=3"], None, "is not the one that the sweep began with"),
        ("game.yaml", [], None, "--resume: say which sweep"),
        ("game.yaml", [], Path("elsewhere"), "elsewhere: holds no sweep"),
    ):
        with pytest.raises(UserError, match=said):
            resume_sweep(config, overrides, out)
    with pytest.raises(UserError, match="is not an empty folder"):
        begin_sweep("game.yaml", [], folder.path)


def test_a_state_that_was_left_half_written_is_replaced_by_its_copy(tmp_path: Path) -> None:
    folder = SweepDir(tmp_path)
    assert not has_state(folder)
    folder.state.mkdir()
    state = folder.state / "experiment_state-2026-01-01_00-00-00.json"
    state.write_text('{"trial_data": [1]}')
    keep_state(folder, folder.state)
    state.write_text('{"trial_data": [1, 2')
    os.utime(tmp_path / "state.backup", (0, 0))
    keep_state(folder, folder.state)  # half a state is never kept
    assert has_state(folder)
    assert state.read_text() == '{"trial_data": [1]}'
    (tmp_path / "state.backup").unlink()
    known = folder.state / "callback-states-2026-01-01_00-00-00.pkl"
    known.write_bytes(pickle.dumps({0: "scores"}))
    keep_state(folder, folder.state)
    state.write_text('{"trial_data": [1, 2]}')
    known.write_bytes(pickle.dumps({0: "others"})[:-1])
    assert has_state(folder)  # both as they were together
    assert (state.read_text(), pickle.loads(known.read_bytes())) == ('{"trial_data": [1]}', {0: "scores"})
    (tmp_path / "state.backup").unlink()
    known.write_bytes(b"")
    assert has_state(folder)  # without a copy, the trials go on
    assert not known.exists()
    state.write_text("{")
    assert not has_state(folder)
