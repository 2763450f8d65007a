"""The team: members with different algorithms, learning together from the same rollouts, as one RLlib Algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.tune.execution.placement_groups import PlacementGroupFactory

from policies.algorithm import Trainer, action_names
from policies.learner_options import SKIPPED_UPDATES
from policies.randomness import RandomStream
from policies.rollout import Rollout
from policies.statistics import RunningStatistics
from wealtharena.curriculum.curriculum import Curriculum
from wealtharena.team.config import NO_EVALUATION, TeamConfig
from wealtharena.team.learner_group import TeamLearnerGroup
from wealtharena.team.learning import learn
from wealtharena.team.runner import ENVIRONMENT, Fragment
from wealtharena.team.sampling import Sampling, env_steps_of
from wealtharena.team.soundness import Soundness

_PARTS = ("sample", "learn", "sync_weights")


class Team(Algorithm):
    """Trains all members together; used as any RLlib Algorithm (``build_algo``, ``train``, ``save_to_path``, Tune)."""

    config: TeamConfig
    learner_group: TeamLearnerGroup

    @classmethod
    def get_default_config(cls) -> TeamConfig:
        """An empty team."""
        return TeamConfig(cls)

    def setup(self, config: AlgorithmConfig) -> None:
        """Builds samplers and Learners, and gives the samplers the Learners' weights."""
        seed = config.seed or 0
        self._random = RandomStream(seed)
        self._env_steps = 0
        with self._random.active():
            super().setup(config)
        self._trainers: dict[str, Trainer] = {
            family: self.config.members[names[0]].trainer(names, seed=1_000_003 * seed + index)
            for index, (family, names) in enumerate(self.learner_group.families.items())
        }
        self._statistics = {
            name: RunningStatistics(self.spaces[name][0].shape[0])
            for name, algorithm in self.config.members.items()
            if algorithm.params.normalize_observations
        }
        self._sampled_with: dict[str, dict[str, torch.Tensor]] = {}
        self._sampling = Sampling(
            self.env_runner_group,
            overlap=self.config.overlap,
            patience_s=self.config.env_runner_restore_timeout_s,
            fragment_env_steps=self.config.rollout_fragment_length * self.config.num_envs_per_env_runner,
        )
        self._curriculum = self._planned()
        self._soundness = Soundness(self.config.members)
        self._sync_weights()

    def _planned(self) -> Curriculum | None:
        spec, config = self.config.curriculum_spec, self.config
        runners = max(1, config.num_env_runners)
        return Curriculum(spec, copies=config.num_envs_per_env_runner, runners=runners) if spec else None

    def training_step(self) -> None:
        """Samples a fragment from every runner, lets every member learn from it, and sends the new weights out."""
        with self.metrics.log_time(("timers", "sample")):
            fragments = self._sample()
        if self.config.overlap:
            self._normalize_as_sampled()
        with self._random.active(), self.metrics.log_time(("timers", "learn")):
            self._learn(fragments)
        with self.metrics.log_time(("timers", "sync_weights")):
            self._sync_weights()

    def _sample(self) -> list[Fragment]:
        results = self._sampling.next(self._env_steps, self._curriculum.copies() if self._curriculum else ())
        self.metrics.aggregate([result.metrics for result in results], key=ENV_RUNNER_RESULTS)
        fragments = [result.fragment for result in results]
        self._env_steps += env_steps_of(fragments)
        if self._curriculum:
            self._curriculum.observe([result.ended for result in results if result.ended], self._env_steps)
        return fragments

    def restore_env_runners(self, env_runner_group: EnvRunnerGroup) -> list[int]:
        """Takes runners back whose processes were lost: with the team's weights and random streams of their own."""
        return self._sampling.restarts.found()

    def _normalize_as_sampled(self) -> None:
        """Gives the Learners the normalisers with which the runners sampled; by now there are newer ones.

        The probability ratio of an on-policy loss then tells of the weights alone: no rows, least of all the first, are
        held against another view of their observations.
        """
        sampled_with, self._sampled_with = self._sampled_with, self._normalizers()
        for family, names in self.learner_group.families.items():
            for name in sampled_with.keys() & set(names):
                _normalize(self.learner_group.children[family], name, sampled_with[name])

    def _normalizers(self) -> dict[str, dict[str, torch.Tensor]]:
        """Those of on-policy members, as the runners have them now: this process's runner gets what all get."""
        on_policy = [name for name in self._statistics if self.config.members[name].on_policy]
        return {name: deepcopy(self.env_runner.module[name].normalizer.state_dict()) for name in on_policy}

    def _learn(self, fragments: list[Fragment]) -> None:
        families = self.learner_group.families
        lessons = {family: partial(self._lesson, family, fragments) for family in families}
        for family, learnt in learn(lessons, at_once=self.learner_group.is_remote).items():
            self.metrics.log_value(("timers", f"learn_{family}"), learnt.seconds, reduce="ema")
            if learnt.results:
                self.metrics.aggregate(learnt.results, key=LEARNER_RESULTS)
            for name in families[family]:
                self._log_actions(name, [fragment[name] for fragment in fragments])

    def _lesson(self, family: str, fragments: list[Fragment]) -> list[Any]:
        """A family's updates, then its normalisers', unless it is frozen; touches nothing of the other families'."""
        if self.learner_group.families[family][0] in self.config.frozen_members:
            return []
        learners = self.learner_group.children[family]
        rollouts = {name: [fragment[name] for fragment in fragments] for name in self.learner_group.families[family]}
        results = self._trainers[family].learn(learners, rollouts, self._env_steps)
        for name, own in rollouts.items():
            if name in self._statistics:
                self._update_normalizer(name, own, learners)
        return results

    def _update_normalizer(self, name: str, rollouts: list[Rollout], learners: LearnerGroup) -> None:
        """After the update: the rows of this iteration were normalised as they were when they were sampled."""
        statistics = self._statistics[name]
        for rollout in rollouts:
            record_BR = torch.from_numpy(rollout.obs[:-1][rollout.valid_SEA])
            statistics.update(record_BR[:, : len(statistics.mean_F)])
        if not statistics.mean_F.isfinite().all():
            raise ValueError(f"group '{name}': the environment gave an observation that is NaN or infinite")

        def use(learner: Learner) -> None:
            learner.module[name].unwrapped().normalizer.use(statistics)

        learners.foreach_learner(use)

    def _log_actions(self, name: str, rollouts: list[Rollout]) -> None:
        """The distribution of the actions taken: the share of each, or mean and deviation of continuous ones."""
        taken = np.concatenate([rollout.action[rollout.valid_SEA] for rollout in rollouts])
        if not len(taken):
            return
        for key, value in _action_figures(taken, self.spaces[name][1]).items():
            self.metrics.log_value(("groups", name, key), value, window=1)

    def _sync_weights(self) -> None:
        self._sampling.send_weights(self.learner_group)

    def step(self) -> dict[str, Any]:
        """One iteration's results, with what matters of each group gathered under ``groups/<group>``."""
        results = super().step()
        results[NUM_ENV_STEPS_SAMPLED_LIFETIME] = self._env_steps
        results["groups"] = {name: self._group_results(name, results) for name in self.config.members}
        results["runners"] = self._sampling.restarts.figures()
        results["environment"] = dict(results.get(ENV_RUNNER_RESULTS, {}).get(ENVIRONMENT, {}))
        results["time_shares"] = _shares({part: results["timers"][part] for part in _PARTS})
        self._soundness.see(results.get(LEARNER_RESULTS, {}))
        if self._curriculum:
            results["curriculum"] = self._curriculum.figures()
        return results

    def _group_results(self, name: str, results: Mapping[str, Any]) -> dict[str, float]:
        algorithm = self.config.members[name]
        learned = results.get(LEARNER_RESULTS, {}).get(name, {})
        sampled = results.get(ENV_RUNNER_RESULTS, {}).get("groups", {}).get(name, {})
        figures = {shown: learned[key] for key, shown in algorithm.metrics.items() if key in learned}
        figures |= {SKIPPED_UPDATES: learned[SKIPPED_UPDATES]} if SKIPPED_UPDATES in learned else {}
        figures |= sampled | results.get("groups", {}).get(name, {}) | algorithm.gauges(self._env_steps)
        return {key: float(value) for key, value in figures.items()}

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Refused before it would disturb the samplers: see the message.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"Team.evaluate(): {NO_EVALUATION}")

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state, and what it leaves out: replay, counters, random streams."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component("team", components, not_components):
            state["team"] = {
                "env_steps": self._env_steps,
                "random": self._random.get_state(),
                "trainers": {family: trainer.get_state() for family, trainer in self._trainers.items()},
                "statistics": {name: statistics.get_state() for name, statistics in self._statistics.items()},
                "sampled_with": self._sampled_with,
                "sampling": self._sampling.get_state(),
                "curriculum": self._curriculum.get_state() if self._curriculum else None,
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        super().set_state(state)
        if "team" in state:
            self._env_steps = state["team"]["env_steps"]
            self._random.set_state(state["team"]["random"])
            for family, trainer in self._trainers.items():
                trainer.set_state(state["team"]["trainers"][family])
            for name, statistics in self._statistics.items():
                statistics.set_state(state["team"]["statistics"][name])
            self._sampled_with = state["team"]["sampled_with"]
            self._sampling.set_state(state["team"]["sampling"])
            if self._curriculum:
                self._curriculum.set_state(state["team"]["curriculum"])
            self._sync_weights()

    @classmethod
    def default_resource_request(cls, config: Any) -> PlacementGroupFactory:
        """RLlib's bundles; those of its Learners, which come last, once for every family."""
        request = super().default_resource_request(config)
        team = cls.get_default_config().update_from_dict(config)
        of_one = request.bundles[len(request.bundles) - team.num_learners :]
        more = [dict(bundle) for _ in range(len(team.families()) - 1) for bundle in of_one]
        return PlacementGroupFactory(bundles=[*request.bundles, *more], strategy=team.placement_strategy)


def _normalize(learners: LearnerGroup, name: str, normalizer: Mapping[str, torch.Tensor]) -> None:
    def take(learner: Learner) -> None:
        learner.module[name].unwrapped().normalizer.load_state_dict(normalizer)

    learners.foreach_learner(take)


def _shares(seconds: Mapping[str, float]) -> dict[str, float]:
    total = sum(seconds.values())
    return {part: float(own / total) for part, own in seconds.items()}


def _action_figures(taken: np.ndarray[Any, Any], space: Any) -> dict[str, float]:
    if taken.dtype == np.int64:
        figures = np.bincount(taken, minlength=space.n) / len(taken)
    else:
        figures = np.concatenate([taken.mean(axis=0), taken.std(axis=0)])
    return dict(zip(action_names(space), figures.tolist(), strict=True))
