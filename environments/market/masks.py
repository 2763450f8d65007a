"""Masks as numbers: what is done to the graph of a step before torch's compiler makes vectors of it.

The compiler keeps a mask as bytes, beside numbers of eight bytes each: to load one, to store it, or to join two of
other widths takes about fifty instructions for eight assets, through memory, where a product takes two. So masks that
come from memory or from logic become 0.0 and 1.0, of which logic is arithmetic, exactly.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import Target, map_arg

aten = torch.ops.aten

LOGIC: Mapping[Target, Target] = {
    aten.bitwise_and.Tensor: aten.mul.Tensor,
    aten.bitwise_or.Tensor: aten.maximum.default,
}
"""Of masks -> the same of their numbers."""

COMPARISONS: Iterable[Target] = {aten.gt.Tensor, aten.ge.Tensor, aten.ne.Tensor, aten.eq.Tensor}
"""What says the same of masks and of their numbers."""

MOVES: Iterable[Target] = {
    aten.index_select.default,
    aten.unbind.int,
    aten.split_with_sizes.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.unsqueeze.default,
    aten.expand.default,
    operator.getitem,
}
"""What says where a mask lies, and where its numbers do."""

JOINS: Iterable[Target] = {aten.stack.default, aten.cat.default}


def masks_as_numbers(graph: GraphModule) -> GraphModule:
    """Rewrites the graph in place: the results stay what they are, to the bit."""
    forms = _Forms(graph)
    for node in list(graph.graph.nodes):
        forms.refer(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


class _Forms:
    """A mask in the form in which it is best read: as a condition, or as numbers; each made at the first call."""

    def __init__(self, graph: GraphModule) -> None:
        self._graph = graph
        self._numbers: dict[Node, Node] = {}
        self._conditions: dict[Node, Node] = {}

    def refer(self, node: Node) -> None:
        """Makes a node read masks in another form, where that is better."""
        if node.target is aten.where.self:
            mask, yes, no = node.args
            if isinstance(mask, Node):
                node.args = (self._condition(mask), yes, no)
        elif node.target is aten._to_copy.default and _is_float(node):
            self._refer_copy(node, node.args[0])
        elif node.target in COMPARISONS or (node.target in JOINS and _dtype(node) is torch.float64):
            node.args = map_arg(node.args, lambda arg: self._number(arg) if _is_mask(arg) else arg)
        elif node.op == "output" or not _is_mask(node):
            node.args = map_arg(node.args, lambda arg: self._condition(arg) if arg.target in LOGIC else arg)

    def _refer_copy(self, node: Node, source: Any) -> None:
        if isinstance(source, Node) and _is_mask(source):
            number = self._number(source)
            if _dtype(node) is torch.float64:
                node.replace_all_uses_with(number)
            else:
                node.args = (number,)

    def _number(self, mask: Node) -> Node:
        """1.0 where the mask is set, 0.0 elsewhere: float64."""
        if mask not in self._numbers:
            self._numbers[mask] = self._numbered(mask)
        return self._numbers[mask]

    def _numbered(self, mask: Node) -> Node:
        if mask.target in LOGIC or mask.target in MOVES:
            args = map_arg(mask.args, lambda arg: self._number(arg) if _is_mask(arg) else arg)
            return self._after(mask, LOGIC.get(mask.target, mask.target), args)
        if mask.op == "get_attr":
            name = f"{mask.target}_numbers"
            if not hasattr(self._graph, name):
                self._graph.register_buffer(name, getattr(self._graph, str(mask.target)).double())
            with self._graph.graph.inserting_after(mask):
                return self._graph.graph.get_attr(name)
        return self._after(mask, aten._to_copy.default, (mask,), dtype=torch.float64)

    def _condition(self, mask: Node) -> Node:
        """The mask for a choice: where it is computed from numbers, not read from memory."""
        if mask.op == "call_function" and mask.target not in LOGIC and mask.target not in MOVES:
            return mask
        if mask not in self._conditions:
            number = self._number(mask)
            self._conditions[mask] = self._after(number, aten.ne.Scalar, (number, 0.0))
        return self._conditions[mask]

    def _after(self, node: Node, target: Any, args: Any, **kwargs: Any) -> Node:
        with self._graph.graph.inserting_after(node):
            return self._graph.graph.call_function(target, args, kwargs)


def _is_mask(node: Node) -> bool:
    return _dtype(node) is torch.bool


def _is_float(node: Node) -> bool:
    return _dtype(node) in (torch.float64, torch.float32)


def _dtype(node: Node) -> torch.dtype | None:
    """Of a tensor, or of all tensors of a list."""
    value: Any = node.meta.get("val")
    if isinstance(value, (list, tuple)):
        value = value[0]
    return getattr(value, "dtype", None)
