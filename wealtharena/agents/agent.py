"""One agent: makes, trains, asks, saves and loads it from Python."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from policies.algorithm import Algorithm
from policies.networks import Conv, Gru, Recurrent, Transformer
from policies.randomness import RandomStream
from wealtharena.agents.alone import Source, Window, market_of
from wealtharena.agents.evaluating import evaluate_alone
from wealtharena.agents.files import holds_agent, read_agent, write_agent, write_folder
from wealtharena.agents.learning import Lesson, Memory, Row, learn
from wealtharena.agents.parts import Learned, Profile
from wealtharena.agents.recipe import profile_of
from wealtharena.errors import UserError
from wealtharena.team.policy import Player

Observation = npt.ArrayLike | Tensor


class Agent:
    """A policy that all assets of one class share, the algorithm that trains it, and what it has learned.

    Attributes:
        profile: Who it is: name, class and actions, algorithm, seed.

    Example:
        >>> agent = Agent.create("stocks", params={"lr": 1e-4}, seed=1)
        >>> agent
        Agent('stocks', PPO, not trained)
    """

    def __init__(self, profile: Profile, learned: Learned | None = None) -> None:
        """Use ``Agent.create``, ``Agent.load`` or ``load_team``."""
        self.profile = profile
        self._learned = learned
        self._memory: Memory | None = None
        self._playing: tuple[tuple[int, int], Player] | None = None
        self._lessons = 0
        self._curve: list[Row] = []
        self._stream = RandomStream(profile.seed)

    @classmethod
    def create(
        cls,
        asset_class: str,
        *,
        algorithm: str | None = None,
        params: Mapping[str, Any] | None = None,
        trader: Mapping[str, Any] | None = None,
        name: str | None = None,
        seed: int = 0,
    ) -> Self:
        """An agent that has learned nothing yet.

        Args:
            asset_class: What it trades: stocks, crypto, etf, currencies, reits or a class of your own.
            algorithm: ``module:Class``; None: the quickstart's (crypto SAC, etf A2C, currencies DQN, any other PPO).
            params: Hyperparameters of the algorithm.
            trader: How it acts, as a trader in an experiment file: ``{"action": "levels", "levels": 3}``.
            name: Of its group in a team; None: the class.
            seed: Of its training, and of its draws.

        Raises:
            UserError: There is no such algorithm, hyperparameter or action, or they do not go together.
        """
        return cls(
            profile_of(asset_class, name=name, algorithm=algorithm, params=params or {}, trader=trader or {}, seed=seed)
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """An agent that was saved. It predicts as it did, and its training goes on from its weights.

        This unpickles the networks and imports the algorithm's module: load only what you trust.

        Raises:
            UserError: There is no agent, or it is damaged.
        """
        folder = Path(path)
        if not holds_agent(folder):
            hint = "; of a team take one with load_team(path)[group]" if folder.is_dir() else ""
            raise UserError(f"{folder}: holds no saved agent{hint}")
        return cls(*read_agent(folder))

    @property
    def name(self) -> str:
        """Of its group in a team."""
        return self.profile.name

    @property
    def asset_class(self) -> str | None:
        """What it trades; None for one that trades no class, as an allocator."""
        return None if self.profile.trader is None else self.profile.trader.asset_class

    @property
    def algorithm(self) -> Algorithm:
        """What it learns with."""
        return self.profile.algorithm

    @property
    def env_steps(self) -> int:
        """Steps of the environment that it was trained on, over all copies."""
        return 0 if self._learned is None else self._learned.env_steps

    @property
    def learned(self) -> Learned:
        """Its policy and what is known of it.

        Raises:
            UserError: It has not been trained.
        """
        if self._learned is None:
            raise UserError(f"agent {self.name!r} has not been trained: call train() first, or Agent.load(path)")
        return self._learned

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Of the columns of an observation, in their order; None where its environment names none."""
        return self.learned.provenance.features

    @property
    def action_space(self) -> gym.Space[Any]:
        """Of one asset's action."""
        return self.learned.policy.action_space

    @property
    def learning_curve(self) -> pd.DataFrame:
        """A row for each iteration trained in this process: ``env_steps``, ``episode_return``, losses, action shares.

        ``episode_return`` is the mean of the episodes that ended last, NaN before the first one ends.
        """
        return pd.DataFrame(self._curve)

    def train(
        self,
        data: Source = None,
        *,
        env_steps: int = 100_000,
        window: Window | None = None,
        market: Mapping[str, Any] | None = None,
        copies: int = 64,
        fragment: int = 64,
    ) -> Self:
        """Trains it alone, in a market of its class, on a local Ray if none runs; may be called again to go on.

        Called again, weights, optimisers, replay and schedules go on and new episodes begin, in other data too. After
        ``load``, weights and normaliser go on. What raises, Ctrl-C included, leaves the agent as it was.

        Args:
            data: A price file (Parquet or CSV), or a DataFrame with its columns: date, symbol, asset_class, open, high,
                low, close, volume; other classes in it are left out. Or the ``data`` section of a market. None: made-up
                prices.
            env_steps: How many steps of the market to train on, over all copies, rounded up to whole iterations.
            window: First and last date, both inclusive; None: all of the data.
            market: Further parameters of the market, as in an experiment file: horizon, costs, reward, ...
            copies: E, copies of the market that are stepped together.
            fragment: T, steps between two updates.

        Returns:
            The agent itself.

        Raises:
            UserError: The data or the market cannot be used, or do not go with what the agent has learned.
        """
        for field, value in (("env_steps", env_steps), ("copies", copies), ("fragment", fragment)):
            if value < 1:
                raise UserError(f"{field} = {value}: must be at least 1")
        with tempfile.TemporaryDirectory() as folder:
            params = market_of(self.profile, data, window, market or {}, Path(folder))
            lesson = Lesson(params, env_steps, copies, fragment, self._lessons)
            result = learn(self.profile, lesson, self._learned, self._memory)
        self._learned, self._memory, self._playing = result.learned, result.memory, None
        self._lessons += 1
        self._curve = [*self._curve, *result.curve]
        return self

    def evaluate(
        self, data: Source, *, window: Window | None = None, market: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Tests it, trading alone, on prices that it was not trained on. Deterministic; needs no Ray.

        Args:
            data: As ``train`` takes it.
            window: First and last date of the test; None: all of the data.
            market: Further parameters of the market; the horizon is the whole window.

        Returns:
            What ``evaluation.json`` of a run holds: ``["team"]`` has the agent's total return, Sharpe ratio, drawdown
            and so on, ``["baselines"]`` those of other rules, ``["difference"]`` whether it beats equal weights.

        Raises:
            UserError: The test has dates in common with the price files it was trained on, or the data cannot be used.
        """
        learned = self.learned
        with tempfile.TemporaryDirectory() as folder:
            params = market_of(self.profile, data, window, market or {}, Path(folder))
            return evaluate_alone(self.profile, learned, params)

    def predict(self, observation: Observation, deterministic: bool = True) -> npt.NDArray[Any]:
        """What it does. A network that looks back takes each call for the next step of an episode; see ``reset``.

        Args:
            observation: (..., F), as the market gives it: (F,) for one asset, (A, F), or (E, A, F).
            deterministic: As well as it knows; otherwise as it explores, with draws from a generator of its own that
                follows from its seed.

        Returns:
            In the environment's units: int64 (...) for Discrete actions, float32 (..., U) for a Box.

        Raises:
            UserError: It has not been trained; the observation has another width, or is no finite number; a network
                that looks back is asked for another number of agents than in the step before.
        """
        rows = self._rows(observation)
        obs_EAF = rows.reshape(-1, *rows.shape[-2:]) if rows.ndim > 1 else rows.reshape(1, 1, -1)
        player = self._player_of(*obs_EAF.shape[:2])
        if deterministic:
            action = player.act(obs_EAF)
        else:
            with self._stream.active():
                action = player.explore(obs_EAF, self.env_steps)
        found: npt.NDArray[Any] = action.reshape((*rows.shape[:-1], *action.shape[2:])).numpy()
        return found

    def reset(self) -> None:
        """Begins a new episode: a network that looks back forgets the observations it was asked about so far."""
        self._playing = None

    def _player_of(self, copies: int, agents: int) -> Player:
        """Who remembers what was predicted before, for as many agents."""
        if self._playing is None or not isinstance(self.algorithm.params.network, Conv | Gru | Transformer | Recurrent):
            self._playing = ((copies, agents), self.learned.policy.player(copies, agents))
        asked, player = self._playing
        if asked != (copies, agents):
            raise UserError(
                f"agent {self.name!r}: it remembers {asked[0]} x {asked[1]} observations of the step before, and this "
                f"one has {copies} x {agents}; call reset() where an episode begins"
            )
        return player

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Saves it in a folder, at once or not at all: networks, normaliser, hyperparameters, feature names, versions.

        Optimisers, replay and the learning curve are not saved.

        Args:
            path: The folder; must not exist, or be empty.
            overwrite: Replaces an agent that was saved there; anything else stays.

        Raises:
            UserError: It has not been trained, the folder holds something, or it cannot be written.
        """
        learned = self.learned
        write_folder(
            Path(path),
            lambda folder: write_agent(folder, self.profile, learned),
            replaceable=holds_agent,
            overwrite=overwrite,
        )

    def _rows(self, observation: Observation) -> Tensor:
        """The observation as float32 (..., F), finite."""
        try:
            rows = torch.as_tensor(
                observation if isinstance(observation, Tensor) else np.asarray(observation, dtype=np.float32)
            )
        except (TypeError, ValueError) as error:
            raise UserError(f"agent {self.name!r}: the observation is no array of numbers: {error}") from error
        rows = rows.detach().to("cpu", torch.float32)
        width, names = self.learned.policy.features, self.feature_names
        if rows.ndim == 0 or rows.shape[-1] != width:
            named = f": {', '.join(names)}" if names else ""
            raise UserError(
                f"agent {self.name!r}: the observation has shape {tuple(rows.shape)}, and its last axis must hold the "
                f"{width} features that it was trained on{named}"
            )
        if not bool(rows.isfinite().all()):
            raise UserError(f"agent {self.name!r}: the observation holds NaN or infinite numbers")
        return rows

    def __repr__(self) -> str:
        state = f"{self.env_steps:,} steps" if self._learned else "not trained"
        return f"Agent({self.name!r}, {type(self.algorithm).__name__}, {state})"
