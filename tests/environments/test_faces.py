from __future__ import annotations

import importlib
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from environments.faces import MultiAgentFace, ParallelFace
from tests.games import ChainGame, SlowGame, TargetGame

BOTH_KINDS = {
    "env": "tests.games:TargetGame",
    "params": {"groups": {"a": {"agents": 2}, "b": {"kind": "continuous"}}, "horizon": 5},
}
TWO_CLOCKS = {"env": "tests.games:SlowGame", "params": {"horizon": 6}}
NOBODY_BETWEEN = {"env": "tests.games:TargetGame", "params": {"groups": {"a": {"every": 2}}}}
EARLY_ENDS = {"env": "tests.games:ChainGame", "params": {"agents": 2, "length": 2, "horizon": 5}}
CUTS = {"env": "tests.games:ChainGame", "params": {"ends": "truncated"}}
SMALL_MARKET = {"assets": {"stocks": 2, "crypto": 1, "etf": 1, "currencies": 1, "reits": 1}, "bars": 150}
GAMES = [BOTH_KINDS, TWO_CLOCKS, NOBODY_BETWEEN, EARLY_ENDS, CUTS]
MARKET = {
    "env": "environments.market.env:MarketEnv",
    "params": {"data": {"synthetic": SMALL_MARKET}, "horizon": 8, "warmup": 20},
}


@pytest.fixture(scope="module")
def pettingzoo_test() -> Any:
    """PettingZoo's own tests, which warn about PettingZoo's own games when they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("pettingzoo.test")


@pytest.mark.parametrize("config", [*GAMES, MARKET])
def test_rllib_accepts_it(config: dict[str, Any]) -> None:
    check_multiagent_environments(MultiAgentFace(config))


@pytest.mark.parametrize("config", [*GAMES, MARKET])
def test_pettingzoo_accepts_it(config: dict[str, Any], pettingzoo_test: Any) -> None:
    pettingzoo_test.parallel_api_test(ParallelFace(config), num_cycles=20)
    pettingzoo_test.parallel_seed_test(lambda: ParallelFace(config), num_cycles=3)


def test_a_class_is_as_good_as_its_name() -> None:
    face = MultiAgentFace({"env": ChainGame, "params": {"agents": 2}})
    assert face.possible_agents == ["walkers/0", "walkers/1"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"env": "tests.games:NoGame"}, "NoGame"),
        ({"env": "math:pi"}, "subclass of ArrayEnv|is_subclass_of|Input should be a subclass"),
        ({"env": ChainGame, "params": {"lenght": 3}}, "lenght"),
        ({"env": ChainGame, "parms": {}}, "parms"),
    ],
)
def test_a_wrong_config_is_refused(config: dict[str, Any], message: str) -> None:
    for face in (MultiAgentFace, ParallelFace):
        with pytest.raises(ValidationError, match=message):
            face(config)


# Numbers worked by hand: fast sees its context each step, slow decides in steps 0 and 4 of 6 and is paid in step 4.


def best(obs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {agent: int(row.argmax()) for agent, row in obs.items()}


def test_only_deciding_agents_are_observed_and_rewards_wait_for_them() -> None:
    face = MultiAgentFace(TWO_CLOCKS)
    obs, _ = face.reset(seed=0)
    seen, paid = [set(obs)], []
    for _ in range(6):
        obs, reward, terminated, truncated, _ = face.step(best(obs))
        seen.append(set(obs))
        paid.append(reward)
    both, fast = {"fast/0", "slow/0"}, {"fast/0"}
    assert seen == [both, fast, fast, fast, both, fast, both]
    assert paid == [{"fast/0": 1.0}] * 3 + [
        {"fast/0": 1.0, "slow/0": 1.0},
        {"fast/0": 1.0},
        {"fast/0": 1.0, "slow/0": 0.0},
    ]
    assert terminated == {"fast/0": False, "slow/0": False, "__all__": False}
    assert truncated == {"__all__": True}


@pytest.mark.parametrize("config", [*GAMES, MARKET])
def test_both_faces_pay_the_same_in_all(config: dict[str, Any]) -> None:
    """What an agent is owed at the end comes with its last observation; nothing is lost and nothing is paid twice."""
    face, parallel = MultiAgentFace(config), ParallelFace(config)
    obs, _ = face.reset(seed=1)
    parallel.reset(seed=1)
    paid, came = Counter[str](), Counter[str]()
    while parallel.agents:
        actions = {agent: parallel.action_space(agent).sample() for agent in parallel.possible_agents}
        obs, reward, *_ = face.step(actions)
        assert obs.keys() == reward.keys()
        paid.update(reward)
        came.update(parallel.step(actions)[1])
    assert paid == pytest.approx(came)


class Idle(TargetGame):
    """A TargetGame of which the first agent only ever decides."""

    def active(self) -> Any:
        return {name: active_EA.cumsum(1) == 1 for name, active_EA in super().active().items()}


def test_an_agent_that_never_acted_is_never_heard_of() -> None:
    face = MultiAgentFace({"env": Idle, "params": {"groups": {"a": {"agents": 2}}, "horizon": 2}})
    face.reset(seed=0)
    for _ in range(2):
        obs, reward, terminated, truncated, _ = face.step({"a/0": 0})
        assert obs.keys() == reward.keys() == {"a/0"}
        assert "a/1" not in {**terminated, **truncated}
    assert truncated["__all__"]


def record(face: MultiAgentFace, actions: Any, seed: int = 0) -> MultiAgentEpisode:
    """One episode, as RLlib's own sampler would record it."""
    episode = MultiAgentEpisode(observation_space=face.observation_spaces, action_space=face.action_spaces)
    obs, infos = face.reset(seed=seed)
    episode.add_env_reset(observations=obs, infos=infos)
    while not episode.is_done:
        given = actions({agent: obs[agent] for agent in episode.get_agents_to_act()})
        obs, rewards, terminateds, truncateds, infos = face.step(given)
        episode.add_env_step(obs, given, rewards, infos, terminateds=terminateds, truncateds=truncateds)
    return episode


def test_rllib_bootstraps_at_a_cut_from_the_observation_before_the_reset() -> None:
    walkers = record(MultiAgentFace(CUTS), lambda obs: dict.fromkeys(obs, 1)).agent_episodes["walkers/0"]
    assert (walkers.is_truncated, walkers.is_terminated) == (True, False)
    assert walkers.get_return() == 3.0
    assert walkers.get_observations(-1).tolist() == [0, 0, 1, 0]


def test_rllib_bootstraps_nothing_at_an_end() -> None:
    """The first walker ends in step 2, the second is sent back once and ends in step 4."""
    turns = iter([(1, 1), (1, 0), (None, 1), (None, 1)])
    face = MultiAgentFace(EARLY_ENDS)
    episode = record(face, lambda obs: dict(zip(sorted(obs), [a for a in next(turns) if a is not None], strict=True)))
    first, second = (episode.agent_episodes[f"walkers/{i}"] for i in range(2))
    for walker, length in ((first, 2), (second, 4)):
        assert (walker.is_truncated, walker.is_terminated) == (False, True)
        assert (len(walker), walker.get_return()) == (length, 1.0)


def test_an_end_and_a_cut_in_one_episode_stay_apart() -> None:
    face = MultiAgentFace(EARLY_ENDS)
    episode = record(face, lambda obs: {agent: int(agent == "walkers/0") for agent in obs})
    first, second = (episode.agent_episodes[f"walkers/{i}"] for i in range(2))
    assert (first.is_terminated, first.is_truncated) == (True, False)
    assert (second.is_terminated, second.is_truncated) == (False, True)
    assert len(second) == 5


def test_an_early_end_says_so_at_once_and_only_once() -> None:
    face = MultiAgentFace(EARLY_ENDS)
    face.reset(seed=0)
    face.step({"walkers/0": 1, "walkers/1": 0})
    obs, reward, terminated, truncated, _ = face.step({"walkers/0": 1, "walkers/1": 0})
    assert set(obs) == {"walkers/0", "walkers/1"}
    assert reward == {"walkers/0": 1.0, "walkers/1": 0.0}
    assert terminated == {"walkers/0": True, "walkers/1": False, "__all__": False}
    assert truncated == {"walkers/0": False, "walkers/1": False, "__all__": False}
    obs, _, terminated, *_ = face.step({"walkers/1": 0})
    assert set(obs) == {"walkers/1"}
    assert terminated == {"walkers/1": False, "__all__": False}


class CountsResets(SlowGame):
    """A SlowGame that writes down how it was reset."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.resets: list[int | None] = []

    def reset(self, *, seed: int | None = None) -> Any:
        self.resets.append(seed)
        return super().reset(seed=seed)


def play(face: MultiAgentFace, obs: dict[str, Any]) -> tuple[list[Any], list[float]]:
    """An episode with the best actions: what was seen by fast, and its rewards."""
    seen, rewards, over = [obs["fast/0"].tolist()], [], False
    while not over:
        obs, reward, terminated, truncated, _ = face.step(best(obs))
        seen.append(obs["fast/0"].tolist())
        rewards.append(reward["fast/0"])
        over = terminated["__all__"] or truncated["__all__"]
    return seen, rewards


def test_reset_after_an_end_hands_out_the_episode_that_has_begun() -> None:
    face = MultiAgentFace({"env": CountsResets, "params": {"horizon": 6}})
    first, rewards = play(face, face.reset(seed=4)[0])
    second, more = play(face, face.reset()[0])
    assert face._world.env.resets == [4]
    assert rewards == more == [1.0] * 6  # the best actions are the best only where observations are the episode's own
    assert first != second
    face.reset()  # after an end: nothing to do
    face.reset()  # before an end: a new episode
    assert face._world.env.resets == [4, None]


def test_the_same_seed_gives_the_same_episodes() -> None:
    one, two = MultiAgentFace(TWO_CLOCKS), MultiAgentFace(TWO_CLOCKS)
    play(two, two.reset(seed=1)[0])
    for seed in (8, None, None, 8):
        assert play(one, one.reset(seed=seed)[0]) == play(two, two.reset(seed=seed)[0])


def test_without_a_seed_two_faces_differ() -> None:
    starts = {str(play(face, face.reset()[0])) for face in (MultiAgentFace(TWO_CLOCKS) for _ in range(4))}
    assert len(starts) > 1


@pytest.mark.parametrize("face_class", [MultiAgentFace, ParallelFace])
def test_a_step_beyond_the_end_is_refused(face_class: type[MultiAgentFace | ParallelFace]) -> None:
    face = face_class({"env": "tests.games:TargetGame", "params": {"horizon": 1}})
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        face.step({"a/0": 0})
    face.reset(seed=0)
    face.step({"a/0": 0})
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        face.step({"a/0": 0})


@pytest.mark.parametrize("face_class", [MultiAgentFace, ParallelFace])
def test_actions_are_looked_at(face_class: type[MultiAgentFace | ParallelFace]) -> None:
    face = face_class(BOTH_KINDS)
    face.reset(seed=0)
    with pytest.raises(ValueError, match="no action for 'a/1'"):
        face.step({"a/0": 0, "b/0": np.zeros(1)})
    with pytest.raises(ValueError, match=r"the action of 'b/0' has shape \(2,\), its space is Box"):
        face.step({"a/0": 0, "a/1": 0, "b/0": np.zeros(2)})


def test_all_agents_of_the_parallel_face_live_to_the_end() -> None:
    face = ParallelFace(EARLY_ENDS)
    face.reset(seed=0)
    told = []
    for _ in range(5):
        _, _, terminated, truncated, infos = face.step({"walkers/0": 1, "walkers/1": 0})
        told.append((terminated["walkers/0"], truncated["walkers/1"], infos["walkers/0"]["active"], len(face.agents)))
    # The last active is of the episode that has begun by itself.
    assert told == [(False, False, True, 2)] + [(False, False, False, 2)] * 3 + [(True, True, True, 0)]
    assert not terminated["walkers/1"]
    assert not truncated["walkers/0"]


def test_the_parallel_face_ignores_the_actions_of_inactive_agents() -> None:
    one, two = ParallelFace(TWO_CLOCKS), ParallelFace(TWO_CLOCKS)
    obs, infos = one.reset(seed=0)
    two.reset(seed=0)
    assert infos == {"fast/0": {"active": True}, "slow/0": {"active": True}}
    for t in range(6):
        actions = best(obs)
        obs, rewards, *_, infos = one.step(actions)
        other = actions if t % 4 == 0 else {"fast/0": actions["fast/0"], "slow/0": (actions["slow/0"] + 1) % 3}
        assert two.step(other)[1] == rewards
        assert infos["slow/0"]["active"] == (t in {3, 5})


def test_each_agent_has_spaces_of_its_own() -> None:
    for spaces in (MultiAgentFace(BOTH_KINDS).action_spaces, MultiAgentFace(BOTH_KINDS).observation_spaces):
        assert spaces["a/0"] == spaces["a/1"]
        assert spaces["a/0"] is not spaces["a/1"]


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("config", [BOTH_KINDS, TWO_CLOCKS, EARLY_ENDS, MARKET])
def test_a_stock_ppo_trains_on_it(config: dict[str, Any]) -> None:
    groups = {agent.split("/")[0] for agent in MultiAgentFace(config).possible_agents}
    stock = (
        PPOConfig()
        .environment(MultiAgentFace, env_config=config)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=32, minibatch_size=32, num_epochs=1)
        .multi_agent(policies=groups, policy_mapping_fn=lambda agent, *_, **__: agent.split("/")[0])
        .debugging(seed=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RLlib's own
        algo = stock.build_algo()
        learners = algo.train()["learners"]
        algo.stop()
    assert all(np.isfinite(learners[group]["total_loss"]) for group in groups)
