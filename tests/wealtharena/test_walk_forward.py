"""Walk-forward runs: folds chain into one result, no fold sees what comes after its training, and runs go on."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from tests.wealtharena.test_cli import run as command
from tests.wealtharena.test_evaluate import random_policies
from tests.wealtharena.test_report import Page
from tests.wealtharena.test_train import ScriptedTeam, Silent
from tests.wealtharena.tracks import DAY, track_from_returns, track_of
from wealtharena.errors import UserError
from wealtharena.evidence.evaluate import Played, judge, play
from wealtharena.evidence.fold_rows import fold_rows, folds_notes, folds_title
from wealtharena.evidence.metrics import find_trades
from wealtharena.evidence.report import write_report
from wealtharena.evidence.table import result_tables
from wealtharena.evidence.track import YEAR
from wealtharena.evidence.walk_forward import FoldResult, chain, evaluate_folds
from wealtharena.experiment import load_experiment
from wealtharena.spec import WalkForwardSpec
from wealtharena.team.policy import load_policies
from wealtharena.training import train as training
from wealtharena.training.assess import find_subject
from wealtharena.training.assess_folds import fold_results
from wealtharena.training.run_dir import new_run
from wealtharena.training.stopping import StopSignal
from wealtharena.training.walk_forward import fold_dir, is_finished, train_folds

WALK = "evaluation.walk_forward={folds: 3, scheme: expanding, purge_days: 2, embargo_days: 3}"


class Watching(Silent):
    def __init__(self):
        self.titles = []

    def begin(self, title):
        self.titles.append(title)


@pytest.fixture
def stop():
    return StopSignal(lambda: None)


# ---- chaining


def later(track, days):
    return replace(track, dates=track.dates + days * DAY)


def chained(*tracks):
    return chain([Played(None, track, (), {}) for track in tracks]).team


def test_two_tests_chain_by_hand():
    one = track_of([[10.0], [-5.5]], [[110.0], [104.5]])  # +10%, -5%
    two = later(track_of([[20.0]], [[120.0]], traded_TN=[[100.0]], cost_TN=[[1.0]]), 5)  # +20%
    both = chained(one, two)
    assert both.nav == pytest.approx([100.0, 110.0, 104.5, 125.4])
    assert both.pnl_TN[:, 0] == pytest.approx([10.0, -5.5, 20.9])
    assert both.cost_TN[:, 0] == pytest.approx([0.0, 0.0, 1.045])
    assert [str(day.astype("datetime64[D]")) for day in both.dates] == [
        "2020-01-01", "2020-01-02", "2020-01-03", "2020-01-07"
    ]  # fmt: skip
    assert both.elapsed_T == pytest.approx([DAY / YEAR] * 3)  # the three days between the tests are in neither
    assert both.years == pytest.approx(3 * DAY / YEAR)


def test_a_trade_ends_with_its_fold():
    held = track_of([[1.0], [1.0]], [[50.0], [50.0]])
    trades = find_trades(chained(held, later(held, 3)))
    assert trades.pnl == pytest.approx([2.0, 2.0 * 1.02])
    # A short at the end of one test and a long at the beginning of the next one are no turn.
    turned = chained(track_of([[1.0]], [[-50.0]]), later(track_of([[-3.0]], [[20.0]]), 2))
    assert find_trades(turned).pnl == pytest.approx([1.0, -3.0 * 1.01])


RETURNS = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(tests=st.lists(RETURNS, min_size=1, max_size=4), gap=st.integers(1, 9))
def test_laws_of_chaining(tests, gap):
    tracks, begin = [], 0
    for returns in tests:
        tracks.append(later(track_from_returns(returns), begin))
        begin += len(returns) + gap
    both = chained(*tracks)
    np.testing.assert_allclose(both.returns_T, np.concatenate([track.returns_T for track in tracks]), atol=1e-12)
    np.testing.assert_allclose(np.diff(both.nav), both.pnl_TN.sum(axis=1), rtol=1e-9, atol=1e-9)
    assert both.years == pytest.approx(sum(track.years for track in tracks))
    assert both.elapsed_T.sum() == pytest.approx(both.years)
    assert len(find_trades(both).pnl) == sum(len(find_trades(track).pnl) for track in tracks)


def test_what_does_not_follow_is_not_chained():
    one = track_from_returns([0.1, 0.2])
    with pytest.raises(ValueError, match="team: tracks that overlap in time"):
        chained(one, later(one, 2))
    with pytest.raises(ValueError, match="different traders or symbols"):
        chained(one, later(replace(one, name="cash"), 5))


# ---- the evaluation of folds


@pytest.fixture(scope="module")
def results():
    found = []
    for number, (start, end) in enumerate(
        [("2015-06-01", "2015-09-30"), ("2015-10-05", "2016-01-31"), ("2016-02-04", "2016-05-31")], start=1
    ):
        params = MarketParams.model_validate(
            {
                "data": {"synthetic": {"assets": {"stocks": 3, "crypto": 2}, "bars": 520}},
                "window": {"start": start, "end": end},
                "cash_rate": 0.03,
            }
        )
        played = play(
            MarketEnv, params, random_policies(MarketEnv(params.model_copy(update={"horizon": None}), num_envs=1))
        )
        judged = judge(played, train_window=("2015-01-01", "2015-05-31"), seeds=(number,), trials=None)
        found.append(FoldResult(number, f"folds/{number:02d}", "iter_000004", number < 3, played, judged))
    return found


@pytest.fixture(scope="module")
def evaluation(results):
    rule = WalkForwardSpec(folds=4, purge_days=1, embargo_days=3)
    return evaluate_folds(results, rule, planned=4, seed=9, trials=12)


def test_the_chained_result_has_every_key_of_a_single_one(results, evaluation):
    single, content = results[0].evaluation.content, evaluation.content
    assert content.keys() == single.keys() | {"walk_forward"}
    assert all(content[key].keys() == single[key].keys() for key in ("team", "difference", "agents", "baselines"))
    assert content["windows"]["test"] == {"start": "2015-06-01", "end": "2016-05-31"}
    assert content["windows"]["folds"][1]["test"] == {"start": "2015-10-05", "end": "2016-01-31"}
    assert (content["seeds"], content["trials"]["count"], content["trials"]["counted"]) == ([9], 12, "given")
    json.dumps(content, allow_nan=False)


def test_folds_add_up_to_the_whole(evaluation):
    content, folds = evaluation.content, evaluation.content["walk_forward"]["folds"]
    assert content["bars"] == sum(fold["bars"] for fold in folds)
    assert content["years"] == pytest.approx(sum(fold["years"] for fold in folds))
    for find in (lambda part: part["team"], lambda part: part["baselines"]["equal_weight"]):
        growth = np.prod([1 + find(fold)["total_return"] for fold in folds])
        assert find(content)["total_return"] == pytest.approx(growth - 1)
        assert find(content)["trades"] == sum(find(fold)["trades"] for fold in folds)
    decided = sum(fold["bars"] for fold in folds) * 2
    assert content["agents"]["crypto"]["decisions"] == decided
    for track in evaluation.tracks:
        np.testing.assert_allclose(np.diff(track.nav), track.pnl_TN.sum(axis=1) + track.interest_T, atol=1e-6)


def test_a_fold_is_what_it_was_alone(results, evaluation):
    for result, fold in zip(results, evaluation.content["walk_forward"]["folds"], strict=True):
        assert fold["team"] == result.evaluation.content["team"]
        assert fold["difference"] == result.evaluation.content["difference"]
        assert (fold["seed"], fold["train"]["end"]) == (result.number, "2015-05-31")
        assert fold["checkpoint"] == f"folds/{result.number:02d}/checkpoints/iter_000004"


def test_cash_earns_by_the_time_of_the_tests_where_two_of_them_meet(evaluation):
    (cash,) = [track for track in evaluation.tracks if track.name == "cash"]
    rate_T = cash.returns_T / cash.elapsed_T
    assert rate_T[0] == pytest.approx(0.03, rel=1e-3)
    np.testing.assert_allclose(rate_T, rate_T[0], rtol=1e-9)


def test_rows_say_how_the_folds_went(evaluation):
    walk = evaluation.content["walk_forward"]
    assert folds_title(walk) == "Walk-forward, rolling, 3 of 4 folds"
    assert [row.label for row in fold_rows(walk)] == ["1", "2", "(3)"]
    notes = folds_notes(walk)
    assert notes[-1] == "The training of fold 3 was interrupted: tested as it stands."
    verdicts = [fold["difference"]["sharpe"]["verdict"] for fold in walk["folds"]]
    assert (
        f"above equal weight in {verdicts.count('above')} of 3 folds, below it in {verdicts.count('below')}" in notes[0]
    )
    folds, chained_ = result_tables(evaluation.content)
    assert folds.row_count == 3
    assert chained_.title == "3 tests chained, 2015-06-01 to 2016-05-31, after costs"


def test_the_report_shows_every_fold(evaluation, tmp_path):
    evaluation.write(tmp_path)
    for number in (1, 2):
        metrics = tmp_path / f"folds/{number:02d}/metrics"
        metrics.mkdir(parents=True)
        (metrics / "progress.csv").write_text("iteration,env_steps,seconds,stocks/episode_return\n1,64,1.5,0.5\n")
    text = write_report(tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert ("h2", "Folds") in page.headings
    assert all(target.startswith("#") and target[1:] in page.ids for target in page.loads)
    assert {"returns-1", "returns-2"} <= page.plots.keys()
    layout = page.plots["equity"]["layout"]
    assert [shape["x0"] for shape in layout["shapes"]] == ["2015-06-01", "2015-10-05", "2016-02-04"]
    assert [mark["text"] for mark in layout["annotations"]] == ["fold 1", "fold 2", "fold 3"]
    section = re.search(r'<h2 id="folds-section">.*?</section>', text, re.DOTALL).group(0)
    assert section.count('<th scope="row">') == 4
    assert "2015-10-05<br>to 2016-01-31" in section
    assert "These are the tests of 3 teams" in text


# ---- a run


@pytest.fixture
def scripted(monkeypatch):
    """Teams that report returns instead of learning; what was built, and from which checkpoint."""
    built = []

    def team(experiment):
        found = ScriptedTeam([1.0] * 9)
        built.append(experiment.spec.name)
        return SimpleNamespace(build_algo=lambda: found)

    def restored(checkpoint):
        found = ScriptedTeam([1.0] * 9)
        found.iteration = checkpoint.mark.iteration
        built.append(checkpoint.path.name)
        return found

    monkeypatch.setattr(training, "team_config", team)
    monkeypatch.setattr(training, "_restored", restored)
    return built


def test_every_fold_is_a_run_of_its_own(market, scripted, stop):
    experiment, run, view = load_experiment(str(market), [WALK]), new_run("walk", None), Watching()
    outcome = train_folds(experiment, run, view=view, stop=stop)
    assert (outcome.reason, outcome.interrupted, outcome.mark.env_steps) == ("all 3 folds are trained", False, 600)
    assert scripted == ["small-fold-01", "small-fold-02", "small-fold-03"]
    assert view.titles[1] == "fold 2 of 3: train 2015-01-01 to 2015-08-06, test 2015-08-10 to 2015-09-16"
    for fold in experiment.folds:
        again = load_experiment(str(fold_dir(run, fold).config))
        assert (again.spec.seed, again.spec.evaluation.window) == (fold.seed, fold.test)
        assert is_finished(fold_dir(run, fold), again)


def test_an_interrupted_walk_goes_on_in_its_fold_and_repeats_none(market, scripted, stop, monkeypatch):
    experiment, run = load_experiment(str(market), [WALK]), new_run("walk", None)
    original = ScriptedTeam.train

    def interrupted(team):
        stop.requested = len(scripted) == 2
        return original(team)

    monkeypatch.setattr(ScriptedTeam, "train", interrupted)
    outcome = train_folds(experiment, run, view=Watching(), stop=stop)
    assert (outcome.reason, outcome.interrupted) == ("interrupted in fold 2 of 3", True)
    assert [fold_dir(run, fold).latest() is None for fold in experiment.folds] == [False, False, True]
    monkeypatch.setattr(ScriptedTeam, "train", original)
    scripted.clear()
    stop.requested = False
    outcome = train_folds(experiment, run, view=Watching(), stop=stop)
    assert scripted == ["iter_000001", "small-fold-03"]
    assert (outcome.interrupted, outcome.mark.iteration) == (False, 6)
    scripted.clear()
    train_folds(experiment, run, view=Watching(), stop=stop)
    assert scripted == []
    longer = load_experiment(str(market), [WALK, "stop.iterations=3"])
    assert train_folds(longer, run, view=Watching(), stop=stop).mark.iteration == 9
    assert scripted == ["iter_000002"] * 3


def test_a_walk_over_other_prices_is_not_gone_on_with(market, scripted, stop, prices):
    run = new_run("walk", None)
    train_folds(load_experiment(str(market), [WALK]), run, view=Watching(), stop=stop)
    prices[prices["date"] < "2015-10-20"].to_parquet("prices.parquet", index=False)
    experiment = load_experiment(str(market), [WALK])
    with pytest.raises(UserError, match=r"folds/01: evaluation\.window\.end was '2015-08-06' .* only stop may change"):
        train_folds(experiment, run, view=Watching(), stop=stop)
    with pytest.raises(UserError, match=r"folds/01: trained on .* and with this data and file fold 1 would be"):
        fold_results(experiment, run)


def test_a_walk_without_a_checkpoint_is_not_judged(market):
    run = new_run("walk", None)
    run.write_config(load_experiment(str(market), [WALK]).resolved())
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        find_subject(run.path)
    run.folds.mkdir()
    with pytest.raises(UserError, match=r"no fold holds a checkpoint yet; go on with 'wealtharena train .* --resume'"):
        fold_results(find_subject(run.path).experiment, run)
    with pytest.raises(UserError, match="says how a run is trained and cannot be changed afterwards"):
        find_subject(run.path, ["evaluation.walk_forward=null"])


# ---- the real team


def trained_weights(market, stop, name):
    experiment = load_experiment(str(market), [WALK])
    run = new_run(name, None)
    training.train(experiment.of_fold(experiment.folds[1]), run, view=Watching(), stop=stop)
    return {
        f"{group}/{key}": value
        for group, policy in load_policies(run.path / "checkpoints/latest").items()
        for key, value in policy.module.state_dict().items()
    }


@pytest.mark.ray
def test_no_price_after_its_training_reaches_a_fold(market, prices, stop, local_ray):
    """To the bit: weights, critics and the normalisers of the observations."""
    end = load_experiment(str(market), [WALK]).folds[1].train.end
    before = trained_weights(market, stop, "before")
    assert any("normalizer" in name for name in before)

    def shake(changed):
        random = np.random.default_rng(0)
        amounts = ["open", "high", "low", "close", "volume"]
        factor = np.where(changed, np.exp(random.normal(0, 0.3, len(prices))), 1.0)
        prices.assign(**{name: prices[name] * factor for name in amounts}).to_parquet("prices.parquet", index=False)

    shake(prices["date"] > np.datetime64(end) + np.timedelta64(1, "D") - np.timedelta64(1, "s"))
    after = trained_weights(market, stop, "after")
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    shake(prices["date"] > np.datetime64(end) - np.timedelta64(3, "D"))  # within: it is not that nothing ever shows
    within = trained_weights(market, stop, "within")
    assert any(not torch.equal(value, within[name]) for name, value in before.items())


@pytest.mark.ray
def test_a_walk_from_prices_to_report(market: Path) -> None:
    walk = ["--set", WALK.replace("folds: 3", "folds: 2"), "--set", "stop.iterations=1"]
    checked = command("check", "small.yaml", *walk)
    assert checked.exit_code == 0, checked.output
    assert "2015-01-01 to 2015-08-27" in checked.stdout
    first = command("train", "small.yaml", *walk, "--out", "out")
    assert first.exit_code == 0, first.output
    for part in (
        "fold 2 of 2: train",
        "all 2 folds are trained",
        "2 tests chained",
        "Walk-forward, expanding, 2 folds",
    ):
        assert part in first.stdout
    found = json.loads(Path("out/evaluation.json").read_text())
    assert [fold["finished"] for fold in found["walk_forward"]["folds"]] == [True] * 2
    assert [fold["fold"] for fold in found["walk_forward"]["folds"]] == [1, 2]
    for number in (1, 2):
        own = json.loads(Path(f"out/folds/{number:02d}/evaluation.json").read_text())
        assert own["team"] == found["walk_forward"]["folds"][number - 1]["team"]
        assert Path(f"out/folds/{number:02d}/metrics/progress.csv").is_file()
    assert "Folds" in Path("out/report.html").read_text()

    refused = command("train", "out", "--resume", "--set", "evaluation.walk_forward.folds=3")
    assert "evaluation.walk_forward.folds was 2 when the run began and is 3 now" in refused.stderr
    Path("out/report.html").unlink()
    same = command("evaluate", "out", "--out", "elsewhere")
    assert same.exit_code == 0, same.output
    assert json.loads(Path("elsewhere/evaluation.json").read_text()) == found
    assert command("report", "out").exit_code == 0
    fold = command("evaluate", "out/folds/02", "--set", "evaluation.window.end=2015-09-10")
    assert fold.exit_code == 0, fold.output
    refused = command("evaluate", "out", "--set", "evaluation.window.end=2015-09-30")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "evaluate one fold alone" in refused.stderr
    other = command("evaluate", "out", "--data", "prices.parquet", "--set", "evaluation.trials=40")
    assert other.exit_code == 0, other.output
    assert "Counting 40 trials (given)" in " ".join(other.stdout.split())
    assert Path("out/evaluations/folds-001/evaluation.json").is_file()
    assert yaml.safe_load(Path("out/folds/01/config.yaml").read_text())["evaluation"]["walk_forward"] is None
