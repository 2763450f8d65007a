"""A checkpoint's policies, held against the experiment in which they are to act."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wealtharena.errors import UserError
from wealtharena.experiment import Experiment
from wealtharena.team.policy import Policy, load_policies
from wealtharena.team.provenance import feature_difference, read_provenance


def policies_for(experiment: Experiment, checkpoint: Path) -> Mapping[str, Policy]:
    """Loads the policies of all groups.

    Raises:
        UserError: They learned on other features than the experiment's environment gives them.
    """
    policies, known = load_policies(checkpoint), read_provenance(checkpoint)
    for name, group in experiment.groups.items():
        learned = (policies[name].features, known[name].features if name in known else None)
        offered = (int(group.observation_space.shape[0]), experiment.provenance[name].features)
        if difference := feature_difference(learned, offered):
            raise UserError(
                f"group {name}: {difference}: bring the same classes and extra columns that it was trained on"
            )
    return policies
