"""Records in operator list state: one item each, so that they are redistributed one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..core.types import TypeInformation
from .list_schemas import restored_reader, with_schema


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    timestamp: int | None
    value: bytes


class RecordItems:
    """Records as a list state of an operator.

    Args:
        name: of the list state.
        record_type: of the records.
    """

    def __init__(self, name: str, record_type: TypeInformation[Any]) -> None:
        self._name = name
        self._type = record_type

    def lists(self, records: Iterable[tuple[Any, int | None]]) -> dict[str, list[bytes]]:
        """List state that holds (record, timestamp in ms, if it has one).

        Raises:
            RecordSerializationError: a record has no exact encoding under the type.
        """
        dumps = self._type.serializer().dumps
        items = [msgspec.msgpack.encode(_Stored(timestamp, dumps(value))) for value, timestamp in records]
        return with_schema(self._name, items, self._type)

    def restored(self, lists: Mapping[str, Sequence[bytes]]) -> Iterator[tuple[Any, int | None]]:
        """What restored list state holds of `lists`.

        Raises:
            StateError: the records were of a type that does not fit.
        """
        items = lists.get(self._name, ())
        if not items:
            return
        loads = restored_reader(lists, self._name, f"records in '{self._name}'", self._type).loads
        for item in items:
            stored = msgspec.msgpack.decode(item, type=_Stored)
            yield loads(stored.value), stored.timestamp
