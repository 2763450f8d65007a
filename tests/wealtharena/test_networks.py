"""Networks that see more than the present, from sampling to evaluation: what they saw is what they learn from."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from policies.a2c import A2C, A2CParams
from policies.algorithm import Algorithm
from policies.dqn import DQN, DQNParams
from policies.networks import Attention, Conv, Gru, Mlp, Recurrent, Summarising, Transformer
from policies.ppo import PPO, PPOParams
from policies.rollout import Rollout
from policies.sac import SAC, SACParams
from policies.seen import units
from tests.recall import RecallGame
from tests.wealtharena.teams import weights
from wealtharena.agents.agent import Agent
from wealtharena.agents.agent_team import load_team
from wealtharena.errors import UserError
from wealtharena.evidence.episodes import evaluate_episodes
from wealtharena.experiment import load_experiment
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig
from wealtharena.team.policy import Policy, load_policies
from wealtharena.team.runner import ArrayEnvRunner

ROOT = Path(__file__).parents[2]
WINDOWS = [Conv(window=5, units=4), Gru(window=5, units=4), Transformer(window=5, units=4)]
NETWORKS = [*WINDOWS, Recurrent(units=4, unroll=3), Attention(units=4)]
ALL = pytest.mark.parametrize("network", NETWORKS, ids=[each.kind for each in NETWORKS])
WORLDS = {
    "together": {},
    "absent": {"absent": 0.4},
    "staggered": {"stagger": True, "absent": 0.2},
}
EVERYWHERE = pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)


def runner(network: Summarising, world: dict[str, Any]) -> ArrayEnvRunner:
    """Three copies of three agents in episodes of nine steps, in fragments of seven."""
    config = (
        TeamConfig()
        .environment(env=RecallGame, env_config={"groups": {"a": 3}, "horizon": 9, **world})
        .team({"a": PPO(PPOParams(network=network, hidden=(6,), initial_log_std=0.0))})
        .env_runners(num_envs_per_env_runner=3, rollout_fragment_length=7)
    )
    sampler = ArrayEnvRunner(config=config)
    with torch.no_grad():
        for parameter in sampler.module["a"].parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return sampler


@ALL
@EVERYWHERE
def test_a_learner_sees_what_was_seen_when_it_was_sampled(network, world):
    """With the same weights it says the same of every decision, over the ends of episodes and of fragments."""
    sampler = runner(network, world)
    module = sampler.module["a"]
    for _ in range(5):
        rollout = sampler.sample()["a"]
        assert rollout.value is not None
        noted = {"dist_inputs": rollout.dist_inputs, "value": rollout.value[:-1]}
        seen, mask_NK, of_units = units(network, rollout, noted)
        assert mask_NK.sum() == rollout.count.sum() > 0
        with torch.no_grad():
            again = module.forward_train({"obs": torch.from_numpy(seen)})
            value = module.compute_values({}, embeddings=again["embeddings"])
        for found, name in ((again["action_dist_inputs"], "dist_inputs"), (value, "value")):
            torch.testing.assert_close(
                found.unflatten(0, mask_NK.shape)[torch.from_numpy(mask_NK)],
                torch.from_numpy(of_units[name][mask_NK]),
                rtol=1e-5,
                atol=1e-6,
            )


class Told:
    """An agent's episode, as the rollouts tell it: its observations, and the critic's values of them."""

    def __init__(self, rollouts: list[Rollout], copy: int, agent: int) -> None:
        self.episodes: list[tuple[list[Tensor], list[float]]] = [([], [])]
        for rollout in rollouts:
            assert rollout.value is not None
            assert rollout.final_value is not None
            for slot in range(rollout.count[copy, agent]):
                self._add(rollout.obs[slot, copy, agent, :1], rollout.value[slot, copy, agent])
                at = (rollout.final_index == (slot, copy, agent)).all(axis=1)
                if at.any():
                    self._add(rollout.final_obs[at][0, :1], rollout.final_value[at][0])
                    self.episodes.append(([], []))

    def _add(self, obs: np.ndarray, value: float) -> None:
        self.episodes[-1][0].append(torch.from_numpy(obs))
        self.episodes[-1][1].append(float(value))


@pytest.mark.parametrize("network", NETWORKS[:4], ids=[each.kind for each in NETWORKS[:4]])
@EVERYWHERE
def test_values_are_of_what_the_agent_saw_since_its_episode_began(network, world):
    """Worked out again from its observations alone; those after the end of an episode too."""
    sampler = runner(network, world)
    rollouts = [sampler.sample()["a"] for _ in range(4)]
    module, ends = sampler.module["a"], 0
    for copy, agent in np.ndindex(3, 3):
        for obs, values in Told(rollouts, copy, agent).episodes:
            ends += len(values) > 9
            for last, value in enumerate(values):
                with torch.no_grad():
                    again = module.compute_values({"obs": history(network, obs[: last + 1])})[-1]
                assert float(again) == pytest.approx(value, abs=1e-5)
    assert ends or world


def history(network: Summarising, obs: list[Tensor]) -> Tensor:
    """What a network takes that saw these observations of an episode, and no others."""
    seen = torch.stack(obs)
    if isinstance(network, Recurrent):
        return torch.cat([seen, torch.zeros(len(seen), 2 * network.units)], dim=-1).unsqueeze(0)
    window = torch.zeros(network.window, 2)
    seen = torch.cat([seen, torch.ones(len(seen), 1)], dim=-1)[-network.window :]
    window[network.window - len(seen) :] = seen
    return window.unsqueeze(0)


def test_attention_sees_its_own_copy_also_at_the_end():
    sampler = runner(NETWORKS[-1], {})
    rollout = [sampler.sample()["a"] for _ in range(2)][-1]
    module = sampler.module["a"]
    assert rollout.final_value is not None
    assert len(rollout.final_index) == 9
    for copy in range(3):
        of_copy = rollout.final_index[:, 1] == copy
        seen = torch.cat([torch.from_numpy(rollout.final_obs[of_copy][:, :1]), torch.ones(3, 1)], dim=-1)
        with torch.no_grad():
            again = module.compute_values({"obs": seen.unsqueeze(0)})
        np.testing.assert_allclose(rollout.final_value[of_copy], again.numpy(), atol=1e-6)


def team(kind: str, members: dict[str, Algorithm], **world: Any) -> TeamConfig:
    """Two agents with each of the members, in one game."""
    groups = dict.fromkeys(members, 2)
    return (
        TeamConfig()
        .environment(env=RecallGame, env_config={"kind": kind, "groups": groups, "horizon": 9, **world})
        .team(members)
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=8)
    )


def every_member(kind: str) -> dict[str, Algorithm]:
    """All algorithms that act in such a world, each with all networks that it learns with."""
    replay: dict[str, Any] = {"learning_starts": 16, "batch_size": 8, "replay_size": 100, "n_step": 2, "hidden": (6,)}
    on_policy: dict[str, Any] = {"minibatch_size": 24, "hidden": (6,)}
    makers = {
        "ppo": lambda network: PPO(PPOParams(network=network, epochs=2, **on_policy)),
        "a2c": lambda network: A2C(A2CParams(network=network, **on_policy)),
    }
    if kind == "discrete":
        makers["dqn"] = lambda network: DQN(DQNParams(network=network, epsilon_steps=500, **replay))
    else:
        makers["sac"] = lambda network: SAC(SACParams(network=network, **replay))
    # What A2C does with a network is what PPO does, but for the loss.
    tried = {name: NETWORKS[-2:] if name == "a2c" else NETWORKS for name in makers}
    members = {f"{name}-{each.kind}": make(each) for name, make in makers.items() for each in tried[name]}
    return {name: own for name, own in members.items() if name.rpartition("-")[2] in own.networks}


def state_of(algo: Team) -> dict[str, Tensor]:
    return {f"{name}/{key}": torch.tensor(value) for name, own in weights(algo).items() for key, value in own.items()}


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_every_algorithm_learns_with_every_network_and_goes_on_to_the_bit(kind, tmp_path):
    """All parameters of all networks move; a checkpoint, between two updates, changes nothing."""
    config = team(kind, every_member(kind), absent=0.2)
    straight = config.copy(copy_frozen=False).build_algo()
    before = {name: value.clone() for name, value in state_of(straight).items()}
    for _ in range(2):
        straight.train()
    straight.save_to_path(tmp_path)
    assert_acts_as_saved(straight, tmp_path)
    resumed = Team.from_checkpoint(tmp_path)
    for algo in (straight, resumed):
        algo.train()
        algo.train()
    after, found = state_of(straight), state_of(resumed)
    for algo in (straight, resumed):
        algo.stop()
    assert all(torch.equal(found[name], value) for name, value in after.items())
    assert all(torch.isfinite(value).all() for value in after.values())
    still = [name for name, value in after.items() if torch.equal(value, before[name])]
    assert not [name for name in still if not name.endswith("log_std_clip_param_const")]


def assert_acts_as_saved(algo: Team, checkpoint: Path) -> None:
    """Policies out of a checkpoint act through an episode as agents out of it do, to the bit, and as the team does.

    To rounding, that is: in a live team weights lie in a stack, and a product rounds by how its factors lie.
    """
    obs_TEAF = torch.randn(6, 1, 2, 1, generator=torch.Generator().manual_seed(0))
    loaded, agents = load_policies(checkpoint), load_team(checkpoint)
    for name, algorithm in algo.config.members.items():
        own = Policy(algorithm, algo.env_runner.module[name], algo.spaces[name][1])
        other, player = (policy.player(1, 2) for policy in (own, loaded[name]))
        expected = torch.stack([player.act(obs) for obs in obs_TEAF])
        torch.testing.assert_close(torch.stack([other.act(obs) for obs in obs_TEAF]), expected, atol=1e-6, rtol=0)
        for _ in range(2):
            agents.reset()
            found = np.stack([agents[name].predict(obs) for obs in obs_TEAF])
            np.testing.assert_array_equal(found, expected.numpy(), err_msg=name)


def saved(network: Mlp | Summarising, folder: Path) -> Agent:
    """An agent with such a network, from a checkpoint of a team that was not trained."""
    algo = team("continuous", {"a": PPO(PPOParams(network=network, hidden=(6,)))}).build_algo()
    algo.save_to_path(folder)
    algo.stop()
    return load_team(folder)["a"]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_an_agent_that_looks_back_takes_each_call_for_the_next_step(tmp_path):
    agent = saved(Gru(window=3, units=4), tmp_path)
    first, second = np.array([[0.5], [-0.5]], np.float32), np.array([[0.1], [0.2]], np.float32)
    begun = agent.predict(first)
    assert not np.array_equal(agent.predict(second), agent.predict(second))
    with pytest.raises(UserError, match=r"remembers 1 x 2 observations of the step before, and this one has 1 x 1"):
        agent.predict(first[0])
    agent.reset()
    np.testing.assert_array_equal(agent.predict(first), begun)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_attention_is_equivariant_from_observations_to_actions(tmp_path):
    """Other agents in other places do the same; and what one of them sees matters to all, in its copy alone."""
    agent = saved(Attention(units=4), tmp_path)
    for parameter in agent.learned.policy.module.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    obs_EAF = torch.randn(2, 5, 1, generator=torch.Generator().manual_seed(1))
    order, expected = [3, 0, 4, 1, 2], agent.predict(obs_EAF)
    np.testing.assert_allclose(agent.predict(obs_EAF[:, order]), expected[:, order], atol=1e-5)
    obs_EAF[0, 0] += 1.0
    assert (agent.predict(obs_EAF) != expected)[..., 0].tolist() == [[True] * 5, [False] * 5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "crypto.params.network={kind: recurrent}",
            "members.crypto.params.network.kind = recurrent: SAC does not learn with it; it does with mlp, conv, gru, "
            "transformer, attention",
        ),
        (
            "allocator.params.network={kind: attention}",
            "members.allocator.params.network.kind = attention: attention is among the agents of a group, and "
            "'allocator' has one; choose another",
        ),
        (
            "stocks.params.network={kind: gru, window: 1}",
            "members.stocks.params.network.window = 1: must be greater than or equal to 2",
        ),
        (
            "stocks.params.network={kind: lstm}",
            "members.stocks.params.network: Input tag 'lstm' found using 'kind' does not match any of the expected "
            "tags: 'mlp', 'conv', 'gru', 'transformer', 'recurrent', 'attention'",
        ),
    ],
)
def test_a_network_that_does_not_go_with_its_member_is_refused(given, message):
    with pytest.raises(UserError, match=re.escape(f"{message} [--set members.{given}]")):
        load_experiment("quickstart", [f"members.{given}"])


def learned(config: TeamConfig, env_steps: int) -> dict[str, float]:
    """Each group's greedy return per agent and episode, as evaluation has it, after so many steps."""
    config = config.env_runners(num_envs_per_env_runner=16, rollout_fragment_length=16)
    algo = config.build_algo()
    while algo.train()["num_env_steps_sampled_lifetime"] < env_steps:
        pass
    policies = {
        name: Policy(own, algo.env_runner.module[name], algo.spaces[name][1]) for name, own in config.members.items()
    }
    env = RecallGame(RecallGame.Params.model_validate(config.env_config), num_envs=32)
    agents = evaluate_episodes(env, policies, 64).content["agents"]
    algo.stop()
    return {name: agents[name]["episode_return"]["value"] for name in config.members}


def learner(algorithm: str, network: Mlp | Summarising) -> Algorithm:
    if algorithm == "ppo":
        return PPO(PPOParams(network=network, hidden=(16,), lr=3e-3, minibatch_size=128, gamma=0.0, epochs=6))
    replay: dict[str, Any] = {"hidden": (32,), "batch_size": 128, "gamma": 0.0, "updates_per_step": 0.5}
    if algorithm == "sac":
        return SAC(SACParams(network=network, actor_lr=3e-3, critic_lr=3e-3, learning_starts=500, **replay))
    return DQN(DQNParams(network=network, lr=3e-3, learning_starts=500, n_step=1, epsilon_steps=6_000, **replay))


REMEMBERING: dict[str, Mlp | Summarising] = {
    "mlp": Mlp(),
    "conv": Conv(window=4, units=8),
    "gru": Gru(window=4, units=8),
    "transformer": Transformer(window=4, units=8),
    "recurrent": Recurrent(units=16, unroll=8),
    "attention": Attention(units=8),
}


def members_named(*names: str) -> dict[str, Algorithm]:
    """Such as ``ppo-gru``."""
    return {name: learner(name.partition("-")[0], REMEMBERING[name.partition("-")[2]]) for name in names}


@pytest.mark.ray
@pytest.mark.learning
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("names", "env_steps"),
    [(("ppo-mlp", "ppo-conv", "ppo-gru", "ppo-transformer"), 4_000), (("ppo-recurrent", "dqn-conv"), 8_000)],
)
def test_what_was_shown_before_is_remembered_by_all_but_the_perceptron(names, env_steps):
    """A cue of three decisions ago pays now: the most is 9 in an episode of 12; who sees the present alone gets 4.5."""
    scores = learned(team("discrete", members_named(*names), horizon=12), env_steps)
    for name, score in scores.items():
        assert score < 6.5 if name == "ppo-mlp" else score > 8, scores


@pytest.mark.ray
@pytest.mark.learning
@pytest.mark.usefixtures("local_ray")
def test_what_others_see_is_answered_by_attention_and_by_no_perceptron():
    """Two agents of which each must say what the other sees: the most is 9, and 9 x 0.36 without looking."""
    members = members_named("ppo-mlp", "ppo-attention", "sac-attention")
    scores = learned(team("continuous", members, task="others"), 4_000)
    for name, score in scores.items():
        assert score < 5 if name == "ppo-mlp" else score > 8, scores


def test_the_example_has_every_kind_of_network():
    experiment = load_experiment(str(ROOT / "tune_configs/networks.yaml"))
    kinds = {algorithm.params.network.kind for algorithm in experiment.members.values()}
    assert kinds == {each.kind for each in NETWORKS}
