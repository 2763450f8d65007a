"""What an algorithm declares: where it can act, which hyperparameters it takes, what its loss is."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from policies.a2c import A2C, A2CParams
from policies.dqn import DQN, DQNParams
from policies.errors import MemberError
from policies.ppo import PPO, PPOParams
from policies.sac import SAC, SACParams
from policies.spaces import to_environment

DISCRETE = gym.spaces.Discrete(3)
BOX = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
ENDLESS = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
PAIR = gym.spaces.Tuple((DISCRETE, BOX))


@pytest.mark.parametrize("algorithm", [PPO(), A2C()])
def test_on_policy_algorithms_act_in_discrete_and_bounded_continuous_spaces(algorithm):
    algorithm.check("g", DISCRETE)
    algorithm.check("g", BOX)
    for space in (ENDLESS, PAIR):
        with pytest.raises(MemberError, match=r"members\.g\.algorithm: .* cannot act in .*environment\.params"):
            algorithm.check("g", space)


def test_dqn_needs_discrete_actions():
    DQN().check("g", DISCRETE)
    with pytest.raises(MemberError, match=r"DQN cannot act in Box.*it needs Discrete actions; choose PPO, A2C or SAC"):
        DQN().check("g", BOX)


def test_sac_takes_discrete_actions_only_when_told_to():
    SAC().check("g", BOX)
    with pytest.raises(MemberError, match=r"SAC cannot act in Discrete\(3\).*members\.g\.params\.discrete: true"):
        SAC().check("g", DISCRETE)
    SAC(SACParams(discrete=True)).check("g", DISCRETE)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (PPOParams, {"clip": -1}),
        (PPOParams, {"gamma": 7}),
        (PPOParams, {"clipparam": 0.2}),
        (PPOParams, {"lr": math.nan}),
        (A2CParams, {"clip": 0.2}),
        (SACParams, {"tau": 0}),
        (SACParams, {"activation": "relux"}),
        (DQNParams, {"epsilon_end": 1.5}),
        (DQNParams, {"n_step": 0}),
        (DQNParams, {"hidden": []}),
        (PPOParams, {"lr_steps": 0}),
        (SACParams, {"lr_steps": 1_000, "lr_left": 1.0}),
        (A2CParams, {"initial_log_std": 40.0}),
    ],
)
def test_absurd_or_unknown_hyperparameters_are_refused(model, given):
    with pytest.raises(ValidationError):
        model(**given)


def test_a_share_of_a_rate_that_never_falls_is_refused_with_the_remedy():
    with pytest.raises(ValidationError, match=r"lr_left is 0\.1 but lr_steps is null.*give lr_steps too"):
        PPOParams(lr_left=0.1)


ANNEALED = {"lr_steps": 1_000, "lr_left": 0.2}


@pytest.mark.parametrize(
    ("algorithm", "space", "start"),
    [
        (PPO(PPOParams(lr=1e-3, **ANNEALED)), BOX, {"__all_modules___default_optimizer": 1e-3}),
        (A2C(A2CParams(lr=2e-3, **ANNEALED)), DISCRETE, {"__all_modules___default_optimizer": 2e-3}),
        (DQN(DQNParams(lr=3e-3, **ANNEALED)), DISCRETE, {"default_optimizer": 3e-3}),
        (
            SAC(SACParams(actor_lr=1e-3, critic_lr=2e-3, temperature_lr=3e-3, **ANNEALED)),
            BOX,
            {"policy": 1e-3, "qf": 2e-3, "qf_twin": 2e-3, "alpha": 3e-3},
        ),
    ],
    ids=["ppo", "a2c", "dqn", "sac"],
)
def test_every_learning_rate_falls_linearly_to_its_share_and_stays(algorithm, space, start):
    learner = build_learner(algorithm, space)
    for env_steps, share in ((0, 1.0), (500, 0.6), (1_000, 0.2), (9_999, 0.2)):
        learner.after_gradient_based_update(timesteps={"num_env_steps_sampled_lifetime": env_steps})
        for name, rate in start.items():
            found = learner.get_optimizer("g", name).param_groups[0]["lr"]
            assert found == pytest.approx(share * rate), (name, env_steps)


def test_epsilon_falls_linearly_and_stays():
    dqn = DQN(DQNParams(epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=1_000))
    found = [dqn.gauges(steps)["epsilon"] for steps in (0, 500, 1_000, 9_999)]
    assert found == pytest.approx([0.9, 0.5, 0.1, 0.1])


def test_the_temperature_aims_at_an_entropy_fit_for_the_space():
    assert SAC().learner_config(BOX).target_entropy == -2.0
    assert SAC(SACParams(discrete=True)).learner_config(DISCRETE).target_entropy == pytest.approx(math.log(3) / 2)
    assert SAC(SACParams(target_entropy=-0.5)).learner_config(BOX).target_entropy == -0.5


def test_actions_are_clipped_and_mapped_onto_the_bounds_of_the_space():
    space = gym.spaces.Box(np.array([0.0, -2.0], np.float32), np.array([10.0, 2.0], np.float32))
    actions = torch.tensor([[-5.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
    assert to_environment(actions, space).tolist() == [[0.0, 0.0], [5.0, 2.0], [10.0, -2.0]]
    assert to_environment(torch.tensor([3.0, -0.25]), gym.spaces.Box(-1, 1, (2,))).tolist() == [1.0, -0.25]
    assert to_environment(torch.tensor([2]), DISCRETE).tolist() == [2]


def build(algorithm, action_space):
    """Its networks, with random weights and observations of three features."""
    observations = gym.spaces.Box(-1, 1, (3,), np.float32)
    return algorithm.module_spec(observations, action_space, inference_only=False).build()


def build_learner(algorithm, action_space):
    """Its Learner for the one group "g"."""
    config = algorithm.learner_config(action_space)
    spec = algorithm.module_spec(gym.spaces.Box(-1, 1, (3,), np.float32), action_space, inference_only=False)
    config.multi_agent(policies={"g"}, policy_mapping_fn=lambda *_, **__: "g")
    config.rl_module(rl_module_spec=spec)
    return config.build_learner(spaces={"g": (spec.observation_space, action_space)})


def test_sac_acts_by_the_squashed_mean_inside_its_bounds():
    sac, obs = SAC(), torch.randn(64, 3) * 100
    module = build(sac, BOX)
    mean = module.forward_inference({"obs": obs})["action_dist_inputs"][:, :2]
    torch.testing.assert_close(sac.exploit(module, obs), torch.tanh(mean))
    assert sac.explore(module, obs, 0).action.abs().max() <= 1.0


@pytest.mark.parametrize("log_std", [-0.5, -2.0])
def test_a_policy_explores_around_what_it_exploits(log_std):
    ppo, obs = PPO(PPOParams(initial_log_std=log_std)), torch.randn(1, 3).expand(4_000, 3)
    module = build(ppo, BOX)
    decision = ppo.explore(module, obs, 0)
    torch.testing.assert_close(decision.action.mean(0), ppo.exploit(module, obs)[0], atol=0.05, rtol=0)
    assert decision.action.std(0).tolist() == pytest.approx([math.exp(log_std)] * 2, rel=0.05)
    # The log-probability is the Gaussian's own.
    mean, log_std = decision.dist_inputs.chunk(2, dim=-1)
    normal = torch.distributions.Normal(mean, log_std.exp())
    torch.testing.assert_close(decision.logp, normal.log_prob(decision.action).sum(-1))


def test_a2cs_loss_is_the_formula():
    algorithm = A2C(A2CParams(value_coeff=0.3, entropy_coeff=0.2, normalize_observations=False))
    learner = build_learner(algorithm, DISCRETE)
    config, module = learner.config, learner.module["g"]
    batch = {
        "obs": torch.randn(5, 3),
        "actions": torch.tensor([0, 1, 2, 0, 1]),
        "advantages": torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0]),
        "value_targets": torch.arange(5.0),
    }
    out = module.forward_train(batch)
    logits = out["action_dist_inputs"]
    logp, value = torch.log_softmax(logits, -1), module.compute_values(batch)
    entropy = -(logp.exp() * logp).sum(-1).mean()
    taken = logp[torch.arange(5), batch["actions"]]
    ratio = torch.tensor([0.5, 1.0, 0.25, 2.0, 4.0])
    batch["action_logp"] = (taken - ratio.log()).detach()
    loss = learner.compute_loss_for_module(module_id="g", config=config, batch=batch, fwd_out=out)
    gain = ratio.clamp(max=1.0) * batch["advantages"] * taken
    expected = -gain.mean() + 0.3 * ((value - torch.arange(5.0)) ** 2).mean() - 0.2 * entropy
    torch.testing.assert_close(loss, expected)
