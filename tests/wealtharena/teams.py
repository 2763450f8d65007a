"""Teams the tests of the platform share."""

from typing import Any

import numpy as np

from policies.a2c import A2C, A2CParams
from policies.dqn import DQN, DQNParams
from policies.ppo import PPO, PPOParams
from policies.sac import SAC, SACParams
from tests.games import TargetGame
from wealtharena.team.algorithm import Team
from wealtharena.team.config import TeamConfig

GROUPS = {
    "p": {"agents": 2},
    "a": {"agents": 2},
    "d": {"agents": 2},
    "s": {"kind": "continuous", "agents": 2},
    "slow": {"kind": "continuous", "every": 3},
}


def mixed(**env_runners: Any) -> TeamConfig:
    """PPO, A2C, DQN, SAC, and PPO on a slower clock, in one game."""
    return (
        TeamConfig()
        .environment(env=TargetGame, env_config={"groups": GROUPS, "horizon": 8})
        .team(
            {
                "p": PPO(PPOParams(lr=1e-3, minibatch_size=128)),
                "a": A2C(A2CParams(minibatch_size=128)),
                "d": DQN(DQNParams(learning_starts=100, batch_size=64, epsilon_steps=5_000)),
                "s": SAC(SACParams(learning_starts=100, batch_size=64, hidden=(32, 32))),
                "slow": PPO(PPOParams(lr=1e-3, minibatch_size=64)),
            }
        )
        .env_runners(**{"num_envs_per_env_runner": 8, "rollout_fragment_length": 10, **env_runners})
    )


def weights(team: Team) -> dict[str, dict[str, np.ndarray]]:
    """Everything in every member's modules, targets and normalisers included."""
    return {
        name: state
        for child in team.learner_group.children.values()
        for name, state in child.get_state(components="learner/rl_module")["learner"]["rl_module"].items()
    }


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> bool:
    """Whether any trained parameter differs."""
    trained = [key for key in before if not key.startswith("normalizer")]
    return any(not np.array_equal(before[key], after[key]) for key in trained)
