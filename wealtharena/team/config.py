"""The team's configuration: an ordinary RLlib AlgorithmConfig with members."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.env import INPUT_ENV_SPACES
from ray.rllib.policy.policy import PolicySpec

from environments.base import ArrayEnv
from policies.algorithm import Algorithm
from policies.learner_options import LearnerOptions
from wealtharena.spec_curriculum import CurriculumSpec
from wealtharena.team.learner_group import TeamLearnerGroup
from wealtharena.team.runner import ArrayEnvRunner

NO_EVALUATION = (
    "RLlib evaluates by sampling episodes, and a team samples none; evaluate a checkpoint with wealtharena.evidence "
    "(evaluate_market, evaluate_episodes)"
)


def _group_is_policy(agent_id: str, *args: Any, **kwargs: Any) -> str:
    """RLlib asks for a mapping from agents to policies; a team's columns come by group, so nothing asks it."""
    return agent_id


class TeamConfig(AlgorithmConfig):
    """Configures a ``Team``.

    Example:
        >>> from environments.market.env import MarketEnv
        >>> from policies.ppo import PPO
        >>> from policies.sac import SAC
        >>> market = {"data": {"synthetic": {"assets": {"stocks": 4, "crypto": 2}}}}
        >>> config = (
        ...     TeamConfig()
        ...     .environment(env=MarketEnv, env_config=market)
        ...     .team({"stocks": PPO(), "crypto": SAC(), "allocator": PPO()})
        ...     .env_runners(num_envs_per_env_runner=64, rollout_fragment_length=64)
        ... )
        >>> config.validate()
    """

    def __init__(self, algo_class: type | None = None) -> None:
        if algo_class is None:
            from wealtharena.team.algorithm import Team  # noqa: PLC0415  (Team names TeamConfig as its default)

            algo_class = Team
        super().__init__(algo_class=algo_class)
        self.members: dict[str, Algorithm] = {}
        self.frozen_members: tuple[str, ...] = ()
        self.apart: tuple[str, ...] = ()
        self.learner_options = LearnerOptions()
        self.overlap = False
        self.curriculum_spec: CurriculumSpec | None = None
        self.env_runner_cls = ArrayEnvRunner
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 64
        self.rollout_fragment_length = 64
        self.seed = 0
        # Weights go out in training_step; there are no connectors whose state RLlib would have to merge.
        self._dont_auto_sync_env_runner_states = True
        self.merge_env_runner_states = False
        self.broadcast_env_runner_states = False
        # A runner in a new process answers at once or not yet: no iteration waits for it. If all are lost, it waits.
        self.delay_between_env_runner_restarts_s = 1.0
        self.env_runner_health_probe_timeout_s = 0.2
        self.env_runner_restore_timeout_s = 60.0

    def team(self, members: Mapping[str, Algorithm], *, frozen: Collection[str] = ()) -> Self:
        """Sets each group's algorithm: group name -> algorithm with its hyperparameters.

        Members that are ``frozen`` act and do not learn: neither their weights nor their normalisers change.
        """
        self.members, self.frozen_members = dict(members), tuple(frozen)
        return self.multi_agent(policies={name: PolicySpec() for name in members}, policy_mapping_fn=_group_is_policy)

    def learning_apart(self, names: Collection[str]) -> Self:
        """Gives these members a Learner of their own each, whoever else has the same hyperparameters.

        Teams whose hyperparameters differ then have the same families, and take each other's checkpoints.
        """
        self.apart = tuple(names)
        return self

    def sampling(self, *, overlap: bool) -> Self:
        """Sets whether remote runners sample while the Learners learn, by a policy that is then an iteration older."""
        self.overlap = overlap
        return self

    def curriculum(self, spec: CurriculumSpec | None) -> Self:
        """Sets by which rule the team goes through the stages of a ``StagedEnv``, which are those of ``spec``."""
        self.curriculum_spec = spec
        return self

    def validate(self) -> None:
        """Checks what RLlib checks, and that there is an array environment and a member.

        Raises:
            ValueError: A setting that cannot be; the message names it.
            TypeError: An environment that is not an ``ArrayEnv``.
        """
        super().validate()
        if not self.members:
            raise ValueError("TeamConfig has no members: call .team({group: algorithm})")
        if self.overlap and not (self.num_env_runners or self.in_evaluation):
            raise ValueError("TeamConfig.sampling(overlap=True) needs remote runners: .env_runners(num_env_runners=1)")
        if self.evaluation_interval:
            raise ValueError(f"TeamConfig.evaluation(evaluation_interval={self.evaluation_interval}): {NO_EVALUATION}")
        if not (isinstance(self.env, type) and issubclass(self.env, ArrayEnv)):
            raise TypeError(
                f"TeamConfig.environment(env={self.env!r}): must be a subclass of environments.base.ArrayEnv"
            )

    def computing(self, options: LearnerOptions) -> Self:
        """Sets how the Learners of all members compute."""
        self.learner_options = options
        return self

    def families(self) -> dict[str, list[str]]:
        """Who learns in one Learner: members with the same algorithm and hyperparameters, if the algorithm shares it.

        Those that are frozen are no family of those that learn.

        Returns:
            name of the family -> its members: ``stocks`` for a member alone, ``stocks+2`` for it and two others.
        """
        alike: dict[Any, list[str]] = {}
        for name, algorithm in self.members.items():
            shared = algorithm.shares_learner and name not in self.apart
            key = (type(algorithm), algorithm.params.model_dump_json()) if shared else name
            alike.setdefault((key, name in self.frozen_members), []).append(name)
        return {f"{names[0]}+{len(names) - 1}" if len(names) > 1 else names[0]: names for names in alike.values()}

    def get_default_learner_class(self) -> type:
        """The first member's: RLlib asks for one, the members' own configurations decide."""
        name, algorithm = next(iter(self.members.items()))
        return algorithm.learner_config(self.policies[name].action_space or gym.spaces.Discrete(2)).learner_class

    def family_config(self, names: Sequence[str], action_space: gym.Space[Any]) -> AlgorithmConfig:
        """The configuration of one family's Learners: its algorithm's, on the team's resources."""
        config = self.members[names[0]].learner_config(action_space)
        config.learners(
            num_learners=self.num_learners,
            num_gpus_per_learner=self.num_gpus_per_learner,
            num_cpus_per_learner=self.num_cpus_per_learner,
        )
        self.learner_options.put(config)
        config.debugging(seed=self.seed)
        config.multi_agent(policies={name: PolicySpec() for name in names}, policy_mapping_fn=_group_is_policy)
        return config

    def build_learner_group(
        self, *, env: Any = None, spaces: Any = None, rl_module_spec: Any = None, placement_group: Any = None
    ) -> LearnerGroup:
        """One LearnerGroup for each family."""
        return TeamLearnerGroup(config=self, module_spec=rl_module_spec, placement_group=placement_group)

    def get_multi_rl_module_spec(
        self, *, env: Any = None, spaces: Any = None, inference_only: bool = False, **kwargs: Any
    ) -> MultiRLModuleSpec:
        """Each group's networks, as its algorithm specifies them.

        Raises:
            ValueError: Members and groups of the environment are not the same.
            MemberError: An algorithm cannot act in its group's action space.
        """
        groups = {name for name in spaces if name != INPUT_ENV_SPACES}
        if groups != set(self.members):
            raise ValueError(
                f"members {sorted(self.members)} and groups of the environment {sorted(groups)} differ: "
                ".team() takes one algorithm for each group"
            )
        for name, algorithm in self.members.items():
            algorithm.check(name, spaces[name][1])
        return MultiRLModuleSpec(
            rl_module_specs={
                name: algorithm.module_spec(*spaces[name], inference_only=inference_only)
                for name, algorithm in self.members.items()
            }
        )
