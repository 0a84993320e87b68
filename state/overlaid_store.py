"""An `EntryStore` that keeps writes in memory until a snapshot (or a bound) hands them on to a store outside this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from .entry_keys import prefix_of
from .overlay import Layer, Overlay, Place, split_key


class Remote(Protocol):
    """Reads of the store outside, as it is without the overlay. All methods are called in the loop's thread.

    Raises (all of them): ConnectorError, retryable, when it cannot be reached.
    """

    def get(self, place: Place, key: bytes) -> bytes | None:
        """The value of an entry."""

    def scan(self, place: Place) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every entry of a namespace."""

    def walk(self, prefix: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Namespace, key and value of every entry of a table in a key group that is there all the time, once or more often."""

    def namespace_parts(self, prefix: bytes) -> Iterable[bytes]:
        """The namespaces of a table in a key group, or a superset."""


class OverlaidBatch:
    """Writes in order. Implements `EntryBatch`."""

    __slots__ = ("writes",)

    def __init__(self) -> None:
        self.writes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.writes.append((key, value))

    def delete(self, key: bytes) -> None:
        self.writes.append((key, None))

    def len(self) -> int:
        return len(self.writes)


class OverlaidStore:
    """Implements `EntryStore`: reads look into the overlay first. It is never frozen, because layers are.

    Args:
        remote: the store outside.
        written: called after each batch, to bound the overlay.
        frozen: what the overlay holds at first.

    Attributes:
        overlay: what is not in the store outside yet.
    """

    frozen = False

    def __init__(
        self, remote: Remote, written: Callable[[], None] = lambda: None, frozen: Iterable[Layer] = ()
    ) -> None:
        self._remote = remote
        self._written = written
        self.overlay: Final = Overlay(frozen)

    def get(self, key: bytes) -> bytes | None:
        place, rest = split_key(key)
        known, value = self.overlay.find(place, rest)
        return value if known else self._remote.get(place, rest)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        place, _ = split_key(prefix)
        changes = self.overlay.changes(place)
        for key, value in changes.entries.items():
            if value is not None:
                yield prefix + key, value
        if not changes.dropped:
            for key, stored in self._remote.scan(place):
                if key not in changes.entries:
                    yield prefix + key, stored

    def entries(self, key_groups: tuple[int, int], table_ids: Iterable[int]) -> Iterator[tuple[bytes, bytes]]:
        """Everything in some tables, by key group, table and namespace; nothing is written meanwhile."""
        for group in range(key_groups[0], key_groups[1] + 1):
            for table_id in sorted(table_ids):
                prefix = prefix_of(group, table_id)
                for part in sorted(self.namespace_parts(prefix)):
                    yield from self.scan(prefix + part)

    def walk(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        overlay = self.overlay
        for part in overlay.parts(prefix):
            for key, value in overlay.changes(Place(prefix, part)).entries.items():
                if value is not None:
                    yield prefix + part + key, value
        for part, key, value in self._remote.walk(prefix):
            known, newer = overlay.find(Place(prefix, part), key)
            if not known:
                yield prefix + part + key, value
            elif newer is not None:  # may have been given above, and may have come here since
                yield prefix + part + key, newer

    def namespace_parts(self, prefix: bytes) -> Iterator[bytes]:
        changed = {part: self.overlay.changes(Place(prefix, part)) for part in self.overlay.parts(prefix)}
        stored = {
            part
            for part in self._remote.namespace_parts(prefix)
            if part not in changed or not changed[part].dropped
        }
        there = {
            part for part, delta in changed.items() if any(v is not None for v in delta.entries.values())
        }
        yield from stored | there

    def delete(self, ranges: Iterable[tuple[bytes, bytes | None]]) -> None:
        top = self.overlay.top
        for begin, end in ranges:
            place, key = split_key(begin)
            if end is None:
                top.set(place, key, None)
            else:
                top.drop(place)

    def new_batch(self) -> OverlaidBatch:
        return OverlaidBatch()

    def write(self, batch: OverlaidBatch) -> None:
        put = self.overlay.top.set
        for db_key, value in batch.writes:
            place, key = split_key(db_key)
            put(place, key, value)
        self._written()
