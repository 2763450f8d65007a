"""The two sides of the comparison, alike in all but the road that data takes: stock RLlib, and a team.

Both get the same environment, networks of the same shapes and initialisation, and the same hyperparameters: RLlib's PPO
configuration is the one that the team's members have, with RLlib's own Learner put back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from environments.base import ArrayEnv, Group
from environments.faces import MultiAgentFace
from environments.market.env import MarketEnv
from environments.market.synthetic_params import CLASS_DEFAULTS
from policies.modules import start_in_the_middle
from policies.ppo import PPO, PPOParams
from wealtharena.bench.guessing import GuessingGame, GuessingParams
from wealtharena.team.config import TeamConfig

TRAIN_BATCH = 4_000
CLASSES = ("stocks", "crypto", "etf", "currencies", "reits")
MEMBER = PPOParams(
    lr=1e-3, hidden=(64, 64), epochs=4, minibatch_size=512, entropy_coeff=0.01, normalize_observations=False
)
"""Stock RLlib has no normaliser inside its networks, so that nobody has."""


@dataclass(frozen=True)
class Arena:
    """An environment with its parameters; where two sides are compared on it, all of its groups have Discrete actions.

    Attributes:
        env: Its class.
        params: As an experiment file holds them.
        member: Hyperparameters of every group's PPO.
    """

    env: type[ArrayEnv]
    params: Mapping[str, Any] = field(default_factory=dict)
    member: PPOParams = MEMBER

    def build(self, copies: int, device: str = "cpu") -> ArrayEnv:
        """E = ``copies`` of it."""
        return self.env(self.env.Params.model_validate(dict(self.params)), num_envs=copies, device=device)

    def groups(self) -> Mapping[str, Group]:
        """Its groups."""
        return self.build(1).groups


def market(assets: int, *, bars: int = 1_000, compiled: bool = False) -> Arena:
    """A market with every cost, cap and reward term of a panel on, an allocator, and traders of all kinds.

    Args:
        assets: How many; spread over the five classes, or all in one if they are few.
        bars: Length of the history.
        compiled: Its steps are (``MarketParams.compile``).
    """
    classes = _classes(assets)
    held = {name: len(range(index, assets, len(classes))) for index, name in enumerate(classes)}
    params = {
        "data": {"synthetic": {"assets": held, "bars": bars}},
        "horizon": 126,
        "costs": {name: {"per_share": 0.001} for name in classes},
        "linear_impact": {"temporary": 1e-6},
        "cash_rate": 0.02,
        "reward": {"cost": 0.1, "drawdown": 0.5},
        "compile": compiled,
    }
    return Arena(MarketEnv, params)


def traders_only(assets: int, *, one_calendar: bool = False) -> Arena:
    """The same market without an allocator; all of its traders sell, hold or buy.

    Args:
        assets: How many.
        one_calendar: Crypto rests at weekends too, so that all agents decide in every step.
    """
    params = {**market(assets).params, "allocator": None}
    params["traders"] = {name: {"asset_class": name, "action": "trade"} for name in _classes(assets)}
    if one_calendar:
        resting = CLASS_DEFAULTS["crypto"].model_copy(update={"weekends": False})
        params["data"]["synthetic"]["classes"] = {"crypto": resting.model_dump()}
    return Arena(MarketEnv, params)


def _classes(assets: int) -> Sequence[str]:
    return CLASSES if assets >= len(CLASSES) else CLASSES[:1]


GUESSING = Arena(GuessingGame)
BEST_RETURN = float(GuessingParams().groups * GuessingParams().horizon)


class StockModule(DefaultPPOTorchRLModule):
    """RLlib's own, that starts from the weights that ours starts from."""

    def setup(self) -> None:
        """Builds the networks."""
        super().setup()
        start_in_the_middle(self.pi)


def stock_config(arena: Arena, *, copies: int, runners: int = 0, batch: int = TRAIN_BATCH) -> AlgorithmConfig:
    """RLlib's own PPO on the MultiAgentEnv face, one policy for each group."""
    groups = arena.groups()
    config = PPO(arena.member).learner_config(next(iter(groups.values())).action_space)
    return (
        config.learners(learner_class=PPOTorchLearner)
        .environment(env=MultiAgentFace, env_config={"env": arena.env, "params": dict(arena.params)})
        .multi_agent(policies=set(groups), policy_mapping_fn=_group_of)
        .rl_module(
            rl_module_spec=MultiRLModuleSpec(
                rl_module_specs={name: RLModuleSpec(module_class=StockModule) for name in groups}
            )
        )
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=copies)
        .training(
            train_batch_size_per_learner=batch,
            num_epochs=arena.member.epochs,
            minibatch_size=arena.member.minibatch_size,
        )
        .debugging(log_level="ERROR", seed=0)
    )


def team_config(arena: Arena, *, copies: int, fragment: int, runners: int = 0, device: str = "cpu") -> TeamConfig:
    """A team of which each member is this PPO."""
    return (
        TeamConfig()
        .environment(env=arena.env, env_config=dict(arena.params))
        .team({name: PPO(arena.member) for name in arena.groups()})
        .env_runners(
            num_env_runners=runners,
            num_envs_per_env_runner=copies,
            rollout_fragment_length=fragment,
            num_gpus_per_env_runner=float(device == "cuda"),
        )
    )


def _group_of(agent_id: str, *args: Any, **kwargs: Any) -> str:
    """``stocks/AAPL`` is an agent of ``stocks``."""
    return agent_id.split("/", 1)[0]
