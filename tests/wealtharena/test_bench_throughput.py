"""``wealtharena bench throughput`` and ``scaling``: arithmetic, turns, the two sides alike, and the commands, tiny."""

import io
import json
import mmap
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from rich.console import Console
from typer.testing import CliRunner, Result

from environments.checks import check_array_env
from policies.rollout import Rollout
from wealtharena.bench import cli, market_speed, memory, performance, scaling, throughput, timing
from wealtharena.bench.cases import CASES
from wealtharena.bench.contest import GUESSING, MEMBER, market, stock_config, team_config, traders_only
from wealtharena.bench.end_to_end import Setting, TrainingPlan, ceiling, compare_returns
from wealtharena.bench.fragments import agent_steps, copied_bytes, stored_bytes
from wealtharena.bench.guessing import GuessingGame, GuessingParams
from wealtharena.bench.market_speed import MarketPlan, drawn_actions, end_apart, memory_growth
from wealtharena.bench.overlap import OverlapPlan
from wealtharena.bench.population import PopulationPlan, compared
from wealtharena.bench.requirements import SCALING, THROUGHPUT, Requirement, find, measured
from wealtharena.bench.samplers import SamplersPlan
from wealtharena.bench.sampling import SamplingPlan, stock_sampler, team_sampler
from wealtharena.bench.sheets import MISSED, throughput_sheets, verdicts
from wealtharena.bench.table import sheet_table
from wealtharena.bench.team_shares import SharesPlan, shares
from wealtharena.bench.timing import Samples, Stopwatch, in_turn, rate
from wealtharena.cli import app
from wealtharena.team.runner import ArrayEnvRunner

ROOT = Path(__file__).parents[2]
TINY = throughput.ThroughputPlan(
    SamplingPlan(stock_copies=(1, 2), team_copies=(4,), seconds=0.0, rounds=2),
    TrainingPlan(stock=(Setting(16),), team=Setting(64), batch=512, iterations=1, bare_seconds=0.0, rounds=2),
    MarketPlan(
        assets=(5, 1),
        copies=(1, 4),
        histories=(250, 400),
        history_copies=4,
        steps=16,
        seconds=0.0,
        rounds=2,
        forms=("plain",),
    ),
    SharesPlan(changes=("sampling={envs_per_runner: 4, fragment: 8}",), warm=1, rounds=1),
)
TINY_SCALING = scaling.ScalingPlan(
    PopulationPlan(agents=(5, 10), rows=20, fragment=8, rounds=2),
    SamplersPlan(runners=(0, 1), assets=5, copies=64, fragment=64, seconds=0.0, rounds=2),
    OverlapPlan(assets=5, copies=8, fragment=8, seconds=0.0, rounds=2),
)


# ---- how speed is measured


def test_subjects_take_turns() -> None:
    turns: list[str] = []

    def subject(name: str) -> timing.Measure:
        def measure() -> float:
            turns.append(name)
            return float(len(turns))

        return measure

    found = in_turn({"A": subject("A"), "B": subject("B")}, rounds=3)
    assert "".join(turns) == "ABABAB"
    assert found == {"A": Samples((1.0, 3.0, 5.0)), "B": Samples((2.0, 4.0, 6.0))}


def test_one_slow_round_does_not_move_the_median() -> None:
    assert Samples((10.0, 11.0, 0.1, 9.0, 12.0)).as_dict() == {"median": 10.0, "samples": [10.0, 11.0, 0.1, 9.0, 12.0]}


def test_a_rate_is_work_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 102.0, 104.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert rate(lambda: 20, seconds=3.0) == 3 * 20 / 4.0


def test_a_stopwatch_watches_one_object_alone() -> None:
    class Worker:
        def work(self, amount: int) -> int:
            if amount < 0:
                raise ValueError("negative")
            return amount

    watch, worker, other = Stopwatch(), Worker(), Worker()
    watch.watch("work", worker, "work")
    assert worker.work(3) == other.work(3) == 3
    with pytest.raises(ValueError, match="negative"):
        worker.work(-1)
    assert watch.calls == {"work": 2}
    assert watch.seconds["work"] > 0
    watch.clear()
    assert (watch.calls, watch.seconds) == ({"work": 0}, {"work": 0.0})


def test_shares_and_the_rest_are_one() -> None:
    watch = Stopwatch(seconds={"environment": 1.0, "inference": 2.0})
    assert shares(watch, total=4.0) == {"environment": 0.25, "inference": 0.5, "rest": 0.25}


def test_peak_memory_is_told_since_the_last_reset() -> None:
    memory.reset_peak()
    before = memory.resident()
    # A map of its own: an ordinary array may take memory that is resident already.
    with mmap.mmap(-1, 32_000_000) as block:
        for page in range(0, 32_000_000, mmap.PAGESIZE):
            block[page] = 1
        held = memory.resident() - before
    assert held == pytest.approx(32e6, rel=0.2)
    assert memory.peak() - before == pytest.approx(32e6, rel=0.2)


# ---- the game both sides must learn


def test_the_game_keeps_the_contract() -> None:
    check_array_env(GuessingGame, GuessingParams(groups=2, features=4, horizon=3))


def test_who_names_the_question_gets_all() -> None:
    game = GuessingGame(GuessingParams(groups=2, features=5, horizon=4), num_envs=3)
    obs, total = game.reset(seed=1), torch.zeros(3)
    for step in range(4):
        assert all(((seen == 1).sum(-1) == 1).all() for seen in obs.values())
        transition = game.step({name: seen.argmax(-1) for name, seen in obs.items()})
        total += sum(reward[:, 0] for reward in transition.reward.values())
        assert bool(transition.done.all()) == (step == 3)
        obs = transition.obs
    assert total.tolist() == [8.0] * 3


# ---- two sides alike


def test_both_sides_have_the_same_hyperparameters_and_networks() -> None:
    stock = stock_config(GUESSING, copies=2)
    team = team_config(GUESSING, copies=2, fragment=4)
    ours = team.family_config(["player0"], gym.spaces.Discrete(3))
    assert stock.learner_class is PPOTorchLearner
    for name in (
        "lr",
        "gamma",
        "lambda_",
        "clip_param",
        "entropy_coeff",
        "vf_loss_coeff",
        "vf_clip_param",
        "use_kl_loss",
    ):
        assert getattr(stock, name) == getattr(ours, name), name
    assert (stock.num_epochs, stock.minibatch_size) == (MEMBER.epochs, MEMBER.minibatch_size) == (4, 512)
    assert stock.grad_clip == ours.grad_clip == MEMBER.grad_clip
    assert stock.grad_clip_by == ours.grad_clip_by
    assert stock.model_config == ours.model_config
    assert set(stock.policies) == set(team.members)


def test_both_sides_start_alike() -> None:
    stock = MultiAgentEnvRunner(config=stock_config(GUESSING, copies=1)).module["player0"]
    team = ArrayEnvRunner(config=team_config(GUESSING, copies=1, fragment=1)).module["player0"]
    assert stock.__class__.__mro__[1] is DefaultPPOTorchRLModule
    for one, other in zip(stock.parameters(), team.parameters(), strict=True):
        assert one.shape == other.shape
        if one.ndim == 2:
            torch.testing.assert_close(one.std(), other.std(), rtol=0.3, atol=0)
    assert [float(last.net.mlp[-1].bias.detach().abs().max()) for last in (stock.pi, team.pi)] == [0, 0]


@pytest.mark.parametrize("arena", [GUESSING, traders_only(5)], ids=["no_op", "market"])
def test_both_samplers_count_the_decisions_of_agents(arena: Any) -> None:
    stock, team = stock_sampler(arena, 2), team_sampler(arena, 2)
    most = 16 * 2 * 5
    assert 0.6 * most <= stock() <= 1.2 * most
    assert 0.6 * most <= team() <= most


def test_bytes_of_a_fragment_are_those_of_its_columns() -> None:
    def column(*shape: int) -> np.ndarray[Any, Any]:
        return np.zeros(shape, np.float32)

    no = np.zeros((2, 3, 1), bool)
    count, ends = np.full((3, 1), 2), np.zeros((0, 3), np.int64)
    rollout = Rollout(column(3, 3, 1, 4), column(2, 3, 1), column(2, 3, 1), no, no, count, ends, column(0, 4), steps=2)
    fragment = {"a": rollout}
    assert agent_steps(fragment) == 6
    assert stored_bytes(fragment) == 4 * (36 + 6 + 6) + 2 * 6 + 8 * 3
    assert copied_bytes(fragment) == stored_bytes(fragment)
    for held in (rollout.obs, rollout.reward):
        held.setflags(write=False)
    assert copied_bytes(fragment) == stored_bytes(fragment) - 4 * (36 + 6)


# ---- the comparison


def test_the_ceiling_is_the_faster_form() -> None:
    found = {"team": Samples((60.0,)), "sequential": Samples((80.0,)), "stacked": Samples((75.0,))}
    assert ceiling(found)["share"] == 0.75
    assert ceiling(found)["of"] == "sequential"


def test_returns_are_the_same_within_their_noise() -> None:
    near = compare_returns([90.0, 92.0, 94.0], [91.0, 93.0, 95.0], best=100.0)
    # Deviations 2 and 2: error sqrt(4/3 + 4/3); Student's 4.3027 for 2 degrees of freedom.
    assert near["noise"] == pytest.approx(4.3027 * (8 / 3) ** 0.5, rel=1e-3)
    assert (near["difference"], near["deficit"]) == (1.0, 0.0)
    worse = compare_returns([91.0, 93.0, 95.0], [90.0, 92.0, 94.0], best=100.0)
    assert worse["deficit"] == pytest.approx(1.0 / near["noise"])
    assert compare_returns([90.0, 90.1, 90.2], [60.0, 60.1, 60.2], best=100.0)["deficit"] > 50
    assert compare_returns([90.0], [60.0], best=100.0)["noise"] is None


# ---- the market


def test_the_faster_form_of_each_case_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"plain": {"copies_1": 1.0, "face": 5.0}, "compiled": {"copies_1": 4.0, "face": 3.0}}
    subjects = {
        f"{form}.assets_1.{case}": partial(float, rate) for form in speeds for case, rate in speeds[form].items()
    }
    ends = {"": 3.0, "apart": 1.0}
    subjects |= {f"history_{bars}_{end}": partial(float, bars ** ends[end]) for bars in (500, 6_000) for end in ends}
    monkeypatch.setattr(market_speed, "_subjects", lambda *_: subjects)
    monkeypatch.setattr(market_speed, "_forms", lambda *_: tuple(speeds))
    found = market_speed.measure_market(MarketPlan(assets=(1,), steps=8, rounds=1))
    assert found["assets_1"] == {"copies_1": 4.0, "face": 5.0}
    assert found["forms"] == {form: {"assets_1": rates} for form, rates in speeds.items()}
    assert found["history"]["cost_ratio"] == pytest.approx(1 / 12**3)
    assert found["history"]["apart"]["cost_ratio"] == pytest.approx(1 / 12)
    tables = {sheet.columns[0]: sheet.rows for sheet in throughput_sheets({"device": "cpu", "market": found})}
    assert tables["market alone, steps/s"] == (("1 asset", "1", "5"), ("1 asset, compiled", "4", "3"))


def test_where_nothing_can_be_compiled_the_plain_form_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert market_speed._forms(MarketPlan(), "cpu") == ("plain",)
    assert market_speed._forms(MarketPlan(), "cuda") == ("plain",)


def test_copies_end_one_after_the_other() -> None:
    env = market(1).build(6)
    env.reset(seed=0)
    end_apart(env, horizon=4)
    actions = drawn_actions(env, torch.Generator().manual_seed(0))
    done = [env.step(actions).done.nonzero().flatten().tolist() for _ in range(5)]
    assert done == [[0, 4], [1, 5], [2], [3], []]


def test_everything_is_on() -> None:
    env = market(30).build(1)
    assert sum(len(group.agent_ids) for group in env.groups.values()) == 31
    assert {"allocator", "stocks", "crypto", "etf", "currencies", "reits"} == set(env.groups)
    assert sum(len(group.agent_ids) for group in traders_only(7).groups().values()) == 7


def test_what_a_step_leaves_behind_is_found() -> None:
    class Leaking(GuessingGame):
        kept: list[torch.Tensor] = []  # noqa: RUF012  (it is the leak)

        def step(self, actions: Any) -> Any:
            self.kept.append(torch.zeros(100))
            return super().step(actions)

    params = GuessingParams(groups=1)
    assert memory_growth(GuessingGame(params, num_envs=2), 64)["tensors"] <= 0
    found = memory_growth(Leaking(params, num_envs=2), 64)
    assert (found["tensors"], found["tensor_bytes"]) == (64, 64 * 400)


# ---- what is required


def test_a_path_leads_to_a_figure_or_to_none() -> None:
    document = {"market": {"assets_30": {"copies_1024": 5.0}}}
    assert find(document, "market.assets_30.copies_1024") == 5.0
    assert find(document, "market.assets_1.copies_1024") is None
    assert [value for _, value in measured(document, THROUGHPUT)] == [5.0]


def test_a_bound_is_a_least_or_a_most() -> None:
    least, most = Requirement("a", "a", 80, unit="x"), Requirement("b", "b", 1.1, at_least=False, unit="x")
    assert [least.met(80), least.met(79.9), most.met(1.1), most.met(1.11)] == [True, False, True, False]
    sheet = verdicts({"a": 79.94, "b": 1.0}, (least, most))
    assert sheet.rows == (("a", "79.9 x", ">= 80 x", MISSED), ("b", "1 x", "<= 1.1 x", "met"))
    assert Requirement("c", "c", 0.8, unit="%").told(0.756) == "76%"


def test_populations_are_compared_by_medians() -> None:
    def of(whole: float, sampling: float, stored: float, peak: float) -> dict[str, Any]:
        return {"microseconds": {"median": whole}, "sampling_microseconds": {"median": sampling}} | {
            "stored_bytes": stored,
            "peak_bytes": peak,
        }

    assert compared(of(10, 4, 100, 500), of(11, 2, 100, 750)) == {
        "cost_ratio": 1.1,
        "sampling_cost_ratio": 0.5,
        "stored_ratio": 1.0,
        "peak_ratio": 1.5,
    }


# ---- the commands


def invoke(*given: str) -> Result:
    return CliRunner().invoke(app, ["bench", *given], catch_exceptions=False)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, local_ray: None) -> None:
    monkeypatch.setattr(throughput, "QUICK", TINY)
    monkeypatch.setattr(throughput, "MARKET_ASSETS", 5)
    monkeypatch.setattr(scaling, "QUICK", TINY_SCALING)
    monkeypatch.setattr(cli, "ray_session", nullcontext)


@pytest.mark.ray
def test_throughput_is_measured(tiny: None, tmp_path: Path) -> None:
    result = invoke("throughput", "--quick", "--json", str(tmp_path / "t.json"))
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "t.json").read_text())
    assert set(found) == {
        "quick", "device", "machine", "sampling", "end_to_end", "bare_loop", "market", "mixed"
    }  # fmt: skip
    assert found["machine"]["versions"]["torch"] == torch.__version__
    sampling = found["sampling"]
    assert sampling["ratio"] == sampling["market"]["ratio"]
    for contest in (sampling["market"], sampling["no_op"], found["end_to_end"]):
        assert contest["ratio"] == contest["team"]["median"] / contest["stock"]["median"]
        assert len(contest["team"]["samples"]) == len(contest["stock"]["samples"]) == 2
    stock = sampling["market"]["stock"]
    assert len(stock["tried"]) == 2
    assert stock["tried"][str(stock["copies"])] == max(stock["tried"].values())
    forms = [found["bare_loop"][form]["median"] for form in ("sequential", "stacked")]
    assert found["bare_loop"]["share"] == found["end_to_end"]["team"]["median"] / max(forms)
    assert found["end_to_end"]["learning"]["optimum"] == 100
    assert found["market"]["assets_5"].keys() == {"copies_1", "copies_4", "face"}
    assert found["market"]["memory"]["tensors"] <= 0
    assert sum(found["mixed"]["shares"].values()) == pytest.approx(1)
    assert min(found["mixed"]["shares"].values()) >= 0  # nothing is counted twice
    assert {"environment", "inference", "update_crypto", "sync_weights", "rest"} <= found["mixed"]["shares"].keys()
    assert ">= 80 x" in result.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_nothing_is_measured_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "ray_session", nullcontext)
    result = invoke("throughput", "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda: torch finds no CUDA device here" in result.output


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_cuda_device_environment_and_sampling_are_measured(tiny: None) -> None:
    parts = dict(throughput.run(TINY, device=throughput.Device.CUDA))
    assert parts["sampling"]["sampling"]["market"]["team"]["median"] > 0
    assert parts["the market alone"]["market"]["memory"]["tensors"] <= 0


@pytest.mark.ray
def test_scaling_is_measured(tiny: None, tmp_path: Path) -> None:
    result = invoke("scaling", "--quick", "--json", str(tmp_path / "s.json"))
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "s.json").read_text())
    assert set(found) == {"quick", "device", "machine", "agents", "runners", "overlap"}
    few, many = found["agents"]["agents_5"], found["agents"]["agents_10"]
    assert found["agents"]["cost_ratio"] == many["microseconds"]["median"] / few["microseconds"]["median"]
    assert few["stored_bytes"] == pytest.approx(many["stored_bytes"])
    of_one = [found["runners"][f"{kind}ratio"] for kind in ("", "in_step_", "alone_")]
    assert of_one == [1, 1, 1]  # of the most samplers, here one, to one
    assert "1, in step" in result.output
    assert "1, waiting for nobody" in result.output
    assert found["runners"]["copied_bytes"] == 0 < found["runners"]["fragment_bytes"]
    assert found["runners"]["weight_syncs"] == 1
    overlap = found["overlap"]
    assert overlap["ratio"] == overlap["overlapped"]["median"] / overlap["in_step"]["median"]
    assert "at the same time" in result.output


# ---- what is shown


def recorded_sheets() -> list[Any]:
    shown = performance.recorded()
    del shown["optimum"]  # has a table of its own
    return [sheet for name, document in shown.items() for sheet in performance.SHEETS[name](document)]


def test_the_tables_fit_80_columns() -> None:
    for sheet in recorded_sheets():
        console = Console(width=80, file=io.StringIO())
        console.print(sheet_table(sheet))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert "…" not in shown
        assert len(shown.strip().splitlines()) == len(sheet.rows) + 2, f"a cell is wrapped:\n{shown}"


def test_the_readme_says_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert performance.all_renewed(readme, performance.recorded()) == readme


def test_all_that_is_required_was_measured() -> None:
    required = {"throughput": THROUGHPUT, "scaling": SCALING}
    recorded = performance.recorded()
    assert {"optimum", "throughput"} <= recorded.keys() <= performance.SHEETS.keys()
    assert not any(document["quick"] for document in recorded.values())
    for name, requirements in required.items():
        if name in recorded:
            assert len(measured(recorded[name], requirements)) == len(requirements)
    assert {row["case"] for row in recorded["optimum"]["rows"] if "/" not in row["case"]} == {
        case.name for case in CASES if len(case.members) == 1
    }


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="the section on performance stands between"):
        performance.renewed("# WealthArena\n", "performance", "new\n")
    begin, end = (marker.format(title="optimum") for marker in (performance.BEGIN, performance.END))
    assert performance.renewed(f"a\n{begin}old\n{end}b\n", "optimum", "new\n") == f"a\n{begin}new\n{end}b\n"
