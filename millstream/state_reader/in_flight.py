"""Records that were under way when a barrier overtook them: what an unaligned checkpoint holds beside the state of operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..checkpoint.channel_state import decode_channels
from ..core.batch import RecordBatch
from ..core.types.offline import OfflineClasses, without_program
from ..runtime.exchange.codec import CONTROL, BatchCodec
from ..state.backend import CheckpointReader
from ..state.handles import ChannelStateHandle, EdgeName, OperatorSnapshot
from ..state.offline import TableSize
from ..state.type_names import TypeReader
from .frames import Columnar

IN_FLIGHT: Final = "in-flight"


class InFlightRecord(NamedTuple):
    """A record under way.

    Attributes:
        source: subtask that had sent it, from 0.
        target: subtask that had not taken it yet, from 0.
        timestamp_ms: of the record, None where it has none.
        value: the record; of partial aggregates key, slice (ms) and accumulator.
    """

    source: int
    target: int
    timestamp_ms: int | None
    value: Any


class InFlightState(Columnar):
    """Records under way on one exchange, as the operator at one end of it kept them.

    Attributes:
        name: `from <operator>` where this operator was to take them, `to <operator>` where they had not left it.
        kind: `in-flight`.
        value_type: of the records.
    """

    kind: Final = IN_FLIGHT

    def __init__(
        self, name: str, handles: Sequence[ChannelStateHandle], types: TypeReader, reader: CheckpointReader
    ) -> None:
        self.name: Final = name
        self.value_type: Final = str(handles[0].schemas[0])
        self._handles = handles
        self._types = types
        self._classes = OfflineClasses(types.classes)
        self._reader = reader

    def size(self) -> TableSize:
        """Records and bytes of the files: reads all of them."""
        return TableSize(sum(1 for _ in self.items()), sum(handle.file.size for handle in self._handles))

    def items(self) -> Iterator[InFlightRecord]:
        """Every record; those of one channel in their order, as far as this operator kept them.

        Raises:
            CheckpointError: CORRUPT, a file is missing or altered.
            StateError: a type in the checkpoint is of no known form.
        """
        for handle in self._handles:
            codec = BatchCodec(*(self._types.read(str(schema)) for schema in handle.schemas))
            for content in decode_channels(self._reader.read(handle.file), handle.file.path):
                for kind, payload in content.frames:
                    if kind != CONTROL:
                        with without_program(self._classes):
                            batch = codec.decode(kind, memoryview(payload))
                        yield from _records(content.source, content.target, batch)

    @property
    def columns(self) -> dict[str, str]:
        """Columns of `rows` and their types."""
        return {"source": "LONG", "target": "LONG", "timestamp_ms": "LONG", "value": self.value_type}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every record by column. Raises as `items`."""
        return (record._asdict() for record in self.items())

    def _type_reader(self) -> TypeReader:
        return self._types


def in_flight_states(
    snapshots: Sequence[OperatorSnapshot],
    names: Mapping[str, str],
    types: TypeReader,
    reader: CheckpointReader,
) -> Iterator[InFlightState]:
    """What the subtasks of an operator kept of its exchanges; `names` of operators, by their ids."""
    found: dict[tuple[EdgeName, bool], list[ChannelStateHandle]] = {}
    for snapshot in snapshots:
        for handle in snapshot.channels:
            found.setdefault((handle.edge, handle.outgoing), []).append(handle)
    for (edge, outgoing), handles in found.items():
        other = edge.target if outgoing else edge.source
        yield InFlightState(
            f"{'to' if outgoing else 'from'} {names.get(other, other)}", handles, types, reader
        )


def _records(source: int, target: int, batch: RecordBatch) -> Iterator[InFlightRecord]:
    timestamps: Sequence[int | None] = batch.timestamps or [None] * len(batch.values)
    for timestamp_ms, value in zip(timestamps, batch.values, strict=True):
        yield InFlightRecord(source, target, timestamp_ms, value)
