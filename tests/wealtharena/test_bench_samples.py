"""``wealtharena bench samples``: what counts as reached, ratios by hand, and the command on a market of three bars."""

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from environments.market.planted.base import GROUP
from environments.market.planted.markets.garleanu_pedersen import GarleanuPedersen
from policies.a2c import A2C
from policies.ppo import PPO, PPOParams
from wealtharena.bench import cli, race, samples, samples_rows
from wealtharena.bench.problem import Planted
from wealtharena.bench.race import EVERYBODY, Attempt, Contender, Race, confirmed, run_race
from wealtharena.bench.samples import DEFAULTS, RACES, RL_ZOO, ZOO, Ended, chosen
from wealtharena.bench.samples_rows import progress, samples_sheets
from wealtharena.bench.share import Point, Share
from wealtharena.bench.timing import machine
from wealtharena.cli import app
from wealtharena.errors import UserError

TINY = Race("tiny", Planted(GarleanuPedersen(bars=3)), {GROUP: PPO}, env_steps=96, quick_steps=48)
PAIR = replace(TINY, name="pair", algorithms={"one": PPO, "two": A2C})
SMALL = Contender("small", copies=8, fragment=3)


def curve(*shares: float) -> tuple[Point, ...]:
    """Tries after 100, 200, ... steps."""
    return tuple(Point(100 * (at + 1), float(at), share) for at, share in enumerate(shares))


def ended(
    contender: Contender, seed: int, curves: dict[str, tuple[Point, ...]], *, race: Race = TINY, steps: int = 1_000
) -> Ended:
    return Ended(race, contender, Attempt(seed, steps, 2.0 + seed, curves))


def reached_after(steps: int) -> tuple[Point, ...]:
    """A curve that is above the goal from there on."""
    return Point(steps, 1.0, 0.91), Point(2 * steps, 2.0, 0.95)


def document(ended: list[Ended]) -> dict[str, Any]:
    return samples_rows.document(ended, quick=False, machine=machine())


# ---- what counts


def test_one_lucky_try_is_not_the_goal():
    lucky = curve(0.5, 0.93, 0.89, 0.9, 0.96)
    assert confirmed(lucky) == lucky[3]
    assert confirmed(curve(0.5, 0.93)) is None
    assert confirmed(()) is None
    assert confirmed(lucky, 0.95) is None


def test_a_contender_brings_the_defaults_or_one_algorithm_for_all():
    own = SMALL.team(PAIR)
    assert {name: (type(a), a.params) for name, a in own.items()} == {
        "one": (PPO, PPO.Params()), "two": (A2C, A2C.Params()),
    }  # fmt: skip
    assert [a.params for a in ZOO.team(PAIR).values()] == [RL_ZOO, RL_ZOO]


def test_the_sides_are_the_defaults_and_rl_zoos():
    """What ``mujoco-defaults`` says, and Stable-Baselines3's PPO where that says nothing: 2,048 rows an update."""
    assert DEFAULTS.algorithm is None
    assert ZOO.copies * ZOO.fragment == 2_048
    expected = {
        "lr": 3e-4, "gamma": 0.99, "gae_lambda": 0.95, "clip": 0.2, "value_clip": None, "epochs": 10,
        "minibatch_size": 64, "entropy_coeff": 0.0, "value_coeff": 0.5, "grad_clip": 0.5, "hidden": (64, 64),
        "activation": "tanh", "initial_log_std": 0.0, "squash_mean": False, "normalize_observations": True,
        "lr_steps": None, "lr_left": 0.0,
    }  # fmt: skip
    assert {name: getattr(RL_ZOO, name) for name in expected} == expected


# ---- rows


def test_the_ratio_is_taken_seed_by_seed_and_its_middle_half_is_averaged():
    ours, theirs = (100, 200, 300, 400), (1_000, 1_000, 500, 400)
    attempts = [
        ended(side, seed, {GROUP: reached_after(steps)})
        for side, all_steps in ((DEFAULTS, ours), (ZOO, theirs))
        for seed, steps in enumerate(all_steps)
    ]
    (row,) = document(attempts[::-1])["rows"]
    assert row["seeds"] == [0, 1, 2, 3]
    assert row["ratios"] == pytest.approx([0.1, 0.2, 0.6, 1.0])
    assert row["ratio"] == pytest.approx(0.4)  # of 0.2 and 0.6
    assert row["ratio_low"] < 0.4 < row["ratio_high"]
    assert row["defaults"]["samples"]["value"] == pytest.approx(250)
    assert row["rl_zoo"]["counted"] == [1_000, 1_000, 500, 400]
    assert row["passed"]


def test_who_never_gets_there_counts_with_all_its_samples():
    never = {GROUP: curve(0.2, 0.95, 0.3)}
    attempts = [ended(DEFAULTS, 0, {GROUP: reached_after(400)}), ended(ZOO, 0, never)]
    (row,) = document(attempts)["rows"]
    assert (row["rl_zoo"]["counted"], row["rl_zoo"]["reached"]) == ([1_000], 0)
    assert row["ratio"] == pytest.approx(0.4)
    assert row["passed"]  # the ratio can only be smaller
    verdicts, counts = samples_sheets(document(attempts))
    assert verdicts.rows == (("tiny", "0.40", "", "<= 0.50", "met"),)
    assert counts.rows == (("tiny", "400", "1 of 1", "> 1,000", "0 of 1"),)


def test_a_side_that_does_not_get_there_has_not_passed():
    slow = replace(ended(DEFAULTS, 0, {GROUP: curve(0.2)}).attempt, env_steps=100)
    attempts = [Ended(TINY, DEFAULTS, slow), ended(ZOO, 0, {GROUP: reached_after(1_000)})]
    (row,) = document(attempts)["rows"]
    assert row["ratio"] == pytest.approx(0.1)
    assert not row["passed"]


def test_of_several_members_the_last_one_decides():
    both = {"one": reached_after(100), "two": reached_after(300), EVERYBODY: reached_after(300)}
    attempts = [ended(side, 0, both, race=PAIR) for side in (DEFAULTS, ZOO)]
    rows = document(attempts)["rows"]
    assert [row["case"] for row in rows] == ["pair", "pair/one", "pair/two"]
    assert [row["required"] for row in rows] == [0.5, None, None]
    assert [row["passed"] for row in rows] == [False, None, None]
    assert rows[0]["defaults"]["counted"] == [300]
    assert progress(attempts[0]).startswith("pair, WealthArena, seed 0: one 95.0%, two 95.0% of the optimum after")


def test_seeds_of_one_side_alone_wait_for_the_other():
    attempts = [ended(DEFAULTS, seed, {GROUP: reached_after(100)}) for seed in (0, 1)]
    assert document(attempts)["rows"] == []
    (row,) = document([*attempts, ended(ZOO, 1, {GROUP: reached_after(100)})])["rows"]
    assert row["seeds"] == [1]


def test_races_are_told_apart():
    both = {"one": reached_after(100), "two": reached_after(300), EVERYBODY: reached_after(300)}
    attempts = [ended(side, 0, {GROUP: reached_after(100)}) for side in (DEFAULTS, ZOO)]
    attempts += [ended(side, 0, both, race=PAIR) for side in (DEFAULTS, ZOO)]
    rows = document(attempts)["rows"]
    assert [(row["case"], row["rl_zoo"]["counted"]) for row in rows] == [
        ("tiny", [100]), ("pair", [300]), ("pair/one", [100]), ("pair/two", [300]),
    ]  # fmt: skip


def test_the_document_tells_all_hyperparameters():
    content = document([ended(DEFAULTS, 0, {GROUP: reached_after(100)})])
    settings = content["settings"]["tiny"]
    assert settings["rl_zoo"]["members"][GROUP]["params"]["minibatch_size"] == 64
    assert settings["defaults"]["members"][GROUP]["params"] == PPOParams().model_dump(mode="json")
    assert json.loads(json.dumps(content, allow_nan=False))["machine"]["versions"]["ray"]


def test_a_file_of_results_is_gone_on_from_where_budgets_and_hyperparameters_are_the_same():
    races = (TINY, PAIR)
    attempts = [ended(ZOO, seed, {GROUP: reached_after(100)}) for seed in (0, 1)]
    attempts.append(ended(DEFAULTS, 1, {"one": reached_after(100), EVERYBODY: curve(0.5)}, race=PAIR))
    content = json.loads(json.dumps(document(attempts)))
    assert samples_rows.known_of(content, races, quick=False) == attempts
    assert samples_rows.known_of(content, [PAIR], quick=False) == attempts[2:]
    with pytest.raises(UserError, match=r"the file's trainings were run without --quick; run these so too"):
        samples_rows.known_of(content, races, quick=True)
    assert samples_rows.known_of({}, races, quick=False) == []
    longer = [replace(TINY, env_steps=97), PAIR]
    assert samples_rows.known_of(content, longer, quick=False) == attempts[2:]
    content["settings"]["pair"]["defaults"]["members"]["two"]["params"]["lr"] = 0.123
    assert samples_rows.known_of(content, races, quick=False) == attempts[:2]


def test_rows_of_other_races_are_kept_but_do_not_count():
    attempts = [
        ended(side, 0, {name: reached_after(100) for name in (GROUP, "one", "two", EVERYBODY)}, race=race)
        for race in (TINY, PAIR)
        for side in (DEFAULTS, ZOO)
    ]
    found = samples_rows.of_races(document(attempts), [PAIR])
    assert [row["case"] for row in found["rows"]] == ["pair", "pair/one", "pair/two"]


# ---- races


def test_a_race_is_chosen_by_its_name():
    assert chosen([]) == RACES
    assert [race.name for race in chosen(["team"])] == ["team"]
    with pytest.raises(UserError, match=r"--case g7: there is no such case; there are g1, team"):
        chosen(["g7"])


def judging(monkeypatch: pytest.MonkeyPatch, *tries: dict[str, float] | None) -> None:
    """Has every judge say this, try by try; None: there is nothing to have a share of."""

    class Told:
        def __init__(self, *args: object, **kwargs: object) -> None:
            self._left = iter(tries)

        def shares(self, team: object) -> dict[str, Share]:
            told = next(self._left)
            if told is None:
                raise ValueError("the optimal policy scored 0 and the base 0")
            return {name: Share(value, 0.0, 0.0, 1.0) for name, value in told.items()}

    monkeypatch.setattr(race, "Judge", Told)


@pytest.mark.ray
def test_a_race_ends_when_every_score_is_confirmed(local_ray, monkeypatch):
    tries = [{"one": 0.95, "two": 0.2}, {"one": 0.97, "two": 0.9}, {"one": 0.92, "two": 0.9}]
    judging(monkeypatch, None, *tries)
    attempt = run_race(TINY, SMALL, 0, budget=1_000, copies=16)
    assert attempt.env_steps == 96
    assert [(point.env_steps, point.share) for point in attempt.curves[EVERYBODY]] == [(48, 0.2), (72, 0.9), (96, 0.9)]
    reached = {name: confirmed(curve) for name, curve in attempt.curves.items()}
    assert {name: point and point.env_steps for name, point in reached.items()} == {"one": 48, "two": 72, EVERYBODY: 72}
    assert attempt.seconds == attempt.curves["one"][-1].seconds > 0


@pytest.mark.ray
def test_a_race_is_given_up_after_its_budget_and_tried_less_and_less_often(local_ray, monkeypatch):
    judging(monkeypatch, *[{GROUP: 0.0}] * 99)
    attempt = run_race(TINY, replace(SMALL, copies=1), 0, budget=90, copies=16)
    assert attempt.env_steps == 90
    assert [point.env_steps for point in attempt.curves[GROUP]][-6:] == [51, 57, 63, 72, 81, 90]


@pytest.mark.ray
def test_both_sides_are_tried_in_the_same_episodes_and_a_race_is_a_function_of_its_seed(local_ray):
    one, again = (run_race(TINY, SMALL, 0, budget=48, copies=16) for _ in range(2))
    assert [point.share for point in one.curves[GROUP]] == [point.share for point in again.curves[GROUP]]
    assert len(one.curves[GROUP]) == 2


# ---- the command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "samples", *arguments], env={"COLUMNS": "220"})


@pytest.mark.ray
def test_the_command_races_in_parallel_and_leaves_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(samples, "chosen", lambda names: (TINY,))
    monkeypatch.setattr(samples, "CONTENDERS", tuple(replace(side, copies=8, fragment=3) for side in (DEFAULTS, ZOO)))
    result = run("--seeds", "2", "--parallel", "2", "--json", str(tmp_path / "s.json"))
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout.count("of the optimum after 96 samples") == 4
    assert "MISSED" in result.stdout
    content = json.loads((tmp_path / "s.json").read_text())
    (row,), trainings = content["rows"], content["trainings"]
    assert row["seeds"] == [0, 1]
    assert row["ratios"] == [1.0, 1.0]
    again = run("--seeds", "1", "--json", str(tmp_path / "s.json"))
    assert again.exit_code == 1, again.output
    assert json.loads((tmp_path / "s.json").read_text())["trainings"] == trainings


def test_quick_is_one_seed_and_exit_code_0_where_half_is_enough(monkeypatch):
    asked = {}

    def instead(races, **given):
        asked.update(given)
        (race,) = races
        steps = {DEFAULTS: 100, ZOO: 200}
        return [ended(side, 0, {GROUP: reached_after(own)}, race=race) for side, own in steps.items()]

    monkeypatch.setattr(samples, "run", instead)
    monkeypatch.setattr(cli, "ray_session", nullcontext)
    result = run("--quick", "--case", "g1", "--seeds", "7")
    assert result.exit_code == 0, result.output
    assert asked == {"seeds": 1, "quick": True, "parallel": None, "known": []}


def test_a_file_that_is_no_json_is_one_line_and_stays_as_it_is(tmp_path):
    (tmp_path / "s.json").write_text("mine")
    result = run("--json", str(tmp_path / "s.json"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: --json {tmp_path / 's.json'}: this is no JSON (Expecting value")
    assert (tmp_path / "s.json").read_text() == "mine"


def test_an_unknown_case_is_one_line_and_exit_code_2():
    result = run("--case", "g7")
    assert result.exit_code == 2
    assert result.stderr == "error: --case g7: there is no such case; there are g1, team\n"
