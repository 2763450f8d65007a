"""The bare loop does what RLlib's Learner does, and both of its forms do the same."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing

from policies.ppo import PPO
from wealtharena.bench.bare_loop import ActorCritics, BareLoop, Batch, Learner, clip_each
from wealtharena.bench.contest import MEMBER


def rows(modules: int, count: int = 40) -> Batch:
    return Batch.drawn(modules=modules, rows=count, features=4, actions=3, seed=0)


def test_stacked_modules_learn_what_single_ones_do() -> None:
    params, batch = MEMBER.model_copy(update={"minibatch_size": 16}), rows(modules=3)
    alone = [ActorCritics(1, 4, 3, (8, 8), seed=seed) for seed in range(3)]
    together = ActorCritics(3, 4, 3, (8, 8))
    with torch.no_grad():
        for stacked, *single in zip(together.parameters(), *(one.parameters() for one in alone), strict=True):
            stacked.copy_(torch.cat(single))
    before = [parameter.clone() for parameter in together.parameters()]
    Learner(together, params).learn(batch, torch.Generator().manual_seed(5))
    for index, one in enumerate(alone):
        Learner(one, params).learn(batch.of_modules(slice(index, index + 1)), torch.Generator().manual_seed(5))
    for stacked, start, *single in zip(together.parameters(), before, *(o.parameters() for o in alone), strict=True):
        torch.testing.assert_close(stacked, torch.cat(single), rtol=0, atol=1e-6)
        assert not torch.equal(stacked, start)


def test_the_bare_loss_is_rllibs() -> None:
    drawn = rows(modules=1)
    noise = torch.randn(drawn.logp.shape, generator=torch.Generator().manual_seed(1))
    batch = replace(drawn, logp=drawn.logp + 0.5 * noise)  # ratios on both sides of the clip
    space = gym.spaces.Box(-9.0, 9.0, (4,), np.float32)
    algorithm = PPO(MEMBER)
    config = algorithm.learner_config(gym.spaces.Discrete(3)).learners(learner_class=PPOTorchLearner)
    config.multi_agent(policies={"a"}, policy_mapping_fn=lambda *_, **__: "a")
    spec = algorithm.module_spec(space, gym.spaces.Discrete(3), inference_only=False)
    learner = PPOTorchLearner(config=config, module_spec=MultiRLModuleSpec(rl_module_specs={"a": spec}))
    learner.build()
    module = learner.module["a"].unwrapped()
    bare = ActorCritics(1, 4, 3, MEMBER.hidden)
    theirs = {"policy": (module.encoder.actor_encoder, module.pi), "critic": (module.encoder.critic_encoder, module.vf)}
    with torch.no_grad():
        for name, nets in theirs.items():
            layers = [layer for net in nets for layer in net.modules() if isinstance(layer, torch.nn.Linear)]
            ours = getattr(bare, name)
            for layer, weight, bias in zip(layers, ours.weights, ours.biases, strict=True):
                weight[0], bias[0, 0] = layer.weight.T, layer.bias
    columns = {
        Columns.OBS: batch.obs[0],
        Columns.ACTIONS: batch.action[0],
        Columns.ACTION_LOGP: batch.logp[0],
        Columns.ACTION_DIST_INPUTS: torch.zeros(40, 3),
        Postprocessing.ADVANTAGES: batch.advantage[0],
        Postprocessing.VALUE_TARGETS: batch.value_target[0],
    }
    out = module.forward_train(columns)
    expected = learner.compute_loss_for_module(module_id="a", config=config, batch=columns, fwd_out=out)
    torch.testing.assert_close(bare.loss(batch, MEMBER)[0], expected, rtol=0, atol=1e-6)


def test_each_modules_gradient_is_clipped_by_its_own_norm() -> None:
    models = ActorCritics(2, 4, 3, (8,))
    for parameter in models.parameters():
        parameter.grad = torch.stack([torch.full_like(parameter[0], 3.0), torch.full_like(parameter[1], 1e-4)])
    clip_each(models, 0.5)
    large_M = torch.stack([p.grad.flatten(1).square().sum(1) for p in models.parameters() if p.grad is not None]).sum(0)
    assert large_M[0].sqrt().item() == pytest.approx(0.5, rel=1e-4)
    assert all((p.grad[1] == 1e-4).all() for p in models.parameters() if p.grad is not None)


@pytest.mark.parametrize("stacked", [False, True])
def test_an_iteration_uses_the_rows_of_all_modules(stacked: bool) -> None:
    assert BareLoop(rows(modules=3), MEMBER, actions=3, stacked=stacked).iterate() == 3 * 40
