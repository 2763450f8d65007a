"""The agents of a team that was trained together, out of a run's folder or one of its checkpoints."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environments.market.config import ALLOCATOR
from environments.market.config_roles import RISK
from environments.market.config_traders import TraderParams
from environments.market.env import MarketEnv
from environments.staged import StagedEnv
from wealtharena.agents.parts import Learned, Profile
from wealtharena.errors import UserError
from wealtharena.team.policy import is_checkpoint, load_config, load_policies
from wealtharena.team.provenance import Provenance, read_provenance
from wealtharena.training.run_dir import RunDir
from wealtharena.training.solo import SoloMarket

_STATE = "algorithm_state.pkl"


def checkpoint_at(path: Path) -> Path | None:
    """The checkpoint that is meant: the path itself, or the best one of a run; None if it is neither.

    Raises:
        UserError: The run has no checkpoint.
    """
    if is_checkpoint(path):
        return path
    run = RunDir(path)
    best = run.best()
    if best is None and run.config.is_file():
        hint = f"; it is a walk-forward run: name one of {run.folds}/*" if run.folds.is_dir() else ""
        raise UserError(f"{path}: this run holds no checkpoint{hint}")
    return None if best is None else best.path


def agents_of(checkpoint: Path) -> dict[str, tuple[Profile, Learned]]:
    """Every group's agent.

    Checkpoints are pickles: read only what you trust.

    Raises:
        UserError: The checkpoint is damaged.
    """
    try:
        config, policies, env_steps = load_config(checkpoint), load_policies(checkpoint), _env_steps(checkpoint)
        known = read_provenance(checkpoint)
    except Exception as error:  # unpickling runs other people's code: anything may be raised
        raise UserError(f"{checkpoint}: cannot be read ({type(error).__name__}: {error})") from error
    return {
        name: (
            Profile(name, _trader(config, name), policy.algorithm, config["seed"]),
            Learned(policy, known.get(name, Provenance()), env_steps),
        )
        for name, policy in policies.items()
    }


def _env_steps(checkpoint: Path) -> int:
    with (checkpoint / _STATE).open("rb") as file:
        return int(pickle.load(file)["team"]["env_steps"])


def _trader(config: Mapping[str, Any], name: str) -> TraderParams | None:
    """What a group trades; None if it is no trader of a market."""
    env, params = config["env"], config["env_config"]
    if issubclass(env, StagedEnv):
        env, params = params["env"], list(params["stages"].values())[-1]
    if not issubclass(env, MarketEnv | SoloMarket) or name == ALLOCATOR:
        return None
    if name == RISK and params.get("risk_manager") is not None:
        return None
    traders = params.get("traders")
    if traders is not None and name not in traders:
        return None
    return TraderParams.model_validate({"asset_class": name} if traders is None else traders[name])
