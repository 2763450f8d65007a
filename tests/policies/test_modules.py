"""The networks: RLlib's own, with the few things that are done otherwise."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from policies.modules import Tanh
from policies.ppo import PPO, PPOParams
from policies.stack import StackedActorCritic, stackable


def test_tanh_is_tanh():
    hidden = torch.cat([torch.linspace(-12, 12, 10_001), torch.tensor([-1e9, -1e-6, 0.0, 1e-6, 1e9])]).requires_grad_()
    torch.testing.assert_close(Tanh()(hidden * 1.0), torch.tanh(hidden), atol=2e-7, rtol=0)
    found, expected = (torch.autograd.grad(f(hidden * 1.0).sum(), hidden)[0] for f in (Tanh(), torch.tanh))
    torch.testing.assert_close(found, expected, atol=5e-7, rtol=0)


@pytest.mark.parametrize(("activation", "layer"), [("tanh", Tanh), ("relu", nn.ReLU)])
def test_a_module_walks_through_its_towers(activation, layer):
    space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    ppo = PPO(PPOParams(activation=activation, normalize_observations=False, hidden=(5, 4)))
    module = ppo.module_spec(gym.spaces.Box(-1, 1, (3,), np.float32), space, inference_only=False).build()
    actor, critic = (nn.Sequential(*tower) for tower in module.towers())
    obs = torch.randn(6, 3)
    out = module.forward_train({"obs": obs})
    torch.testing.assert_close(actor(obs), out["action_dist_inputs"][:, :2])
    torch.testing.assert_close(
        module.forward_exploration({"obs": obs})["action_dist_inputs"], out["action_dist_inputs"]
    )
    torch.testing.assert_close(critic(obs).squeeze(-1), module.compute_values({"obs": obs}))
    assert [type(each) for each in actor] == [nn.Linear, layer, nn.Linear, layer, nn.Linear, Tanh]
    assert [type(each) for each in critic] == [nn.Linear, layer, nn.Linear, layer, nn.Linear]


@pytest.mark.parametrize("squashed", [True, False])
def test_means_leave_the_bounds_of_the_action_only_if_they_may(squashed):
    space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    ppo = PPO(PPOParams(squash_mean=squashed, normalize_observations=False))
    module = ppo.module_spec(gym.spaces.Box(-1, 1, (3,), np.float32), space, inference_only=False).build()
    with torch.no_grad():
        module.pi.net.mlp[0].bias.copy_(torch.tensor([0.5, -3.0]))
        module.pi.net.mlp[0].weight.zero_()
    obs = torch.randn(4, 3)
    expected = torch.tensor([0.5, -3.0]).expand(4, 2)
    expected = torch.tanh(expected) if squashed else expected
    torch.testing.assert_close(ppo.exploit(module, obs), expected)
    torch.testing.assert_close(ppo.explore(module, obs, 0).dist_inputs.chunk(2, dim=-1)[0], expected)
    torch.testing.assert_close(StackedActorCritic([module]).dist_inputs(obs.unsqueeze(0))[0].chunk(2, -1)[0], expected)


def test_policies_whose_means_are_bounded_and_others_do_not_learn_in_one_stack():
    space, obs = gym.spaces.Box(-1.0, 1.0, (2,), np.float32), gym.spaces.Box(-1, 1, (3,), np.float32)
    kinds = [
        stackable(PPO(PPOParams(squash_mean=squashed)).module_spec(obs, space, inference_only=False).build())
        for squashed in (True, True, False)
    ]
    assert kinds[0] == kinds[1] != kinds[2]


def test_modes_are_told_apart_although_no_layer_is_told():
    module = PPO().module_spec(gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(2), inference_only=False).build()
    module.eval()
    assert not module.training
    module.forward_train({"obs": torch.randn(1, 3)})
    assert module.training
    module.forward_inference({"obs": torch.randn(1, 3)})
    assert module.training


@pytest.mark.parametrize("space", [gym.spaces.Box(-1.0, 1.0, (2,), np.float32), gym.spaces.Discrete(3)])
def test_a_policy_starts_in_the_middle_of_what_it_can_do(space):
    """A bias as torch draws it, up to 1/8, is more than the best actions in a market with costs."""
    module = PPO().module_spec(gym.spaces.Box(-1, 1, (3,), np.float32), space, inference_only=False).build()
    dist_inputs = module.forward_train({"obs": 3 * torch.randn(1_000, 3)})["action_dist_inputs"]
    start = dist_inputs if isinstance(space, gym.spaces.Discrete) else dist_inputs.chunk(2, dim=-1)[0]
    assert start.abs().max() < 0.05
