"""An agent on disk: a folder with ``agent.json`` and RLlib's checkpoint of its networks, complete or absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from ray.rllib.core.rl_module.rl_module import RLModule

from environments.market.config_traders import TraderParams
from wealtharena.agents.parts import Learned, Profile
from wealtharena.agents.recipe import algorithm_of
from wealtharena.document import Document
from wealtharena.errors import UserError
from wealtharena.evidence.evaluation import versions
from wealtharena.spec import GroupName, Section, Target
from wealtharena.team.policy import Policy
from wealtharena.team.provenance import Provenance
from wealtharena.validation import rule_of

AGENT, NETWORKS, MEMBERS = "agent.json", "networks", "members"


class AgentFile(Section):
    """What ``agent.json`` holds: all of an agent but its networks.

    Attributes:
        format: Of this file.
        name: As in ``Profile``.
        trader: As in ``Profile``.
        algorithm: As in an experiment file.
        params: All hyperparameters.
        seed: As in ``Profile``.
        provenance: As in ``Learned``.
        env_steps: As in ``Learned``.
        versions: Of the packages that wrote it.
    """

    format: Literal[1] = 1
    name: GroupName
    trader: TraderParams | None
    algorithm: Target
    params: dict[str, Any]
    seed: int
    provenance: Provenance
    env_steps: int
    versions: dict[str, str]


def holds_agent(folder: Path) -> bool:
    """Whether an agent was saved in a folder."""
    return (folder / AGENT).is_file()


def members_at(folder: Path) -> dict[str, Path]:
    """The agents of a team that was saved in a folder: group -> the agent's folder; empty if there is none."""
    return {each.name: each for each in sorted(folder.glob(f"{MEMBERS}/*")) if holds_agent(each)}


def write_agent(folder: Path, profile: Profile, learned: Learned) -> None:
    """Writes an agent into an empty folder."""
    algorithm = type(profile.algorithm)
    content = AgentFile(
        name=profile.name,
        trader=profile.trader,
        algorithm=f"{algorithm.__module__}:{algorithm.__name__}",
        params=profile.algorithm.params.model_dump(mode="json", by_alias=True),
        seed=profile.seed,
        provenance=learned.provenance,
        env_steps=learned.env_steps,
        versions=versions(),
    )
    learned.policy.module.save_to_path(str(folder.resolve() / NETWORKS))
    (folder / AGENT).write_text(content.model_dump_json(indent=1), encoding="utf-8")


def read_agent(folder: Path) -> tuple[Profile, Learned]:
    """Reads what ``write_agent`` wrote.

    The networks are a pickle, and the algorithm is a module that is imported: read only what you trust.

    Raises:
        UserError: It is damaged, or was written by another version.
    """
    file = folder / AGENT
    try:
        content = AgentFile.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{file}: is damaged, or of another version of WealthArena: {where} {rule_of(first)}") from None
    algorithm = algorithm_of(Document(str(file), content.model_dump(), {}))
    module = _networks(folder / NETWORKS, content)
    profile = Profile(content.name, content.trader, algorithm, content.seed)
    return profile, Learned(Policy(algorithm, module, module.action_space), content.provenance, content.env_steps)


def _networks(folder: Path, content: AgentFile) -> Any:
    try:
        return RLModule.from_checkpoint(folder.resolve())
    except Exception as error:  # unpickling runs other people's code: anything may be raised
        written = ", ".join(f"{name} {content.versions.get(name, '?')}" for name in ("python", "ray", "torch"))
        raise UserError(
            f"{folder}: the networks cannot be read ({type(error).__name__}: {error}); they were written with {written}"
        ) from error


def write_folder(
    path: Path, write: Callable[[Path], object], *, replaceable: Callable[[Path], bool], overwrite: bool
) -> None:
    """Makes a folder at once or not at all, beside its place and then renamed into it.

    Args:
        path: The folder; must not exist, or be empty.
        write: Fills the folder it is given.
        replaceable: Whether a folder that is there may give way.
        overwrite: Lets it.

    Raises:
        UserError: Something is there that stays, or the folder cannot be written.
    """
    _check_place(path, replaceable=replaceable, overwrite=overwrite)
    place = path.resolve()
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write(partial)
        _put(partial, place)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, place: Path) -> None:
    """Renames a finished folder into its place. What was there goes last, so that a whole one is always on disk."""
    former = place.with_name(f".{place.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if place.exists():
        place.rename(former)
    try:
        partial.rename(place)
    except OSError:
        if former.exists():
            former.rename(place)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _check_place(path: Path, *, replaceable: Callable[[Path], bool], overwrite: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise UserError(f"{path}: exists; name another folder, or replace what was saved there with overwrite=True")
    if not replaceable(path):
        raise UserError(f"{path}: holds something else than what is to be saved, and stays; name another folder")
