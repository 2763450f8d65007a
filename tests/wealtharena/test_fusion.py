"""Fusion and coordination in a run: a fuser that learns, the example file, evaluation, phases and saved agents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from policies.ppo import PPO, PPOParams
from tests.environments.hearing import TRADERS, FuserMarket, params, said
from wealtharena import load_team
from wealtharena.bench.trial import greedy
from wealtharena.cli import app
from wealtharena.errors import UserError
from wealtharena.experiment import load_experiment
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.training.phases import phases_of
from wealtharena.training.solo import SoloMarket, solo_params

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "tune_configs/fusion.yaml")
TRAINED = 20_000  # steps
OBSERVED = [f"{what}/{name}" for what in ("said", "score") for name in TRADERS]
NEURAL = params({"kind": "neural", "observe": OBSERVED}, reward={"expected": True})


@pytest.fixture(scope="module")
def fuser() -> Team:
    """One that learned above scripted traders, from the portfolio's reward."""
    ppo = PPO(PPOParams(lr=3e-3, gamma=0.0, gae_lambda=0.0, minibatch_size=256, epochs=6, hidden=(16,)))
    config = (
        TeamConfig()
        .environment(env=FuserMarket, env_config=NEURAL)
        .team({"stocks_fuser": ppo})
        .env_runners(num_envs_per_env_runner=32, rollout_fragment_length=16)
        .debugging(seed=0)
    )
    algo = config.build_algo()
    while algo.train()["num_env_steps_sampled_lifetime"] < TRAINED:
        pass
    return algo


def tried(fusion: dict[str, object], team: Team | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean log return of each copy on another seed, and how much each trader was heard."""
    env = MarketEnv(MarketParams.model_validate(params(fusion)), num_envs=256)
    obs, voices, nav_E = env.reset(seed=77), [], torch.zeros(256, dtype=torch.float64)
    play = None if team is None else greedy(team)
    for _ in range(120):
        with torch.no_grad():
            chosen = {} if play is None else play({"stocks_fuser": obs["stocks_fuser"]})
        obs = env.step({**said(env), **chosen}).obs
        voices.append(torch.stack([voice_E.mean() for voice_E in env.voices().values()]))
        nav_E = env.record.nav_E
    return torch.log(nav_E / env.params.capital) / 120, torch.stack(voices).mean(0)


@pytest.mark.ray
@pytest.mark.learning
@pytest.mark.usefixtures("local_ray")
def test_a_fuser_learns_whom_to_hear_and_beats_the_vote(fuser: Team) -> None:
    """Over 80% of the weight on the informed trader, after ``TRAINED`` steps of the portfolio's reward."""
    growth_E, voice_J = tried({"kind": "neural", "observe": OBSERVED}, fuser)
    vote_E, _ = tried({"kind": "voting", "threshold": 0.75})
    fuser.stop()
    assert voice_J[0] >= 0.8
    gap_E = growth_E - vote_E
    assert gap_E.mean() > 2.576 * gap_E.std() / len(gap_E) ** 0.5


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with a tiny budget."""
    given = yaml.safe_load(Path(EXAMPLE).read_text(encoding="utf-8"))
    given |= {"sampling": {"envs_per_runner": 4, "fragment": 8}, "stop": {"iterations": 1}}
    given["environment"]["params"]["data"]["synthetic"]["bars"] = 1600
    file = tmp_path_factory.mktemp("fusion") / "fusion.yaml"
    file.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return file


def test_the_example_is_loaded() -> None:
    experiment = load_experiment(EXAMPLE)
    assert experiment.groups["stocks_fuser"].agent_ids == tuple(f"stocks_fuser/STOCKS0{i}" for i in (1, 2, 3))


@pytest.mark.ray
def test_the_example_from_training_to_report_and_saved_agents(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["train", str(small), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    heard = found["fusion"]["classes"]["stocks"]
    assert found["fusion"]["kind"] == "neural"
    assert list(heard) == ["fast", "slow", "steps"]
    assert sum(heard.values()) == pytest.approx(1.0)
    assert found["agents"]["stocks_fuser"]["actions"]["labels"] == list(heard)
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "Who was heard" in text
    assert "Capital given to each class" in text
    team = load_team(out)
    assert team["stocks_fuser"].asset_class is None
    assert team["fast"].asset_class == "stocks"


def test_in_an_individual_phase_traders_are_alone_and_see_what_they_see_in_the_team(small: Path) -> None:
    phases = "phases=[{name: alone, kind: individual}, {name: together, kind: joint}]"
    experiment = load_experiment(str(small), [phases])
    alone, together = phases_of(experiment)
    assert [task.members for task in alone.tasks] == [("fast",), ("slow",), ("steps",), ("crypto",)]
    assert "stocks_fuser" in together.tasks[0].members
    assert isinstance(experiment.params, MarketParams)
    solo = SoloMarket(solo_params(experiment.params, "fast", ("fast", "slow", "steps", "crypto")), num_envs=1)
    team = MarketEnv(experiment.params, num_envs=1)
    assert solo.market.feature_names["fast"] == team.feature_names["fast"]
    unmanaged = MarketEnv(experiment.params.unmanaged(), num_envs=1)
    assert unmanaged.groups.keys() == {"fast", "slow", "steps", "crypto"}
    assert unmanaged.feature_names["steps"] == team.feature_names["steps"]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        (
            "environment.params.fusion={kind: voting}",
            ["fusion.threshold", "voting over continuous signals", "fusion.yaml"],
        ),
        (
            "environment.params.allocator={every: 5}",
            ["coordination.kind: decentralized has no allocator", "fusion.yaml"],
        ),
        ("environment.params.coordination.budgets.floor=0.6", ["floor 0.6 and ceiling 0.8 with 2 classes", "--set"]),
        ("environment.params.fusion={kind: mean}", ["members.stocks_fuser", "no such group", "fusion.yaml"]),
    ],
)
def test_what_does_not_fit_is_one_line_with_its_field_and_file(override: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        load_experiment(EXAMPLE, [override])
    assert all(part in str(refusal.value) for part in parts), refusal.value
    assert "\n" not in str(refusal.value)
