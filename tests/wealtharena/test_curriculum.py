"""A curriculum in an experiment file, and a team that goes through one: what is refused, kept, replayed and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from environments.staged import StagedEnv
from policies.dqn import DQN, DQNParams
from policies.networks import Conv
from policies.ppo import PPO, PPOParams
from policies.sac import SAC, SACParams
from tests.games import TargetGame
from tests.wealtharena.conftest import MARKET
from tests.wealtharena.teams import weights
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.spec_curriculum import CurriculumSpec
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig

ROOT = Path(__file__).parents[2]
MARKET_CURRICULUM = """\
curriculum:
  stages:
    calm: {horizon: 10, risk: {max_gross: 0.5}}
    wide: {costs.stocks: {spread_bps: 50}}
    all: {}
  rule: {kind: promotion, promote_above: 0.6}
"""


# ---- the file


def refused(path: Path, text: str, *overrides: str) -> str:
    path.write_text(text)
    with pytest.raises(UserError) as told:
        load_experiment(str(path), overrides)
    return str(told.value)


def test_stages_are_overrides_of_the_environment(market: Path):
    market.write_text(MARKET + MARKET_CURRICULUM)
    experiment = load_experiment(str(market))
    calm, wide, last = (experiment.stages[name] for name in ("calm", "wide", "all"))
    assert last == experiment.params
    assert (calm.horizon, calm.risk.max_gross, calm.risk.max_position) == (10, 0.5, last.risk.max_position)
    assert (wide.horizon, wide.costs["stocks"].spread_bps) == (20, 50)
    environment, params = experiment.trained_on
    assert environment is StagedEnv
    assert list(params["stages"]) == ["calm", "wide", "all"]
    assert experiment.test_params.horizon is None
    (market.parent / "again.yaml").write_text(yaml.safe_dump(experiment.resolved(), sort_keys=False))
    assert load_experiment("again.yaml").stages == experiment.stages


def test_a_section_is_merged_and_a_dotted_path_takes_the_place(market: Path):
    synthetic = "{synthetic: {assets: {stocks: 3, crypto: 2}, bars: 300}}"
    text = MARKET.replace("{path: prices.parquet}", synthetic) + MARKET_CURRICULUM
    merged = text.replace("horizon: 10, ", "data: {synthetic: {assets: {stocks: 1}}}, ")
    market.write_text(merged)
    assert load_experiment(str(market)).stages["calm"].data.synthetic.assets == {"stocks": 1, "crypto": 2}
    alone = merged.replace("{horizon: 10", "{data.synthetic.assets: {stocks: 1}, horizon: 10")
    placed = alone.replace(
        "data: {synthetic: {assets: {stocks: 1}}}, ", "data.synthetic.assets: {crypto: 1, stocks: 4}, "
    )
    market.write_text(placed)
    assert load_experiment(str(market)).stages["calm"].data.synthetic.assets == {"crypto": 1, "stocks": 4}


REFUSED = {
    "a value": (
        "horizon: 10",
        "horizon: -1",
        "curriculum.stages.calm.horizon = -1: must be greater than or equal to 1 [",
    ),
    "a key": (
        "horizon: 10",
        "horzon: 10",
        "curriculum.stages.calm.horzon: unknown key; did you mean 'horizon'?",
    ),
    "a path": (
        "horizon: 10",
        "horizon.days: 10",
        "curriculum.stages.calm.horizon.days: environment.params.horizon is 20, not a section with keys",
    ),
    "a dotted value": (
        "costs.stocks: {spread_bps: 50}",
        "risk.max_gross: -3",
        "curriculum.stages.wide.risk.max_gross = -3: must be greater than",
    ),
    "a window": (
        "horizon: 10",
        "window: {end: 2015-03-31}",
        "curriculum.stages.calm.window: must be environment.params.window in all stages",
    ),
    "the data": (
        "horizon: 10",
        "horizon: 1000",
        "curriculum.stages.calm: horizon: 1000 steps do not fit into a window",
    ),
    "what is seen": (
        "horizon: 10",
        "coordination: {kind: hierarchical, observe: true}",
        "one policy plays all stages, so keep what it sees and does",
    ),
    "a group": (
        "horizon: 10",
        "traders: {stocks: {asset_class: stocks}, bonus: {asset_class: crypto}}",
        "stage calm has a group 'bonus', and the last one, all, has not",
    ),
    "the last": (
        "all: {}",
        "all: {horizon: 5}",
        "stages.all: the last stage is the environment as the file has it",
    ),
    "one stage": (
        "calm: {horizon: 10, risk: {max_gross: 0.5}}\n    wide: {costs.stocks: {spread_bps: 50}}\n    ",
        "",
        "curriculum.stages",
    ),
    "the bars": (
        "promote_above: 0.6",
        "promote_above: 0.6, regress_below: 0.7",
        "regress_below: 0.7 must be below promote_above = 0.6",
    ),
    "too few episodes": (
        "promote_above: 0.6",
        "promote_above: 0.6, episodes: 50",
        "curriculum.rule.episodes = 50: must be greater than or equal to 100",
    ),
    "no share": (
        "0.6}",
        "60}\n  success: {at_least: 0.0}",
        "rule.promote_above: 60: with success.at_least it is a share",
    ),
    "a metric": (
        "  rule",
        "  success: {metric: stock/episode_return}\n  rule",
        "curriculum.success.metric = 'stock/episode_return': no episode of every stage has it; "
        "did you mean 'stocks/episode_return'?",
    ),
    "the schedule": (
        "promotion, promote_above: 0.6",
        "schedule, env_steps: [100]",
        "rule.env_steps: 1 given, and 3 stages take 2",
    ),
    "its order": (
        "promotion, promote_above: 0.6",
        "schedule, env_steps: [100, 100]",
        "must rise from stage to stage",
    ),
    "replay of all": (
        "promotion, promote_above: 0.6}",
        "mixture}\n  replay: 0.1",
        "replay: rule.kind: mixture plays all stages all the time",
    ),
    "replay of nothing": (
        "0.6}",
        "0.6}\n  replay: 0.25",
        "curriculum.replay = 0.25: is too small or too large: of sampling.envs_per_runner = 4 copies",
    ),
    "phases": (
        "curriculum:",
        "phases: [{name: one, kind: joint}]\ncurriculum:",
        "curriculum: cannot go with phases, whose trainings have environments of their own",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_ends_in_one_line(what: str, market: Path):
    before, after, message = REFUSED[what]
    assert before in MARKET_CURRICULUM
    told = refused(market, MARKET + MARKET_CURRICULUM.replace(before, after, 1))
    assert message in told
    assert "small.yaml" in told
    assert "\n" not in told


def test_a_walk_forward_is_refused(market: Path):
    told = refused(market, MARKET + MARKET_CURRICULUM, "evaluation.walk_forward={folds: 2}")
    assert "curriculum: cannot go with evaluation.walk_forward" in told


def test_all_stages_at_once_take_a_copy_each(market: Path):
    text = MARKET + MARKET_CURRICULUM.replace("promotion, promote_above: 0.6", "mixture")
    told = refused(market, text, "sampling.envs_per_runner=2")
    assert "curriculum.rule.kind = 'mixture': plays 3 stages at once, and sampling.envs_per_runner = 2" in told


def test_the_template_has_the_five_stages():
    experiment = load_experiment(str(ROOT / "tune_configs/curriculum_trading.yaml"))
    assets = {name: sum(params.data.synthetic.assets.values()) for name, params in experiment.stages.items()}
    assert assets == {"basic": 2, "multi-asset": 5, "volatile": 8, "crisis": 10, "master": 15}
    stocks = {name: params.data.synthetic.character("stocks") for name, params in experiment.stages.items()}
    assert stocks["basic"].volatility < stocks["multi-asset"].volatility < stocks["volatile"].volatility
    assert stocks["crisis"].market > stocks["volatile"].market
    regimes = {name: params.data.synthetic.regime_share for name, params in experiment.stages.items()}
    assert regimes == {"basic": 0, "multi-asset": 0, "volatile": 0, "crisis": 0, "master": 0.5}
    assert all(params.data.synthetic.character("crypto").weekends for params in experiment.stages.values())
    plan = experiment.spec.curriculum
    assert plan is not None
    assert plan.success.at_least is not None
    assert plan.success.at_least > 0  # who holds nothing has gained 0


# ---- the team

STAGES: dict[str, Any] = {
    "one": {"groups": {"p": {"agents": 1}, "d": {}, "s": {"kind": "continuous"}}, "horizon": 4},
    "two": {"groups": {"p": {"agents": 3}, "d": {"agents": 2}, "s": {"kind": "continuous"}}, "horizon": 6},
}
ALWAYS = {"kind": "promotion", "promote_above": -1.0, "patience": 1}


def staged(rule: dict[str, Any], **env_runners: Any) -> TeamConfig:
    """PPO, a DQN of three steps and a SAC that looks back, in stages of one to three agents each."""
    spec = {"stages": {"one": {"x": 1}, "two": {}}, "success": {"metric": "p/episode_return"}, "rule": rule}
    return (
        TeamConfig()
        .environment(env=StagedEnv, env_config={"env": TargetGame, "stages": STAGES})
        .curriculum(CurriculumSpec.model_validate(spec | ({"replay": 0.25} if rule["kind"] == "promotion" else {})))
        .team(
            {
                "p": PPO(PPOParams(lr=1e-3, minibatch_size=64)),
                "d": DQN(DQNParams(learning_starts=50, batch_size=32, n_step=3)),
                "s": SAC(SACParams(learning_starts=50, batch_size=32, hidden=(16,), n_step=2,
                                   network=Conv(window=3, units=4, kernel=2))),
            }
        )
        .env_runners(**{"num_envs_per_env_runner": 8, "rollout_fragment_length": 11, **env_runners})
    )  # fmt: skip


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_team_goes_on_to_the_bit_from_before_and_after_a_change_of_stage(tmp_path: Path):
    """100 episodes of 4 steps in 8 copies: the stage changes in the fifth iteration, and copies wait in the sixth."""
    straight, first = staged(ALWAYS).build_algo(), staged(ALWAYS).build_algo()
    expected = [straight.train()["curriculum"] for _ in range(8)]
    for _ in range(3):
        first.train()
    first.save_to_path(tmp_path / "before")
    first.stop()
    second = Team.from_checkpoint(tmp_path / "before")
    found = [second.train()["curriculum"] for _ in range(3)]
    second.save_to_path(tmp_path / "after")
    second.stop()
    third = Team.from_checkpoint(tmp_path / "after")
    found += [third.train()["curriculum"] for _ in range(2)]
    assert found == expected[3:]
    assert (expected[0]["stage"], expected[-1]["stage"]) == (1, 2)
    assert expected[-1]["share/one"] == 0.25
    for name, own in weights(straight).items():
        for key, value in own.items():
            np.testing.assert_array_equal(value, weights(third)[name][key], err_msg=f"{name}/{key}")
    assert third.env_runner.env.stage_E.tolist() == [0] * 2 + [1] * 6
    straight.stop()
    third.stop()
