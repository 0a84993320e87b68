"""Collects what a program declares, and makes the StreamGraph of what a job needs. The one mutable thing in this package."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...connectors.base import Source
from ...core.types import TypeInformation
from ...operators.base import OperatorSpec
from .stream_graph import ChainingStrategy, JobSettings, Partitioner, StreamEdge, StreamGraph, StreamNode


@dataclass(frozen=True, slots=True)
class StreamInput:
    """Where an operator's records come from. A union is several of them.

    Attributes:
        node_id: the operator upstream.
        record_type: decides the encoding, should the records be exchanged.
        side_output: which side output of that operator, None for the main one.
        partitioner: None where the program does not say.
        input_id: which input of the operator it is, 1 or 2.
    """

    node_id: int
    record_type: TypeInformation[Any]
    side_output: str | None = None
    partitioner: Partitioner | None = None
    input_id: int = 1


class StreamGraphBuilder:
    """The operators of a program, over all its jobs.

    As in Flink, a job consists of the operators added since the last one, and of everything upstream of them: a source or
    stream defined once can be used by several jobs, and a source nobody reads is not part of any.
    """

    def __init__(self) -> None:
        self._nodes: dict[int, StreamNode] = {}
        self._edges: list[StreamEdge] = []
        self._wanted: list[int] = []
        self._replaced: dict[int, tuple[StreamNode, list[StreamEdge]]] = {}

    def add_source(self, node: StreamNode) -> int:
        """Register a source under a new id (that of `node` is ignored); it is wanted once something reads it."""
        node_id = max(self._nodes, default=0) + 1
        self._nodes[node_id] = replace(node, node_id=node_id)
        return node_id

    def add_operator(self, node: StreamNode, inputs: Sequence[StreamInput]) -> int:
        """Register an operator and its inputs under a new id."""
        node_id = self.add_source(node)
        self._edges.extend(
            StreamEdge(i.node_id, node_id, i.partitioner, i.side_output, i.record_type, i.input_id)
            for i in inputs
        )
        self._wanted.append(node_id)
        return node_id

    def remove(self, node_id: int) -> None:
        """Forget an operator that nothing reads."""
        del self._nodes[node_id]
        self._edges = [edge for edge in self._edges if edge.target != node_id]
        self._wanted.remove(node_id)

    def upstream_of(self, node_ids: Collection[int]) -> set[int]:
        """These operators and all whose records reach them, not counting feedback."""
        found = set(node_ids)
        for edge in reversed(
            self._edges
        ):  # an edge into a node is declared with it, so upstream comes earlier
            if edge.target in found:
                found.add(edge.source)
        return found

    def node(self, node_id: int) -> StreamNode:
        """The operator as it is declared so far."""
        return self._nodes[node_id]

    def change(self, node: StreamNode) -> None:
        """Replace the operator that has the same id."""
        self._nodes[node.node_id] = node

    def replace_by_source(self, node_id: int, source: Source[Any, Any], operator: OperatorSpec) -> None:
        """From now on the operator's results come from `source`, and nothing upstream of it is needed for them."""
        node = self._nodes[node_id]
        self._replaced[node_id] = node, [edge for edge in self._edges if edge.target == node_id]
        self._edges = [edge for edge in self._edges if edge.target != node_id]
        self._nodes[node_id] = replace(node, name=f"Source: {node.name}", source=source, operator=operator)

    def restore_operator(self, node_id: int) -> StreamNode:
        """Take `replace_by_source` back, if it was called; the operator."""
        if node_id in self._replaced:
            self._nodes[node_id], edges = self._replaced.pop(node_id)
            # `build` relies on edges being declared upstream first, and an edge into a node is declared with it.
            self._edges = sorted([*self._edges, *edges], key=lambda edge: edge.target)
        return self._nodes[node_id]

    def build(self, settings: JobSettings) -> StreamGraph:
        """The graph of the operators added since `start_next_job`, with all that is upstream of them."""
        needed = self.upstream_of(self._wanted)
        while tails := {id_ for id_, n in self._nodes.items() if n.feeds in needed and id_ not in needed}:
            needed = self.upstream_of(needed | tails)  # whoever reads a loop needs all of it
        return StreamGraph(
            settings,
            tuple(node for node_id, node in self._nodes.items() if node_id in needed),
            tuple(edge for edge in self._edges if edge.target in needed),
        )

    def start_next_job(self) -> None:
        """What was wanted so far has been submitted."""
        self._wanted.clear()


def new_node(
    name: str,
    operator: OperatorSpec,
    output_type: TypeInformation[Any],
    *,
    defined_at: str,
    source: Source[Any, Any] | None = None,
    parallelism: int | None = None,
    chaining: ChainingStrategy = ChainingStrategy.ALWAYS,
    feeds: int | None = None,
) -> StreamNode:
    """A node that the builder will give its id."""
    return StreamNode(
        0,
        name,
        operator,
        output_type,
        source=source,
        parallelism=parallelism,
        chaining=chaining,
        defined_at=defined_at,
        feeds=feeds,
    )
