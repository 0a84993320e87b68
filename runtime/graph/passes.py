"""The compiler's passes: each a pure function from StreamGraph to StreamGraph, run in the order of `compiler.PASSES`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Final

from ...connectors.base import Boundedness
from ...connectors.cache import CacheSource
from ...core.errors import JobDefinitionError
from ...operators.base import HasBatchForm, PreAggregatable
from ...operators.cache import CacheSpec
from ...state.key_groups import UPPER_BOUND_MAX_PARALLELISM
from .stream_graph import Forward, Hash, Rebalance, Rescale, StreamEdge, StreamGraph, StreamNode

DEFAULT_SLOT_SHARING_GROUP: Final = "default"


def check_program(graph: StreamGraph) -> StreamGraph:
    """Refuse what cannot run.

    Raises:
        JobDefinitionError: there is no operator, a uid is used twice or missing where each operator must have one, or a
            parallelism is out of bounds.
    """
    if all(node.source is not None for node in graph.nodes):
        raise JobDefinitionError(
            "No operators defined in streaming topology. Cannot execute.",
            where=f"job '{graph.settings.name}'",
            fix="read a source with from_source or from_collection, and end the stream with sink_to or print",
        )
    _check_distinct("uid", [(node.uid, node) for node in graph.nodes])
    _check_distinct("uid hash", [(node.uid_hash, node) for node in graph.nodes])
    for node in graph.nodes:
        _check_bounds(node, graph)
        if not graph.settings.auto_generate_uids:
            _check_has_uid(node)
    return graph


def _check_has_uid(node: StreamNode) -> None:
    if node.uid is None and node.uid_hash is None:
        raise JobDefinitionError(
            "an operator has neither a uid nor a uid hash, and none is to be generated",
            where=describe(node),
            fix="give it one by uid('...'), or set pipeline.auto-generate-uids to true",
        )


def _check_distinct(what: str, given: Sequence[tuple[str | None, StreamNode]]) -> None:
    seen: dict[str, StreamNode] = {}
    for value, node in given:
        if value is None:
            continue
        if value in seen:
            raise JobDefinitionError(
                f"the {what} '{value}' is given to two operators, so their state could not be told apart",
                where=f"{describe(seen[value])}, and {describe(node)}",
                fix=f"give each operator a {what} of its own",
            )
        seen[value] = node


def _check_bounds(node: StreamNode, graph: StreamGraph) -> None:
    bound = node.max_parallelism or graph.settings.max_parallelism or UPPER_BOUND_MAX_PARALLELISM
    parallelism = node.parallelism or graph.settings.parallelism
    if parallelism > bound:
        raise JobDefinitionError(
            f"the parallelism {parallelism} is larger than the maximum parallelism {bound}",
            where=describe(node),
            fix="lower the parallelism; the maximum parallelism is fixed once a job has state",
        )


def assign_operator_ids(graph: StreamGraph) -> StreamGraph:
    """Give every operator its stable id: the hash set for it, else of the `uid`, else of what it is and what it reads.

    INVARIANT G1: ids depend neither on names, parallelism, chaining and the passes that follow, nor on node ids, so that a
    checkpoint fits the same program whichever way it is run.
    Kept by: tests/graph/test_operator_ids.py
    """
    ids: dict[int, str] = {}
    siblings: Counter[str] = Counter()
    nodes = []
    for node in graph.nodes:
        if node.uid_hash is not None:
            operator_id = node.uid_hash
        elif node.uid is not None:
            operator_id = operator_id_of_uid(node.uid)
        else:
            inputs = [_input_text(edge, ids) for edge in graph.inputs_of(node.node_id)]
            topology = "\n".join((_flavour(node), *inputs))
            operator_id = _digest("topology", topology, str(siblings[topology]))
            siblings[topology] += 1
        ids[node.node_id] = operator_id
        nodes.append(replace(node, operator_id=operator_id))
    return replace(graph, nodes=tuple(nodes))


def _flavour(node: StreamNode) -> str:
    # The positions of one kind of source, and the committables of one kind of sink, mean nothing to another.
    connector = node.source if node.source is not None else getattr(node.operator, "sink", None)
    return node.operator.kind if connector is None else f"{node.operator.kind} {type(connector).__qualname__}"


def _input_text(edge: StreamEdge, ids: dict[int, str]) -> str:
    partitioner = "-" if edge.partitioner is None else edge.partitioner.name
    text = f"{ids[edge.source]} {partitioner} {edge.side_output or ''}"
    return text if edge.input_id == 1 else f"{text} into {edge.input_id}"


def operator_id_of_uid(uid: str) -> str:
    """The id of an operator that has this uid, in every program."""
    return _digest("uid", uid)


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def infer_parallelism(graph: StreamGraph) -> StreamGraph:
    """Give the job's parallelism to every operator without one of its own."""
    default = graph.settings.parallelism
    return replace(
        graph, nodes=tuple(replace(node, parallelism=node.parallelism or default) for node in graph.nodes)
    )


def assign_slot_sharing_groups(graph: StreamGraph) -> StreamGraph:
    """An operator without a group joins that of its inputs if they agree on one, as in Flink; else the default one."""
    groups: dict[int, str] = {}
    for node in graph.nodes:
        upstream = {groups[edge.source] for edge in graph.inputs_of(node.node_id)}
        inherited = upstream.pop() if len(upstream) == 1 else DEFAULT_SLOT_SHARING_GROUP
        groups[node.node_id] = node.slot_sharing_group or inherited
    nodes = tuple(replace(node, slot_sharing_group=groups[node.node_id]) for node in graph.nodes)
    return replace(graph, nodes=nodes)


def choose_partitioners(graph: StreamGraph) -> StreamGraph:
    """Where the program does not say: forward between operators of one parallelism, else rebalance.

    Raises:
        JobDefinitionError: `forward()` was asked for where the parallelism changes.
    """
    nodes = graph.by_id()
    edges = (_with_partitioner(edge, nodes[edge.source], nodes[edge.target]) for edge in graph.edges)
    if graph.settings.adaptive_partitioner:
        edges = (_made_adaptive(edge) for edge in edges)
    return replace(graph, edges=tuple(edges))


def _made_adaptive(edge: StreamEdge) -> StreamEdge:
    if isinstance(edge.partitioner, Rebalance | Rescale):
        return replace(edge, partitioner=replace(edge.partitioner, adaptive=True))
    return edge


def _with_partitioner(edge: StreamEdge, source: StreamNode, target: StreamNode) -> StreamEdge:
    equal = source.parallelism == target.parallelism
    if edge.partitioner is None:
        return replace(edge, partitioner=Forward() if equal else Rebalance())
    if isinstance(edge.partitioner, Forward) and not equal:
        raise JobDefinitionError(
            f"forward() cannot change the parallelism from {source.parallelism} to {target.parallelism}",
            where=f"from {describe(source)} to {describe(target)}",
            fix="use rebalance() instead, or give both operators the same parallelism",
        )
    return edge


def resolve_runtime_mode(graph: StreamGraph) -> StreamGraph:
    """AUTOMATIC becomes BATCH if every source of the job is bounded and there is no iteration, else STREAMING.

    Raises:
        JobDefinitionError: BATCH was asked for, and a source is unbounded or there is an iteration; or a stream is cached, and the mode is STREAMING.
    """
    unbounded = [
        node
        for node in graph.nodes
        if node.source is not None and node.source.boundedness is not Boundedness.BOUNDED
    ]
    if graph.settings.is_batch and unbounded:
        raise JobDefinitionError(
            "a job in BATCH mode reads an unbounded source, so it could never end",
            where=describe(unbounded[0]),
            fix="bound the source (a KafkaSource with set_bounded(...)), or use the runtime mode STREAMING or AUTOMATIC",
        )
    loops = [node for node in graph.nodes if node.feeds is not None]
    if graph.settings.is_batch and loops:
        raise JobDefinitionError(
            "a job in BATCH mode has an iteration, whose head would wait for the end of its own feedback",
            where=describe(loops[0]),
            fix="use the runtime mode STREAMING (AUTOMATIC does, where there is an iteration)",
        )
    mode = graph.settings.runtime_mode
    if mode == "AUTOMATIC":
        mode = "STREAMING" if unbounded or loops else "BATCH"
    cached = [
        node
        for node in graph.nodes
        if isinstance(node.operator, CacheSpec) or type(node.source) is CacheSource
    ]
    if cached and mode == "STREAMING":
        raise JobDefinitionError(
            "a job in STREAMING mode uses a cached stream",
            where=describe(cached[0]),
            fix="call env.set_runtime_mode(RuntimeExecutionMode.BATCH); every source has to be bounded",
        )
    return replace(graph, settings=replace(graph.settings, runtime_mode=mode))


def use_batch_forms(graph: StreamGraph) -> StreamGraph:
    """In BATCH mode, operators that give their last result alone stand for those that give every one."""
    if not graph.settings.is_batch:
        return graph
    nodes = tuple(
        replace(node, operator=node.operator.in_batch_mode())
        if isinstance(node.operator, HasBatchForm)
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def insert_combiners(graph: StreamGraph) -> StreamGraph:
    """Pre-aggregate before an exchange by key, where the operator behind it knows how and there is more than one subtask.

    Behind a combiner travel `PartialBatch`es, whose values carry their key, and also plain records (those that must not be
    combined), so that the exchange keeps its key selector and record type.

    Source: Dean and Ghemawat, "MapReduce: Simplified Data Processing on Large Clusters" (2004), section 4.3.
    """
    if graph.settings.is_batch or not graph.settings.local_aggregation:  # sorted inputs hold plain records
        return graph
    by_id = graph.by_id()
    next_id = max(by_id, default=0) + 1
    before: dict[int, list[StreamNode]] = {}
    edges: list[StreamEdge] = []
    for edge in graph.edges:
        source, target = by_id[edge.source], by_id[edge.target]
        if not (
            isinstance(edge.partitioner, Hash) and max(source.parallelism or 1, target.parallelism or 1) > 1
        ):
            edges.append(edge)
            continue
        combiner = _combiner_node(next_id, edge, by_id, len(before.get(target.node_id, ())))
        if combiner is None:
            edges.append(edge)
            continue
        next_id += 1
        before.setdefault(target.node_id, []).append(combiner)
        edges.append(replace(edge, target=combiner.node_id, partitioner=Forward()))
        edges.append(replace(edge, source=combiner.node_id, side_output=None))
    nodes = tuple(new for node in graph.nodes for new in (*before.get(node.node_id, ()), node))
    return replace(graph, nodes=nodes, edges=tuple(edges))


def _combiner_node(
    node_id: int, edge: StreamEdge, nodes: Mapping[int, StreamNode], ordinal: int
) -> StreamNode | None:
    source, target = nodes[edge.source], nodes[edge.target]
    operator = target.operator.combiner() if isinstance(target.operator, PreAggregatable) else None
    if operator is None:
        return None
    return StreamNode(
        node_id,
        f"Local-{target.name}",
        operator,
        edge.record_type if edge.record_type is not None else source.output_type,
        parallelism=source.parallelism,
        max_parallelism=source.max_parallelism,
        slot_sharing_group=source.slot_sharing_group,
        defined_at=target.defined_at,
        operator_id=_digest("combiner", target.operator_id, str(ordinal)),
    )


def describe(node: StreamNode) -> str:
    """How error messages name an operator."""
    return f"operator '{node.name}'" + (f" ({node.defined_at})" if node.defined_at else "")
