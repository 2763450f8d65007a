"""The losses of SAC as RLlib has them, on stacked critics, without its metrics.

P = 2 critics, B rows, A discrete actions.
"""

from __future__ import annotations

from dataclasses import dataclass

from ray.rllib.algorithms.sac import sac_learner as names
from ray.rllib.core.columns import Columns
from torch import Tensor
from torch.nn import functional

from policies.replay_learner import DISCOUNT, Rows


@dataclass(frozen=True)
class ContinuousOutputs:
    """What SAC's networks say of a minibatch with continuous actions.

    Attributes:
        value_PB: The critics, of the action taken.
        drawn_value_B: The lesser critic, of an action drawn now; it has a gradient in the policy alone.
        drawn_logp_B: The log-probability of that action.
        next_value_B: The lesser target, of an action drawn for the next observation.
        next_logp_B: The log-probability of that one.
    """

    value_PB: Tensor
    drawn_value_B: Tensor
    drawn_logp_B: Tensor
    next_value_B: Tensor
    next_logp_B: Tensor

    def named(self) -> dict[str, Tensor]:
        """As RLlib's module names them."""
        return {
            names.QF_PREDS: self.value_PB[0],
            names.QF_TWIN_PREDS: self.value_PB[1],
            "q_curr": self.drawn_value_B,
            "logp_resampled": self.drawn_logp_B,
            "q_target_next": self.next_value_B,
            "logp_next_resampled": self.next_logp_B,
        }

    def loss(self, rows: Rows, log_temperature: Tensor, target_entropy: Tensor) -> Tensor:
        """Haarnoja et al. 2018, equations 5, 9 and 18, with Huber's loss in place of the square."""
        temperature = log_temperature.detach().exp()
        critics = _critic_loss(self.value_PB, self.next_value_B - temperature * self.next_logp_B, rows)
        policy = (temperature * self.drawn_logp_B - self.drawn_value_B).mean()
        return critics + policy - log_temperature * (self.drawn_logp_B.detach() + target_entropy).mean()


@dataclass(frozen=True)
class DiscreteOutputs:
    """What SAC's networks say of a minibatch with discrete actions.

    Attributes:
        value_PBA: The critics, of all actions.
        logp_BA: The policy.
        next_value_BA: The lesser target, of all actions in the next observation.
        next_logp_BA: The policy there.
    """

    value_PBA: Tensor
    logp_BA: Tensor
    next_value_BA: Tensor
    next_logp_BA: Tensor

    def named(self) -> dict[str, Tensor]:
        """As RLlib's module names them."""
        return {
            names.QF_PREDS: self.value_PBA[0],
            names.QF_TWIN_PREDS: self.value_PBA[1],
            names.ACTION_PROBS: self.logp_BA.exp(),
            names.ACTION_LOG_PROBS: self.logp_BA,
            names.QF_TARGET_NEXT: self.next_value_BA,
            names.ACTION_PROBS_NEXT: self.next_logp_BA.exp(),
            names.ACTION_LOG_PROBS_NEXT: self.next_logp_BA,
        }

    def loss(self, rows: Rows, log_temperature: Tensor, target_entropy: Tensor) -> Tensor:
        """Christodoulou 2019, equations 10 to 12: expectations over all actions in place of a drawn one."""
        temperature = log_temperature.detach().exp()
        next_B = (self.next_logp_BA.exp() * (self.next_value_BA - temperature * self.next_logp_BA)).sum(dim=-1)
        taken_PB1 = rows[Columns.ACTIONS].long().unsqueeze(-1).expand(*self.value_PBA.shape[:-1], 1)
        critics = _critic_loss(self.value_PBA.gather(-1, taken_PB1).squeeze(-1), next_B, rows)
        prob_BA, lesser_BA = self.logp_BA.exp(), self.value_PBA.detach().amin(dim=0)
        policy = (prob_BA * (temperature * self.logp_BA - lesser_BA)).sum(dim=-1).mean()
        entropy = -(prob_BA * self.logp_BA).detach().sum(dim=-1).mean()
        return critics + policy - log_temperature * (target_entropy - entropy)


def _critic_loss(value_PB: Tensor, next_B: Tensor, rows: Rows) -> Tensor:
    """Of both critics together."""
    target_B = rows[Columns.REWARDS] + rows[DISCOUNT] * next_B
    loss_PB = functional.huber_loss(value_PB, target_B.expand_as(value_PB), reduction="none")
    return (rows["weights"] * loss_PB).mean(dim=1).sum()
