"""How stream elements look on the wire between workers: one call per batch, exact types back.

RECORDS   u32 length of the values | values by the edge's serializer | i64 timestamps, or nothing
PARTIALS  u32 length of the keys | keys | u32 length of the slices | i64 slice starts | accumulators
CONTROL   msgpack of the control element
CREDIT    u32 batches consumed
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Any, Final

import msgspec

from ...core.batch import ControlElement, PartialBatch, RecordBatch
from ...core.types import GENERIC, TypeInformation, TypeSchema, schema_of

RECORDS: Final = 1
PARTIALS: Final = 2
CONTROL: Final = 3
CREDIT: Final = 4

_U32: Final = Struct("<I")
_control_encoder: Final = msgspec.msgpack.Encoder()
_control_decoder: Final = msgspec.msgpack.Decoder(ControlElement)


def encode_control(element: ControlElement) -> bytes:
    """The payload of a CONTROL frame."""
    return _control_encoder.encode(element)


def decode_control(payload: bytes | memoryview) -> ControlElement:
    """The inverse of `encode_control`."""
    element: ControlElement = _control_decoder.decode(payload)
    return element


def encode_credit(batches: int) -> bytes:
    """The payload of a CREDIT frame."""
    return _U32.pack(batches)


def decode_credit(payload: bytes | memoryview) -> int:
    """The inverse of `encode_credit`."""
    credit: int = _U32.unpack_from(payload)[0]
    return credit


class BatchCodec:
    """Encodes and decodes the batches of one edge.

    Args:
        record_type: of the records.
        key_type: of the keys of partial aggregates, if the edge carries any.
        accumulator_type: of their accumulators.

    HOT: benchmark exchange.
    """

    def __init__(
        self,
        record_type: TypeInformation[Any],
        key_type: TypeInformation[Any] = GENERIC,
        accumulator_type: TypeInformation[Any] = GENERIC,
    ) -> None:
        self._types = (record_type, key_type, accumulator_type)
        self._records = record_type.serializer()
        self._keys = key_type.serializer()
        self._accumulators = accumulator_type.serializer()

    def schemas(self) -> tuple[TypeSchema, ...]:
        """What the types of records, keys and accumulators look like: for whoever decodes in a later run."""
        return tuple(map(schema_of, self._types))

    def encode(self, batch: RecordBatch) -> tuple[int, bytes]:
        """Frame kind and payload.

        Raises:
            RecordSerializationError: a record has no exact encoding under the edge's type.
        """
        if isinstance(batch, PartialBatch):
            return PARTIALS, self._encode_partials(batch.values)
        values = self._records.dumps_batch(batch.values)
        if batch.timestamps is None:
            return RECORDS, _U32.pack(len(values)) + values
        return RECORDS, b"".join((_U32.pack(len(values)), values, array("q", batch.timestamps).tobytes()))

    def _encode_partials(self, partials: list[tuple[Any, int, Any]]) -> bytes:
        keys = self._keys.dumps_batch([partial[0] for partial in partials])
        slices = array("q", [partial[1] for partial in partials]).tobytes()
        accumulators = self._accumulators.dumps_batch([partial[2] for partial in partials])
        return b"".join((_U32.pack(len(keys)), keys, _U32.pack(len(slices)), slices, accumulators))

    def decode(self, kind: int, payload: memoryview) -> RecordBatch:
        """The inverse of `encode`."""
        if kind == PARTIALS:
            return self._decode_partials(payload)
        end = 4 + _U32.unpack_from(payload)[0]
        values = self._records.loads_batch(payload[4:end])
        if len(payload) == end:
            return RecordBatch(values)
        return RecordBatch(values, _int64s(payload[end:]))

    def _decode_partials(self, payload: memoryview) -> PartialBatch:
        keys_end = 4 + _U32.unpack_from(payload)[0]
        slices_at = keys_end + 4
        slices_end = slices_at + _U32.unpack_from(payload, keys_end)[0]
        keys = self._keys.loads_batch(payload[4:keys_end])
        slices = _int64s(payload[slices_at:slices_end])
        accumulators = self._accumulators.loads_batch(payload[slices_end:])
        return PartialBatch(list(zip(keys, slices, accumulators, strict=True)))


def _int64s(data: memoryview) -> list[int]:
    numbers = array("q")
    numbers.frombytes(data)
    return numbers.tolist()
