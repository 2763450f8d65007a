"""The report: whole, self-contained, escaped, and honest about what is missing."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from tests.games import TargetGame, TargetParams
from wealtharena.evidence import learning
from wealtharena.evidence.actions import month_table
from wealtharena.evidence.episodes import evaluate_episodes
from wealtharena.evidence.evaluate import evaluate_market
from wealtharena.evidence.report import write_report
from wealtharena.evidence.wording import against, bounds, made_up, number, signed, tries, trust, verdict

CONFIG = """
name: "try <b>& "
seed: 3
members:
  stocks: {algorithm: "policies.ppo:PPO"}
  crypto: {algorithm: "policies.sac:SAC"}
  allocator: {algorithm: "policies.ppo:PPO"}
"""


class Page(HTMLParser):
    """What a browser would load, and which headings and figures there are."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.ids, self.plots, self.headings, self.scripts = [], set(), {}, [], 0
        self._json = self._heading = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.loads += [found[name] for name in ("src", "href", "action", "poster") if name in found]
        self.ids.add(found.get("id"))
        self.scripts += tag == "script" and "type" not in found
        self._json = found.get("data-for") if tag == "script" else None
        self._heading = tag if tag in {"h1", "h2", "h3", "h4"} else None
        if found.get("class") == "plot":
            assert found["role"] == "img"
            assert found["aria-label"]

    def handle_data(self, data):
        if self._json:
            self.plots[self._json] = json.loads(data)
            self._json = None
        if self._heading:
            self.headings.append((self._heading, data.strip()))
            self._heading = None


@pytest.fixture(scope="module")
def evaluation():
    synthetic = {"assets": {"stocks": 2, "crypto": 2}, "bars": 200}
    params = MarketParams.model_validate({"data": {"synthetic": synthetic}, "horizon": None})
    generator = torch.Generator().manual_seed(0)
    policies = {
        "stocks": lambda obs: torch.randint(0, 3, obs.shape[:2], generator=generator),
        "crypto": lambda obs: torch.rand(*obs.shape[:2], 1, generator=generator) * 2 - 1,
        "allocator": lambda obs: torch.rand(*obs.shape[:2], 3, generator=generator) * 2 - 1,
    }
    return evaluate_market(MarketEnv, params, policies, train_window=("2010-01-01", "2014-12-31"), seeds=[3])


@pytest.fixture
def run_dir(tmp_path, evaluation):
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "progress.csv").write_text(
        "iteration,env_steps,seconds,stocks/episode_return,stocks/policy_loss,stocks/action_0,stocks/action_1\n"
        "1,64,1.5,,0.5,0.25,0.75\n2,128,3.0,1.5,0.4,0.5,0.5\n",
        encoding="utf-8",
    )
    evaluation.write(tmp_path)
    return tmp_path


def page_of(run_dir):
    return Page(write_report(run_dir).read_text(encoding="utf-8"))


def test_the_page_loads_nothing(run_dir):
    text = write_report(run_dir).read_text(encoding="utf-8")
    page = Page(text)
    assert page.loads
    assert all(target.startswith("#") for target in page.loads)
    assert {target[1:] for target in page.loads} <= page.ids
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    assert page.scripts == 2


def test_the_page_holds_every_part(run_dir):
    page = page_of(run_dir)
    of_the_test = {"equity", "drawdown", "pareto", "budgets", "exposures", "class-results", "limits"}
    assert page.plots.keys() == of_the_test | {"returns", "details-1"}
    sections = [title for tag, title in page.headings if tag == "h2"]
    assert sections == [
        "Equity against the baselines",
        "Results table",
        "Objectives",
        "Skill or luck",
        "Capital and classes",
        "Limits of risk",
        "Monthly returns",
        "What the agents did",
        "Learning curves",
        "Run and data",
        "Terms",
    ]
    assert len([tag for tag, _ in page.headings if tag == "h1"]) == 1


def test_figures_show_the_tracks(run_dir, evaluation):
    plots = page_of(run_dir).plots
    team = plots["equity"]["data"][-1]
    assert team["name"] == "Team"
    np.testing.assert_allclose(team["y"], evaluation.tracks[0].nav / evaluation.tracks[0].nav[0], rtol=1e-5)
    stacked = np.sum([trace["y"] for trace in plots["budgets"]["data"]], axis=0)
    np.testing.assert_allclose(stacked, 1.0, atol=1e-5)
    assert [trace["y"] for trace in plots["returns"]["data"]] == [[1.5]]


def test_what_users_write_is_escaped(run_dir):
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert "try &lt;b&gt;&amp;" in text
    assert "try <b>" not in text


def test_a_run_without_evaluation_says_so(run_dir):
    (run_dir / "evaluation.json").unlink()
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert "has not been evaluated yet" in text
    assert Page(text).plots.keys() == {"returns", "details-1"}


def test_an_evaluation_without_tracks_says_so(run_dir):
    (run_dir / "evaluation_tracks.parquet").unlink()
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert "tracks of this evaluation (evaluation_tracks.parquet) are missing" in text
    assert "Results table" in text


def test_an_evaluation_of_an_earlier_version_says_so(run_dir, evaluation):
    known = {name: found for name, found in evaluation.content.items() if name not in ("trials", "differences")}
    (run_dir / "evaluation.json").write_text(json.dumps(known), encoding="utf-8")
    assert "This evaluation is of an earlier version" in write_report(run_dir).read_text(encoding="utf-8")


def test_an_empty_run_says_what_is_missing(tmp_path):
    text = write_report(tmp_path).read_text(encoding="utf-8")
    for said in ("has not been evaluated yet", "No training metrics", "No config.yaml"):
        assert said in text


def test_an_environment_that_is_no_market_has_its_own_headline(tmp_path):
    env = TargetGame(TargetParams(), num_envs=2)
    evaluate_episodes(env, {"a": lambda obs: obs.argmax(dim=-1)}, 4).write(tmp_path)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Mean episode return 8.00" in text
    assert "Share of decisions" in text
    assert "Equity" not in text


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such run directory; give the directory"):
        write_report(tmp_path / "nowhere")


def test_progress_that_is_empty_or_cut_off_is_none_or_read(tmp_path):
    path = tmp_path / "progress.csv"
    assert learning.read_progress(path) is None
    path.write_text("")
    assert learning.read_progress(path) is None
    path.write_text("iteration,env_steps,a/entropy\n")
    assert learning.read_progress(path) is None
    path.write_text("iteration,env_steps,a/entropy\n1,10,0.5\n2,20,inf\n3,30,")
    table = learning.read_progress(path)
    (cell,) = learning.details(table, "a")["data"]
    assert cell["x"] == [10]
    assert learning.returns(table) is None


def test_months_compound_to_the_year():
    dates = pd.to_datetime(["2020-11-30", "2020-12-15", "2020-12-31", "2021-01-29"])
    years = month_table(pd.DataFrame({"date": dates, "nav": [100.0, 120.0, 110.0, 99.0]}))
    assert [row.year for row in years] == [2020, 2021]
    assert [month.text for month in years[0].months][10:] == ["0.0%", "+10.0%"]
    assert years[0].total == "+10.0%"
    assert years[1].months[0].text == "−10.0%"
    assert years[1].months[1].text == ""


def test_numbers_in_words():
    assert number(None, "ratio") == "–"
    assert number(-0.001, "ratio") == "0.00"
    assert number(0.00214, "percent") == "0.21%"
    assert number(-0.25, "percent") == "−25.0%"
    assert number(0.9, "confidence") == "90%"
    assert number(0.999, "confidence") == "over 99%"
    assert number(0.001, "confidence") == "under 1%"
    assert signed(0.5, "points") == "+50.0"
    assert bounds({"low": -0.1, "high": 0.2}, "percent") == "−10.0% to +20.0%"
    assert bounds({"low": None, "high": None}, "percent") == ""


@pytest.mark.parametrize(
    ("gain", "risk", "said"),
    [
        ("above", "above", "The team earned more than equal weight in this test."),
        ("below", "below", "The team earned less than equal weight in this test."),
        ("not distinguishable",) * 2 + ("The team cannot be told apart from equal weight in this test.",),
        ("above", "not distinguishable", "in this test; by Sharpe ratio, the two are not distinguishable."),
        ("not distinguishable", "below", "in this test; by Sharpe ratio, it is below equal weight."),
    ],
)
def test_the_verdict_follows_the_intervals(gain, risk, said):
    found = verdict({"difference": {"annual_return": {"verdict": gain}, "sharpe": {"verdict": risk}}})
    assert found.endswith(said)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("above", "above momentum"),
        ("below", "below momentum"),
        ("not distinguishable", "not distinguishable from momentum"),
    ],
)
def test_a_sharpe_ratio_is_compared_by_its_interval(found, said):
    assert against({"verdict": found}, "momentum") == said


def test_tries_are_counted_and_more_are_asked_about():
    more = [{"count": 100, "luck": 2.5, "dsr": 0.31}]
    alone = {"count": 1, "counted": "seeds of this run", "luck": 0.0, "dsr": 0.87, "if_more": more}
    assert tries(alone) == [
        "Counting 1 trial (seeds of this run), the confidence that the team's Sharpe is more than luck is 87% "
        "(deflated Sharpe ratio).",
        "Whatever else was tried on this window counts as well: it would be 31% as the best of 100.",
    ]
    many = {"count": 400, "counted": "given", "luck": 2.9, "dsr": 0.2, "if_more": []}
    assert tries(many) == [
        "Counting 400 trials (given), the confidence that the team's Sharpe is more than luck is 20% "
        "(deflated Sharpe ratio): without skill, the best of 400 would show about 2.90.",
        "Whatever else was tried on this window counts as well.",
    ]
    assert tries(alone | {"dsr": None}) == []


def test_the_page_compares_with_every_baseline(run_dir, evaluation):
    text = write_report(run_dir).read_text(encoding="utf-8")
    section = text[text.index('<h2 id="luck-section">') : text.index('<h2 id="capital-section">')]
    assert "Cash" not in section
    for name in ("Equal weight", "Buy and hold", "Inverse volatility", "Momentum", "Minimum variance"):
        assert name in section
    assert section.count(" it</td>") == 5
    assert evaluation.content["windows"]["test"]["end"] in section
    assert "after costs" in section


def test_one_seed_is_said_to_be_one():
    assert "one training seed" in trust([0], 1.5)
    assert trust([0, 1, 2], 0.5) == "3 training seeds, one test window of 6 months."


def test_evidence_does_not_need_ray():
    code = (
        "import sys; sys.modules['ray'] = None; import wealtharena.evidence.report, wealtharena.evidence.table, "
        "wealtharena.evidence.evaluate, wealtharena.evidence.episodes"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_run_that_logged_no_iteration_has_no_curves(tmp_path):
    (tmp_path / "progress.csv").write_text("\r\n")
    assert learning.read_progress(tmp_path / "progress.csv") is None


def test_made_up_prices_are_called_made_up():
    (sentence,) = made_up({"planted": 0.03})
    assert "made up" in sentence
    assert "3.0%" in sentence
    assert made_up({"planted": None}) == []
