"""``wealtharena bench optimum``: the arithmetic by hand, the pairing, and the command on a market of three bars."""

import io
import json
import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from rich.console import Console
from typer.testing import CliRunner, Result

from environments.market.env import MarketEnv
from environments.market.planted.base import GROUP
from environments.market.planted.markets.almgren_chriss import AlmgrenChriss
from environments.market.planted.markets.garleanu_pedersen import GarleanuPedersen
from policies.a2c import A2C
from policies.ppo import PPO
from wealtharena.bench import cli, optimum, trial
from wealtharena.bench.cases import CASES, Case, Member, Required, chosen
from wealtharena.bench.optimum import Ended, document
from wealtharena.bench.performance import recorded
from wealtharena.bench.plot import figure
from wealtharena.bench.problem import Planted
from wealtharena.bench.share import Point, Share, over_seeds, reached, student_quantile, typical
from wealtharena.bench.table import WIDE, optimum_table
from wealtharena.bench.timing import machine
from wealtharena.bench.trial import Judge, Outcome, Plan, run_trial
from wealtharena.cli import app
from wealtharena.errors import UserError

MARKET = GarleanuPedersen(bars=3)
SMALL = Plan(env_steps=96, tries=3, copies=16, final_copies=32)
ROW = {
    "case", "algorithm", "optimum", "score", "share", "share_low", "share_high", "required", "passed", "seeds",
    "env_steps", "steps_to_90", "steps_to_95", "seconds_to_90", "seconds_to_95", "wall_s", "iqm", "shares",
    "evaluation_errors", "curves",
}  # fmt: skip


def tiny(name: str = "tiny", *, share: float = -100.0, algorithm: type = PPO) -> Case:
    member = Member(algorithm, {"minibatch_size": 16}, Required(share=share, quick=share))
    return Case(name, Planted(MARKET), {GROUP: member}, env_steps=96, quick_steps=48, copies=8, fragment=3)


# ---- arithmetic


def test_a_share_is_the_ratio_of_the_means_of_paired_differences():
    share = Share.of(np.array([2.0, 3.0]), np.array([3.0, 5.0]), np.array([1.0, 1.0]))
    assert share.value == pytest.approx(3 / 6)
    assert share.gap == pytest.approx(1.5)
    assert share.span == pytest.approx(3.0)
    # Residuals: (1, 2) - 1/2 (2, 4) = (0, 0): every episode gives the same share, so nothing is uncertain.
    assert share.error == 0.0


def test_the_error_of_a_share_is_the_scatter_of_its_residuals():
    share = Share.of(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.zeros(2))
    # Residuals 1/2 and -1/2, with deviation sqrt(1/2); over a span of 1 and sqrt(2) episodes.
    assert share.error == pytest.approx(math.sqrt(0.5) / math.sqrt(2))


def test_luck_that_all_three_share_leaves_no_trace():
    random = np.random.default_rng(0)
    score_E, best_E, luck_E = random.normal(1, 0.1, 50), random.normal(2, 0.1, 50), 1_000 * random.normal(size=50)
    quiet = Share.of(score_E, best_E, np.zeros(50))
    noisy = Share.of(score_E + luck_E, best_E + luck_E, luck_E)
    assert noisy.value == pytest.approx(quiet.value)
    assert noisy.error == pytest.approx(quiet.error)


def test_a_base_as_good_as_the_best_is_refused():
    with pytest.raises(ValueError, match=r"the optimal policy scored 1 and the base 1: evaluate in more episodes"):
        Share.of(np.zeros(2), np.ones(2), np.ones(2))


def test_the_interval_over_seeds_is_students():
    found = over_seeds([Share(value, 0.0, 0.0, 1.0) for value in (0.95, 0.96, 0.97, 0.98, 0.99)])
    half = 2.7764451 * math.sqrt(0.00025) / math.sqrt(5)
    assert (found.value, found.low, found.high) == pytest.approx((0.97, 0.97 - half, 0.97 + half))


def test_one_seed_has_the_interval_of_its_evaluation():
    found = over_seeds([Share(0.9, 0.01, 0.0, 1.0)])
    assert (found.low, found.high) == pytest.approx((0.9 - 0.0196, 0.9 + 0.0196), abs=1e-5)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30])
def test_students_quantile_is_that_of_an_independent_library(freedom):
    assert student_quantile(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-4)


def test_the_interval_covers_seed_and_evaluation_noise_in_95_of_100():
    """Five seeds whose true shares scatter, each measured with an error of its own; half of a binomial's 99%."""
    random, hits = np.random.default_rng(1), 0
    for _ in range(2_000):
        measured = 0.9 + 0.02 * random.normal(size=5) + 0.03 * random.normal(size=5)
        found = over_seeds([Share(value, 0.03, 0.0, 1.0) for value in measured])
        hits += found.low <= 0.9 <= found.high
    assert hits / 2_000 == pytest.approx(0.95, abs=0.0126)


def test_a_milestone_is_the_first_try_that_reaches_it():
    curve = [Point(10, 1.0, 0.2), Point(20, 2.0, 0.91), Point(30, 3.0, 0.89), Point(40, 4.0, 0.96)]
    assert reached(curve, 0.9) == curve[1]
    assert reached(curve, 0.95) == curve[3]
    assert reached(curve, 0.97) is None


def test_seeds_that_never_get_there_count_as_the_last_ones():
    assert typical([30, None, 10]) == 30
    assert typical([None, None, 10]) is None


def test_a_distance_from_the_optimum_is_a_share_of_the_span():
    assert Required(within=0.0005).as_share(span=0.02) == pytest.approx(0.975)
    assert Required(share=0.95).as_share(span=0.02) == 0.95


# ---- pairing


@pytest.mark.parametrize("problem", [Planted(MARKET), Planted(AlmgrenChriss()), Planted(MARKET, from_zero=True)])
def test_the_best_policy_has_all_of_the_optimum_and_the_base_nothing(problem):
    judge, env = Judge(problem, copies=64, seed=5), MarketEnv(problem.params(), num_envs=64)
    references = problem.market.references(env)
    best, base = (judge.shares(references[name])[GROUP] for name in ("optimal", problem.market.base))
    assert (best.value, best.error, best.gap) == pytest.approx((1.0, 0.0, 0.0), abs=1e-12)
    assert (base.value, base.error) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_the_same_policy_is_tried_in_the_same_episodes_each_time():
    judge = Judge(Planted(MARKET), copies=16, seed=5)
    policy = MARKET.references(MarketEnv(MARKET.params(), num_envs=16))["myopic"]
    assert judge.shares(policy) == judge.shares(policy)


def test_evaluation_draws_what_no_training_draws():
    last = cli.MOST_SEEDS - 1
    evaluated = {trial.FIRST_SEED - 2 * last - 1, trial.FIRST_SEED}
    assert min(evaluated) > 1_000_003 * last + 1_000  # the runners' seeds: 1,000,003 seed + worker


# ---- a trial


@pytest.mark.ray
def test_a_trial_is_a_function_of_its_seed(local_ray):
    one, again, other = (run_trial(tiny(), SMALL, seed) for seed in (0, 0, 1))
    assert one.shares == again.shares != other.shares
    assert [(p.env_steps, p.share) for p in one.curves[GROUP]] == [(p.env_steps, p.share) for p in again.curves[GROUP]]
    assert [point.env_steps for point in one.curves[GROUP]] == [48, 72, 96]
    assert one.env_steps == 96
    assert one.optimum[GROUP] == pytest.approx(MARKET.optimum)
    seconds = [point.seconds for point in one.curves[GROUP]]
    assert seconds == sorted(seconds)
    assert seconds[-1] == one.seconds


# ---- rows


def outcome(seed: int, share: float, *, steps: int = 100) -> Outcome:
    """Of a score whose optimum is 3 and whose base is 1."""
    curve = (Point(steps // 2, 1.0, share - 0.05), Point(steps, 2.0, share))
    return Outcome(
        seed, steps, 2.0 + seed, {GROUP: 3.0}, {GROUP: Share(share, 0.01, 2 * (1 - share), 2.0)}, {GROUP: curve}
    )


def test_a_row_says_what_was_measured():
    case = tiny(share=0.9)
    ended = [Ended(case, outcome(seed, share)) for seed, share in ((1, 0.98), (0, 0.94), (2, 0.96))]
    content = document([case], ended, machine(), quick=False)
    (row,) = content["rows"]
    assert set(row) == ROW
    assert (row["case"], row["algorithm"], row["seeds"], row["env_steps"]) == ("tiny", "PPO", 3, 100)
    assert row["share"] == pytest.approx(0.96)
    assert row["share_low"] < 0.94
    assert row["share_high"] > 0.98
    assert row["score"] == pytest.approx(3.0 - 2 * 0.04)
    assert row["shares"] == [0.94, 0.98, 0.96]  # in the order of the seeds
    assert (row["steps_to_90"], row["seconds_to_90"]) == (50, 1.0)
    assert (row["steps_to_95"], row["seconds_to_95"]) == (100, 2.0)
    assert row["wall_s"] == 3.0
    assert row["passed"]
    assert json.loads(json.dumps(content, allow_nan=False))["machine"]["versions"]["ray"]


def test_a_share_below_the_one_required_is_a_miss():
    cases = [tiny("a", share=0.97), tiny("b", share=0.95)]
    missed, passed = document(cases, [Ended(case, outcome(0, 0.96)) for case in cases], {}, quick=False)["rows"]
    assert not missed["passed"]
    assert passed["passed"]


def test_rows_are_in_the_order_of_the_cases_whichever_ended_first():
    cases = [tiny(name) for name in ("c", "a", "b")]
    ended = [Ended(cases[place], outcome(seed, 0.96)) for place, seed in ((1, 0), (0, 1), (1, 1), (0, 0))]
    rows = document(cases, ended, {}, quick=False)["rows"]
    assert [(row["case"], row["seeds"]) for row in rows] == [("c", 2), ("a", 2)]


def test_every_group_of_a_case_has_a_row_of_its_own():
    member = tiny().members[GROUP]
    both = replace(tiny(), members={"one": member, "two": replace(member, algorithm=A2C)})
    one = outcome(0, 0.96)
    parts = {
        name: {group: getattr(one, name)[GROUP] for group in both.members} for name in ("optimum", "shares", "curves")
    }
    rows = document([both], [Ended(both, replace(one, **parts))], {}, quick=False)["rows"]
    assert [(row["case"], row["algorithm"]) for row in rows] == [("tiny/one", "PPO"), ("tiny/two", "A2C")]


def test_the_plot_has_a_panel_for_each_case_and_a_band_over_several_seeds():
    cases = [tiny("a"), tiny("b")]
    ended = [Ended(case, outcome(seed, 0.9 + seed / 50)) for case in cases for seed in (0, 1)]
    found = figure(document(cases, ended, {}, quick=False))
    assert [note.text for note in found.layout.annotations] == ["a", "b"]
    band, line = found.data[:2]
    assert list(line.x) == [50, 100]
    assert list(line.y) == pytest.approx([0.86, 0.91])
    half = 12.7062 * 0.02 / math.sqrt(2) / math.sqrt(2)
    assert list(band.y) == pytest.approx([0.86 + half, 0.91 + half, 0.91 - half, 0.86 - half], rel=1e-3)
    assert [trace.showlegend for trace in found.data].count(True) == 1


# ---- cases


def test_a_case_is_chosen_by_its_market_or_by_its_training():
    assert {case.key for case in chosen(["g1"])} == {"g1-ppo", "g1-sac", "g1-a2c"}
    assert [case.key for case in chosen(["spread-dqn"])] == ["spread-dqn"]
    assert chosen([]) == CASES
    with pytest.raises(UserError, match=r"--case g7: there is no such case; there are .*g1, g1-a2c"):
        chosen(["g1", "g7"])


def test_every_case_can_be_built_and_no_two_have_the_same_key():
    assert len({case.key for case in CASES}) == len(CASES)
    for case in CASES:
        env = MarketEnv(case.problem.params(), num_envs=2)
        members = case.team(case.quick_steps)
        assert set(members) == set(env.groups)
        for name, algorithm in members.items():
            algorithm.check(name, env.groups[name].action_space)
            assert algorithm.params.lr_steps == case.quick_steps


# ---- the command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "optimum", *arguments], env={"COLUMNS": "220"})


@pytest.fixture
def offered(monkeypatch):
    """Two cases of three bars, of which the second cannot be passed."""
    cases = (tiny("easy"), tiny("hard", share=2.0))
    monkeypatch.setattr(cli, "chosen", lambda names: chosen(names, cases))
    monkeypatch.setattr(optimum, "plan", lambda case, *, quick: SMALL)


@pytest.mark.ray
def test_the_command_trains_in_parallel_and_leaves_rows_and_a_plot(offered, tmp_path):
    result = run(
        "--seeds", "2", "--parallel", "2", "--json", str(tmp_path / "o.json"), "--plot", str(tmp_path / "o.html")
    )
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout.count("of the optimum after 96 steps") == 4
    assert "MISS" in result.stdout
    easy, hard = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert set(easy) == ROW
    assert (easy["passed"], hard["passed"]) == (True, False)
    assert easy["seeds"] == len(easy["curves"]) == 2
    assert easy["shares"] == hard["shares"]  # the same training, whatever ran beside it
    assert "plotly" in (tmp_path / "o.html").read_text()


def test_a_plot_that_is_no_page_is_refused_before_anything_is_trained(offered, tmp_path):
    result = run("--plot", str(tmp_path / "o.png"))
    assert result.exit_code == 2
    assert "give a name that ends in .html" in result.output.replace("\n", " ")


@pytest.mark.parametrize("width", [80, WIDE])
def test_no_cell_of_the_measured_table_is_cut(width):
    console = Console(width=width, file=io.StringIO())
    console.print(optimum_table(recorded()["optimum"], width=width))
    assert "…" not in console.file.getvalue()


def test_quick_is_one_seed_and_exit_code_0_if_all_pass(offered, monkeypatch):
    asked = {}

    def instead(cases, **given):
        asked.update(given)
        return [Ended(case, outcome(0, 0.96)) for case in cases]

    monkeypatch.setattr(cli, "run", instead)
    monkeypatch.setattr(cli, "ray_session", nullcontext)
    result = run("--quick", "--case", "easy", "--seeds", "7")
    assert result.exit_code == 0, result.output
    assert asked == {"seeds": 1, "quick": True, "parallel": None}
    assert "Smaller budgets" in result.stdout


def test_quick_is_shorter_in_every_way():
    assert optimum.plan(tiny(), quick=True) == Plan(48, tries=8, copies=256, final_copies=1024)
    assert optimum.plan(tiny(), quick=False) == Plan(96, tries=16, copies=512, final_copies=4096)


def test_an_unknown_case_is_one_line_and_exit_code_2(offered):
    result = run("--case", "g7")
    assert result.exit_code == 2
    assert result.stderr == "error: --case g7: there is no such case; there are easy, easy-ppo, hard, hard-ppo\n"
