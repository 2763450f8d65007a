"""From what ``Agent.create`` is told to a checked agent, with one line for what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from environments.errors import DataError
from environments.market.config import ALLOCATOR
from environments.market.config_traders import TraderParams
from environments.market.signals import action_space
from policies.algorithm import Algorithm
from policies.errors import MemberError
from wealtharena.agents.parts import Profile
from wealtharena.document import Document
from wealtharena.errors import UserError
from wealtharena.experiment import load_class
from wealtharena.spec import GroupName, Section, Target
from wealtharena.validation import validate

ALGORITHMS: Mapping[str, Target] = {
    "crypto": "policies.sac:SAC",
    "etf": "policies.a2c:A2C",
    "currencies": "policies.dqn:DQN",
}
"""Of the quickstart, by class; any other class learns with PPO."""


class _Request(Section):
    """What ``Agent.create`` is told, before its parts are looked at."""

    name: GroupName
    algorithm: Target
    params: dict[str, Any]
    trader: dict[str, Any]
    seed: int = Field(ge=0, lt=2**31)


@contextmanager
def user_errors() -> Iterator[None]:
    """What is wrong with data or with an algorithm's actions is a ``UserError`` too."""
    try:
        yield
    except (DataError, MemberError) as error:
        raise UserError(str(error)) from error


def profile_of(
    asset_class: str,
    *,
    name: str | None,
    algorithm: str | None,
    params: Mapping[str, Any],
    trader: Mapping[str, Any],
    seed: int,
) -> Profile:
    """Checks what ``Agent.create`` was told.

    Raises:
        UserError: Something of it cannot be.
    """
    if asset_class == ALLOCATOR:
        raise UserError(f"Agent.create({ALLOCATOR!r}): it divides capital among classes; train a team to have one")
    data = {
        "name": asset_class if name is None else name,
        "algorithm": algorithm or ALGORITHMS.get(asset_class, "policies.ppo:PPO"),
        "params": dict(params),
        "trader": {"asset_class": asset_class, **trader},
        "seed": seed,
    }
    document = Document("Agent.create", data, {})
    request = validate(_Request, document)
    made = Profile(request.name, validate(TraderParams, document, ("trader",)), algorithm_of(document), seed)
    with user_errors():
        made.algorithm.check(made.name, action_space(trader_of(made), 1))
    return made


def algorithm_of(document: Document) -> Algorithm:
    """The algorithm that ``algorithm`` and ``params`` of a document describe.

    Raises:
        UserError: There is no such algorithm, or it has no such hyperparameters.
    """
    found = load_class(Algorithm, document.data["algorithm"], document, ("algorithm",))
    made: Algorithm = found(validate(found.Params, document, ("params",)))
    return made


def trader_of(profile: Profile) -> TraderParams:
    """What it trades.

    Raises:
        UserError: It trades no class of assets.
    """
    if profile.trader is None:
        raise UserError(
            f"agent {profile.name!r} trades no class of assets, so it cannot be trained or tested alone; train a team "
            f"in which members.{profile.name}.start_from names this agent"
        )
    return profile.trader
