"""Which exchanges may hold channel state, and how a later run finds them again. Pure."""

from __future__ import annotations

from typing import Final

from ...operators.combiner import CombinerSpec
from ...operators.iteration import IterationHeadSpec
from ...state.handles import EdgeName
from .job_graph import JobEdge, JobGraph
from .stream_graph import Custom, Global, Hash, Partitioner, Rebalance, Shuffle

_OVERTAKABLE: Final = (Custom, Global, Hash, Rebalance, Shuffle)
"""Not Broadcast: at another parallelism nobody could say which of the copies are still to come. Not Forward and Rescale: their
records belong where they are. Source: FLIP-76, FLINK-22815."""


def edge_name(job: JobGraph, edge: JobEdge) -> EdgeName:
    """The exchange by the ids of the program's operators: a combiner, which comes and goes with the parallelism, is none."""
    target = job.vertices[edge.target].operators[0]
    vertex, position, side_output = job.vertices[edge.source], edge.source_operator, edge.side_output
    while isinstance(vertex.operators[position].operator, CombinerSpec):
        before, side_output = (
            vertex.operators[position].input_index,
            vertex.operators[position].input_side_output,
        )
        if before is None:
            (into,) = job.inputs_of(vertex.index)
            vertex, before, side_output = job.vertices[into.source], into.source_operator, into.side_output
        position = before
    return EdgeName(vertex.operators[position].operator_id, side_output, target.operator_id, edge.input_id)


def overtakable_edges(job: JobGraph) -> frozenset[int]:
    """Indexes of the exchanges in which barriers may go ahead of records.

    Exchanges that lead into a loop or come from one keep their order: an iteration's head takes its part of a checkpoint when
    the barrier has been once round, behind the records.
    """
    in_loop = _from_loops(job)
    heads = {vertex.index for vertex in job.vertices if _is_head(job, vertex.index)}
    return frozenset(
        edge.index
        for edge in job.edges
        if may_be_overtaken(edge.partitioner) and edge.source not in in_loop and edge.target not in heads
    )


def may_wait_for_themselves(job: JobGraph) -> frozenset[int]:
    """Indexes of the vertices that could wait for a barrier which cannot come before they read on.

    A barrier that has overtaken records blocks its input, and says nothing of where these records are. The barrier that is
    awaited, on an exchange that keeps its order, may stand behind records on their way to that same blocked input. So it is
    wherever a sender on the way of the awaited barrier fills another exchange as well.

    INVARIANT U2: a task that waits for a barrier holds up nobody whom that barrier needs. Kept by: tests/simulation/test_barriers.py.
    """
    overtakable = overtakable_edges(job)
    return frozenset(
        edge.target
        for edge in job.edges
        if edge.index not in overtakable
        and any(len(job.outputs_of(vertex)) > 1 for vertex in _up_to(job, edge.source))
    )


def _up_to(job: JobGraph, vertex: int) -> set[int]:
    """The vertex and all before it."""
    found, unseen = {vertex}, [vertex]
    while unseen:
        new = {edge.source for edge in job.inputs_of(unseen.pop())} - found
        found |= new
        unseen += new
    return found


def may_be_overtaken(partitioner: Partitioner) -> bool:
    """Whether records under way on such an exchange can be distributed anew."""
    return isinstance(partitioner, _OVERTAKABLE)


def _from_loops(job: JobGraph) -> set[int]:
    """Vertices with an iteration's head in them or before them; vertices come in topological order."""
    found: set[int] = set()
    for vertex in job.vertices:
        before = {edge.source for edge in job.inputs_of(vertex.index)}
        if _is_head(job, vertex.index) or before & found:
            found.add(vertex.index)
    return found


def _is_head(job: JobGraph, vertex: int) -> bool:
    return any(
        isinstance(operator.operator, IterationHeadSpec) for operator in job.vertices[vertex].operators
    )
