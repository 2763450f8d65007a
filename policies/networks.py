"""What a policy sees besides the present, and with which layers: nothing, its last bars, all that was, or the others.

Every network makes a summary of what it sees; the summary and the present observation go through ``hidden``, as the
observation alone does with ``mlp``. Settings come first, layers below.

B rows, N stretches of a trajectory, L decisions in a row, W bars of a window, A agents of a group, F features,
G = F + 1: features and a flag, 1 where there is something to see; H units of a summary.
"""

from __future__ import annotations

import abc
from typing import Annotated, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mlp(_Settings):
    """The present observation alone, through ``hidden``: RLlib's own network."""

    kind: Literal["mlp"] = "mlp"


class _Summary(_Settings, abc.ABC):
    units: int = Field(32, ge=1, description="H, the units of the summary")

    @abc.abstractmethod
    def build(self, features: int) -> Core:
        """The layers, for observations of F features."""


class _Window(_Summary, abc.ABC):
    window: int = Field(16, ge=2, le=1024, description="W, the agent's last observations, the present one among them")


class _Attending(_Summary, abc.ABC):
    heads: int = Field(2, ge=1, description="heads of the attention; units must be a multiple of them")
    layers: int = Field(1, ge=1, description="blocks of attention and feed-forward layers")

    @model_validator(mode="after")
    def _equal_heads(self) -> Self:
        if self.units % self.heads:
            raise ValueError(f"units is {self.units} and heads is {self.heads}: units must be a multiple of heads")
        return self


class Conv(_Window):
    """Causal convolutions over the last W bars, dilated 1, 2, 4 ... until they reach back W (van den Oord 2016)."""

    kind: Literal["conv"] = "conv"
    kernel: int = Field(3, ge=2, description="taps of a layer")

    def build(self, features: int) -> Core:
        """The layers, for observations of F features."""
        return ConvCore(self, features)


class Gru(_Window):
    """A gated recurrent unit (Cho et al. 2014) that reads the last W bars, from nothing each time."""

    kind: Literal["gru"] = "gru"

    def build(self, features: int) -> Core:
        """The layers, for observations of F features."""
        return GruCore(self, features)


class Transformer(_Attending, _Window):
    """Causal self-attention over the last W bars (Vaswani et al. 2017), with a learned code for how long ago."""

    kind: Literal["transformer"] = "transformer"

    def build(self, features: int) -> Core:
        """The layers, for observations of F features."""
        return TransformerCore(self, features)


class Recurrent(_Summary):
    """A gated recurrent unit whose state goes on through the whole episode."""

    kind: Literal["recurrent"] = "recurrent"
    unroll: int = Field(16, ge=2, description="decisions in a row that a gradient passes back through")

    def build(self, features: int) -> Core:
        """The layers, for observations of F features."""
        return RecurrentCore(self, features)


class Attention(_Attending):
    """Self-attention across the agents of a group, in whatever order they come (Zaheer et al. 2017)."""

    kind: Literal["attention"] = "attention"

    def build(self, features: int) -> Core:
        """The layers, for observations of F features."""
        return AttentionCore(self, features)


Summarising = Conv | Gru | Transformer | Recurrent | Attention
Network = Annotated[Mlp | Summarising, Field(discriminator="kind")]


class Core(nn.Module, abc.ABC):
    """Makes summaries.

    Attributes:
        network: Its settings.
        features: F.
    """

    def __init__(self, network: Summarising, features: int) -> None:
        super().__init__()
        self.network, self.features = network, features

    def forward(self, rows: Tensor) -> Tensor:
        """Summary and present observation of each decision, (B, H + F), of what ``rows`` says was seen."""
        summary_BH, obs_BF = self.summary(rows)
        return torch.cat([summary_BH, obs_BF], dim=-1)

    @abc.abstractmethod
    def summary(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Summaries (B, H), and what each of these decisions saw of the present, (B, F)."""


class WindowCore(Core):
    """Summarises the last W bars. What the flag says was not seen counts as zeros, whatever stands there."""

    def __init__(self, network: Conv | Gru | Transformer, features: int) -> None:
        super().__init__(network, features)
        self.window = network.window

    def summary(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of L decisions in a row, (N, W - 1 + L, G): those of the first N come first, B = N L."""
        seen_BWG = rows.unfold(1, self.window, 1).transpose(2, 3).flatten(0, 1)
        seen_BWG = _only_seen(seen_BWG)
        return self.bars(seen_BWG)[:, -1], seen_BWG[:, -1, : self.features]

    @abc.abstractmethod
    def bars(self, seen_BWG: Tensor) -> Tensor:
        """A summary at each bar, of the bars up to it: (B, W, H)."""


class ConvCore(WindowCore):
    """n = ceil(log2((W - 1) / (k - 1) + 1)) layers of causal convolutions: (G + H (n - 1)) H k + n H parameters.

    All but the first, which has other channels than the features, are residual.
    """

    def __init__(self, net: Conv, features: int) -> None:
        super().__init__(net, features)
        self.layers = nn.ModuleList()
        self.backs: list[int] = []
        channels = features + 1
        while sum(self.backs) < net.window - 1:
            dilation = 2 ** len(self.layers)
            self.layers.append(nn.Conv1d(channels, net.units, net.kernel, dilation=dilation))
            self.backs.append((net.kernel - 1) * dilation)
            channels = net.units

    def bars(self, seen_BWG: Tensor) -> Tensor:
        """A summary at each bar, of the bars up to it: (B, W, H)."""
        hidden = seen_BWG.transpose(1, 2)
        for layer, back in zip(self.layers, self.backs, strict=True):
            out = functional.silu(layer(functional.pad(hidden, (back, 0))))
            hidden = out if layer is self.layers[0] else hidden + out
        return hidden.transpose(1, 2)


class GruCore(WindowCore):
    """A GRU from a state of zeros: 3 H (G + H + 2) parameters."""

    def __init__(self, net: Gru, features: int) -> None:
        super().__init__(net, features)
        self.gru = nn.GRU(features + 1, net.units, batch_first=True)

    def bars(self, seen_BWG: Tensor) -> Tensor:
        """A summary at each bar, of the bars up to it: (B, W, H)."""
        return self.gru(seen_BWG)[0]


class TransformerCore(WindowCore):
    """Causal self-attention: H (G + 1 + W) + n (12 H^2 + 13 H) parameters for n blocks."""

    past: Tensor

    def __init__(self, net: Transformer, features: int) -> None:
        super().__init__(net, features)
        self.tokens = nn.Linear(features + 1, net.units)
        self.how_long_ago = nn.Parameter(0.02 * torch.randn(net.window, net.units))
        self.blocks = _Blocks(net)
        self.register_buffer("past", torch.ones(net.window, net.window).tril().bool(), persistent=False)

    def bars(self, seen_BWG: Tensor) -> Tensor:
        """A summary at each bar, of the bars up to it: (B, W, H)."""
        looks_BWW = self.past & (seen_BWG[:, None, :, -1] > 0)
        return self.blocks(self.tokens(seen_BWG) + self.how_long_ago, looks_BWW)


class RecurrentCore(Core):
    """A GRU that goes on from a state: 3 H (F + H + 2) parameters.

    Attributes:
        place: Of its own state among those that stand behind the features.
    """

    def __init__(self, net: Recurrent, features: int) -> None:
        super().__init__(net, features)
        self.gru = nn.GRU(features, net.units, batch_first=True)
        self.place = 0

    def summary(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of L decisions in a row, (N, L, F + ...): observations, and states before them; only the first are read."""
        out_NLH, _ = self._unrolled(rows)
        return out_NLH.flatten(0, 1), rows[..., : self.features].flatten(0, 1)

    def after(self, rows: Tensor) -> Tensor:
        """The state after the last of the L decisions, (N, H)."""
        return self._unrolled(rows)[1].squeeze(0)

    def _unrolled(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        units = self.network.units
        begin = self.features + self.place * units
        obs_NLF, state_NH = rows[..., : self.features], rows[:, 0, begin : begin + units]
        unrolled: tuple[Tensor, Tensor] = self.gru(obs_NLF, state_NH.unsqueeze(0).contiguous())
        return unrolled


class AttentionCore(Core):
    """Self-attention among the agents present: H (G + 1) + n (12 H^2 + 13 H) parameters for n blocks.

    Nothing tells the agents' places: permute them and the summaries are permuted. Who is absent is seen by nobody.
    """

    def __init__(self, net: Attention, features: int) -> None:
        super().__init__(net, features)
        self.tokens = nn.Linear(features + 1, net.units)
        self.blocks = _Blocks(net)

    def summary(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of A agents that see each other, (N, A, G): those of the first N come first, B = N A.

        One more column says whose summaries are asked for, where these are not all: 1 for those, B of them.
        """
        seen_NAG = _only_seen(rows[..., : self.features + 1])
        looks_NAA = (seen_NAG[:, None, :, -1] > 0).expand(-1, rows.shape[1], -1)
        out_BH = self.blocks(self.tokens(seen_NAG), looks_NAA).flatten(0, 1)
        obs_BF = seen_NAG[..., : self.features].flatten(0, 1)
        if rows.shape[-1] == seen_NAG.shape[-1]:
            return out_BH, obs_BF
        asked = rows[..., -1].flatten() > 0
        return out_BH[asked], obs_BF[asked]


class _Blocks(nn.Module):
    """Blocks of self-attention with the norm first (Xiong et al. 2020): torch's own layers."""

    def __init__(self, net: _Attending) -> None:
        super().__init__()
        self.heads = net.heads
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                net.units,
                net.heads,
                dim_feedforward=4 * net.units,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(net.layers)
        )

    def forward(self, token_BTH: Tensor, looks_BTT: Tensor) -> Tensor:
        """What tokens become that look at the others as ``looks_BTT`` says; each looks at itself, or would see none."""
        itself_TT = torch.eye(token_BTH.shape[1], dtype=torch.bool, device=token_BTH.device)
        hidden_from_BTT = ~(looks_BTT | itself_TT)
        mask = hidden_from_BTT.repeat_interleave(self.heads, dim=0)
        for layer in self.layers:
            token_BTH = layer(token_BTH, src_mask=mask)
        return token_BTH


def _only_seen(rows: Tensor) -> Tensor:
    return torch.where(rows[..., -1:] > 0, rows, 0.0)
