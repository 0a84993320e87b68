"""Does event time reach the operators that need it? What can be told from the program alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...connectors.base import TellsTimestamps
from ...core.errors import JobDefinitionError
from ...operators.base import NeedsTimestamps
from ...operators.process import ProcessSpec
from ...operators.stateless import FilterSpec, FlatMapSpec, MapSpec
from ...operators.timestamps import SourceSpec, TimestampsSpec
from .passes import describe
from .stream_graph import StreamGraph, StreamNode

# What comes of a record happened when the record did. Of other operators (timers, windows) the program does not tell.
_KEEP_TIMES: Final = (MapSpec, FilterSpec, FlatMapSpec, ProcessSpec)


def check_timestamps(graph: StreamGraph) -> StreamGraph:
    """Refuse event-time windows and interval joins over a source whose records have no timestamps and are given none.

    Where the program does not tell, the operator itself refuses the first such record.

    Raises:
        JobDefinitionError: with the operator, the source and their lines.
    """
    nodes = graph.by_id()
    for node in graph.nodes:
        if isinstance(node.operator, NeedsTimestamps) and node.operator.needs_timestamps:
            source = _untimed_source_before(graph, nodes, node)
            if source is not None:
                raise JobDefinitionError(
                    f"the records of {describe(source)} have no timestamps, which an event-time window or join needs",
                    where=describe(node),
                    fix="call assign_timestamps_and_watermarks(...) before it, or give from_source a WatermarkStrategy with a "
                    "timestamp assigner",
                )
    return graph


def _untimed_source_before(
    graph: StreamGraph, nodes: Mapping[int, StreamNode], node: StreamNode
) -> StreamNode | None:
    found = (_untimed_source(graph, nodes, nodes[edge.source]) for edge in graph.inputs_of(node.node_id))
    return next((source for source in found if source is not None), None)


def _untimed_source(
    graph: StreamGraph, nodes: Mapping[int, StreamNode], node: StreamNode
) -> StreamNode | None:
    """The source that records without timestamps surely come from, through this node; None where that is not sure."""
    operator = node.operator
    if isinstance(operator, SourceSpec | TimestampsSpec) and operator.strategy.timestamp_assigner is not None:
        return None
    if node.source is not None:
        untimed = isinstance(node.source, TellsTimestamps) and not node.source.gives_timestamps
        return node if untimed else None
    if isinstance(operator, (TimestampsSpec, *_KEEP_TIMES)):
        return _untimed_source_before(graph, nodes, node)
    return None
