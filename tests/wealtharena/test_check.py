"""The check passes an honest market and finds each kind of cheating one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from environments.base import Transition
from environments.market.env import MarketEnv
from environments.market.panel import load_panel
from environments.market.record import MarketRecord
from wealtharena.cli import app
from wealtharena.evidence.check import check_laws
from wealtharena.evidence.data_summary import summarise
from wealtharena.experiment import load_experiment

LAWS = [
    "observations and rewards are finite and as declared",
    "the same seed gives the same trajectory",
    "a copy in a batch equals the same world alone",
    "the accounts balance",
    "nothing is known before its time",
]


class Altered(MarketEnv):
    """A market that changes what it shows of each step."""

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        honest = super().step(actions)
        return replace(honest, obs={group: self.alter(obs) for group, obs in honest.obs.items()})

    def alter(self, obs: Tensor) -> Tensor:
        return obs


class Broken(Altered):
    def alter(self, obs: Tensor) -> Tensor:
        return obs / 0.0


class Restless(Altered):
    def alter(self, obs: Tensor) -> Tensor:
        return obs + torch.rand(1, generator=torch.Generator().manual_seed(id(self) % 1000))


class Crowded(Altered):
    def alter(self, obs: Tensor) -> Tensor:
        return obs + float(obs.shape[0])


class Clairvoyant(Altered):
    def alter(self, obs: Tensor) -> Tensor:
        return obs + float(self.panel.close_TN[-1].sum())


class Generous(Altered):
    @property
    def record(self) -> MarketRecord:
        honest = super().record
        return replace(honest, nav_E=honest.nav_E * (1 + 1e-7))


@pytest.mark.parametrize(("cheat", "law"), [(Broken, 0), (Restless, 1), (Crowded, 2), (Generous, 3), (Clairvoyant, 4)])
def test_a_cheat_is_found(market: Path, cheat: type[MarketEnv], law: int) -> None:
    experiment = load_experiment(str(market), [f"environment.class=tests.wealtharena.test_check:{cheat.__name__}"])
    verdicts = {verdict.law: verdict for verdict in check_laws(experiment)}
    assert list(verdicts) == LAWS
    assert not verdicts[LAWS[law]].passed
    others = [verdicts[name].passed for i, name in enumerate(LAWS) if i != law]
    assert all(others) or cheat in {Broken, Restless}  # what is never equal to itself fails more than one law


def test_an_honest_market_passes_and_its_data_is_described(market: Path) -> None:
    result = CliRunner().invoke(app, ["check", "small.yaml"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("pass") == len(LAWS)
    assert "FAIL" not in result.stdout
    assert "train 2015-01-01 to 2015-06-30, test 2015-07-01 to 2015-10-27" in result.stdout
    assert sorted(path.name for path in Path().iterdir()) == ["prices.parquet", "small.yaml"]


def test_a_broken_law_is_exit_code_1(market: Path) -> None:
    cheat = "environment.class=tests.wealtharena.test_check:Generous"
    result = CliRunner().invoke(app, ["check", "small.yaml", "--set", cheat])
    assert result.exit_code == 1
    assert result.stdout.count("FAIL") == 1


def test_an_environment_that_is_no_market_is_checked_by_the_laws_of_all(game: Path) -> None:
    verdicts = list(check_laws(load_experiment(str(game))))
    assert [verdict.law for verdict in verdicts] == LAWS[:3]
    assert all(verdict.passed for verdict in verdicts)


def test_late_starts_are_named(market: Path) -> None:
    panel = load_panel("prices.parquet")
    first = {found.name: found for found in summarise(panel)}
    assert (first["stocks"].symbols, first["stocks"].late) == (("STOCKS01", "STOCKS02"), ())
    panel.traded_TN[:10, panel.symbols.index("STOCKS02")] = False
    assert summarise(panel)[0].late == (("STOCKS02", str(panel.dates_T[11].astype("datetime64[D]"))),)
