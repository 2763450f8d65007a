"""The layers of each kind of network: what they may look at, and what they must not."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from ray.rllib.core.models.base import ENCODER_OUT

from policies.encoders import ActorCriticCatalog, NetworkEncoder, QCatalog, SoftActorCriticCatalog
from policies.networks import (
    Attention,
    Conv,
    Core,
    Gru,
    Mlp,
    Network,
    Recurrent,
    RecurrentCore,
    Summarising,
    Transformer,
    WindowCore,
)
from policies.ppo import PPO, PPOParams

F = 4
WINDOWS = [Conv(window=9, units=6), Gru(window=9, units=6), Transformer(window=9, units=6, layers=2)]
KINDS = [*WINDOWS, Recurrent(units=6), Attention(units=6, layers=2)]


def names(kinds: list[Summarising]) -> dict[str, list[str]]:
    return {"ids": [each.kind for each in kinds]}


def seeded(network: Summarising, seed: int = 0) -> Core:
    """Its layers, and what they draw taken back from the process."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network.build(F)


def seen(*shape: int, seed: int = 0) -> torch.Tensor:
    """Observations that were all there: (..., F + 1)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randn(*shape, F, generator=generator), torch.ones(*shape, 1)], dim=-1)


def rows_of(network: Summarising, count: int) -> torch.Tensor:
    if isinstance(network, Recurrent):
        return torch.randn(count, 5, F + network.units, generator=torch.Generator().manual_seed(1))
    return seen(count, 9)


@pytest.mark.parametrize("network", WINDOWS, **names(WINDOWS))
@given(bar=st.integers(0, 8), seed=st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_no_bar_looks_ahead(network, bar, seed):
    """Change a bar: what was before it stays to the bit, what comes from it on does not."""
    core, before = seeded(network), seen(2, 9, seed=seed)
    assert isinstance(core, WindowCore)
    after = before.clone()
    after[:, bar, :F] += 1.0
    found, expected = core.bars(after), core.bars(before)
    torch.testing.assert_close(found[:, :bar], expected[:, :bar], rtol=0, atol=0)
    assert (found[:, bar] != expected[:, bar]).any(dim=-1).all()


@pytest.mark.parametrize("network", WINDOWS, **names(WINDOWS))
def test_the_last_bar_sees_the_first_of_its_window(network):
    core, before = seeded(network), seen(1, 9)
    after = before.clone()
    after[:, 0, :F] += 1.0
    assert not torch.equal(core.bars(after)[:, -1], core.bars(before)[:, -1])


@pytest.mark.parametrize("network", WINDOWS, **names(WINDOWS))
def test_decisions_in_a_row_are_windows_side_by_side(network):
    """Twelve bars hold four windows of nine: each gives what it gives alone, and in this order."""
    core, bars = seeded(network), seen(3, 12)
    alone = [core(bars[n : n + 1, start : start + 9]) for n in range(3) for start in range(4)]
    torch.testing.assert_close(core(bars), torch.cat(alone))
    torch.testing.assert_close(core(bars)[:, core.network.units :], bars[:, 8:, :F].flatten(0, 1), rtol=0, atol=0)


@pytest.mark.parametrize("network", [*WINDOWS, Attention(units=6)], **names([*WINDOWS, Attention()]))
@given(absent=st.sets(st.integers(0, 7), max_size=8), seed=st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_what_was_not_seen_does_not_matter(network, absent, seed):
    """Whatever stands where the flag is 0, nan too, changes nothing for those who were there."""
    core, rows = seeded(network), seen(2, 9, seed=seed)
    rows[:, sorted(absent), F] = 0.0
    noise = rows.clone()
    noise[:, sorted(absent), :F] = math.nan if seed % 2 else 100.0
    there = [agent for agent in range(9) if agent not in absent]
    found, expected = core(noise), core(rows)
    if isinstance(network, Attention):
        found, expected = (out.unflatten(0, (2, 9))[:, there] for out in (found, expected))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert torch.isfinite(found).all()


@given(order=st.permutations(range(9)), absent=st.sets(st.integers(0, 8)), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_attention_does_not_know_who_sits_where(order, absent, seed):
    core, rows = seeded(Attention(units=6, layers=2)), seen(3, 9, seed=seed)
    rows[:, sorted(absent), F] = 0.0
    expected = core(rows).unflatten(0, (3, 9))[:, order]
    torch.testing.assert_close(core(rows[:, order]).unflatten(0, (3, 9)), expected, rtol=1e-4, atol=1e-5)


def test_attention_looks_at_the_others_and_at_no_other_copy():
    core, before = seeded(Attention(units=6)), seen(2, 4)
    after = before.clone()
    after[0, 3, :F] += 1.0
    changed = (core(after) != core(before)).any(dim=-1).unflatten(0, (2, 4))
    assert changed.tolist() == [[True] * 4, [False] * 4]


@given(cut=st.integers(1, 11), seed=st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_a_recurrent_state_can_be_handed_on(cut, seed):
    """Twelve decisions in a row are the first few, then the rest from the state those left; other states are unread."""
    core = seeded(Recurrent(units=6), seed)
    assert isinstance(core, RecurrentCore)
    rows = torch.randn(3, 12, F + 6, generator=torch.Generator().manual_seed(seed))
    rest = rows[:, cut:].clone()
    rest[:, 0, F:] = core.after(rows[:, :cut])
    found = torch.cat([core(part).unflatten(0, (3, -1)) for part in (rows[:, :cut], rest)], dim=1)
    torch.testing.assert_close(found, core(rows).unflatten(0, (3, -1)))
    torch.testing.assert_close(core.after(rest), core.after(rows))


def counted(network: Summarising) -> int:
    """The docstrings' formulas."""
    g, h = F + 1, network.units
    if isinstance(network, Conv):
        n = math.ceil(math.log2((network.window - 1) / (network.kernel - 1) + 1))
        return (g + h * (n - 1)) * h * network.kernel + n * h
    if isinstance(network, Transformer | Attention):
        places = network.window if isinstance(network, Transformer) else 0
        return h * (g + 1 + places) + network.layers * (12 * h**2 + 13 * h)
    return 3 * h * ((F if isinstance(network, Recurrent) else g) + h + 2)


MORE = [Conv(window=16), Conv(window=2, kernel=2), Gru(), Transformer(), Recurrent(), Attention(layers=3)]


@pytest.mark.parametrize("network", [*KINDS, *MORE], **names([*KINDS, *MORE]))
def test_parameters_are_as_many_as_stated(network):
    assert sum(parameter.numel() for parameter in network.build(F).parameters()) == counted(network)


@pytest.mark.parametrize("network", KINDS, **names(KINDS))
def test_all_parameters_learn_and_start_the_same_with_the_same_seed(network):
    core, twin, other = seeded(network, 1), seeded(network, 1), seeded(network, 2)
    rows = rows_of(network, 7)
    torch.testing.assert_close(core(rows), twin(rows), rtol=0, atol=0)
    assert not torch.equal(core(rows), other(rows))
    out = core(rows)
    assert out.shape[1] == core.network.units + F
    for name, gradient in zip(
        dict(core.named_parameters()),
        torch.autograd.grad(out[:, : core.network.units].square().sum(), list(core.parameters())),
        strict=True,
    ):
        assert gradient.abs().sum() > 0, name


@pytest.mark.parametrize("network", KINDS, **names(KINDS))
@pytest.mark.parametrize("catalog_class", [ActorCriticCatalog, SoftActorCriticCatalog, QCatalog])
def test_every_algorithm_gets_its_encoders(network, catalog_class):
    """In front of ``hidden`` units, whichever of RLlib's catalogs builds them."""
    settings = PPO(PPOParams(hidden=(7, 5))).learner_config(gym.spaces.Discrete(3)).model_config
    more = {"network": network.model_dump(), "num_atoms": 1}
    space = gym.spaces.Box(-1, 1, (F,), np.float32)
    catalog = catalog_class(space, gym.spaces.Discrete(3), {**settings, **more})
    encoder = catalog._encoder_config.build("torch")
    rows = rows_of(network, 2)
    assert isinstance(encoder, NetworkEncoder)
    assert encoder({"obs": rows})[ENCODER_OUT].shape == (len(encoder.core(rows)), 5)
    assert tuple(catalog.latent_dims) == (5,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "cnn"}, "'cnn' found using 'kind' does not match any of the expected tags: 'mlp', 'conv', 'gru'"),
        ({"window": 8}, "Unable to extract tag using discriminator 'kind'"),
        ({"kind": "mlp", "window": 8}, "Extra inputs are not permitted"),
        ({"kind": "attention", "window": 8}, "Extra inputs are not permitted"),
        ({"kind": "conv", "window": 1}, "greater than or equal to 2"),
        ({"kind": "attention", "heads": 3}, "units is 32 and heads is 3: units must be a multiple of heads"),
    ],
)
def test_a_network_that_cannot_be_is_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Network).validate_python(given)


def test_settings_survive_being_written_down():
    for network in (Mlp(), *KINDS):
        assert TypeAdapter(Network).validate_python(network.model_dump(mode="json")) == network
