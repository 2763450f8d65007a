"""A step as one compiled function: traced once, made into C++ by torch's compiler, then called with flat tensors.

Hundreds of small operations become one: with few copies a step is mostly the cost of starting operations, with many the
cost of carrying their results to memory and back. Sums may be taken in another order: results agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._inductor import compile as code_of
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from environments.errors import DataError
from environments.market.masks import masks_as_numbers
from environments.market.nests import leaves, maker
from environments.market.state import State
from environments.market.stepped import Step, Stepped
from environments.random import Seed, seed_tensor

OPTIONS: Mapping[str, Any] = {
    "cpp.enable_loop_tail_vec": False,  # the last few assets one by one: as a masked vector they cost more
    "cpp.simdlen": 256 if torch.backends.cpu.get_cpu_capability() == "AVX512" else None,  # fewer such assets
    "realize_opcount_threshold": 8,  # what is one number for a copy is not reckoned anew for each of its assets
    "size_asserts": False,  # what comes in was looked at before: states in ``set_state``, actions in ``typed``
}
"""What torch's compiler is told."""


class CompiledStep:
    """Calls a step as compiled code, which is made at the first call."""

    def __init__(self, step: Step) -> None:
        """Takes the step.

        Args:
            step: From the seed, the state before and the actions of all groups. It looks at no tensor's numbers and
                keeps nothing; it is given the seed as a tensor (see ``random.seed_tensor``).
        """
        self._step = step
        self._compiled: _Compiled | None = None
        self._seed: tuple[Seed, Tensor] = (0, seed_tensor(0))

    def __call__(self, seed: Seed, state: State, actions: Mapping[str, Tensor]) -> Stepped:
        """Steps; shapes and types are those of the first call.

        Raises:
            DataError: At the first call: the code could not be compiled.
        """
        if self._seed[0] != seed:
            self._seed = seed, seed_tensor(seed)
        given = (self._seed[1], state, dict(actions))
        if self._compiled is None:
            self._compiled = _compiled(self._step, given)
        return self._compiled(given)


@dataclass(frozen=True)
class _Compiled:
    """Compiled code, from tensors to tensors, each but once.

    Attributes:
        code: It.
        masks_in: Places of the masks over assets that it is given, as numbers (see ``masks``).
        masks_out: Places of those that it tells, likewise.
        make: What it tells -> what the step does.
    """

    code: Callable[..., Sequence[Tensor]]
    masks_in: Sequence[int]
    masks_out: Sequence[int]
    make: Callable[[Sequence[Tensor]], Stepped]

    def __call__(self, given: Any) -> Stepped:
        tensors = [tensor.contiguous() for tensor in leaves(given)]
        for place in self.masks_in:
            tensors[place] = tensors[place].double()
        told = list(self.code(*tensors))
        for place in self.masks_out:
            told[place] = told[place].bool()
        return self.make(told)


def _compiled(step: Step, given: Any) -> _Compiled:
    """The step as compiled code, for what is like ``given``.

    Raises:
        DataError: It could not be compiled.
    """
    found: dict[str, Any] = {}
    tensors = [tensor.contiguous() for tensor in leaves(given)]
    masks_in = [place for place, tensor in enumerate(tensors) if _is_over_assets(tensor)]
    again = maker(given, iter(range(len(tensors))))

    def flat(*inputs: Tensor) -> list[Tensor]:
        meant = [tensor != 0.0 if place in masks_in else tensor for place, tensor in enumerate(inputs)]
        stepped = step(*again(meant))
        unique = {id(tensor): tensor for tensor in leaves(stepped)}
        place_of = {key: place for place, key in enumerate(unique)}
        masks = {place_of[id(tensor)] for tensor in leaves(stepped.state) if _is_over_assets(tensor)}
        found["masks_out"] = sorted(masks)
        found["make"] = maker(stepped, (place_of[id(tensor)] for tensor in leaves(stepped)))
        told = [tensor.double() if place in masks else tensor for place, tensor in enumerate(unique.values())]
        return [tensor.clone(memory_format=torch.contiguous_format) for tensor in told]

    inputs = [tensor.double() if place in masks_in else tensor for place, tensor in enumerate(tensors)]
    flat(*inputs)  # once as it is, so that what it keeps for later (see ``scalars``) is not made while tracing
    apart = [tensor.clone() for tensor in inputs]  # a tensor that is given twice would be traced as one input
    try:
        code = compiled_graph(masks_as_numbers(_reshaping(make_fx(flat)(*apart))), [*apart])
    except Exception as error:  # torch's compiler, and the C++ compiler through it, may raise anything
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"compile: torch could not compile the step ({reason}); set compile: false") from error
    return _Compiled(code, masks_in, **found)


def _is_over_assets(tensor: Tensor) -> bool:
    """A mask with a column for each asset."""
    return tensor.dtype is torch.bool and tensor.dim() == 2 and tensor.shape[1] > 1


def compiled_graph(graph: GraphModule, inputs: list[Any]) -> Callable[..., tuple[Tensor, ...]]:
    """The graph as compiled code."""
    called: Callable[..., tuple[Tensor, ...]] = code_of(graph, inputs, options=dict(OPTIONS))
    return called


def _reshaping(graph: GraphModule) -> GraphModule:
    """The graph without views: how tensors lie in memory is for the compiler to say, and a view may not fit that."""
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
    graph.recompile()
    return graph
