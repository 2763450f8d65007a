"""A member that starts from what was learned elsewhere: the weights arrive, and what does not fit is refused."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies.a2c import A2C
from policies.dqn import DQN, DQNParams
from policies.ppo import PPO, PPOParams
from policies.sac import SAC, SACParams
from tests.games import TargetGame
from tests.wealtharena.teams import weights
from tests.wealtharena.test_train import Silent
from wealtharena import AgentTeam, UserError, load_team
from wealtharena.agents.agent import Agent
from wealtharena.agents.parts import Learned, Profile
from wealtharena.experiment import load_experiment
from wealtharena.spec import WindowSpec
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.policy import Policy
from wealtharena.team.provenance import Provenance, feature_difference
from wealtharena.training.run_dir import new_run
from wealtharena.training.setup import begin
from wealtharena.training.stopping import StopSignal
from wealtharena.training.train import train
from wealtharena.training.warm_start import begin_from

MEMBERS = {
    "p": PPO(PPOParams(hidden=(8, 8))),
    "d": DQN(DQNParams(hidden=(8, 8))),
    "s": SAC(SACParams(hidden=(8, 8))),
}
GROUPS = {"p": {}, "d": {}, "s": {"kind": "continuous"}}


def team(seed: int) -> Team:
    return (
        TeamConfig()
        .environment(env=TargetGame, env_config={"groups": GROUPS})
        .team(MEMBERS)
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=8)
        .debugging(seed=seed)
        .build_algo()
    )


def fresh(experiment: Any, name: str, **changes: Any) -> Agent:
    """An agent for a group of an experiment, with random weights of its own and a normaliser that was used."""
    group, algorithm = experiment.groups[name], changes.pop("algorithm", experiment.members[name])
    module = algorithm.module_spec(group.observation_space, group.action_space, inference_only=False).build()
    module.normalizer.shift.fill_(0.25)
    module.normalizer.scale.fill_(2.0)
    known = changes.pop("provenance", experiment.provenance[name].model_copy(update={"windows": ()}))
    return Agent(Profile(name, None, algorithm, 0), Learned(Policy(algorithm, module, group.action_space), known, 1000))


# ---- the weights arrive


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_members_begin_with_what_was_learned_and_the_others_with_their_own(tmp_path: Path) -> None:
    first, second = team(seed=1), team(seed=2)
    first.train()
    first.save_to_path(str(tmp_path / "first"))
    learned = {name: agent.learned for name, agent in load_team(tmp_path / "first").items()}
    own = weights(second)
    begin_from(second, {name: learned[name] for name in ("d", "s")})
    trained, begun = weights(first), weights(second)
    assert all(np.array_equal(begun["p"][key], own["p"][key]) for key in own["p"])
    for name in ("d", "s"):
        networks = [key for key in trained[name] if "target" not in key]
        assert networks
        assert all(np.array_equal(begun[name][key], trained[name][key]) for key in networks)
        for target in (key for key in begun[name] if "target" in key):
            followed = target.replace("_target_", "").replace("target_", "")
            assert np.array_equal(begun[name][target], begun[name][followed]), target
        sampled = second.env_runner.module[name].state_dict()
        assert all(np.array_equal(sampled[key], begun[name][key]) for key in sampled)
        count = 32  # one row in each step of 4 copies and a fragment of 8
        statistics = second.get_state(components="team")["team"]["statistics"][name]
        assert statistics["count"] == learned[name].env_steps == count
        assert np.allclose(statistics["mean_F"], trained[name]["normalizer.shift"])
        assert np.allclose((statistics["square_F"] / count) ** -0.5, trained[name]["normalizer.scale"])
    second.train()
    first.stop()
    second.stop()


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_run_starts_where_its_file_says_and_remembers_on_what_that_was_trained(market: Path) -> None:
    experiment = load_experiment(str(market))
    older = Provenance(
        features=experiment.provenance["stocks"].features,
        windows=(WindowSpec.model_validate({"start": "2010-01-01", "end": "2012-12-31"}),),
    )
    agent = fresh(experiment, "stocks", provenance=older)
    agent.save("agent")
    overrides = ["members.stocks.start_from=agent", "members.stocks.params.lr=1e-9", "stop={iterations: 1}"]
    started, run = begin(str(market), overrides, None)
    train(started, run, view=Silent(), stop=StopSignal(lambda: None))
    result = load_team(run.path)["stocks"]
    assert [str(window) for window in result.learned.provenance.windows] == [
        "2010-01-01 to 2012-12-31",
        "2015-01-01 to 2015-06-30",
    ]
    networks = [each.learned.policy.module.state_dict() for each in (agent, result)]
    assert all(torch.allclose(networks[0][key], networks[1][key], atol=1e-6) for key in networks[0] if "net" in key)
    again = new_run("again", None)
    other = load_experiment(str(market), [f"members.crypto.start_from={run.path}", "stop={iterations: 1}"])
    train(other, again, view=Silent(), stop=StopSignal(lambda: None))  # a run holds a group of the same name


# ---- what does not fit


@cache
def differences() -> Mapping[str, tuple[dict[str, Any], str]]:
    seen = WindowSpec.model_validate({"start": "2015-01-01", "end": "2015-08-01"})
    return {
        "networks": (
            {"algorithm": PPO(PPOParams(hidden=(8, 8)))},
            r"its networks are others: .* is \(8, .* and \(64, ",
        ),
        "test": (
            {"provenance": Provenance(windows=(seen,))},
            "was trained on 2015-01-01 to 2015-08-01, which overlaps",
        ),
        "columns": (
            {"provenance": Provenance(features=tuple(f"signal_{i}" for i in range(19)))},
            r"it learned on 19 features and this data gives it 19 \(without signal_0, ",
        ),
    }


@pytest.mark.parametrize("name", ["networks", "test", "columns"])
def test_what_does_not_fit_is_refused_before_anything_is_written(market: Path, name: str) -> None:
    changes, message = differences()[name]
    fresh(load_experiment(str(market)), "stocks", **changes).save("agent")
    with pytest.raises(UserError, match=rf"^members\.stocks\.start_from = 'agent': {message}"):
        begin(str(market), ["members.stocks.start_from=agent"], None)
    assert not Path("runs").exists()


def test_an_algorithm_with_the_same_networks_may_go_on(market: Path) -> None:
    fresh(load_experiment(str(market)), "stocks", algorithm=A2C()).save("agent")
    experiment, _ = begin(str(market), ["members.stocks.start_from=agent"], None)
    assert experiment.resolved()["members"]["stocks"]["start_from"] == "agent"


def test_other_actions_are_refused(market: Path) -> None:
    fresh(load_experiment(str(market)), "stocks").save("agent")
    levels = "environment.params.traders={stocks: {asset_class: stocks, action: levels}, crypto: {asset_class: crypto}}"
    with pytest.raises(UserError, match=r"it acts in Discrete\(3\) and group stocks in Discrete\(5\)"):
        begin(str(market), ["members.stocks.start_from=agent", levels], None)


def test_a_team_without_the_group_and_nothing_at_all_are_refused(market: Path) -> None:
    AgentTeam({"bonds": fresh(load_experiment(str(market)), "stocks")}).save("team")
    with pytest.raises(UserError, match=r"'team': this team has no group 'stocks' \(its groups: bonds\)"):
        begin(str(market), ["members.stocks.start_from=team"], None)
    with pytest.raises(UserError, match="'nowhere': must be the folder of a saved agent or team, of a run or of a che"):
        begin(str(market), ["members.stocks.start_from=nowhere"], None)


@pytest.mark.parametrize(
    ("learned", "offered", "said"),
    [
        ((2, ("a", "b")), (2, ("a", "b")), None),
        ((2, None), (2, ("a", "b")), None),
        ((2, None), (3, None), "it learned on 2 features and this data gives it 3"),
        ((2, ("a", "b")), (2, ("b", "a")), "it learned on 2 features and this data gives it 2 (in another order)"),
        ((2, ("a", "b")), (2, ("b", "c")), "it learned on 2 features and this data gives it 2 (without a; new: c)"),
    ],
)
def test_features_are_told_apart(learned: Any, offered: Any, said: str | None) -> None:
    assert feature_difference(learned, offered) == said
