"""A checkpoint's policies, held against the experiment in which they are to act."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.team.policy import Policy, load_policies


def policies_for(experiment: Experiment, checkpoint: Path) -> Mapping[str, Policy]:
    """Loads the policies of all groups.

    Raises:
        UserError: They learned on other features than the experiment's environment gives them.
    """
    policies = load_policies(checkpoint)
    for name, group in experiment.groups.items():
        trained, offered = policies[name].module.observation_space.shape, group.observation_space.shape
        if trained != offered:
            raise UserError(
                f"group {name} learned on {trained[0]} features and this data gives it {offered[0]}: "
                "bring the same classes and extra columns that it was trained on"
            )
    return policies
