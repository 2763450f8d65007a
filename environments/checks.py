"""The laws of an array environment, as a check to be run on any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import gymnasium as gym
import torch
from pydantic import BaseModel
from torch import Tensor

from environments.base import ArrayEnv, Group, Transition

COPIES = 3

Columns = dict[str, Tensor]
"""``what/group`` -> (E, ...): a transition, flattened."""


def check_array_env(
    env_class: type[ArrayEnv], params: BaseModel | Mapping[str, Any], *, steps: int = 40, seed: int = 7
) -> None:
    """Plays random actions and holds an environment to the contract of ArrayEnv.

    Shapes, dtypes and spaces are as declared; the same seed gives the same trajectory; a copy depends neither on the
    other copies nor on how many there are; nothing handed out is changed later; a restored state goes on to the bit;
    who ended stays inactive until the copy is reset; ``final_obs`` is ``obs`` where a copy goes on.

    Args:
        env_class: The environment.
        params: Its parameters, validated or not.
        steps: How many steps to play; take enough for a few episodes.
        seed: Of the environment and of the actions.

    Raises:
        AssertionError: A law is broken; the message says which and where.
    """
    valid = env_class.Params.model_validate(params)

    def make(num_envs: int = COPIES) -> ArrayEnv:
        return env_class(valid, num_envs=num_envs)

    _check_groups(make().groups)
    actions = _random_actions(make().groups, steps, seed)
    _check_steps(make(), actions, seed)
    _check_seed(make, actions, seed)
    _check_copies(make, actions, seed)
    _check_state(make, actions, seed)


def _check_groups(groups: Mapping[str, Group]) -> None:
    agents = [agent for group in groups.values() for agent in group.agent_ids]
    _require(bool(agents), "groups: there are no agents")
    _require(len(agents) == len(set(agents)), "groups: an agent id occurs twice")
    for name, group in groups.items():
        box = group.observation_space
        _require(len(box.shape) == 1, f"groups.{name}: the observation space {box} is not of shape (F,)")
        _require(box.dtype == "float32", f"groups.{name}: the observation space {box} is not float32")
        _require(group.every >= 1, f"groups.{name}: every = {group.every} is below 1")


def _check_steps(env: ArrayEnv, actions: list[Columns], seed: int) -> None:
    obs = env.reset(seed=seed)
    _check_obs(env, obs, "reset()")
    handed_out = [{f"obs/{name}": column for name, column in obs.items()}]
    snapshots = [_copied(handed_out[0])]
    book = _Book(env)
    for t, row in enumerate(actions):
        transition = env.step(row)
        _check_transition(env, transition, f"step {t}")
        book.enter(transition, f"step {t}")
        handed_out.append(_flat(transition))
        snapshots.append(_copied(handed_out[-1]))
    _require_equal(handed_out, snapshots, "a later step changed what was handed out before")


def _check_transition(env: ArrayEnv, transition: Transition, where: str) -> None:
    _check_obs(env, transition.obs, f"{where}: obs")
    _check_obs(env, transition.final_obs, f"{where}: final_obs")
    _require_form(transition.done, (env.num_envs,), torch.bool, f"{where}: done")
    for name, group in env.groups.items():
        shape = (env.num_envs, len(group.agent_ids))
        _require_form(transition.reward[name], shape, torch.float32, f"{where}: reward of {name}")
        _require(bool(transition.reward[name].isfinite().all()), f"{where}: a reward of {name} is not finite")
        _require_form(transition.terminated[name], shape, torch.bool, f"{where}: terminated of {name}")
        _require_form(transition.truncated[name], shape, torch.bool, f"{where}: truncated of {name}")
        if name in transition.active:
            _require_form(transition.active[name], shape, torch.bool, f"{where}: active of {name}")
        same_E = (transition.obs[name] == transition.final_obs[name]).flatten(1).all(1)
        _require(
            bool((same_E | transition.done).all()), f"{where}: {name}: final_obs is not obs in a copy that goes on"
        )
    now = env.active()
    _require(now.keys() == transition.active.keys(), f"{where}: active() names other groups than the transition")
    for name, active_EA in now.items():
        _require(
            torch.equal(active_EA, transition.active[name]), f"{where}: active() of {name} is not the transition's"
        )


def _check_obs(env: ArrayEnv, obs: Columns, where: str) -> None:
    _require(obs.keys() == env.groups.keys(), f"{where} has the groups {[*obs]}, declared are {[*env.groups]}")
    for name, group in env.groups.items():
        space = group.observation_space
        _require_form(
            obs[name], (env.num_envs, len(group.agent_ids), *space.shape), torch.float32, f"{where} of {name}"
        )
        low, high = (torch.as_tensor(bound, device=env.device) for bound in (space.low, space.high))
        inside = ((obs[name] >= low) & (obs[name] <= high)).all()
        _require(bool(inside), f"{where} of {name} leaves its space {space}, or is NaN")


class _Book:
    """Who has ended and how old each episode is: an end is final until the copy is reset."""

    def __init__(self, env: ArrayEnv) -> None:
        self._groups = env.groups
        self._age_E = torch.zeros(env.num_envs, dtype=torch.int64, device=env.device)
        self._ended = {
            name: torch.zeros(env.num_envs, len(group.agent_ids), dtype=torch.bool, device=env.device)
            for name, group in env.groups.items()
        }

    def enter(self, transition: Transition, where: str) -> None:
        done_E1 = transition.done.unsqueeze(1)
        self._age_E = torch.where(transition.done, 0, self._age_E + 1)
        for name, group in self._groups.items():
            ends_EA = transition.terminated[name] | transition.truncated[name]
            _require(not (ends_EA & self._ended[name]).any(), f"{where}: {name}: an agent ended twice in one episode")
            ended_EA = self._ended[name] | ends_EA
            _require(bool((ended_EA | ~done_E1).all()), f"{where}: {name}: a copy is done, but an agent has not ended")
            self._ended[name] = ended_EA & ~done_E1
            active_EA = transition.active.get(name, torch.ones_like(ended_EA))
            _require(not (active_EA & self._ended[name]).any(), f"{where}: {name}: an agent that ended is active")
            early_E = self._age_E % group.every != 0
            _require(not active_EA[early_E].any(), f"{where}: {name}: active between its decisions, each {group.every}")
        left_E = ~torch.cat(list(self._ended.values()), dim=1).all(1)
        _require(bool(left_E.all()), f"{where}: all agents of a copy have ended, but it is not done")


def _check_seed(make: Callable[..., ArrayEnv], actions: list[Columns], seed: int) -> None:
    env = make()
    first = _trajectory(env, actions, seed)
    _require_equal(_trajectory(env, actions, seed), first, "a second reset(seed=...) gave another trajectory")
    _require_equal(_trajectory(make(), actions, seed), first, "another object with the same seed went another way")
    unseeded, zero = (_trajectory(make(), actions, start) for start in (None, 0))
    _require_equal(unseeded, zero, "the first reset() without a seed is not reset(seed=0)")


def _check_copies(make: Callable[..., ArrayEnv], actions: list[Columns], seed: int) -> None:
    whole = _trajectory(make(), actions, seed)
    for few in range(1, COPIES):
        part = _trajectory(make(few), _of_copies(actions, slice(few)), seed)
        _require_equal(part, _of_copies(whole, slice(few)), f"the first copies of {COPIES} are not those of {few}")
    for i in range(COPIES):
        elsewhere = [{name: _shifted_but(column, i) for name, column in row.items()} for row in actions]
        mixed = _trajectory(make(), elsewhere, seed)
        copy = slice(i, i + 1)
        _require_equal(_of_copies(mixed, copy), _of_copies(whole, copy), f"copy {i} depends on what other copies do")


def _check_state(make: Callable[..., ArrayEnv], actions: list[Columns], seed: int) -> None:
    before, after = actions[: len(actions) // 2], actions[len(actions) // 2 :]
    env = make()
    _trajectory(env, before, seed)
    state, mask = env.get_state(), env.active()
    ahead = [_flat(env.step(row)) for row in after]
    for told, restored in (("the same object", env), ("a new object", make())):
        restored.set_state(state)
        _require_equal([restored.active()], [mask], f"active() is another after set_state on {told}")
        again = [_flat(restored.step(row)) for row in after]
        _require_equal(again, ahead, f"{told} goes on in another way after set_state")


def _random_actions(groups: Mapping[str, Group], steps: int, seed: int) -> list[Columns]:
    generator = torch.Generator().manual_seed(seed)
    return [{name: _random_action(group, generator) for name, group in groups.items()} for _ in range(steps)]


def _random_action(group: Group, generator: torch.Generator) -> Tensor:
    """Uniform in the space; an unbounded Box is taken for [-1, 1]."""
    rows, space = (COPIES, len(group.agent_ids)), group.action_space
    if isinstance(space, gym.spaces.Discrete):
        return torch.randint(int(space.n), rows, generator=generator) + int(space.start)
    low = torch.as_tensor(space.low).nan_to_num(neginf=-1.0)
    high = torch.as_tensor(space.high).nan_to_num(posinf=1.0)
    return low + (high - low) * torch.rand(*rows, *space.shape, generator=generator)


def _trajectory(env: ArrayEnv, actions: list[Columns], seed: int | None) -> list[Columns]:
    obs = env.reset(seed=seed)
    return [{f"obs/{name}": column for name, column in obs.items()}] + [_flat(env.step(row)) for row in actions]


def _flat(transition: Transition) -> Columns:
    columns = {"done": transition.done}
    for field in fields(transition):
        if field.name != "done":
            columns |= {f"{field.name}/{name}": column for name, column in getattr(transition, field.name).items()}
    return columns


def _copied(columns: Columns) -> Columns:
    return {name: column.clone() for name, column in columns.items()}


def _of_copies(rows: list[Columns], copies: slice) -> list[Columns]:
    return [{name: column[copies] for name, column in row.items()} for row in rows]


def _shifted_but(column: Tensor, i: int) -> Tensor:
    """Each copy does what its neighbour did, only copy i stays."""
    shifted = column.roll(1, 0)
    shifted[i] = column[i]
    return shifted


def _require(law: bool, message: str) -> None:
    if not law:
        raise AssertionError(message)


def _require_form(tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, what: str) -> None:
    given, allowed = (tuple(tensor.shape), tensor.dtype), (shape, dtype)
    _require(given == allowed, f"{what} is {given[1]} {given[0]}, it must be {allowed[1]} {allowed[0]}")


def _require_equal(rows: list[Columns], expected: list[Columns], message: str) -> None:
    for t, (row, wanted) in enumerate(zip(rows, expected, strict=True)):
        _require(row.keys() == wanted.keys(), f"{message}: row {t} has {[*row]}, expected {[*wanted]}")
        for name, column in row.items():
            _require(torch.equal(column, wanted[name]), f"{message}: first seen in {name}, row {t}")
