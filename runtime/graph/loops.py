"""The pass that completes iterations: which loops belong together, where their ends run, and how heads reach all tails."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ...core.errors import JobDefinitionError
from ...core.types import GENERIC
from ...operators.iteration import LOOP_CONTROL, IterationHeadSpec, IterationTailSpec
from .passes import describe
from .stream_graph import Broadcast, StreamEdge, StreamGraph, StreamNode


def connect_loops(graph: StreamGraph) -> StreamGraph:
    """Group the loops, put each tail where its head is, and lead a channel for control elements from every head of a group
    straight to every tail of it.

    Tails come last among the nodes, since they now also read heads that were declared behind them.

    Raises:
        JobDefinitionError: an iteration was never closed.
    """
    heads = [node for node in graph.nodes if isinstance(node.operator, IterationHeadSpec)]
    if not heads:
        return graph
    tails = {node.feeds: node for node in graph.nodes if node.feeds is not None}
    for head in heads:
        if head.node_id not in tails:
            raise JobDefinitionError(
                "an iteration was begun, but nothing feeds records back to it",
                where=describe(head),
                fix="call close_with(feedback_stream) on the stream that iterate() returned",
            )
    changed: dict[int, StreamNode] = {}
    control: list[StreamEdge] = []
    for members in _groups(graph, heads):
        group = [head for head in heads if head.node_id in members]
        name = group[0].operator_id
        for head in group:
            root = all(edge.source not in members for edge in graph.inputs_of(head.node_id))
            tail = tails[head.node_id]
            changed[head.node_id] = _with_head(head, name, root=root)
            changed[tail.node_id] = _with_tail(tail, head, name)
            control += [_control_edge(other, tail) for other in group]
    nodes = sorted((changed.get(node.node_id, node) for node in graph.nodes), key=_is_tail)
    return replace(graph, nodes=tuple(nodes), edges=(*graph.edges, *control))


def _is_tail(node: StreamNode) -> bool:
    return node.feeds is not None


def _with_head(head: StreamNode, group: str, *, root: bool) -> StreamNode:
    assert isinstance(head.operator, IterationHeadSpec)
    return replace(head, operator=replace(head.operator, group=group, root=root))


def _with_tail(tail: StreamNode, head: StreamNode, group: str) -> StreamNode:
    """Subtask i of both shares a worker."""
    return replace(
        tail,
        operator=IterationTailSpec(group, head.operator_id),
        parallelism=head.parallelism,
        max_parallelism=head.max_parallelism,
        slot_sharing_group=head.slot_sharing_group,
    )


def _control_edge(head: StreamNode, tail: StreamNode) -> StreamEdge:
    return StreamEdge(head.node_id, tail.node_id, Broadcast(), LOOP_CONTROL, GENERIC)


def _groups(graph: StreamGraph, heads: Iterable[StreamNode]) -> list[set[int]]:
    """The nodes of each group of loops: those that reach each other, feedback included."""
    downstream: defaultdict[int, set[int]] = defaultdict(set)
    upstream: defaultdict[int, set[int]] = defaultdict(set)
    steps = [(edge.source, edge.target) for edge in graph.edges]
    steps += [(node.node_id, node.feeds) for node in graph.nodes if node.feeds is not None]
    for source, target in steps:
        downstream[source].add(target)
        upstream[target].add(source)
    groups: list[set[int]] = []
    for head in heads:
        if not any(head.node_id in group for group in groups):
            groups.append(_reached(head.node_id, downstream) & _reached(head.node_id, upstream))
    return groups


def _reached(start: int, steps: Mapping[int, set[int]]) -> set[int]:
    found, frontier = {start}, [start]
    while frontier:
        new = steps.get(frontier.pop(), set()) - found
        found |= new
        frontier += new
    return found
