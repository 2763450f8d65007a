"""The sampler: steps E copies of an environment with all groups' policies, and returns columns instead of episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.env import INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
)
from torch import Tensor

from environments.base import ArrayEnv, Transition
from policies.algorithm import EPISODE_RETURN, Algorithm, Decision
from policies.randomness import RandomStream
from policies.rollout import Rollout
from policies.spaces import to_environment
from wealtharena.team.episodes import Episode, EpisodeLog
from wealtharena.team.recorder import DenseRecorder, SparseRecorder

Fragment = dict[str, Rollout]

_EPISODE_WINDOW = 100


class ArrayEnvRunner(EnvRunner, Checkpointable):
    """Samples fragments of ``rollout_fragment_length`` steps from ``num_envs_per_env_runner`` copies."""

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.members: Mapping[str, Algorithm] = self.config.members
        self.steps: int = self.config.rollout_fragment_length
        self._stream_seed = 1_000_003 * (self.config.seed or 0) + (self.worker_index or 0)
        self._random = RandomStream(self._stream_seed)
        self.make_env()
        self.make_module()

    def make_env(self) -> None:
        """Builds the environment. One copy is enough where remote runners do the sampling."""
        self._samples = samples = bool(self.worker_index) or self.config.num_env_runners == 0
        env_class: type[ArrayEnv] = self.config.env
        params = env_class.Params.model_validate(dict(self.config.env_config))
        num_envs = self.config.num_envs_per_env_runner if samples else 1
        self.device = "cuda" if samples and self.config.num_gpus_per_env_runner > 0 else "cpu"
        self.env: ArrayEnv = env_class(params, num_envs=num_envs, device=self.device)
        self.obs = self.env.reset(seed=self._stream_seed)
        sparse = self.env.active()
        self._recorders = {
            name: (SparseRecorder if name in sparse else DenseRecorder)(group, name, num_envs, self.device)
            for name, group in self.env.groups.items()
        }
        self._agents = {name: len(group.agent_ids) for name, group in self.env.groups.items()}
        self._log = EpisodeLog(self._agents, num_envs, self.device)

    def make_module(self) -> None:
        """Builds the policies of all groups."""
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module: MultiRLModule = spec.build()
        self.module.foreach_module(lambda _, module: module.to(self.device))

    def get_spaces(self) -> dict[str, tuple[gym.Space[Any], gym.Space[Any]]]:
        """Each group's observation and action space of one agent."""
        spaces = {name: (group.observation_space, group.action_space) for name, group in self.env.groups.items()}
        return {INPUT_ENV_SPACES: next(iter(spaces.values())), **spaces}

    def assert_healthy(self) -> None:
        """Raises if the runner was not built in full."""
        assert self.env is not None
        assert self.module is not None

    def sample(self, *, env_steps: int = 0, **kwargs: Any) -> Fragment:
        """Samples one fragment.

        Args:
            env_steps: Environment steps the team has sampled so far, for exploration schedules.
            **kwargs: Whatever else RLlib passes.

        Returns:
            group -> its rollout.
        """
        with self._random.active(), torch.no_grad():
            for recorder in self._recorders.values():
                recorder.begin(self.steps)
            for _ in range(self.steps):
                self._step(env_steps)
            fragment = {name: recorder.finish(self.obs[name]) for name, recorder in self._recorders.items()}
            _require_finite_rewards(fragment)
            fragment = {name: self._with_values(name, rollout) for name, rollout in fragment.items()}
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, self.steps * self.env.num_envs, reduce="sum")
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, self.steps * self.env.num_envs, reduce="lifetime_sum")
        return fragment

    def _step(self, env_steps: int) -> None:
        active = self.env.active()
        actions: dict[str, Tensor] = {}
        for name, recorder in self._recorders.items():
            mask = active.get(name)
            if mask is not None and not mask.any():
                continue
            decision = self._decide(name, env_steps)
            recorder.decide(self.obs[name], mask, decision)
            actions[name] = self._actions(name, decision)
        transition = self.env.step(actions)
        for recorder in self._recorders.values():
            recorder.close(transition)
        self._note_episodes(transition)
        self.obs = transition.obs

    def _decide(self, name: str, env_steps: int) -> Decision:
        return self.members[name].explore(self.module[name], self.obs[name].flatten(0, 1), env_steps)

    def _actions(self, name: str, decision: Decision) -> Tensor:
        action = decision.action.view(*self.obs[name].shape[:2], *decision.action.shape[1:])
        return to_environment(action, self.env.groups[name].action_space)

    def _with_values(self, name: str, rollout: Rollout) -> Rollout:
        """The critic's values of all observations, in one pass, with the weights that sampled them."""
        if not self.members[name].on_policy:
            return rollout
        obs = torch.from_numpy(rollout.obs).to(self.device)
        final_obs = torch.from_numpy(rollout.final_obs).to(self.device)
        rows = torch.cat([obs.flatten(0, 2), final_obs])
        value = self.module[name].compute_values({Columns.OBS: rows}).cpu()
        count = obs.shape[:3].numel()
        return dataclasses.replace(
            rollout, value=value[:count].view(obs.shape[:3]).numpy(), final_value=value[count:].numpy()
        )

    def _note_episodes(self, transition: Transition) -> None:
        for episode in self._log.add(transition):
            self._note_episode(episode)

    def _note_episode(self, episode: Episode) -> None:
        total = sum(self._agents[name] * value for name, value in episode.group_return.items())
        self.metrics.log_value(NUM_EPISODES, 1, reduce="sum")
        self.metrics.log_value(EPISODE_RETURN_MEAN, total, window=_EPISODE_WINDOW)
        self.metrics.log_value(EPISODE_LEN_MEAN, episode.length, window=_EPISODE_WINDOW)
        for name, value in episode.group_return.items():
            self.metrics.log_value(("groups", name, EPISODE_RETURN), value, window=_EPISODE_WINDOW)

    def get_metrics(self) -> Any:
        """What was logged since the last call."""
        return self.metrics.reduce()

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        """The environment, the open decisions, the random stream; and the weights, if asked for.

        The local runner of a team with remote ones does not sample: RLlib gives its state to a runner that was lost and
        restarted, which then starts afresh with the weights alone.
        """
        state: dict[str, Any] = {}
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = self.module.get_state(**kwargs)
        if self._samples and self._check_component("sampler", components, not_components):
            state["sampler"] = {
                "env": self.env.get_state(),
                "obs": self.obs,
                "recorders": {name: recorder.get_state() for name, recorder in self._recorders.items()},
                "episodes": self._log.get_state(),
                "random": self._random.get_state(),
            }
        return state

    def set_state(self, state: Any) -> None:
        """Restores what is there: weights, the sampler's state, or both."""
        if COMPONENT_RL_MODULE in state:
            weights = state[COMPONENT_RL_MODULE]
            self.module.set_state(ray.get(weights) if isinstance(weights, ray.ObjectRef) else weights)
        if "sampler" in state:
            self._restore_sampler(state["sampler"])

    def _restore_sampler(self, sampler: Mapping[str, Any]) -> None:
        self.env.set_state(sampler["env"])
        self.obs = sampler["obs"]
        for name, recorder in self._recorders.items():
            recorder.set_state(sampler["recorders"][name])
        self._log.set_state(sampler["episodes"])
        self._random.set_state(sampler["random"])

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a copy of this runner is built from."""
        return (), {"config": self.config}

    def stop(self) -> None:
        """Nothing is held that must be released."""


def _require_finite_rewards(fragment: Fragment) -> None:
    """One such reward would spoil a network for good, and with it every later hour of the run."""
    for name, rollout in fragment.items():
        if not np.isfinite(rollout.reward).all():
            raise ValueError(f"group '{name}': the environment gave a reward that is NaN or infinite")
