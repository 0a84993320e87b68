"""Records in operator list state: one item each, so that they are redistributed one by one."""

from __future__ import annotations

from typing import Any

import msgspec

from ..core.types import TypeInformation


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    timestamp: int | None
    value: bytes


class RecordItems:
    """Encodes records as items of list state, and back.

    Raises (from `encode`):
        RecordSerializationError: the record has no exact encoding under the type.
    """

    def __init__(self, record_type: TypeInformation[Any]) -> None:
        self._serializer = record_type.serializer()

    def encode(self, value: Any, timestamp: int | None) -> bytes:
        """The item of a record; timestamp in ms, if it has one."""
        return msgspec.msgpack.encode(_Stored(timestamp, self._serializer.dumps(value)))

    def decode(self, item: bytes) -> tuple[Any, int | None]:
        """The inverse of `encode`."""
        stored = msgspec.msgpack.decode(item, type=_Stored)
        return self._serializer.loads(stored.value), stored.timestamp
