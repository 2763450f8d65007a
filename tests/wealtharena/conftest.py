"""Small experiments that the tests of the platform share."""

from pathlib import Path

import pandas as pd
import pytest

from environments.market.synthetic import generate
from environments.market.synthetic_params import SyntheticParams
from wealtharena.evidence.check import frame_of

MARKET = """\
name: small
environment:
  class: environments.market.env:MarketEnv
  params:
    data: {path: prices.parquet}
    window: {end: 2015-06-30}
    horizon: 20
    warmup: 20
members:
  stocks: {algorithm: "policies.ppo:PPO"}
  crypto: {algorithm: "policies.sac:SAC"}
  allocator: {algorithm: "policies.ppo:PPO"}
sampling: {envs_per_runner: 4, fragment: 16}
stop: {iterations: 2}
evaluation: {window: {start: 2015-07-01}}
"""

GAME = """\
name: game
environment:
  class: tests.games:TargetGame
  params: {groups: {left: {kind: discrete}, right: {kind: discrete, agents: 2}}}
members:
  left: {algorithm: "policies.ppo:PPO", params: {lr: 1e-3}}
  right: {algorithm: "policies.dqn:DQN"}
sampling: {envs_per_runner: 8, fragment: 16}
checkpoint: {every: 2, keep: 2}
stop: {iterations: 4}
evaluation: {episodes: 16}
"""


@pytest.fixture(scope="session")
def prices() -> pd.DataFrame:
    """300 days of two stocks and a cryptocurrency."""
    return frame_of(generate(SyntheticParams(assets={"stocks": 2, "crypto": 1}, bars=300)))


@pytest.fixture
def market(tmp_path: Path, prices: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A market experiment with its price file, in the working directory."""
    monkeypatch.chdir(tmp_path)
    prices.to_parquet(tmp_path / "prices.parquet", index=False)
    (tmp_path / "small.yaml").write_text(MARKET)
    return tmp_path / "small.yaml"


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment without a market, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "game.yaml").write_text(GAME)
    return tmp_path / "game.yaml"
