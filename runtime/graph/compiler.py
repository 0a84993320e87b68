"""From StreamGraph to JobGraph: the passes, then chaining. Pure."""

from __future__ import annotations

from collections import defaultdict
from functools import reduce
from typing import Final

from ...core.errors import JobDefinitionError
from ...core.ids import VertexId
from ...operators.base import KeyedSpec
from ...state.key_groups import default_max_parallelism
from .chains import chain_name
from .event_time import check_timestamps
from .job_graph import ChainedOperator, JobEdge, JobGraph, JobVertex
from .loops import connect_loops
from .passes import (
    DEFAULT_SLOT_SHARING_GROUP,
    assign_operator_ids,
    assign_slot_sharing_groups,
    check_program,
    choose_partitioners,
    describe,
    infer_parallelism,
    insert_combiners,
    resolve_runtime_mode,
    use_batch_forms,
)
from .stream_graph import ChainingStrategy, Forward, StreamEdge, StreamGraph, StreamNode

PASSES: Final = (
    check_program,
    check_timestamps,
    resolve_runtime_mode,
    assign_operator_ids,
    use_batch_forms,
    infer_parallelism,
    assign_slot_sharing_groups,
    connect_loops,
    choose_partitioners,
    insert_combiners,
)


def compile_job(graph: StreamGraph) -> JobGraph:
    """Run all passes, then fuse chains.

    Raises:
        JobDefinitionError: the program cannot run; says why, and the line of the operator.
    """
    return to_job_graph(run_passes(graph))


def run_passes(graph: StreamGraph) -> StreamGraph:
    """The StreamGraph with everything decided that a program may leave open."""
    return reduce(lambda rewritten, pass_: pass_(rewritten), PASSES, graph)


def to_job_graph(graph: StreamGraph) -> JobGraph:
    """Fuse chainable neighbours into vertices; what remains between vertices are exchanges."""
    heads = _chain_heads(graph)
    chains: dict[int, list[StreamNode]] = defaultdict(list)
    for node in graph.nodes:
        chains[heads[node.node_id]].append(node)
    vertices = tuple(_vertex(graph, index, chain) for index, chain in enumerate(chains.values()))
    return JobGraph(graph.settings, vertices, _exchanges(graph, heads, chains))


def _chain_heads(graph: StreamGraph) -> dict[int, int]:
    """For every node the first one of its chain. Whoever has several inputs is the first."""
    nodes = graph.by_id()
    heads: dict[int, int] = {}
    for node in graph.nodes:
        inputs = graph.inputs_of(node.node_id)
        chained = len(inputs) == 1 and _is_chainable(graph, inputs[0], nodes[inputs[0].source], node)
        heads[node.node_id] = heads[inputs[0].source] if chained else node.node_id
    return heads


def _is_chainable(graph: StreamGraph, edge: StreamEdge, upstream: StreamNode, downstream: StreamNode) -> bool:
    return (
        graph.settings.chaining_enabled
        and isinstance(edge.partitioner, Forward)
        and not _has_sorted_input(graph, downstream)
        and upstream.parallelism == downstream.parallelism
        and upstream.slot_sharing_group == downstream.slot_sharing_group
        and upstream.chaining is not ChainingStrategy.NEVER
        and downstream.chaining is ChainingStrategy.ALWAYS
        and _max_parallelism(graph, upstream) == _max_parallelism(graph, downstream)
    )


def _has_sorted_input(graph: StreamGraph, node: StreamNode) -> bool:
    """In BATCH mode a task sorts what comes in, so a keyed operator is the head of its chain, whatever comes before it."""
    return graph.settings.is_batch and isinstance(node.operator, KeyedSpec)


def _vertex(graph: StreamGraph, index: int, chain: list[StreamNode]) -> JobVertex:
    head = chain[0]
    parallelism = head.parallelism or 1
    max_parallelism = (
        head.max_parallelism or graph.settings.max_parallelism or default_max_parallelism(parallelism)
    )
    if parallelism > max_parallelism:
        raise JobDefinitionError(
            f"the parallelism {parallelism} is larger than the maximum parallelism {max_parallelism}",
            where=describe(head),
        )
    operators = _chained_operators(graph, chain)
    return JobVertex(
        vertex_id=VertexId(head.operator_id),
        index=index,
        name=chain_name(operators),
        operators=operators,
        parallelism=parallelism,
        max_parallelism=max_parallelism,
        slot_sharing_group=head.slot_sharing_group or DEFAULT_SLOT_SHARING_GROUP,
    )


def _max_parallelism(graph: StreamGraph, node: StreamNode) -> int:
    """The same for an operator however it is chained and, within bounds, whatever its parallelism: it is in checkpoints."""
    return (
        node.max_parallelism
        or graph.settings.max_parallelism
        or default_max_parallelism(node.parallelism or 1)
    )


def _chained_operators(graph: StreamGraph, chain: list[StreamNode]) -> tuple[ChainedOperator, ...]:
    position = {node.node_id: i for i, node in enumerate(chain)}
    operators = []
    for i, node in enumerate(chain):
        edge = graph.inputs_of(node.node_id)[0] if i else None
        operators.append(
            ChainedOperator(
                operator_id=node.operator_id,
                name=node.name,
                uid=node.uid,
                operator=node.operator,
                input_index=None if edge is None else position[edge.source],
                input_side_output=None if edge is None else edge.side_output,
                source=node.source,
                defined_at=node.defined_at,
                output_type=node.output_type,
                side_types={
                    read.side_output: read.record_type
                    for read in graph.edges
                    if read.source == node.node_id and read.side_output and read.record_type
                },
                buffer_timeout_ms=node.buffer_timeout_ms,
            )
        )
    return tuple(operators)


def _exchanges(
    graph: StreamGraph, heads: dict[int, int], chains: dict[int, list[StreamNode]]
) -> tuple[JobEdge, ...]:
    nodes = graph.by_id()
    vertex_index = {head: index for index, head in enumerate(chains)}
    exchanges: list[JobEdge] = []
    for edge in graph.edges:
        if heads[edge.source] == heads[edge.target]:
            continue
        source = nodes[edge.source]
        assert edge.partitioner is not None, "choose_partitioners has run"
        exchanges.append(
            JobEdge(
                index=len(exchanges),
                source=vertex_index[heads[edge.source]],
                source_operator=chains[heads[edge.source]].index(source),
                target=vertex_index[heads[edge.target]],
                partitioner=edge.partitioner,
                side_output=edge.side_output,
                record_type=edge.record_type if edge.record_type is not None else source.output_type,
                input_id=edge.input_id,
                buffer_timeout_ms=source.buffer_timeout_ms,
            )
        )
    return tuple(exchanges)
