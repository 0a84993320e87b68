"""The JobGraph: operators chained into vertices, and the edges that stay exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...connectors.base import Source
from ...core.types import GENERIC, TypeInformation
from ...operators.base import OperatorSpec
from .stream_graph import JobSettings, Partitioner


@dataclass(frozen=True, slots=True)
class ChainedOperator:
    """One operator of a chain.

    Attributes:
        input_index: index in the chain of the operator that feeds it, None for the head.
        input_side_output: which side output of that operator it reads, None for the main output.
        output_type: of its results.
        side_types: of the side outputs that are read.
        buffer_timeout_ms: as in `StreamNode`.
    """

    operator_id: str
    name: str
    uid: str | None
    operator: OperatorSpec
    input_index: int | None
    input_side_output: str | None = None
    source: Source[Any, Any] | None = None
    defined_at: str = ""
    output_type: TypeInformation[Any] = GENERIC
    side_types: Mapping[str, TypeInformation[Any]] = field(default_factory=dict)
    buffer_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class JobVertex:
    """A chain of operators, run as one task per subtask. `operators[0]` is the head; each one's input comes before it."""

    vertex_id: str
    index: int
    name: str
    operators: tuple[ChainedOperator, ...]
    parallelism: int
    max_parallelism: int
    slot_sharing_group: str

    @property
    def is_source(self) -> bool:
        return self.operators[0].source is not None


@dataclass(frozen=True, slots=True)
class JobEdge:
    """An exchange from one operator of a chain to the head of another vertex.

    Attributes:
        index: position in `JobGraph.edges`.
        source_operator: index in the source vertex's chain.
        record_type: decides the encoding between processes.
        input_id: which input of the head it is, 1 or 2.
        buffer_timeout_ms: as in `StreamNode`.
    """

    index: int
    source: int
    source_operator: int
    target: int
    partitioner: Partitioner
    side_output: str | None
    record_type: TypeInformation[Any]
    input_id: int = 1
    buffer_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class JobGraph:
    """Vertices (by index) and exchanges."""

    settings: JobSettings
    vertices: tuple[JobVertex, ...]
    edges: tuple[JobEdge, ...]

    def inputs_of(self, vertex: int) -> tuple[JobEdge, ...]:
        return tuple(edge for edge in self.edges if edge.target == vertex)

    def outputs_of(self, vertex: int) -> tuple[JobEdge, ...]:
        return tuple(edge for edge in self.edges if edge.source == vertex)
