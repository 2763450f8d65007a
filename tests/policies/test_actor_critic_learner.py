"""Stacked members learn what RLlib's Learner would teach them, minibatch by minibatch, and each what it would alone."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.torch_utils import clip_gradients
from torch import nn

from policies.a2c import A2C, A2CParams
from policies.actor_critic import ActorCritic
from policies.gradients import clip_each
from policies.learner_options import LearnerOptions
from policies.minibatches import minibatches
from policies.ppo import PPO, PPOParams
from policies.stack import StackedActorCritic

OBSERVATIONS = gym.spaces.Box(-1, 1, (3,), np.float32)
SPACES = {"discrete": gym.spaces.Discrete(4), "box": gym.spaces.Box(-1.0, 1.0, (2,), np.float32)}
EVERYTHING = {"entropy_coeff": 0.05, "value_coeff": 0.7, "hidden": (16, 8), "lr": 1e-2}
ALGORITHMS = {
    "ppo": PPO(PPOParams(clip=0.1, **EVERYTHING)),
    "ppo_clipped_values": PPO(PPOParams(value_clip=0.5, grad_clip=None, **EVERYTHING)),
    "ppo_free_mean": PPO(PPOParams(squash_mean=False, **EVERYTHING)),
    "a2c": A2C(A2CParams(**EVERYTHING)),
}
BOTH_KINDS = pytest.mark.parametrize("kind", sorted(SPACES))
ALL_ALGORITHMS = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)


def build(
    algorithm: ActorCritic,
    spaces: dict[str, gym.Space],
    learner_class: type[Learner] | None = None,
    options: LearnerOptions = LearnerOptions(),  # noqa: B008  (frozen)
) -> Learner:
    """A Learner of members with these action spaces."""
    config = algorithm.learner_config(next(iter(spaces.values())))
    specs = {name: algorithm.module_spec(OBSERVATIONS, space, inference_only=False) for name, space in spaces.items()}
    config.multi_agent(policies=set(spaces), policy_mapping_fn=lambda *_, **__: "a").debugging(seed=0)
    config.rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=specs))
    options.put(config)
    if learner_class is not None:
        config.learners(learner_class=learner_class)
    return config.build_learner(spaces={name: (OBSERVATIONS, space) for name, space in spaces.items()})


def learners_own(algorithm: ActorCritic, space: gym.Space) -> type[Learner]:
    """RLlib's Learner of an algorithm; for A2C, for which it has none, RLlib's way of updating with our loss."""
    if isinstance(algorithm, PPO):
        return PPOTorchLearner

    class Plain(algorithm.learner_config(space).learner_class):
        configure_optimizers = TorchLearner.configure_optimizers
        update, _update = TorchLearner.update, TorchLearner._update

    return Plain


def drawn(kind: str, count: int, seed: int) -> dict[str, np.ndarray]:
    """Rows as a policy might leave that has learned since."""
    rng = np.random.default_rng(seed)
    wide = {"discrete": 4, "box": 4}[kind]
    actions = rng.integers(4, size=count) if kind == "discrete" else rng.normal(size=(count, 2))
    return {
        "obs": rng.normal(size=(count, 3)).astype(np.float32),
        "actions": actions if kind == "discrete" else actions.astype(np.float32),
        "rewards": rng.normal(size=count).astype(np.float32),
        "action_logp": rng.normal(-1.4, 0.3, size=count).astype(np.float32),
        "action_dist_inputs": rng.normal(size=(count, wide)).astype(np.float32),
        "advantages": rng.normal(size=count).astype(np.float32),
        "value_targets": rng.normal(size=count).astype(np.float32),
    }


def tensors(rows: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(column) for key, column in rows.items()}


def scatter(learner: Learner, name: str, seed: int) -> dict[str, np.ndarray]:
    """Gives a member other weights, and a normaliser that does something; returns its state."""
    generator, module = torch.Generator().manual_seed(seed), learner.module[name].unwrapped()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        module.normalizer.shift.fill_(0.2)
        module.normalizer.scale.fill_(0.7)
    return module.get_state()


def update(learner: Learner, rows: dict[str, dict[str, np.ndarray]], *, seed: int = 5, **kwargs) -> dict:
    batch = MultiAgentBatch({name: SampleBatch(own) for name, own in rows.items()}, env_steps=1)
    kwargs = {"num_epochs": 3, "minibatch_size": 16, "seeds": dict.fromkeys(rows, seed), **kwargs}
    return learner.update(batch=batch, timesteps={"num_env_steps_sampled_lifetime": 1}, **kwargs)


def assert_same_weights(found: Learner, expected: Learner, name: str, **tolerance: float) -> None:
    theirs = expected.module[name].unwrapped().get_state()
    for key, value in found.module[name].unwrapped().get_state().items():
        np.testing.assert_allclose(value, theirs[key], err_msg=f"{name}/{key}", **tolerance)


@ALL_ALGORITHMS
@BOTH_KINDS
def test_the_loss_and_its_gradient_are_rllibs(algorithm, kind):
    names = {"a": SPACES[kind], "b": SPACES[kind]}
    ours, theirs = build(algorithm, names), build(algorithm, names, learners_own(algorithm, SPACES[kind]))
    (stack,) = ours._stacks
    batches = []
    for seed, name in enumerate(stack.names):
        theirs.module[name].unwrapped().set_state(scatter(ours, name, seed))
        batches.append(tensors(drawn(kind, 40, seed)))
    rows = {key: column.unflatten(0, (2, 40)) for key, column in ours._stacked_rows(stack.names, batches, 40).items()}
    dist_inputs, value = stack.networks(rows["obs"])
    loss = ours.row_loss(*stack.distribution(dist_inputs, rows["actions"]), value, rows).mean(dim=1)
    for member, (name, batch) in enumerate(zip(stack.names, batches, strict=True)):
        module = theirs.module[name].unwrapped()
        out = module.forward_train(batch)
        torch.testing.assert_close(dist_inputs[member], out["action_dist_inputs"], atol=1e-6, rtol=1e-6)
        expected = theirs.compute_loss_for_module(module_id=name, config=theirs.config, batch=batch, fwd_out=out)
        torch.testing.assert_close(loss[member], expected, atol=1e-6, rtol=1e-6)
    gradient = gradients_of(ours, theirs, stack, batches)
    torch.testing.assert_close(*gradient, atol=1e-6, rtol=1e-5)


def gradients_of(ours: Learner, theirs: Learner, stack, batches) -> tuple[torch.Tensor, torch.Tensor]:
    """The members' gradients, parameter by parameter: through the stack, and through RLlib's modules."""
    rows = {key: column.unflatten(0, (2, 40)) for key, column in ours._stacked_rows(stack.names, batches, 40).items()}
    dist_inputs, value = stack.networks(rows["obs"])
    loss = ours.row_loss(*stack.distribution(dist_inputs, rows["actions"]), value, rows).mean(dim=1)
    found = stack.networks.gradient(loss.sum())
    expected = []
    for name, batch in zip(stack.names, batches, strict=True):
        module = theirs.module[name].unwrapped()
        out = module.forward_train(batch)
        total = theirs.compute_loss_for_module(module_id=name, config=theirs.config, batch=batch, fwd_out=out)
        parts = torch.autograd.grad(total, list(module.parameters()))
        expected.append(torch.cat([(part.mT if part.ndim == 2 else part).flatten() for part in parts]))
    return found, torch.stack(expected)


@ALL_ALGORITHMS
@BOTH_KINDS
def test_an_update_is_rllibs_on_the_same_minibatches(algorithm, kind):
    space = {"a": SPACES[kind]}
    ours, theirs = build(algorithm, space), build(algorithm, space, learners_own(algorithm, SPACES[kind]))
    theirs.module["a"].unwrapped().set_state(scatter(ours, "a", 1))
    rows = drawn(kind, 50, 1)
    found = update(ours, {"a": rows})
    parts = minibatches(50, epochs=3, size=16, seed=5, device="cpu")
    assert len(parts) == 10
    for part in parts:
        batch = SampleBatch({key: column[part.numpy()] for key, column in rows.items()})
        expected = theirs.update(
            batch=MultiAgentBatch({"a": batch}, env_steps=1), timesteps={"num_env_steps_sampled_lifetime": 1}
        )
    assert_same_weights(ours, theirs, "a", atol=2e-5, rtol=1e-4)
    assert set(found["a"]) >= set(expected["a"]) - {"default_optimizer_learning_rate"}
    for key in {*algorithm.metrics, "gradients_default_optimizer_global_norm"} & set(expected["a"]):
        assert float(found["a"][key]) == pytest.approx(float(expected["a"][key]), abs=1e-4, rel=1e-4), key


@ALL_ALGORITHMS
@pytest.mark.parametrize("counts", [(50, 50, 50), (50, 21, 50)], ids=["equal", "different"])
def test_members_together_learn_what_each_would_alone(algorithm, counts):
    names = ("a", "b", "c")
    together = build(algorithm, dict.fromkeys(names, SPACES["discrete"]))
    rows = {name: drawn("discrete", count, ord(name)) for name, count in zip(names, counts, strict=True)}
    alone = {name: build(algorithm, {name: SPACES["discrete"]}) for name in names}
    for seed, name in enumerate(names):
        alone[name].module[name].unwrapped().set_state(scatter(together, name, seed))
    for _ in range(2):
        found = update(together, rows)
        for name in names:
            expected = update(alone[name], {name: rows[name]})
            assert float(found[name]["total_loss"]) == pytest.approx(
                float(expected[name]["total_loss"]), rel=1e-4, abs=1e-6
            )
    for name in names:
        assert_same_weights(together, alone[name], name, atol=2e-5, rtol=1e-4)


@ALL_ALGORITHMS
@BOTH_KINDS
def test_accumulated_minibatches_are_one_of_all_their_rows(algorithm, kind):
    spaces, rows = dict.fromkeys("ab", SPACES[kind]), {name: drawn(kind, 48, ord(name)) for name in "ab"}
    plain, accumulating = build(algorithm, spaces), build(algorithm, spaces, options=LearnerOptions(accumulate=3))
    for seed, name in enumerate("ab"):
        accumulating.module[name].unwrapped().set_state(scatter(plain, name, seed))
    # 144 rows in four steps, or in twelve parts of which three make a step: the same rows in the same steps.
    update(plain, rows, minibatch_size=36)
    update(accumulating, rows, minibatch_size=12)
    for name in "ab":
        assert_same_weights(accumulating, plain, name, atol=1e-6, rtol=1e-5)


@ALL_ALGORITHMS
@BOTH_KINDS
def test_bf16_is_near_and_leaves_parameters_in_float32(algorithm, kind):
    count = 512  # clipping has kinks: among few rows, one that comes to lie beyond them turns the mean
    spaces, rows = {"a": SPACES[kind]}, drawn(kind, count, 1)
    exact, rough = build(algorithm, spaces), build(algorithm, spaces, options=LearnerOptions(precision="bf16"))
    gradients = []
    for learner in (exact, rough):
        scatter(learner, "a", 1)
        (stack,) = learner._stacks
        batch = {key: column.unsqueeze(0) for key, column in learner._stacked_rows("a", [tensors(rows)], count).items()}
        gradients.append(learner._gradient(stack, batch, weight=1.0))
    assert gradients[1].dtype == torch.float32
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients).item() > 0.999
    update(rough, {"a": rows})
    assert {parameter.dtype for parameter in rough.module["a"].parameters()} == {torch.float32}


def test_members_of_different_shapes_share_a_learner():
    spaces = {"a": SPACES["discrete"], "b": SPACES["box"], "c": gym.spaces.Discrete(4)}
    learner = build(ALGORITHMS["ppo"], spaces)
    assert sorted(tuple(stack.names) for stack in learner._stacks) == [("a", "c"), ("b",)]
    before = {name: learner.module[name].unwrapped().get_state() for name in spaces}
    update(learner, {name: drawn("box" if name == "b" else "discrete", 30, 1) for name in spaces})
    for name in spaces:
        after = learner.module[name].unwrapped().get_state()
        assert any(not np.array_equal(before[name][key], after[key]) for key in after), name


def test_a_member_without_rows_stays_as_it_is():
    learner = build(ALGORITHMS["ppo"], dict.fromkeys("ab", SPACES["discrete"]))
    update(learner, {name: drawn("discrete", 30, 1) for name in "ab"})
    before = {name: learner.module[name].unwrapped().get_state() for name in "ab"}
    results = update(learner, {"b": drawn("discrete", 30, 2)})
    after = {name: learner.module[name].unwrapped().get_state() for name in "ab"}
    assert all(np.array_equal(before["a"][key], after["a"][key]) for key in after["a"])
    assert not all(np.array_equal(before["b"][key], after["b"][key]) for key in after["b"])
    assert "policy_loss" in results["b"]


@BOTH_KINDS
def test_a_restored_learner_goes_on_to_the_bit(kind):
    spaces, rows = dict.fromkeys("ab", SPACES[kind]), {name: drawn(kind, 30, ord(name)) for name in "ab"}
    straight, restored = build(ALGORITHMS["ppo"], spaces), build(ALGORITHMS["ppo"], spaces)
    update(straight, rows)
    scatter(restored, "a", 9)
    restored.set_state(straight.get_state())
    for learner in (straight, restored):
        update(learner, rows, seed=6)
    for name in "ab":
        assert_same_weights(restored, straight, name, atol=0, rtol=0)


@pytest.mark.parametrize("largest", [None, 0.5, 1e6])
def test_each_members_gradient_is_clipped_as_rllib_does(largest):
    gradient = torch.randn(3, 20) * torch.tensor([[0.01], [1.0], [100.0]])
    expected = [{"all": row.clone()} for row in gradient]
    for row in expected:
        clip_gradients(row, grad_clip=largest, grad_clip_by="global_norm")
    norms = gradient.norm(dim=1)
    torch.testing.assert_close(clip_each(gradient, largest), norms)
    torch.testing.assert_close(gradient, torch.stack([row["all"] for row in expected]))


@ALL_ALGORITHMS
def test_a_step_along_a_gradient_that_is_not_finite_is_skipped_and_counted_for_that_member_alone(algorithm):
    learner, other = (build(algorithm, {"a": SPACES["discrete"], "b": SPACES["discrete"]}) for _ in range(2))
    rows = {name: drawn("discrete", 10, seed) for seed, name in enumerate("ab")}
    broken = {name: {**columns} for name, columns in rows.items()}
    broken["a"]["advantages"] = np.full_like(rows["a"]["advantages"], np.nan)
    found = update(learner, broken)
    assert found["a"]["skipped_updates"] == found["a"]["updates"] == found["b"]["updates"] > 0
    assert found["b"]["skipped_updates"] == 0
    update(other, {"b": rows["b"]})
    for _ in range(2):  # weights, moments and counts of the optimiser are as if "a" had not been there
        states = [each.get_state() for each in (learner, other)]
        torch.testing.assert_close(states[0]["rl_module"], states[1]["rl_module"], atol=1e-6, rtol=1e-4)
        moments = [next(iter(state["optimizer"].values()))["state"] for state in states]
        torch.testing.assert_close(moments[0], moments[1], atol=1e-6, rtol=1e-4)
        for each in (learner, other):
            update(each, rows)


def test_networks_that_cannot_be_stacked_are_refused():
    module = build(ALGORITHMS["ppo"], {"a": SPACES["discrete"]}).module["a"].unwrapped()
    module.memory = nn.Linear(3, 3)
    with pytest.raises(TypeError, match=r"parameters outside the linear layers of its towers.*memory\.weight"):
        StackedActorCritic([module])
