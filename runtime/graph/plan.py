"""The graphs as text, for people, and the StreamGraph as JSON, as Flink's plan visualizer reads it. Deterministic.

Node ids are renumbered from 1 in the order of the graph, so that the text does not depend on what else a program made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ...operators.base import is_sorted_input
from .execution_graph import ExecutionGraph, build_execution_graph
from .job_graph import ChainedOperator, JobEdge, JobGraph, JobVertex
from .stream_graph import StreamEdge, StreamGraph, StreamNode


def explain_job(stream_graph: StreamGraph, job_graph: JobGraph) -> str:
    """All three graphs of a job. `stream_graph` is the one that the passes made."""
    sections = (
        stream_graph_text(stream_graph),
        job_graph_text(job_graph),
        execution_graph_text(build_execution_graph(job_graph)),
    )
    mode = " (BATCH)" if stream_graph.settings.is_batch else ""
    return f"Job '{stream_graph.settings.name}'{mode}\n\n" + "\n\n".join(sections) + "\n"


def stream_graph_text(graph: StreamGraph) -> str:
    """Operators as written, one a line, each followed by what it reads."""
    numbers = {node.node_id: number for number, node in enumerate(graph.nodes, 1)}
    lines = ["== StreamGraph =="]
    for node in graph.nodes:
        lines.append(f"{numbers[node.node_id]:>3}: {node.name}{_node_notes(node)}")
        lines.extend(f"       <- {_edge_text(edge, numbers)}" for edge in graph.inputs_of(node.node_id))
    return "\n".join(lines)


def _node_notes(node: StreamNode) -> str:
    notes = [f"parallelism {node.parallelism}", f"type {node.output_type.name}"]
    if node.uid is not None:
        notes.insert(0, f"uid '{node.uid}'")
    if node.slot_sharing_group not in {None, "default"}:
        notes.append(f"slot sharing group '{node.slot_sharing_group}'")
    description = f"  {node.description}" if node.description else ""
    return f" [{', '.join(notes)}]{description}"


def _edge_text(edge: StreamEdge, numbers: dict[int, int]) -> str:
    strategy = "?" if edge.partitioner is None else edge.partitioner.name
    return f"{numbers[edge.source]} {strategy}{_side_text(edge.side_output)}{_input_text(edge)}"


def _side_text(side_output: str | None) -> str:
    return "" if side_output is None else f" (side output '{side_output}')"


def _input_text(edge: StreamEdge | JobEdge) -> str:
    return "" if edge.input_id == 1 else " (second input)"


def job_graph_text(graph: JobGraph) -> str:
    """Vertices, the operators chained in each, and the exchanges into it."""
    lines = ["== JobGraph =="]
    for vertex in graph.vertices:
        group = (
            f", slot sharing group '{vertex.slot_sharing_group}'"
            if vertex.slot_sharing_group != "default"
            else ""
        )
        lines.append(
            f"{vertex.index:>3}: {vertex.name}"
            f" [parallelism {vertex.parallelism}, max parallelism {vertex.max_parallelism}{group}]"
        )
        lines.extend(f"       {_operator_text(vertex, operator)}" for operator in vertex.operators)
        lines.extend(f"       <- {_exchange_text(graph, edge)}" for edge in graph.inputs_of(vertex.index))
    return "\n".join(lines)


def _operator_text(vertex: JobVertex, operator: ChainedOperator) -> str:
    upstream = ""
    if operator.input_index is not None:
        upstream = (
            f" <- {vertex.operators[operator.input_index].name}{_side_text(operator.input_side_output)}"
        )
    return f"{operator.operator_id[:8]} {operator.name}{upstream}"


def _exchange_text(graph: JobGraph, edge: JobEdge) -> str:
    operator = graph.vertices[edge.source].operators[edge.source_operator]
    consumer = graph.vertices[edge.target].operators[0].operator
    is_sorted = (
        ", sorted by key" if graph.settings.is_batch and is_sorted_input(consumer, edge.input_id) else ""
    )
    side = _side_text(edge.side_output)
    return f"{edge.source} ({operator.name}) {edge.partitioner.name}{side}{_input_text(edge)}{is_sorted}"


def execution_graph_text(graph: ExecutionGraph) -> str:
    """The subtasks on each worker, and how many channels lead where."""
    lines = ["== ExecutionGraph =="]
    for worker in sorted({subtask.worker for subtask in graph.subtasks}):
        lines.append(f"worker {worker}")
        lines.extend(
            f"       {subtask.subtask_id:<6} {subtask.display_name}" for subtask in graph.on_worker(worker)
        )
    local = sum(channel.is_local for channel in graph.channels)
    lines.append(f"channels: {local} local, {len(graph.channels) - local} between workers")
    return "\n".join(lines)


def stream_graph_json(graph: StreamGraph) -> str:
    """The StreamGraph as `{"nodes": [...]}` with Flink's fields; in BATCH mode it says so, too."""
    numbers = {node.node_id: number for number, node in enumerate(graph.nodes, 1)}
    plan: dict[str, Any] = {"runtimeMode": "BATCH"} if graph.settings.is_batch else {}
    plan["nodes"] = [_node_json(graph, node, numbers) for node in graph.nodes]
    return json.dumps(plan, indent=2)


def _node_json(graph: StreamGraph, node: StreamNode, numbers: dict[int, int]) -> dict[str, Any]:
    inputs = graph.inputs_of(node.node_id)
    fields: dict[str, Any] = {
        "id": numbers[node.node_id],
        "type": node.name,
        "pact": _pact(graph, node),
        "contents": node.description or node.name,
        "parallelism": node.parallelism,
    }
    if inputs:
        fields["predecessors"] = list(_predecessors(inputs, numbers))
    return fields


def _predecessors(inputs: Iterable[StreamEdge], numbers: dict[int, int]) -> Iterator[dict[str, Any]]:
    inputs = tuple(inputs)
    two = any(edge.input_id == 2 for edge in inputs)
    for edge in inputs:
        strategy = "" if edge.partitioner is None else edge.partitioner.name
        # Flink says "second" of every only input.
        side = "first" if two and edge.input_id == 1 else "second"
        yield {"id": numbers[edge.source], "ship_strategy": strategy, "side": side}


def _pact(graph: StreamGraph, node: StreamNode) -> str:
    if node.source is not None:
        return "Data Source"
    return "Operator" if graph.outputs_of(node.node_id) or not node.name.startswith("Sink: ") else "Data Sink"
