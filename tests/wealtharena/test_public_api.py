"""What the package promises to those who import it."""

import doctest
import inspect
import subprocess
import sys

import pytest

import wealtharena
from wealtharena.agents import agent

PROMISED = {
    "Agent": {
        "action_space", "algorithm", "asset_class", "create", "env_steps", "evaluate", "feature_names", "learned",
        "learning_curve", "load", "name", "predict", "reset", "save", "train",
    },
    "AgentTeam": {"get", "items", "keys", "predict", "reset", "save", "values"},
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert wealtharena.__all__ == ["Agent", "AgentTeam", "UserError", "load_team"]
    assert set(wealtharena.__all__) <= set(dir(wealtharena))
    for name in wealtharena.__all__:
        assert getattr(wealtharena, name).__name__ == name


@pytest.mark.parametrize(("name", "methods"), PROMISED.items())
def test_their_methods_are_these(name: str, methods: set[str]) -> None:
    found = getattr(wealtharena, name)
    assert {each for each in dir(found) if not each.startswith("_")} == methods


@pytest.mark.parametrize("name", wealtharena.__all__)
def test_all_of_it_is_documented(name: str) -> None:
    found = getattr(wealtharena, name)
    assert inspect.getdoc(found)
    for method in PROMISED.get(name, ()):
        assert inspect.getdoc(getattr(found, method)), method


def test_a_name_that_is_not_there_is_said_in_one_line() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Agents'; it has Agent, AgentTeam, UserError, load_team"):
        _ = wealtharena.Agents


def test_the_examples_in_docstrings_run() -> None:
    found = doctest.testmod(agent)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_import_is_light() -> None:
    code = "import sys, wealtharena; print(sorted({'ray', 'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
