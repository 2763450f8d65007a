"""A trial that takes the place of another has the other's state and its own values, in a running mixed team."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.wealtharena.conftest import GAME
from tests.wealtharena.teams import weights
from wealtharena.document import Document, read_document
from wealtharena.tuning.check import sweep_of
from wealtharena.tuning.trial import POINT, ROW, SCORE, VALUES, TeamTrial, trial_config, trial_experiment, trial_team

pytestmark = pytest.mark.usefixtures("local_ray")

MIXED = """\
name: mixed
environment:
  class: environments.market.env:MarketEnv
  params:
    data: {synthetic: {assets: {stocks: 2, crypto: 1, etf: 2, currencies: 2}, bars: 300}}
    window: {end: 2015-06-30}
    horizon: 12
    warmup: 20
    reward: {drawdown: 0.1, terms: {volatility: 0.2}}
members:
  stocks: {algorithm: "policies.ppo:PPO", params: {entropy_coeff: 0.01}}
  etf: {algorithm: "policies.a2c:A2C"}
  crypto: {algorithm: "policies.sac:SAC", params: {learning_starts: 20, batch_size: 8, hidden: [16]}}
  currencies: {algorithm: "policies.dqn:DQN", params: {learning_starts: 20, batch_size: 8, hidden: [16]}}
  allocator: {algorithm: "policies.ppo:PPO", params: {lr_steps: 10_000}}
sampling: {envs_per_runner: 4, fragment: 16}
stop: {iterations: 10}
evaluation: {window: {start: 2015-07-01}}
tune:
  trials: 2
  metric: allocator/episode_return
  scheduler: {kind: pbt, interval: 2}
  space:
    members.stocks.params.lr: {loguniform: [1e-4, 1e-2]}
    members.stocks.params.entropy_coeff: {uniform: [0, 0.1]}
    members.crypto.params.critic_lr: {loguniform: [1e-4, 1e-2]}
    members.allocator.params.lr: {loguniform: [1e-4, 1e-2]}
    environment.params.reward.drawdown: {uniform: [0, 1]}
    environment.params.reward.terms.volatility: {uniform: [0, 1]}
"""
DONOR = {
    "members.stocks.params.lr": 1e-3,
    "members.stocks.params.entropy_coeff": 0.01,
    "members.crypto.params.critic_lr": 2e-3,
    "members.allocator.params.lr": 3e-3,
    "environment.params.reward.drawdown": 0.1,
    "environment.params.reward.terms.volatility": 0.2,
    "seed": 0,
}
OTHER = {
    "members.stocks.params.lr": 1.2e-3,
    "members.stocks.params.entropy_coeff": 0.012,
    "members.crypto.params.critic_lr": 1.6e-3,
    "members.allocator.params.lr": 2.4e-3,
    "environment.params.reward.drawdown": 0.12,
    "environment.params.reward.terms.volatility": 0.16,
    "seed": 1,
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    path = tmp_path_factory.mktemp("mixed") / "mixed.yaml"
    path.write_text(MIXED)
    return read_document(str(path))


def config_of(document: Document, values: dict[str, Any], number: int = 0) -> dict[str, Any]:
    return {**trial_config(document), POINT: {"number": number, VALUES: values}}


@pytest.fixture
def trials(document: Document) -> Iterator[tuple[TeamTrial, TeamTrial]]:
    """The donor, four iterations old, and another trial, two iterations old."""
    donor, other = TeamTrial(config_of(document, DONOR)), TeamTrial(config_of(document, OTHER, 1))
    for _ in range(4):
        donor.train()
    for _ in range(2):
        other.train()
    yield donor, other
    donor.cleanup()
    other.cleanup()


def rates(trial: TeamTrial) -> dict[str, set[float]]:
    """family -> the learning rates of its optimisers."""
    return {family: set(_rates(child)) for family, child in trial.team.learner_group.children.items()}


def _rates(child: Any) -> list[float]:
    found: list[float] = []

    def look(learner: Any) -> None:
        found.extend(float(g["lr"]) for o in learner._named_optimizers.values() for g in o.param_groups)

    child.foreach_learner(look)
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two nested states are equal to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    if hasattr(one, "__dict__"):
        return same(vars(one), vars(other))
    return bool(one == other)


def exploited(document: Document, donor: TeamTrial, other: TeamTrial, path: Path) -> None:
    """What Tune does: the other trial takes new values, in its process, and the donor's checkpoint."""
    donor.save_checkpoint(str(path))
    assert other.reset(config_of(document, OTHER)) is True
    other.load_checkpoint(str(path))


def test_it_has_the_state_of_the_donor(document: Document, trials: tuple[TeamTrial, TeamTrial], tmp_path: Path) -> None:
    donor, other = trials
    exploited(document, donor, other, tmp_path)
    ours, theirs = weights(other.team), weights(donor.team)
    assert ours.keys() == theirs.keys() == {"stocks", "etf", "crypto", "currencies", "allocator"}
    assert same(ours, theirs)
    mine, its = other.team.get_state()["team"], donor.team.get_state()["team"]
    assert same(
        {k: mine[k] for k in ("env_steps", "random", "statistics")},
        {k: its[k] for k in ("env_steps", "random", "statistics")},
    )
    assert same(mine["trainers"], its["trainers"])  # replay, its draws, orders of minibatches
    assert same(other.team.env_runner.env.get_state(), donor.team.env_runner.env.get_state())
    assert other.mark == donor.mark


def test_it_learns_with_its_own_values(document: Document, trials: tuple[TeamTrial, TeamTrial], tmp_path: Path) -> None:
    donor, other = trials
    exploited(document, donor, other, tmp_path)
    steps = other.mark.env_steps
    assert rates(other)["stocks"] == {1.2e-3}
    assert rates(other)["crypto"] == {3e-4, 1.6e-3}
    assert list(rates(other)["allocator"]) == pytest.approx([2.4e-3 * (1 - steps / 10_000)])
    reward = other.team.env_runner.env.params.reward
    assert (reward.drawdown, reward.terms) == (0.12, {"volatility": 0.16})
    assert other.team.learner_group.children["stocks"].config.entropy_coeff == 0.012
    before = rates(other)
    result = other.train()
    assert result["iteration"] == donor.mark.iteration + 1
    assert rates(other)["stocks"] == before["stocks"]  # and they stay so


def test_it_is_in_the_stage_of_the_donor(tmp_path: Path) -> None:
    """Every episode is a success: in the second iteration the donor is promoted, which the other trial never was."""
    (tmp_path / "game.yaml").write_text(
        GAME
        + """\
curriculum:
  stages: {short: {horizon: 2}, long: {}}
  success: {metric: left/episode_return, at_least: 0.0}
  rule: {kind: promotion, promote_above: 0.9, patience: 1}
tune: {trials: 2, scheduler: {kind: pbt, interval: 2}, space: {members.left.params.lr: {uniform: [1e-4, 1e-2]}}}
"""
    )
    document = read_document(str(tmp_path / "game.yaml"))
    low, high = ({"members.left.params.lr": lr, "seed": 0} for lr in (1e-3, 2e-3))
    donor, other = TeamTrial(config_of(document, low)), TeamTrial(config_of(document, high, 1))
    rows = [donor.train()[ROW] for _ in range(3)]
    other.train()
    assert [row["curriculum/stage"] for row in rows] == [1, 2, 2]
    assert not same(other.team.get_state()["team"]["curriculum"], donor.team.get_state()["team"]["curriculum"])

    donor.save_checkpoint(str(tmp_path / "saved"))
    assert other.reset(config_of(document, high)) is True
    other.load_checkpoint(str(tmp_path / "saved"))
    assert same(other.team.get_state()["team"]["curriculum"], donor.team.get_state()["team"]["curriculum"])
    assert other.team.env_runner.env.stage_E.tolist() == donor.team.env_runner.env.stage_E.tolist() == [1] * 8
    assert other.train()[ROW]["curriculum/stage"] == 2
    donor.cleanup()
    other.cleanup()


def test_without_a_change_it_goes_on_to_the_bit(document: Document, tmp_path: Path) -> None:
    config = config_of(document, DONOR)
    one, two = TeamTrial(config), TeamTrial(deepcopy(config))
    for _ in range(2):
        one.train()
    one.save_checkpoint(str(tmp_path))
    two.load_checkpoint(str(tmp_path))
    rows = [trial.train()[ROW] for trial in (one, two)]
    times = {"seconds", "steps_per_s"}
    assert {k: v for k, v in rows[0].items() if k not in times} == {k: v for k, v in rows[1].items() if k not in times}
    assert same(weights(one.team), weights(two.team))
    one.cleanup()
    two.cleanup()


def test_a_score_that_is_not_known_is_not_reported(document: Document) -> None:
    data = deepcopy(document.data)
    data["environment"]["params"]["horizon"] = 24  # of which an iteration sees 16 bars
    trial = TeamTrial(config_of(Document(document.name, data, {}), DONOR))
    results = [trial.train() for _ in range(2)]
    assert [SCORE in result for result in results] == [False, True]
    trial.cleanup()


def test_all_trials_have_the_same_families(document: Document) -> None:
    sweep = sweep_of(document)
    families = [list(trial_team(config_of(document, values)).families()) for values in (*(sweep.points or ()), DONOR)]
    assert all(one == families[0] for one in families)
    assert "stocks" in families[0]


def test_a_trial_is_judged_by_what_the_sweep_compares(document: Document) -> None:
    experiment = trial_experiment(config_of(document, DONOR))
    assert experiment.spec.checkpoint.metric == "allocator/episode_return"
    assert experiment.spec.tune is None


def test_its_bundles_are_those_of_the_team(document: Document) -> None:
    assert TeamTrial.default_resource_request(config_of(document, DONOR)).bundles == [{"CPU": 1.0}]
    changed = Document(document.name, {**document.data, "sampling": {"runners": 2}, "learning": {"learners": 1}}, {})
    request = TeamTrial.default_resource_request(config_of(changed, DONOR))
    assert request.required_resources["CPU"] == 1 + 2 + 5  # itself, runners, a learner of each of five families
