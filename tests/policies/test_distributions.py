"""Log-probabilities and entropies are those of RLlib's distributions."""

import torch
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical, TorchDiagGaussian

from policies.distributions import categorical, gaussian


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
