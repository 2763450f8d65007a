"""Examples in docstrings are run."""

import doctest

import wealtharena.team.config


def test_the_teams_example_runs() -> None:
    assert doctest.testmod(wealtharena.team.config).attempted > 0
    assert doctest.testmod(wealtharena.team.config).failed == 0
