"""Chains of a JobGraph: their names, and how one is taken apart. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from ...core.ids import VertexId
from ...state.handles import EdgeName
from .job_graph import ChainedOperator, JobEdge, JobGraph, JobVertex
from .stream_graph import Forward


def chain_name(operators: Sequence[ChainedOperator]) -> str:
    """As in Flink: `A -> B`, and `A -> (B, C -> D)` where the chain branches."""
    consumers: dict[int, list[int]] = defaultdict(list)
    for position, operator in enumerate(operators):
        if operator.input_index is not None:
            consumers[operator.input_index].append(position)

    def name_from(position: int) -> str:
        name = operators[position].name
        parts = [name_from(consumer) for consumer in consumers[position]]
        if not parts:
            return name
        return f"{name} -> {parts[0] if len(parts) == 1 else '(' + ', '.join(parts) + ')'}"

    return name_from(0)


def split_chains(job: JobGraph, exchanges: Collection[EdgeName]) -> JobGraph:
    """The job with an exchange, forward, wherever one of these leads from an operator to one that is chained to it.

    Names that fit nothing in a chain change nothing.
    """
    for vertex in reversed(job.vertices):  # the indexes of those before one that is split stay
        for position in reversed(range(1, len(vertex.operators))):
            if _input_name(vertex, position) in exchanges:
                job = _split(job, job.vertices[vertex.index], position)
    return job


def _input_name(vertex: JobVertex, position: int) -> EdgeName:
    operator = vertex.operators[position]
    assert operator.input_index is not None, "only the head has its input from elsewhere"
    source = vertex.operators[operator.input_index]
    return EdgeName(source.operator_id, operator.input_side_output, operator.operator_id, input_id=1)


def _split(job: JobGraph, vertex: JobVertex, position: int) -> JobGraph:
    """The operator at `position`, and all that it feeds in the chain, in a vertex behind this one."""
    old, new = vertex.index, vertex.index + 1
    moved = [position]
    for place in range(position + 1, len(vertex.operators)):
        if vertex.operators[place].input_index in moved:
            moved.append(place)
    staying = [place for place in range(len(vertex.operators)) if place not in moved]

    def shifted(index: int) -> int:
        return index if index <= old else index + 1

    def moved_edge(edge: JobEdge) -> JobEdge:
        source, place = shifted(edge.source), edge.source_operator
        if edge.source == old:
            source, place = (new, moved.index(place)) if place in moved else (old, staying.index(place))
        return replace(edge, source=source, source_operator=place, target=shifted(edge.target))

    head = vertex.operators[position]
    assert head.input_index is not None
    feeder, side_output = vertex.operators[head.input_index], head.input_side_output
    exchange = JobEdge(
        index=len(job.edges),
        source=old,
        source_operator=staying.index(head.input_index),
        target=new,
        partitioner=Forward(),
        side_output=side_output,
        record_type=feeder.output_type if side_output is None else feeder.side_types[side_output],
        buffer_timeout_ms=feeder.buffer_timeout_ms,
    )
    first, second = _chain_of(vertex, staying), _chain_of(vertex, moved)
    vertices = (
        *job.vertices[:old],
        replace(vertex, name=chain_name(first), operators=first),
        replace(
            vertex,
            vertex_id=VertexId(head.operator_id),
            index=new,
            name=chain_name(second),
            operators=second,
        ),
        *(replace(later, index=later.index + 1) for later in job.vertices[new:]),
    )
    return JobGraph(job.settings, vertices, (*map(moved_edge, job.edges), exchange))


def _chain_of(vertex: JobVertex, places: list[int]) -> tuple[ChainedOperator, ...]:
    """The operators at these places of a vertex as a chain of their own."""
    head, *others = (vertex.operators[place] for place in places)
    chained = []
    for operator in others:
        assert operator.input_index is not None
        chained.append(replace(operator, input_index=places.index(operator.input_index)))
    return (replace(head, input_index=None, input_side_output=None), *chained)
