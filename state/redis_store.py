"""Reads entries of one operator's states in Redis, and turns layers of changes into the operations that apply them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .entry_keys import split_prefix
from .overlay import Delta, Layer, Place
from .redis_connection import RedisConnection
from .redis_keys import RedisKeys

_OPERATIONS_AT_ONCE: Final = 2_000
"""Values in one step, for which Redis serves nobody else: a few milliseconds."""

_SCAN_COUNT: Final = 500

Operations = list[bytes | int]


class RedisReads:
    """Implements `Remote`.

    Args:
        states: what a table's state is called in keys, by the table's number.
    """

    def __init__(self, connection: RedisConnection, keys: RedisKeys, states: Mapping[int, bytes]) -> None:
        self._connection = connection
        self._keys = keys
        self._states = states

    def get(self, place: Place, key: bytes) -> bytes | None:
        found: bytes | None = self._connection.ask("HGET", self._data(place), key)
        return found

    def scan(self, place: Place) -> Iterator[tuple[bytes, bytes]]:
        if split_prefix(place.prefix)[1] not in self._states:  # no blocks of a canonical savepoint are kept
            return
        # Redis may give an entry twice while the hash grows.
        seen: set[bytes] = set()
        for key, value in self._scan_hash(self._data(place)):
            if key not in seen:
                seen.add(key)
                yield key, value

    def walk(self, prefix: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        for part in self.namespace_parts(prefix):
            for key, value in self._scan_hash(self._data(Place(prefix, part))):
                yield part, key, value

    def namespace_parts(self, prefix: bytes) -> Iterable[bytes]:
        group, table_id = split_prefix(prefix)
        found: set[bytes] = self._connection.ask("SMEMBERS", self._keys.index(group, self._states[table_id]))
        return found

    def _scan_hash(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor = 0
        while True:
            cursor, entries = self._connection.ask("HSCAN", data, cursor, "COUNT", _SCAN_COUNT)
            yield from entries.items()
            if cursor == 0:
                return

    def _data(self, place: Place) -> bytes:
        group, table_id = split_prefix(place.prefix)
        return self._keys.data(group, self._states[table_id], place.part)


def operations_of(layer: Layer, keys: RedisKeys, states: Mapping[int, bytes]) -> Iterator[Operations]:
    """What applies a layer, in pieces of a bounded size. Doing it twice, or some of it twice, changes nothing."""
    pending: Operations = []
    for place, delta in layer.changes():
        group, table_id = split_prefix(place.prefix)
        state = states[table_id]
        head: Operations = [keys.data(group, state, place.part), keys.index(group, state), place.part]
        for operation in _of_namespace(delta, head):
            pending += operation
            if len(pending) >= _OPERATIONS_AT_ONCE:
                yield pending
                pending = []
    if pending:
        yield pending


def _of_namespace(delta: Delta, head: Operations) -> Iterator[Operations]:
    if delta.dropped:
        yield [b"drop", *head, 0]
    gone = [key for key, value in delta.entries.items() if value is None]
    for start in range(0, len(gone), _OPERATIONS_AT_ONCE):
        piece = gone[start : start + _OPERATIONS_AT_ONCE]
        yield [b"delete", *head, len(piece), *piece]
    put = [part for key, value in delta.entries.items() if value is not None for part in (key, value)]
    for start in range(0, len(put), _OPERATIONS_AT_ONCE):
        piece = put[start : start + _OPERATIONS_AT_ONCE]
        yield [b"set", *head, len(piece), *piece]


def mark(fields: Iterable[bytes], checkpoint_id: int) -> Operations:
    """The operation that sets fields of the owner's hash to a checkpoint."""
    arguments = [part for field in fields for part in (field, checkpoint_id)]
    return [b"mark", b"", b"", b"", len(arguments), *arguments]
