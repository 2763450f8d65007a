"""One LearnerGroup made of one per family, so that each algorithm learns with a Learner class of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from ray.exceptions import RayActorError
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.utils import force_list

WEIGHTS = f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"
_ANSWER_S = 60.0


class TeamLearnerGroup(LearnerGroup):
    """Contains an ordinary LearnerGroup for each family (``TeamConfig.families``), and answers for all of them.

    A checkpoint holds ``<family>/learner/rl_module/<member>`` for each, so every policy can be loaded alone. Asked for
    weights, as RLlib does to synchronise its samplers, it gives those of all members merged.

    Attributes:
        families: family -> its members.
        children: family -> its Learners.
    """

    def __init__(self, *, config: Any, module_spec: MultiRLModuleSpec, placement_group: Any = None) -> None:
        self.config = config.copy(copy_frozen=False)
        self.module_spec = module_spec
        self._is_shut_down = False
        self.families: dict[str, list[str]] = config.families()
        self.children: dict[str, LearnerGroup] = {}
        builders = {family: self._builder(names, placement_group) for family, names in self.families.items()}
        if self.config.num_learners:
            self._build_at_once(builders)
        else:
            for family, build in builders.items():  # one by one: they draw from the same random numbers
                self.children[family] = build()

    def _builder(self, names: list[str], placement_group: Any) -> Callable[[], LearnerGroup]:
        """What builds the Learners of a family."""
        specs = {name: self.module_spec.rl_module_specs[name] for name in names}
        return partial(
            LearnerGroup,
            config=self.config.family_config(names, specs[names[0]].action_space),
            module_spec=MultiRLModuleSpec(rl_module_specs=specs),
            placement_group=placement_group,
        )

    def _build_at_once(self, builders: Mapping[str, Callable[[], LearnerGroup]]) -> None:
        """Starts the processes of all families together: each takes seconds."""
        building: dict[str, Future[LearnerGroup]] = {}
        try:
            with ThreadPoolExecutor(len(builders)) as pool:
                building |= {family: pool.submit(build) for family, build in builders.items()}
        finally:  # shutdown() must find those that were built beside one that failed
            built = {family: future for family, future in building.items() if future.exception() is None}
            self.children = {family: future.result() for family, future in built.items()}
        for future in building.values():
            future.result()  # raises what went wrong

    @property
    def is_local(self) -> bool:
        """Whether the Learners live in this process."""
        return all(child.is_local for child in self.children.values())

    @property
    def is_remote(self) -> bool:
        """Whether the Learners live in processes of their own."""
        return not self.is_local

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        """All members' weights merged if ``components`` asks for weights only; each family's whole state otherwise."""
        asked = force_list(components) if components is not None else []
        if asked and all(component.startswith(WEIGHTS) for component in asked):
            return {COMPONENT_LEARNER: self._weights(asked)}
        return {
            name: child.get_state(
                components=self._get_subcomponents(name, components),
                not_components=self._get_subcomponents(name, not_components),
                **kwargs,
            )
            for name, child in self.children.items()
            if self._check_component(name, components, not_components)
        }

    def _weights(self, components: list[str]) -> dict[str, Any]:
        """What samplers need: of on-policy members the critics too, which they evaluate; of others the policy alone."""
        merged: dict[str, Any] = {COMPONENT_RL_MODULE: {}}
        for family, names in self._asked(components):
            inference_only = not self.config.members[names[0]].on_policy
            wanted = [f"{WEIGHTS}/{name}" for name in names]
            state = self.children[family].get_state(components=wanted, inference_only=inference_only)
            merged[COMPONENT_RL_MODULE].update(state[COMPONENT_LEARNER][COMPONENT_RL_MODULE])
        return merged

    def _asked(self, components: list[str]) -> Iterator[tuple[str, list[str]]]:
        for family, members in self.families.items():
            names = [name for name in members if WEIGHTS in components or f"{WEIGHTS}/{name}" in components]
            if names:
                yield family, names

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the families that are in ``state``."""
        for name, child in self.children.items():
            if name in state:
                child.set_state(state[name])

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Each family under its name."""
        return list(self.children.items())

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a copy of this group is built from."""
        return (), {"config": self.config, "module_spec": self.module_spec}

    def foreach_learner(self, func: Callable[..., Any], **kwargs: Any) -> list[Any]:
        """Calls ``func(learner)`` on every Learner of every family."""
        return [result for child in self.children.values() for result in child.foreach_learner(func, **kwargs)]

    def lost(self) -> list[str]:
        """The families of which a Learner's process is gone, or its node.

        One that only raised is there; and one that waits for the gradients of a lost one may not answer.
        """
        return [family for family, child in self.children.items() if child.is_remote and _gone(child)]

    def shutdown(self) -> None:
        """Shuts every family's Learners down."""
        for child in self.children.values():
            child.shutdown()
        self._is_shut_down = True

    def __len__(self) -> int:
        return sum(len(child) for child in self.children.values())


def _gone(learners: LearnerGroup) -> bool:
    def answer(learner: Learner) -> None: ...

    answers = learners.foreach_learner(answer, healthy_only=False, timeout_seconds=_ANSWER_S)
    return any(isinstance(found.get(), RayActorError) for found in answers)
