"""What a compiled step is given and tells, and where it can be had: all but the compiler, which is slow to import."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import gymnasium as gym
import torch
from torch import Tensor

from environments.base import Group, Transition
from environments.errors import DataError
from environments.market.record import MarketRecord
from environments.market.state import State
from environments.random import Seed


@dataclass(frozen=True)
class Stepped:
    """What one step of all copies brings.

    Attributes:
        state: At the close; no copy is reset.
        record: What the bar brought.
        wrong_E: bool, an action of the copy was not finite.
        eventful: bool, of no dimensions: a copy is done, or one's action was wrong.
        transition: What agents are told.
    """

    state: State
    record: MarketRecord
    wrong_E: Tensor
    eventful: Tensor
    transition: Transition


Step = Callable[[Seed, State, Mapping[str, Tensor]], Stepped]


class ActionForm(NamedTuple):
    """What the actions of a group must be: of which shape, (E, A) or (E, A, U), and of which type."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def action_form(group: Group, copies: int) -> ActionForm:
    """As the group's action space has it."""
    space = group.action_space
    dtype = torch.int64 if isinstance(space, gym.spaces.Discrete) else torch.float32
    return ActionForm((copies, len(group.agent_ids), *(space.shape or ())), dtype)


def typed(actions: Mapping[str, Tensor], forms: Mapping[str, ActionForm]) -> dict[str, Tensor]:
    """The actions of all groups in their types; zeros for a group that is left out.

    Raises:
        ValueError: Actions have another shape than the group's.
    """
    found = {}
    for name, (shape, dtype) in forms.items():
        action = actions[name].to(dtype) if name in actions else torch.zeros(shape, dtype=dtype)
        if action.shape != shape:
            raise ValueError(f"step: actions of group {name!r} have shape {tuple(action.shape)}, must be {shape}")
        found[name] = action
    return found


def check_compiler(device: str) -> None:
    """Refuses a device that code is not compiled for, and a machine without the C++ compiler that torch would call.

    Raises:
        DataError: It is such a one.
    """
    if torch.device(device).type != "cpu":
        raise DataError(f"compile: true is for the CPU, and the device is {device}; set compile: false")
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise DataError(
            f"compile: true needs a C++ compiler, and {name} is not there; install it, name another in the variable "
            "CXX, or set compile: false"
        )
