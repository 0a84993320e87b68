"""The StreamGraph: what the program says, node by node. Immutable values; the API's builder makes them, passes rewrite them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from ...connectors.base import Source
from ...core.types import TypeInformation
from ...operators.base import OperatorSpec


@dataclass(frozen=True, slots=True)
class Forward:
    """Subtask i to subtask i; needs equal parallelism."""

    name = "FORWARD"


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Record by record round-robin over all subtasks; `adaptive`: over those that have most room just now."""

    adaptive: bool = False
    name = "REBALANCE"


@dataclass(frozen=True, slots=True)
class Rescale:
    """As `Rebalance`, over a few subtasks near by: each one has channels to its share of the others alone."""

    adaptive: bool = False
    name = "RESCALE"


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Each record to a subtask that chance picks."""

    name = "SHUFFLE"


@dataclass(frozen=True, slots=True)
class Global:
    """Every record to the first subtask."""

    name = "GLOBAL"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Every record to every subtask."""

    name = "BROADCAST"


@dataclass(frozen=True, slots=True)
class Hash:
    """By the key group of the record's key."""

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    name = "HASH"


@dataclass(frozen=True, slots=True)
class Custom:
    """To the subtask that the user's `function` names: an object with a method `partition`, or a callable; it is given the
    record's key and the number of subtasks."""

    function: Any
    key_selector: Callable[[Any], Any]
    name = "CUSTOM"


Partitioner: TypeAlias = Forward | Rebalance | Rescale | Shuffle | Global | Broadcast | Hash | Custom


NO_BUFFER_TIMEOUT: Final = -1


RuntimeMode: TypeAlias = Literal["STREAMING", "BATCH", "AUTOMATIC"]


class ChainingStrategy(Enum):
    """Whether an operator may be fused with its neighbours."""

    ALWAYS = "always"
    HEAD = "head"  # never with its predecessor
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class StreamNode:
    """A logical operator.

    Attributes:
        node_id: unique within the graph, rising in the order of the program.
        source: set for sources; `operator` then handles timestamps and watermarks behind the reader.
        parallelism: None until the pass `infer_parallelism` has run.
        defined_at: "file:line" of the user's call, for error messages.
        operator_id: "" until the pass `assign_operator_ids` has run.
        uid_hash: becomes the operator id as it is.
        buffer_timeout_ms: of the exchanges behind it; NO_BUFFER_TIMEOUT: batches leave when full; None: the job's.
        feeds: of an iteration's tail: the head that gets its records. Not an edge: the graph stays acyclic.
    """

    node_id: int
    name: str
    operator: OperatorSpec
    output_type: TypeInformation[Any]
    source: Source[Any, Any] | None = None
    parallelism: int | None = None
    max_parallelism: int | None = None
    uid: str | None = None
    chaining: ChainingStrategy = ChainingStrategy.ALWAYS
    slot_sharing_group: str | None = None
    defined_at: str = ""
    operator_id: str = ""
    description: str = ""
    uid_hash: str | None = None
    buffer_timeout_ms: int | None = None
    feeds: int | None = None


@dataclass(frozen=True, slots=True)
class StreamEdge:
    """Records of `source` (its side output `side_output`, if set) flow into `target`.

    Attributes:
        partitioner: None until the pass `choose_partitioners` has run, where the program does not say.
        input_id: which input of `target` it is, 1 or 2.
    """

    source: int
    target: int
    partitioner: Partitioner | None = None
    side_output: str | None = None
    record_type: TypeInformation[Any] | None = None
    input_id: int = 1


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What holds for the whole job.

    Attributes:
        runtime_mode: STREAMING, BATCH, or AUTOMATIC until the pass `resolve_runtime_mode` has run.
        auto_generate_uids: False: every operator must have a uid or a uid hash.
    """

    name: str
    parallelism: int = 1
    max_parallelism: int | None = None
    chaining_enabled: bool = True
    local_aggregation: bool = True
    adaptive_partitioner: bool = False
    runtime_mode: RuntimeMode = "STREAMING"
    auto_generate_uids: bool = True

    @property
    def is_batch(self) -> bool:
        return self.runtime_mode == "BATCH"


@dataclass(frozen=True, slots=True)
class StreamGraph:
    """The logical program: nodes in topological order, and the edges between them."""

    settings: JobSettings
    nodes: tuple[StreamNode, ...]
    edges: tuple[StreamEdge, ...]

    def node(self, node_id: int) -> StreamNode:
        return self.by_id()[node_id]

    def by_id(self) -> Mapping[int, StreamNode]:
        return {node.node_id: node for node in self.nodes}

    def inputs_of(self, node_id: int) -> tuple[StreamEdge, ...]:
        return tuple(edge for edge in self.edges if edge.target == node_id)

    def outputs_of(self, node_id: int) -> tuple[StreamEdge, ...]:
        return tuple(edge for edge in self.edges if edge.source == node_id)
