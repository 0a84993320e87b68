"""What each subtask and each enumerator starts from: a checkpoint handed out to the program as it is now. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec

from ...checkpoint.assignment import assign_state
from ...checkpoint.metadata import Metadata, OperatorDescription
from ...checkpoint.two_phase_commit import COMMITTABLES_STATE
from ...core.errors import CheckpointError, CheckpointFailureReason
from ...core.ids import SubtaskId, subtask_id
from ...state.handles import ChannelStateHandle, EdgeName, OperatorSnapshot
from ..graph.chains import split_chains
from ..graph.channel_state import edge_name
from ..graph.job_graph import ChainedOperator, JobGraph, JobVertex
from ..messages import OperatorRestore
from .source_coordinator import SPLITS

UNION = "union:"
"""List state whose name begins so goes in full to every subtask."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """Everything an attempt starts from.

    Attributes:
        checkpoint_id: None for a start from nothing.
        operators: by subtask, then by operator id; what starts empty is absent.
        splits: of all readers of a restored source, by operator id.
        enumerators: their states, by operator id.
    """

    checkpoint_id: int | None = None
    operators: Mapping[SubtaskId, dict[str, OperatorRestore]] = field(default_factory=dict)
    splits: Mapping[str, list[bytes]] = field(default_factory=dict)
    enumerators: Mapping[str, bytes] = field(default_factory=dict)


def describe_operators(job: JobGraph) -> tuple[OperatorDescription, ...]:
    """The program's operators as a checkpoint names them."""
    return tuple(
        OperatorDescription(
            operator.operator_id, operator.uid, operator.name, vertex.parallelism, vertex.max_parallelism
        )
        for vertex in job.vertices
        for operator in vertex.operators
    )


def plan_restore(metadata: Metadata, job: JobGraph) -> RestorePlan:
    """Hand out a checkpoint that fits the program (`check_compatible`), at whatever parallelism the program has now.

    Splits go to the enumerators, and committables apart from other list state; their items are passed on untouched.
    """
    operators: dict[SubtaskId, dict[str, OperatorRestore]] = {}
    splits: dict[str, list[bytes]] = {}
    in_flight = in_flight_by_target(metadata)
    for vertex in job.vertices:
        for operator in vertex.operators:
            snapshots = metadata.states.get(operator.operator_id, ())
            if operator.source is not None and operator.operator_id in metadata.enumerators:
                splits[operator.operator_id] = _joined(snapshots, SPLITS)
            channels = in_flight.get(operator.operator_id, ())
            for index, restore in enumerate(_restores(snapshots, channels, operator, vertex)):
                operators.setdefault(subtask_id(vertex.index, index), {})[operator.operator_id] = restore
    return RestorePlan(metadata.checkpoint_id, operators, splits, metadata.enumerators)


def in_flight_by_target(metadata: Metadata) -> Mapping[str, list[ChannelStateHandle]]:
    """Records under way, by the operator that they were under way to."""
    found: dict[str, list[ChannelStateHandle]] = defaultdict(list)
    for snapshots in metadata.states.values():
        for snapshot in snapshots:
            for handle in snapshot.channels:
                found[handle.edge.target].append(handle)
    return found


def keep_exchanges(job: JobGraph, metadata: Metadata) -> JobGraph:
    """The program with its exchanges of then, wherever the checkpoint has records under way: at the parallelism of now, or by
    its settings of now, operators may be chained that were not."""
    kept = _without_exchange(metadata, job)
    return split_chains(job, kept) if kept else job


def check_channels(
    metadata: Metadata, job: JobGraph, *, path: str, ignore_unclaimed_state: bool = False
) -> None:
    """Nothing, if all records under way find their exchange in the program.

    `ignore_unclaimed_state` lets them go whose exchange, or the operator behind it, is gone. `path` goes into the error.

    Raises:
        CheckpointError: INCOMPATIBLE.
    """
    lost = _without_exchange(metadata, job)
    if not lost or ignore_unclaimed_state:
        return
    names = {description.operator_id: str(description) for description in metadata.operators}
    between = "; ".join(
        sorted(f"{names.get(e.source, e.source)} to {names.get(e.target, e.target)}" for e in lost)
    )
    raise CheckpointError(
        CheckpointFailureReason.INCOMPATIBLE,
        f"checkpoint {metadata.checkpoint_id} holds records under way between operators that the program does not connect:"
        f" {between}",
        where=path,
        fix="start from a savepoint or an aligned checkpoint, which hold no records under way; or drop these records with"
        " -D execution.savepoint.ignore-unclaimed-state=true",
    )


def _without_exchange(metadata: Metadata, job: JobGraph) -> set[EdgeName]:
    """Exchanges of then on which records are under way, and which the program does not have."""
    exchanges = {edge_name(job, edge) for edge in job.edges}
    handles = chain.from_iterable(in_flight_by_target(metadata).values())
    return {handle.edge for handle in handles} - exchanges


def _own_channels(
    handles: Sequence[ChannelStateHandle], subtask: int, parallelism: int
) -> tuple[ChannelStateHandle, ...]:
    """What a target of now has to read: at its old parallelism not what other targets kept."""
    return tuple(
        handle
        for handle in handles
        if handle.outgoing or handle.target_parallelism != parallelism or handle.subtask == subtask
    )


def _restores(
    snapshots: Sequence[OperatorSnapshot],
    channels: Sequence[ChannelStateHandle],
    operator: ChainedOperator,
    vertex: JobVertex,
) -> list[OperatorRestore]:
    if not snapshots and not channels:
        return []
    snapshots = snapshots or [OperatorSnapshot()] * vertex.parallelism
    names = {name for snapshot in snapshots for name in snapshot.lists}
    unions = {name: _joined(snapshots, name) for name in names if name.startswith(UNION)}
    all_committables = _joined(snapshots, COMMITTABLES_STATE)
    taken_out = {COMMITTABLES_STATE, SPLITS} if operator.source is not None else {COMMITTABLES_STATE}
    restores = []
    shares = assign_state(snapshots, vertex.parallelism, vertex.max_parallelism)
    for subtask, share in enumerate(shares):
        lists = {name: items for name, items in share.lists.items() if name not in taken_out}
        restores.append(
            OperatorRestore(
                msgspec.structs.replace(
                    share,
                    lists={**lists, **unions},
                    channels=_own_channels(channels, subtask, vertex.parallelism),
                ),
                share.lists.get(COMMITTABLES_STATE, []),
                all_committables,
            )
        )
    return restores


def _joined(snapshots: Sequence[OperatorSnapshot], name: str) -> list[bytes]:
    """A list of all subtasks, in their order."""
    return [item for snapshot in snapshots for item in snapshot.lists.get(name, ())]
