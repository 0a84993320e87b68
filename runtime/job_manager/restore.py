"""What each subtask and each enumerator starts from: a checkpoint handed out to the program as it is now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ...checkpoint.assignment import assign_state
from ...checkpoint.metadata import Metadata, OperatorDescription
from ...checkpoint.two_phase_commit import COMMITTABLES_STATE
from ...core.ids import SubtaskId, subtask_id
from ...state.handles import OperatorSnapshot
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
    for vertex in job.vertices:
        for operator in vertex.operators:
            snapshots = metadata.states.get(operator.operator_id, ())
            if operator.source is not None and operator.operator_id in metadata.enumerators:
                splits[operator.operator_id] = _joined(snapshots, SPLITS)
            for index, restore in enumerate(_restores(snapshots, operator, vertex)):
                operators.setdefault(subtask_id(vertex.index, index), {})[operator.operator_id] = restore
    return RestorePlan(metadata.checkpoint_id, operators, splits, metadata.enumerators)


def _restores(
    snapshots: Sequence[OperatorSnapshot], operator: ChainedOperator, vertex: JobVertex
) -> list[OperatorRestore]:
    if not snapshots:
        return []
    names = {name for snapshot in snapshots for name in snapshot.lists}
    unions = {name: _joined(snapshots, name) for name in names if name.startswith(UNION)}
    all_committables = _joined(snapshots, COMMITTABLES_STATE)
    taken_out = {COMMITTABLES_STATE, SPLITS} if operator.source is not None else {COMMITTABLES_STATE}
    restores = []
    for share in assign_state(snapshots, vertex.parallelism, vertex.max_parallelism):
        lists = {name: items for name, items in share.lists.items() if name not in taken_out}
        restores.append(
            OperatorRestore(
                msgspec.structs.replace(share, lists={**lists, **unions}),
                share.lists.get(COMMITTABLES_STATE, []),
                all_committables,
            )
        )
    return restores


def _joined(snapshots: Sequence[OperatorSnapshot], name: str) -> list[bytes]:
    """A list of all subtasks, in their order."""
    return [item for snapshot in snapshots for item in snapshot.lists.get(name, ())]
