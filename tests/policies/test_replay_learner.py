"""Learners from replay teach what RLlib's Learners would, update by update, whatever is done at once."""

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import nn

from policies.algorithm import Algorithm
from policies.dqn import DQN, DQNParams
from policies.learner_options import LearnerOptions
from policies.replay_learner import Noise
from policies.sac import SAC, SACParams

OBSERVATIONS = gym.spaces.Box(-1, 1, (3,), np.float32)
DISCRETE, BOX = gym.spaces.Discrete(4), gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
RATES = {"actor_lr": 1e-2, "critic_lr": 2e-2, "temperature_lr": 3e-2}
SMALL = {"hidden": (16, 8), "gamma": 0.9, "tau": 0.1}
CASES: dict[str, tuple[Algorithm, gym.Space[Any], type[Learner]]] = {
    "sac": (SAC(SACParams(**RATES, **SMALL)), BOX, SACTorchLearner),
    "sac_tanh": (SAC(SACParams(activation="tanh", grad_clip=None, **RATES, **SMALL)), BOX, SACTorchLearner),
    "sac_discrete": (SAC(SACParams(discrete=True, **RATES, **SMALL)), DISCRETE, SACTorchLearner),
    "dqn": (DQN(DQNParams(lr=1e-2, **SMALL)), DISCRETE, DQNTorchLearner),
    "dqn_plain": (DQN(DQNParams(lr=1e-2, double=False, dueling=False, **SMALL)), DISCRETE, DQNTorchLearner),
}
ALL = pytest.mark.parametrize("case", CASES)
TIMESTEPS = {"num_env_steps_sampled_lifetime": 1}


def build(case: str, *, rllibs: bool = False, options: LearnerOptions | None = None, gpus: int = 0) -> Any:
    """A Learner of the one member "a": ours, or RLlib's on networks of the same shapes."""
    algorithm, space, theirs = CASES[case]
    config = algorithm.learner_config(space)
    spec = algorithm.module_spec(OBSERVATIONS, space, inference_only=False)
    config.multi_agent(policies={"a"}, policy_mapping_fn=lambda *_, **__: "a").debugging(seed=0)
    config.rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs={"a": spec}))
    config.learners(num_gpus_per_learner=gpus)
    if rllibs:
        config.learners(learner_class=theirs).training(target_network_update_freq=0)
    if options is not None:
        options.put(config)
    return config.build_learner(spaces={"a": (OBSERVATIONS, space)})


def drawn(case: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """Transitions, of which a third are the last of their episodes, and some are summed over several steps."""
    rng, discrete = np.random.default_rng(seed), CASES[case][1] is DISCRETE
    columns = {
        "obs": rng.normal(size=(count, 3)),
        "new_obs": rng.normal(size=(count, 3)),
        "actions": rng.integers(4, size=count) if discrete else np.tanh(rng.normal(size=(count, 2))),
        "rewards": 2 * rng.normal(size=count),
        "terminateds": rng.random(count) < 0.3,
        "truncateds": np.zeros(count, dtype=bool),
        "n_step": 1.0 + rng.integers(3, size=count),
        "weights": np.ones(count),
    }
    return {key: column.astype(np.float32) if column.dtype == np.float64 else column for key, column in columns.items()}


def tensors(rows: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(column) for key, column in rows.items()}


def scatter(learner: Any, seed: int) -> dict[str, np.ndarray]:
    """Other weights, targets that lag behind, and a normaliser that does something; returns the module's state."""
    generator, module = torch.Generator().manual_seed(seed), learner.module["a"].unwrapped()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
        module.normalizer.shift.fill_(0.2)
        module.normalizer.scale.fill_(0.7)
    return module.get_state()


def update(learner: Any, rows: dict[str, np.ndarray], **kwargs: Any) -> dict[str, Any]:
    batch = MultiAgentBatch({"a": SampleBatch(rows)}, env_steps=len(rows["rewards"]))
    return learner.update(batch=batch, timesteps=TIMESTEPS, **kwargs)["a"]


def assert_same(found: Any, expected: Any, **tolerance: float) -> None:
    """Networks, targets and temperatures."""
    theirs = expected.module["a"].unwrapped().get_state()
    for key, value in found.module["a"].unwrapped().get_state().items():
        np.testing.assert_allclose(value, theirs[key], err_msg=key, **tolerance)
    if hasattr(expected, "curr_log_alpha"):
        one, other = (learner.curr_log_alpha["a"].detach().numpy() for learner in (found, expected))
        np.testing.assert_allclose(one, other, **tolerance)


@ALL
def test_outputs_loss_and_gradients_are_rllibs(case):
    ours, theirs = build(case), build(case, rllibs=True)
    theirs.module["a"].unwrapped().set_state(scatter(ours, 1))
    rows = tensors(drawn(case, 64, 1))
    networks, prepared = ours._networks["a"], ours.prepared("a", rows)
    out = networks.forward(prepared, Noise(torch.Generator().manual_seed(3)))
    torch.manual_seed(3)
    expected = theirs.module["a"].forward_train(dict(rows))
    for key, value in out.named().items():  # a log-probability is a sum of terms of up to 10, in float32
        torch.testing.assert_close(
            value, expected[key], atol=5e-6, rtol=1e-6, msg=lambda text, key=key: f"{key} {text}"
        )
    loss = ours.loss("a", prepared, out)
    reference = theirs.compute_loss_for_module(module_id="a", config=theirs.config, batch=rows, fwd_out=expected)
    torch.testing.assert_close(loss, reference.squeeze(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(loss, ours._report("a", prepared, out).squeeze(), atol=1e-6, rtol=1e-6)
    gradients = theirs.compute_gradients({"a": reference})
    norms = norms_by_optimizer(theirs, gradients)
    for optimised, gradient_PN in zip(networks.optimised, networks.gradients(loss), strict=True):
        for name, norm in zip(optimised.names, gradient_PN.norm(dim=1), strict=True):
            torch.testing.assert_close(norm, norms[name], atol=1e-6, rtol=1e-5)


def norms_by_optimizer(learner: Any, gradients: dict[Any, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, optimizer in learner.get_optimizers_for_module("a"):
        own = learner.filter_param_dict_for_optimizer(gradients, optimizer)
        found[name] = torch.cat([gradient.flatten() for gradient in own.values()]).norm()
    return found


@ALL
def test_updates_made_at_once_are_those_rllib_makes_one_by_one(case):
    ours, theirs = build(case), build(case, rllibs=True)
    theirs.module["a"].unwrapped().set_state(scatter(ours, 2))
    for call in range(2):
        parts = [drawn(case, 32, 10 * call + number) for number in range(6)]
        found = update(ours, together(parts), updates=6, seed=call)
        torch.manual_seed(call)
        for part in parts:
            expected = update(theirs, part)
    assert_same(ours, theirs, atol=3e-5, rtol=1e-4)
    assert set(found) >= {*CASES[case][0].metrics, "td_error_mean"}
    for key in {*CASES[case][0].metrics, *(name for name in expected if "global_norm" in name)}:
        assert float(found[key]) == pytest.approx(float(expected[key]), abs=1e-4, rel=1e-3), key


def together(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


@ALL
def test_a_restored_learner_goes_on_to_the_bit(case):
    rows = together([drawn(case, 16, seed) for seed in range(4)])
    straight, restored = build(case), build(case)
    update(straight, rows, updates=4, seed=1)
    scatter(restored, 9)
    restored.set_state(straight.get_state())
    for learner in (straight, restored):
        update(learner, rows, updates=4, seed=2)
    assert_same(restored, straight, atol=0, rtol=0)


@pytest.mark.parametrize("case", ["sac_discrete", "dqn"])
def test_accumulated_minibatches_are_one_of_all_their_rows(case):
    rows = together([drawn(case, 16, seed) for seed in range(6)])
    plain, accumulating = build(case), build(case, options=LearnerOptions(accumulate=3))
    accumulating.module["a"].unwrapped().set_state(scatter(plain, 3))
    for learner in (plain, accumulating):
        update(learner, rows, updates=2, seed=1)
    assert_same(accumulating, plain, atol=2e-6, rtol=1e-5)


@ALL
def test_bf16_is_near_and_leaves_parameters_in_float32(case):
    rows = drawn(case, 64, 1)
    exact, rough = build(case), build(case, options=LearnerOptions(precision="bf16"))
    rough.module["a"].unwrapped().set_state(scatter(exact, 4))
    losses = [float(update(learner, rows, updates=1, seed=1)["total_loss"]) for learner in (exact, rough)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.03, abs=0.03)
    assert {parameter.dtype for parameter in rough.module["a"].parameters()} == {torch.float32}


def test_learners_share_the_noise_of_a_minibatch_out():
    whole = Noise(torch.Generator().manual_seed(5)).normal(6, 2)
    parts = [Noise(torch.Generator().manual_seed(5), learner, 3).normal(2, 2) for learner in range(3)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=0, rtol=0)


@ALL
def test_a_step_along_a_gradient_that_is_not_finite_is_skipped_and_counted(case):
    learner = build(case)
    parts = [drawn(case, 8, seed) for seed in range(3)]
    parts[1]["rewards"][:] = np.nan
    found = update(learner, together(parts), updates=3, seed=1)
    assert (found["updates"], found["skipped_updates"]) == (3, 1)
    before = deepcopy(learner.get_state())
    update(learner, parts[1], updates=1, seed=2)
    after = learner.get_state()
    torch.testing.assert_close(after["rl_module"], before["rl_module"], atol=0, rtol=0)  # targets too
    for name, optimizer in before["optimizer"].items():
        torch.testing.assert_close(after["optimizer"][name]["state"], optimizer["state"], atol=0, rtol=0)
    assert all(np.isfinite(value).all() for value in learner.module["a"].unwrapped().get_state().values())


@ALL
@pytest.mark.parametrize(
    "kind", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_all_tensors_are_on_the_learners_device(case, kind, monkeypatch):
    learner, seen = build(case, gpus=int(kind == "cuda")), []
    networks = learner._networks["a"]
    forward = networks.forward

    def watched(rows: Any, noise: Any) -> Any:
        out = forward(rows, noise)
        seen.extend([*rows.values(), *out.named().values()])
        return out

    monkeypatch.setattr(networks, "forward", watched)
    update(learner, drawn(case, 16, 1), updates=2, seed=1)
    states = [value for name, optimizer in learner.get_optimizers_for_module("a") for value in optimizer.param_groups]
    learnt = [*networks.weights, *learner.module["a"].parameters(), *(own for each in states for own in each["params"])]
    assert {tensor.device.type for tensor in (*seen, *learnt)} == {kind} == {learner.device.type}


@ALL
def test_networks_with_other_layers_are_refused(case):
    learner = build(case)
    module = learner.module["a"].unwrapped()
    module.memory = nn.Linear(3, 3)
    with pytest.raises(TypeError, match=r"parameters outside the linear layers.*memory\.weight"):
        learner.networks_of("a", learner.config)
