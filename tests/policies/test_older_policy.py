"""On-policy losses on rows that an older policy sampled."""

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec

from policies.a2c import A2C, A2CParams

SPACES = (gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(4))
A2C_WITHOUT_MORE = A2C(A2CParams(value_coeff=0.0, entropy_coeff=0.0, hidden=(8,)))


def learner() -> Learner:
    config = A2C_WITHOUT_MORE.learner_config(SPACES[1]).debugging(seed=0)
    spec = MultiRLModuleSpec(rl_module_specs={"a": A2C_WITHOUT_MORE.module_spec(*SPACES, inference_only=False)})
    config.multi_agent(policies={"a"}, policy_mapping_fn=lambda *_, **__: "a").rl_module(rl_module_spec=spec)
    return config.build_learner(spaces={"a": SPACES})


def batch_of(found: Learner, ratio: list[float]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Rows whose actions are ``ratio`` times as likely now as they were; and their log-probabilities now."""
    module = found.module["a"]
    obs, actions = torch.linspace(-1, 1, 3 * len(ratio)).view(-1, 3), torch.arange(len(ratio)) % 4
    with torch.no_grad():
        logp = torch.log_softmax(module.forward_train({"obs": obs})["action_dist_inputs"], -1)
    taken = logp.gather(1, actions.unsqueeze(1)).squeeze(1)
    rows = {"obs": obs, "actions": actions, "action_logp": taken - torch.tensor(ratio).log()}
    return rows | {"advantages": torch.tensor([1.0, -2.0, 0.5]), "value_targets": torch.zeros(3)}, taken


def losses(found: Learner, rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """By RLlib's road, and row by row with the gradient of each row in its log-probability."""
    out = found.module["a"].forward_train(rows)
    whole = found.compute_loss_for_module(module_id="a", config=found.config, batch=rows, fwd_out=out)
    logp = torch.log_softmax(out["action_dist_inputs"], -1).gather(1, rows["actions"].unsqueeze(1)).squeeze(1)
    logp_PB = logp.detach().unsqueeze(0).requires_grad_()
    stacked = {key: column.unsqueeze(0) for key, column in rows.items()}
    each = found.row_loss(logp_PB, torch.zeros(1, 3), torch.zeros(1, 3), stacked)
    torch.testing.assert_close(whole, each.mean())
    (gradient,) = torch.autograd.grad(each.sum(), logp_PB)
    return each[0], gradient[0]


def test_a2c_weighs_older_rows_by_how_likely_they_are_still_and_by_one_at_most():
    found = learner()
    rows, taken = batch_of(found, [0.25, 1.0, 3.0])
    each, gradient = losses(found, rows)
    weighted = torch.tensor([0.25 * 1.0, 1.0 * -2.0, 1.0 * 0.5])
    torch.testing.assert_close(each, -weighted * taken)
    torch.testing.assert_close(gradient, -weighted)  # the weight itself is no part of what is differentiated


def test_a2c_takes_rows_of_its_own_policy_as_they_are():
    found = learner()
    rows, _ = batch_of(found, [1.0, 1.0, 1.0])
    _, gradient = losses(found, rows)
    torch.testing.assert_close(gradient, -rows["advantages"])
