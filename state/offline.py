"""Keyed state of a checkpoint, read without a backend and without the program that wrote it.

A handle's files are laid out in a local folder (checksums verified), then read in bounded pieces: a block of a heap file, a
few hundred entries of RocksDB. What comes out are entries as tables hold them (`backend.py`): with the times of their last access
where they expire, and map values in tuples of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..core.types import KeyEncoder
from ..core.types.offline import OfflineClasses, without_program
from . import rocksdb_snapshot, snapshot_format
from .backend import BackendContext, CheckpointReader, TableDescriptor
from .canonical import blocks_prefix
from .entry_keys import KeyLayout, entry_of, prefix_of, split_prefix
from .handles import KeyedStateHandle, TableInfo
from .key_groups import key_group_of
from .snapshot_format import BlockCodec, parse_blocks
from .table_registry import NO_NAMESPACE, RESERVED_TABLE
from .type_names import TypeReader

_CHUNK: Final = 512
"""Entries of RocksDB decoded at once."""


class StoredEntry(NamedTuple):
    """An entry as its table holds it."""

    group: int
    namespace: Any
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class TableSize:
    """How much a table holds: entries, and bytes of their encoded keys and values."""

    entries: int = 0
    size_bytes: int = 0

    def plus(self, entries: int, size_bytes: int) -> TableSize:
        """With so much more."""
        return TableSize(self.entries + entries, self.size_bytes + size_bytes)


class OfflineTable:
    """One table of a handle, and how to decode it.

    Args:
        info: what the handle says of it.
        types: reads the names of types.
        classes: users' classes that values may be instances of.
        operator: name for error messages.
        max_parallelism: number of key groups of the operator.

    Raises:
        StateError: a type's name is of no known form.
    """

    def __init__(
        self, info: TableInfo, types: TypeReader, classes: OfflineClasses, operator: str, max_parallelism: int
    ) -> None:
        self.info: Final = info
        self.classes: Final = classes
        self.operator: Final = operator
        self.max_parallelism: Final = max_parallelism
        self.descriptor: Final = TableDescriptor(
            info.name,
            types.read(info.key_type),
            types.read(info.value_type),
            None if info.namespace_type == NO_NAMESPACE else types.read(info.namespace_type),
            "namespace" if info.routed_by == "namespace" else "key",
        )
        routing = self.descriptor.key_type if info.routed_by == "key" else self.descriptor.namespace_type
        self._routing: Final = KeyEncoder() if routing is None else KeyEncoder(routing)

    def group_of(self, key: Any) -> int:
        """The key group of one of the stream's keys.

        Raises:
            InvalidKeyError: it is not of the declared type.
        """
        return key_group_of(self._routing.encode(key), self.max_parallelism)

    def holds(self, entry: StoredEntry, key: Any) -> bool:
        """Whether an entry belongs to one of the stream's keys."""
        found = entry.key if self.info.routed_by == "key" else entry.namespace
        return bool(found == key)


class HandleFiles(Protocol):
    """The files of one handle, laid out locally."""

    def sizes(self) -> dict[int, TableSize]:
        """What is in each table, by its number."""

    def entries(self, table: OfflineTable, first: int, last: int) -> Iterator[StoredEntry]:
        """The entries of a table in the key groups `first` to `last`, both inclusive, in ascending order of groups."""

    def entries_of_key(self, table: OfflineTable, key: Any) -> Iterator[StoredEntry]:
        """Those that belong to one of the stream's keys, read from its key group alone."""

    def close(self) -> None:
        """Let go of open files. Idempotent."""


def lay_out(handle: KeyedStateHandle, reader: CheckpointReader, folder: Path) -> HandleFiles:
    """Bring the files of a handle into `folder`, which is made, and open them.

    Raises:
        CheckpointError: CORRUPT, a file is missing or altered; INCOMPATIBLE, this release does not know the format, or the state is
            in no file.
    """
    if handle.external is not None:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"the keyed state is in a database ('{handle.format}'), not in the checkpoint's files",
            fix="take a savepoint in the canonical format, and read that; or ask the database",
        )
    if not handle.files:
        folder.mkdir(parents=True)
        return _NoFiles()
    match handle.format:
        case snapshot_format.FORMAT:
            return _HeapFiles(handle, reader, folder)
        case rocksdb_snapshot.FORMAT:
            return _RocksFiles(handle, reader, folder)
    raise CheckpointError(
        CheckpointFailureReason.INCOMPATIBLE,
        f"keyed state of the format '{handle.format}' cannot be read by this release",
        fix="read it with the release that wrote it, or a later one",
    )


class _NoFiles:
    """A handle without entries."""

    def sizes(self) -> dict[int, TableSize]:
        return {}

    def entries(self, table: OfflineTable, first: int, last: int) -> Iterator[StoredEntry]:
        return iter(())

    def entries_of_key(self, table: OfflineTable, key: Any) -> Iterator[StoredEntry]:
        return iter(())

    def close(self) -> None:
        pass


class _HeapFiles:
    """`heap-1`: blocks by key group."""

    def __init__(self, handle: KeyedStateHandle, reader: CheckpointReader, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._groups = handle.key_groups
        self._paths = [folder / str(index) for index in range(len(handle.files))]
        for path, ref in zip(self._paths, handle.files.values(), strict=True):
            reader.download(ref, path)

    def sizes(self) -> dict[int, TableSize]:
        found: dict[int, TableSize] = {}
        for path in self._paths:
            for header in snapshot_format.block_headers(path, *self._groups):
                known = found.get(header.table_id, TableSize())
                found[header.table_id] = known.plus(header.entries, sum(header.sizes))
        return found

    def entries(self, table: OfflineTable, first: int, last: int) -> Iterator[StoredEntry]:
        codec = BlockCodec(table.descriptor, table.operator)
        first, last = max(first, self._groups[0]), min(last, self._groups[1])
        for path in self._paths:
            for _, block in snapshot_format.read_blocks(path, first, last, table.info.table_id):
                with without_program(table.classes):
                    runs = list(codec.decode(block))
                yield from _of_runs(block.group, runs)

    def entries_of_key(self, table: OfflineTable, key: Any) -> Iterator[StoredEntry]:
        group = table.group_of(key)
        return (entry for entry in self.entries(table, group, group) if table.holds(entry, key))

    def close(self) -> None:
        pass


def _of_runs(group: int, runs: list[snapshot_format.Run]) -> Iterator[StoredEntry]:
    for namespace, keys, values in runs:
        for key, value in zip(keys, values, strict=True):
            yield StoredEntry(group, namespace, key, value)


class _RocksFiles:
    """`rocksdb-1`: a database, opened read-only."""

    def __init__(self, handle: KeyedStateHandle, reader: CheckpointReader, folder: Path) -> None:
        from .rocksdb_store import open_read_only

        rocksdb_snapshot.download_files(handle, reader, folder)
        self._groups = handle.key_groups
        self._context = BackendContext("", 1, handle.key_groups, folder, (), reader, 0)
        self._db: Any = open_read_only(folder)  # Rdict in raw mode: bytes

    def sizes(self) -> dict[int, TableSize]:
        found: dict[int, TableSize] = {}
        first, last = self._groups
        for db_key, raw in self._db.items(from_key=prefix_of(first, 0)):
            group, table_id = split_prefix(db_key)
            if group > last:
                break
            if table_id == RESERVED_TABLE:
                for of_table, block in parse_blocks(group, raw, db_key.hex()):
                    known = found.get(of_table, TableSize())
                    found[of_table] = known.plus(block.entries, sum(map(len, block.parts)))
            else:
                found[table_id] = found.get(table_id, TableSize()).plus(1, len(db_key) + len(raw))
        return found

    def entries(self, table: OfflineTable, first: int, last: int) -> Iterator[StoredEntry]:
        for group in range(max(first, self._groups[0]), min(last, self._groups[1]) + 1):
            yield from self._scan(table, prefix_of(group, table.info.table_id))
            yield from self._kept_blocks(table, group)

    def entries_of_key(self, table: OfflineTable, key: Any) -> Iterator[StoredEntry]:
        group, descriptor = table.group_of(key), table.descriptor
        if not self._groups[0] <= group <= self._groups[1]:
            return iter(())
        prefix = prefix_of(group, table.info.table_id)
        context = replace(self._context, operator=table.operator, max_parallelism=table.max_parallelism)
        layout = KeyLayout(context, descriptor, table.info.table_id)
        if not layout.by_key:
            prefix += layout.namespace_part(key)
        elif descriptor.namespace_type is None:
            prefix += layout.namespace_part(None) + layout.encode(key)
        found = chain(self._scan(table, prefix), self._kept_blocks(table, group))
        return (entry for entry in found if table.holds(entry, key))

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _kept_blocks(self, table: OfflineTable, group: int) -> Iterator[StoredEntry]:
        """Entries of a canonical savepoint whose table no program has opened since."""
        codec = BlockCodec(table.descriptor, table.operator)
        prefix = blocks_prefix(group, table.info.table_id)
        for db_key, content in self._db.items(from_key=prefix):
            if not db_key.startswith(prefix):
                return
            for _, block in parse_blocks(group, content, db_key.hex()):
                with without_program(table.classes):
                    runs = list(codec.decode(block))
                yield from _of_runs(group, runs)

    def _scan(self, table: OfflineTable, prefix: bytes) -> Iterator[StoredEntry]:
        loads = table.descriptor.value_type.serializer().loads
        found = self._db.items(from_key=prefix)
        while chunk := list(islice(found, _CHUNK)):
            with without_program(table.classes):
                entries = [
                    StoredEntry(split_prefix(db_key)[0], *entry_of(db_key), loads(raw))
                    for db_key, raw in chunk
                    if db_key.startswith(prefix)
                ]
            yield from entries
            if len(entries) < len(chunk):
                return
