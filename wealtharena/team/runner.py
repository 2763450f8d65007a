"""The sampler: steps E copies of an environment with all groups' policies, and returns columns instead of episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns as SampleColumns
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

from environments.base import ArrayEnv, Group, Transition
from environments.staged import StagedEnv
from policies.algorithm import EPISODE_RETURN, Algorithm, Decision
from policies.crew import Crew, crews
from policies.memory import Memory, memory_of
from policies.randomness import RandomStream
from policies.rollout import Rollout
from policies.seen import values
from policies.spaces import EnvironmentUnits
from wealtharena.curriculum.episodes import Ended, StagedEpisodeLog
from wealtharena.team.columns import Columns, to_host
from wealtharena.team.episodes import EpisodeLog, Episodes
from wealtharena.team.recorder import DenseRecorder, SparseRecorder

Fragment = dict[str, Rollout]

ENVIRONMENT = "environment"
"""RLlib's metrics of a runner hold what the environment shows of itself under this key."""
_EPISODE_WINDOW = 100
_CACHED_ROWS = 1024
_STREAMS_APART = 10_007  # more than there are runners


class ArrayEnvRunner(EnvRunner, Checkpointable):
    """Samples fragments of ``rollout_fragment_length`` steps from ``num_envs_per_env_runner`` copies.

    Attributes:
        index: 0 of the local one, from 1 of the remote ones.
        enrolled: Whether the team knows this process.
        times: It began anew.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.members: Mapping[str, Algorithm] = self.config.members
        self.steps: int = self.config.rollout_fragment_length
        self.index: int = self.worker_index or 0
        self.enrolled = not self.index
        self.begin_anew(0)
        self.make_module()

    def begin_anew(self, times: int) -> None:
        """Builds the environment again, with random streams of its own for each of the ``times`` that it did so."""
        self.times = times
        self._stream_seed = 1_000_003 * (self.config.seed or 0) + self.index + _STREAMS_APART * times
        self._random = RandomStream(self._stream_seed)
        self.make_env()

    def enrol(self) -> None:
        """Says that the team counts on this process: one in its place would not know that, nor the team's weights."""
        self.enrolled = True

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
        self._memories = {name: self._memory(name, group) for name, group in self.env.groups.items()}
        self._agents = {name: len(group.agent_ids) for name, group in self.env.groups.items()}
        self._episodes = self._episode_log()
        self._units = {
            name: EnvironmentUnits(group.action_space, self.device) for name, group in self.env.groups.items()
        }

    def _episode_log(self) -> EpisodeLog:
        if isinstance(self.env, StagedEnv):
            return StagedEpisodeLog(self.env, window=_EPISODE_WINDOW)
        return EpisodeLog(self._agents, self.env.num_envs, self.device, window=_EPISODE_WINDOW)

    def _memory(self, name: str, group: Group) -> Memory:
        algorithm, agents = self.members[name], len(group.agent_ids)
        algorithm.check_network(name, agents)
        features = group.observation_space.shape[0]
        return memory_of(algorithm.params.network, features, self.env.num_envs, agents, self.device, recording=True)

    def make_module(self) -> None:
        """Builds the policies of all groups."""
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module: MultiRLModule = spec.build()
        self.module.foreach_module(lambda _, module: module.to(self.device))
        rows = {name: obs.shape[:2].numel() for name, obs in self.obs.items()}
        modules = {name: self.module[name] for name in self.env.groups}
        self.crews = crews(self.members, modules, rows, self.device)

    def get_spaces(self) -> dict[str, tuple[gym.Space[Any], gym.Space[Any]]]:
        """Each group's observation and action space of one agent."""
        spaces = {name: (group.observation_space, group.action_space) for name, group in self.env.groups.items()}
        return {INPUT_ENV_SPACES: next(iter(spaces.values())), **spaces}

    def assert_healthy(self) -> None:
        """Raises if the runner was not built in full."""
        assert self.env is not None
        assert self.module is not None

    def sample(self, *, env_steps: int = 0, copies: Sequence[int] = (), **kwargs: Any) -> Fragment:
        """Samples one fragment.

        Args:
            env_steps: Environment steps the team has sampled so far, for exploration schedules.
            copies: How many of them play each stage of a curriculum from their next episodes on; none without one.
            **kwargs: Whatever else RLlib passes.

        Returns:
            group -> its rollout.
        """
        if copies and isinstance(self.env, StagedEnv) and (begun := self.env.assign(copies)):
            self.obs = begun
        with self._random.active(), torch.no_grad():
            for _ in range(self.steps):
                self._step(env_steps)
            active = self.env.active()
            columns = {name: self._finished(name, active.get(name)) for name in self._recorders}
            fragment = to_host(columns, runner=self.worker_index or 0)
        _require_numbers(fragment)
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, self.steps * self.env.num_envs, reduce="sum")
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, self.steps * self.env.num_envs, reduce="lifetime_sum")
        self._log_episodes(self._episodes.finish())
        for name, figure_E in self.env.figures().items():
            self.metrics.log_value((ENVIRONMENT, name), float(figure_E.mean()), window=_EPISODE_WINDOW)
        return fragment

    def _step(self, env_steps: int) -> None:
        """A step of the environment; on a CUDA device nothing in it waits for the device."""
        active = self.env.active()
        actions: dict[str, Tensor] = {}
        for crew in self.crews:
            if self._anyone(crew, active):
                records = {name: self._memories[name].record(self.obs[name], active.get(name)) for name in crew.names}
                seen = {name: self._memories[name].rows(record) for name, record in records.items()}
                for name, decision in crew.explore(seen, env_steps).items():
                    self._recorders[name].decide(records[name], active.get(name), decision)
                    self._memories[name].keep(records[name], active.get(name), self.module[name])
                    actions[name] = self._actions(name, decision)
        if isinstance(self._episodes, StagedEpisodeLog) and isinstance(self.env, StagedEnv):
            self._episodes.playing(self.env.stage_E)
        transition = self.env.step(actions)
        recorded = self._recorded(transition)
        for recorder in self._recorders.values():
            recorder.close(recorded)
        self._episodes.add(transition)
        self.obs = transition.obs

    def _anyone(self, crew: Crew, active: Mapping[str, Tensor]) -> bool:
        """Whether it must be asked. Only on a CPU may the answer be no: elsewhere the question costs more."""
        return self.device != "cpu" or any(name not in active or bool(active[name].any()) for name in crew.names)

    def _recorded(self, transition: Transition) -> Transition:
        """With records for the last observations; agents whose episode ended begin with nothing to remember."""
        final = {}
        for name, memory in self._memories.items():
            ended = transition.terminated[name] | transition.truncated[name] | transition.done.unsqueeze(1)
            final[name] = memory.final(transition.final_obs[name], ended)
            memory.forget(ended)
        return dataclasses.replace(transition, final_obs=final)

    def _actions(self, name: str, decision: Decision) -> Tensor:
        action = decision.action.view(*self.obs[name].shape[:2], *decision.action.shape[1:])
        return self._units[name](action)

    def _finished(self, name: str, active: Tensor | None) -> Columns:
        """A group's columns, with the critic's values of all that was seen, by the weights that sampled it."""
        memory = self._memories[name]
        columns = self._recorders[name].finish(memory.record(self.obs[name], active))
        told = memory.told(columns.obs, columns.final_obs, columns.count)
        columns = dataclasses.replace(columns, **told._asdict())
        if not self.members[name].on_policy:
            return columns
        network = self.members[name].params.network
        value, final_value = values(network, told, columns.final_index, partial(self._values, name))
        return dataclasses.replace(columns, value=value, final_value=final_value)

    def _values(self, name: str, seen: Tensor) -> Tensor:
        """On a CPU of as many rows at a time as stay in its cache."""
        at_once = len(seen) if seen.is_cuda else _CACHED_ROWS
        parts = torch.split(seen, max(1, at_once))
        return torch.cat([self.module[name].compute_values({SampleColumns.OBS: part}) for part in parts])

    def _log_episodes(self, episodes: Episodes) -> None:
        """The means over a fragment's last episodes: what a window of them gives that RLlib empties every iteration."""
        if not episodes.count:
            return
        total = sum(self._agents[name] * value for name, value in episodes.group_return.items())
        self.metrics.log_value(NUM_EPISODES, episodes.count, reduce="sum")
        self.metrics.log_value(EPISODE_RETURN_MEAN, total, window=_EPISODE_WINDOW)
        self.metrics.log_value(EPISODE_LEN_MEAN, episodes.length, window=_EPISODE_WINDOW)
        for name, value in episodes.group_return.items():
            self.metrics.log_value(("groups", name, EPISODE_RETURN), value, window=_EPISODE_WINDOW)

    @property
    def ended(self) -> Ended | None:
        """The episodes that the last fragment finished, by stage; None without a curriculum."""
        return self._episodes.ended if isinstance(self._episodes, StagedEpisodeLog) else None

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
                "memories": {name: memory.get_state() for name, memory in self._memories.items()},
                "episodes": self._episodes.get_state(),
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
        for name, memory in self._memories.items():
            memory.set_state(sampler["memories"][name])
        self._episodes.set_state(sampler["episodes"])
        self._random.set_state(sampler["random"])

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a copy of this runner is built from."""
        return (), {"config": self.config}

    def stop(self) -> None:
        """Nothing is held that must be released."""


def _require_numbers(fragment: Fragment) -> None:
    """One that is none would spoil a network for good, and with it every later hour of the run."""
    for name, rollout in fragment.items():
        if not np.isfinite(rollout.reward).all():
            raise ValueError(f"group '{name}': the environment gave a reward that is NaN or infinite")
        if rollout.logp is not None and not np.isfinite(rollout.logp).all():
            raise ValueError(
                f"group '{name}': the policy gave an action whose log-probability is NaN or infinite: "
                "an observation or a weight is no number"
            )
