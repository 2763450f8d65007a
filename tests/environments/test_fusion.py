from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from environments.errors import DataError
from environments.market.config import MarketParams
from environments.market.config_coordination import VotingFusion
from environments.market.fusion import Spoken, chosen_voices, follow, fuse, voices, vote
from tests.environments.markets import FREE, by_hand, market

FLAT = ([100.0] * 12, [100.0] * 12)
STOCKS, COINS = "stocks/AA", "crypto/CC"


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_equal_performances_are_heard_alike_and_the_better_one_more():
    assert voices(row(0.3, 0.3), 0.1).tolist() == [[0.5, 0.5]]
    heard = voices(row(0.2, 0.1), 0.1)
    assert heard[0, 0] / heard[0, 1] == pytest.approx(torch.e)


def test_signals_are_weighed_and_one_order_is_enough():
    signal_JEA = torch.stack([row(1.0, 0.5), row(-1.0, 0.5)])
    asks_JEA = torch.tensor([[[True, False]], [[False, False]]])
    heard = fuse(Spoken(signal_JEA, asks_JEA), row(0.75, 0.25).T.unsqueeze(-1))
    assert heard.signal_EA.tolist() == [[0.5, 0.5]]
    assert heard.asks_EA.tolist() == [[True, False]]
    assert heard.voice_JEA.tolist() == [[[0.75, 0.75]], [[0.25, 0.25]]]


def test_performance_is_an_exponential_mean_with_the_given_half_life():
    score_EJ = row(1.0, 1.0)
    signal_JEA = torch.stack([row(1.0, 1.0), row(-1.0, 0.0)])
    for _ in range(3):
        score_EJ = follow(score_EJ, signal_JEA, row(2.0, 0.0), half_life=3.0)
    assert score_EJ[0].tolist() == pytest.approx([0.5 * 1 + 0.5 * 1.0, 0.5 * 1 + 0.5 * -1.0])


def test_of_two_traders_on_a_rising_class_the_one_that_buys_is_heard_more_and_more():
    close = [100 * 1.01**t * (1 + 0.001 * (t % 2)) for t in range(40)]
    traders = {
        "bull": {"asset_class": "stocks", "action": "continuous"},
        "bear": {"asset_class": "stocks", "action": "continuous"},
        "coins": {"asset_class": "crypto", "action": "continuous"},
    }
    env = market(
        by_hand({"stocks/UP": (close, close), "crypto/FLAT": ([5.0] * 40, [5.0] * 40)}),
        traders=traders,
        horizon=None,
        warmup=5,
        costs={"stocks": FREE, "crypto": FREE},
        fusion={"half_life": 5, "temperature": 0.2},
    )
    env.reset()
    asked = []
    for _ in range(39):
        up, none = torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
        env.step({"bull": up, "bear": -up, "coins": none, "allocator": torch.zeros(1, 1, 3)})
        asked.append(env.record.signal_EN[0, 0].item())
    assert asked[:5] == [0.0] * 5  # four bars of warm-up, and nobody has been right yet
    assert all(late >= early for early, late in pairwise(asked))
    assert asked[-1] > 0.9


# ---- voting


def column(*values: float) -> Tensor:
    """One asset in one copy, of several traders: (J, 1, 1)."""
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)


def heard(*signals: float, held: float = 0.3, **rule: Any) -> tuple[float, bool, list[float]]:
    spoken = Spoken(column(*signals), torch.ones(len(signals), 1, 1, dtype=torch.bool))
    found = vote(spoken, row(held), column(0.2), VotingFusion(threshold=0.2, **rule))
    return found.signal_EA.item(), bool(found.asks_EA), found.voice_JEA.flatten().tolist()


def test_the_majority_is_heard_with_its_mean_size():
    assert heard(0.4, 0.8, -1.0) == (pytest.approx(0.6), True, [0.5, 0.5, 0.0])
    assert heard(-0.5, -0.7, 1.0, -0.9) == (pytest.approx(-0.7), True, pytest.approx([1 / 3, 1 / 3, 0.0, 1 / 3]))


def test_who_is_not_sure_abstains():
    assert heard(0.2, -0.2, -0.5) == (-0.5, True, [0.0, 0.0, 1.0])


@pytest.mark.parametrize("signals", [(1.0, -0.5), (0.1, 0.0), (0.9, 0.0)])
def test_without_a_majority_or_a_quorum_nothing_is_held_or_what_is_held(signals):
    assert heard(*signals, quorum=2) == (0.0, True, [0.0, 0.0])
    assert heard(*signals, quorum=2, tie="hold") == (0.3, False, [0.0, 0.0])


@pytest.mark.parametrize("tie", ["flat", "hold"])
def test_a_vote_that_is_no_number_is_noticed(tie):
    assert torch.isnan(torch.tensor(heard(torch.nan, 1.0, -1.0, tie=tie)[0]))


def trading(fusion: dict[str, Any], **traders: dict[str, Any]) -> Any:
    given = {name: {"asset_class": "stocks", **trader} for name, trader in traders.items()}
    coins = {"coins": {"asset_class": "crypto", "action": "continuous"}}
    env = market(
        by_hand({STOCKS: FLAT, COINS: FLAT}),
        traders=given | coins,
        horizon=None,
        warmup=1,
        allocator=None,
        risk={"max_position": 1},
        costs={"stocks": FREE, "crypto": FREE},
        fusion=fusion,
    )
    env.reset()
    return env


def asked(env: Any, **actions: float) -> float:
    """What is asked for of the stock, after these actions."""
    spaces = {name: group.action_space for name, group in env.groups.items()}
    given = {name: torch.tensor([[value]]) for name, value in (actions | {"coins": 0.0}).items()}
    env.step({name: value if spaces[name].shape == () else value.unsqueeze(2) for name, value in given.items()})
    return float(env.record.signal_EN[0, env.panel.symbols.index("AA")])


def test_buys_and_sells_are_counted_and_holds_abstain():
    env = trading({"kind": "voting"}, a={"action": "trade"}, b={"action": "trade"}, c={"action": "trade"})
    assert asked(env, a=2, b=2, c=0) == 0.5
    assert asked(env, a=2, b=1, c=1) == 1.0
    assert asked(env, a=2, b=1, c=1) == 1.0  # a Buy at the most is a vote too
    assert asked(env, a=1, b=1, c=1) == 1.0  # nobody asks for anything
    assert asked(env, a=0, b=0, c=2) == 0.5
    assert asked(env, a=0, b=1, c=2) == 0.0  # a tie


def test_of_numbers_only_those_beyond_the_threshold_are_counted():
    number = {"action": "continuous"}
    env = trading({"kind": "voting", "threshold": 0.5}, a=number, b={"action": "levels"}, c=number)
    assert asked(env, a=0.4, b=4, c=-0.3) == 1.0
    assert asked(env, a=-0.75, b=4, c=-0.25) == 0.0
    assert asked(env, a=-0.75, b=2, c=-0.25) == -0.75  # the third of five levels is flat


# ---- a trader that is alone, means, fusers


def test_who_is_alone_is_not_voted_on():
    env = trading({"kind": "voting", "threshold": 0.5}, a={"action": "levels"}, b={"action": "levels"})
    env.step({"a": torch.tensor([[4]]), "b": torch.tensor([[4]]), "coins": torch.tensor([[[0.1]]])})
    assert float(env.record.signal_EN[0, env.panel.symbols.index("CC")]) == pytest.approx(0.1)
    assert set(env.voices()) == {"a", "b"}


def test_a_mean_hears_all_alike():
    env = trading({"kind": "mean"}, a={"action": "continuous"}, b={"action": "levels"})
    assert asked(env, a=0.5, b=0) == -0.25
    assert {name: float(voice_E) for name, voice_E in env.voices().items()} == {"a": 0.5, "b": 0.5}


def test_a_fuser_weighs_what_is_said_now():
    number = {"action": "continuous"}
    env = trading({"kind": "neural", "sharpness": 2.0}, a=number, b=number)
    weights = torch.tensor([[[1.0, -1.0]]])
    heavy = float(torch.e**2 / (torch.e**2 + torch.e**-2))
    said = {"a": torch.tensor([[[0.8]]]), "b": torch.tensor([[[-0.4]]]), "coins": torch.zeros(1, 1, 1)}
    obs = env.step({**said, "stocks_fuser": weights}).obs["stocks_fuser"][0, 0]
    seen = dict(zip(env.feature_names["stocks_fuser"], obs.tolist(), strict=True))
    assert float(env.voices()["a"]) == pytest.approx(heavy)
    assert float(env.record.signal_EN[0, env.panel.symbols.index("AA")]) == pytest.approx(
        0.8 * heavy - 0.4 * (1 - heavy)
    )
    assert (seen["said/a"], seen["said/b"]) == pytest.approx((0.8, -0.4))
    assert chosen_voices(3 * weights, 2.0)[0, 0, 0].item() == pytest.approx(heavy)  # clipped


def test_a_fuser_that_is_left_out_is_missed():
    number = {"action": "continuous"}
    env = trading({"kind": "neural"}, a=number, b=number)
    with pytest.raises(ValueError, match="no actions for group 'stocks_fuser'"):
        asked(env, a=0.1, b=0.1)


@pytest.mark.parametrize("paid", ["portfolio", "sleeve"])
def test_a_fuser_is_paid_for_the_portfolio_or_its_asset(paid):
    number = {"action": "continuous"}
    rising = ([100.0] * 12, [100.0 + t for t in range(12)])
    env = market(
        by_hand({STOCKS: rising, "stocks/BB": FLAT}),
        traders={name: {"asset_class": "stocks", **number} for name in "ab"},
        allocator=None,
        horizon=None,
        warmup=1,
        fusion={"kind": "neural", "paid": paid},
        risk={"max_position": 1},
    )
    env.reset()
    buy, fuse = torch.ones(1, 2, 1), torch.zeros(1, 2, 2)
    for _ in range(3):
        reward = env.step({"a": buy, "b": buy, "stocks_fuser": fuse}).reward
    first, second = reward["stocks_fuser"][0].tolist()
    assert first > 0
    assert second == (first if paid == "portfolio" else pytest.approx(float(reward["a"][0, 1])))


# ---- refusals


NUMBERS = {name: {"asset_class": "stocks", "action": "continuous"} for name in "ab"}
REFUSED = {
    "voting over continuous signals without a rule": ({"kind": "voting"}, NUMBERS),
    "fusion.quorum: 3 of a, b can never vote": ({"kind": "voting", "threshold": 0, "quorum": 3}, NUMBERS),
    "neural has no signals to fuse": ({"kind": "neural"}, None),
    "that group is the fuser's; rename": ({"kind": "neural"}, NUMBERS | {"stocks_fuser": NUMBERS["a"]}),
    "less than 1": ({"kind": "voting", "threshold": 1.0}, NUMBERS),
    "Extra inputs are not permitted": ({"kind": "mean", "half_life": 3}, NUMBERS),
    "does not match any of the expected tags: 'mean', 'weighted', 'voting', 'neural'": ({"kind": "loud"}, NUMBERS),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_what_makes_no_sense_is_refused(rule):
    fusion, traders = REFUSED[rule]
    with pytest.raises(ValidationError, match=rule):
        MarketParams.model_validate({"data": {"synthetic": {}}, "fusion": fusion, "traders": traders})


def test_a_fuser_cannot_observe_what_is_not_there():
    with pytest.raises(
        DataError, match=r"fusion.observe: the fuser of stocks has no feature 'said/c'; there are said/a"
    ):
        trading({"kind": "neural", "observe": ["said/c"]}, a={"action": "continuous"}, b={"action": "continuous"})


def test_a_fusion_without_a_kind_is_weighted():
    given = {"data": {"synthetic": {}}, "fusion": {"half_life": 5}}
    assert MarketParams.model_validate(given).fusion.kind == "weighted"
