"""Log-probabilities and entropies are those of RLlib's distributions."""

import torch
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical, TorchDiagGaussian

from policies.distributions import categorical, draw, gaussian


def test_categorical_is_rllibs():
    logits, action = 5 * torch.randn(3, 7, 4), torch.randint(4, (3, 7))
    theirs = TorchCategorical.from_logits(logits)
    logp, entropy = categorical(logits, action)
    torch.testing.assert_close(logp, theirs.logp(action), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(entropy, theirs.entropy(), atol=1e-6, rtol=1e-6)


def test_gaussian_is_rllibs():
    dist_inputs, action = torch.randn(3, 7, 4), torch.randn(3, 7, 2)
    theirs = TorchDiagGaussian.from_logits(dist_inputs)
    logp, entropy = gaussian(dist_inputs, action)
    torch.testing.assert_close(logp, theirs.logp(action), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(entropy, theirs.entropy(), atol=1e-6, rtol=1e-6)


def test_actions_are_drawn_as_often_as_they_are_likely():
    torch.manual_seed(3)
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0], [3.0, -40.0, 3.0, 0.0]]).unsqueeze(1).expand(2, 40_000, 4)
    action, logp = draw(logits, discrete=True)
    shares = torch.nn.functional.one_hot(action, 4).float().mean(dim=1)
    # Four standard errors of the most uncertain share.
    torch.testing.assert_close(shares, logits[:, 0].softmax(-1), atol=4 * 0.5 / 200, rtol=0)
    torch.testing.assert_close(logp, categorical(logits, action)[0], atol=1e-6, rtol=1e-6)


def test_the_impossible_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf], [-200.0, 50.0, -200.0]]).unsqueeze(1).expand(2, 100_000, 3)
    assert (draw(logits, discrete=True)[0] == 1).all()


def test_continuous_actions_are_drawn_from_the_gaussian():
    torch.manual_seed(5)
    dist_inputs = torch.tensor([0.5, -2.0, -0.5, 0.3]).expand(40_000, 4)
    action, logp = draw(dist_inputs, discrete=False)
    deviation = torch.tensor([-0.5, 0.3]).exp()
    torch.testing.assert_close(action.mean(0), torch.tensor([0.5, -2.0]), atol=4 * float(deviation.max()) / 200, rtol=0)
    torch.testing.assert_close(action.std(0), deviation, rtol=0.03, atol=0)
    torch.testing.assert_close(logp, gaussian(dist_inputs, action)[0], atol=1e-6, rtol=1e-6)
