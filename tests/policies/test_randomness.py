"""Random streams: a run's numbers are its own."""

import random

import numpy as np
import torch

from policies.randomness import RandomStream


def draw() -> tuple[float, float, float]:
    return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002


def test_a_stream_depends_on_its_seed_alone_and_leaves_the_process_as_it_was():
    first, second = RandomStream(7), RandomStream(7)
    before = torch.get_rng_state()
    with first.active():
        expected = [draw(), draw()]
    assert torch.equal(before, torch.get_rng_state())
    drawn = []
    for _ in range(2):
        draw()  # somebody else draws in between
        with second.active():
            drawn.append(draw())
    assert drawn == expected


def test_a_restored_stream_goes_on():
    stream, other = RandomStream(1), RandomStream(2)
    with stream.active():
        draw()
    other.set_state(stream.get_state())
    with stream.active():
        expected = draw()
    with other.active():
        assert draw() == expected


def test_a_stream_keeps_its_place_when_the_block_raises():
    stream, other = RandomStream(1), RandomStream(1)
    try:
        with stream.active():
            draw()
            raise KeyError  # noqa: TRY301  (an error inside the block is the case)
    except KeyError:
        pass
    with other.active():
        draw()
        expected = draw()
    with stream.active():
        assert draw() == expected
