"""What the cached tables stand on: a store of raw entries, each under a key of `entry_keys`, in the order of their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

BATCH_ENTRIES: Final = 4096
"""Entries in one batch of writes; larger ones were no faster on RocksDB."""


class EntryBatch(Protocol):
    """Writes that take effect together, when the batch is written."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def delete(self, key: bytes) -> None: ...

    def len(self) -> int:
        """How many writes are in it."""


class EntryStore(Protocol):
    """Raw keys and values below the cache. All methods are called in the loop's thread.

    Attributes:
        frozen: nothing may be written now, because a snapshot that is pending has still to be taken from what is there; `delete`
            keeps what it is asked for back until then.
    """

    frozen: bool

    def get(self, key: bytes) -> bytes | None:
        """The value stored under a key."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All entries of a namespace of a table in a key group, whose prefix that is; nothing is written meanwhile."""

    def walk(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Entries of a table in a key group while anything may be written and frozen: as `StateTable.walk`."""

    def namespace_parts(self, prefix: bytes) -> Iterator[bytes]:
        """The namespace parts of a table in a key group, each once."""

    def delete(self, ranges: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Delete single keys (where the end is None) and all keys from a begin to before its end. A range is always a namespace of a
        table in a key group."""

    def new_batch(self) -> Any:
        """An empty `EntryBatch` for `write`; RocksDB's own is not declared as one."""

    def write(self, batch: Any) -> None:
        """Do what is in the batch; the store is not frozen."""
