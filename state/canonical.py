"""Canonical savepoints on backends that keep raw entries in a store: their entries as `heap-1` blocks, and back.

Blocks are restored in two steps. What types they hold is known only when the program opens their table, so until then they
lie in the store as they are, in a table of their own (`_BLOCKS_TABLE`), and go into checkpoints like everything else there:

    u16 key group, u16 65535, u16 table id, u32 number -> a block
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from struct import Struct
from typing import Any, Final

from ..core.errors import StateError
from .backend import BackendContext, CheckpointStreams, TableDescriptor
from .entry_keys import PREFIX_BYTES, KeyLayout, namespace_slice, prefix_of, split_prefix
from .entry_store import BATCH_ENTRIES, EntryStore
from .exclusive_names import exclusive_name
from .handles import FileRef, KeyedStateHandle, TableInfo
from .snapshot_format import (
    BLOCK_ENTRIES,
    STATE_FILE,
    Block,
    BlockCodec,
    Run,
    parse_blocks,
    read_blocks,
    write_blocks,
)
from .table_registry import RESERVED_TABLE, TableRegistry

_BLOCKS_TABLE: Final = RESERVED_TABLE
_PLACE: Final = Struct(">HI")
_TABLE_ID: Final = Struct(">H")

Entry = tuple[bytes, bytes]
"""A key of `entry_keys` and the encoded value."""


class CanonicalTable:
    """Turns the stored entries of one opened table into blocks. Used by the writing thread.

    Args:
        now_ms: expired entries are left out where that was asked for.
    """

    def __init__(self, descriptor: TableDescriptor, layout: KeyLayout, now_ms: int) -> None:
        self._codec = BlockCodec(descriptor, layout.operator)
        self._layout = layout
        self._loads = descriptor.value_type.serializer().loads
        expiry = descriptor.expiry
        self._expiry = expiry if expiry is not None and expiry.leaves_snapshots else None
        self._now_ms = now_ms

    def blocks(self, group: int, entries: Iterable[Entry]) -> Iterator[Block]:
        """The blocks of one key group, from its entries in order."""
        return self._codec.encode(group, self._runs(entries))

    def _runs(self, entries: Iterable[Entry]) -> Iterator[Run]:
        """Runs of a bounded size, so that however large a namespace is, little of it is in memory."""
        for part, of_namespace in groupby(entries, key=lambda entry: namespace_slice(entry[0])):
            namespace = self._layout.namespace_of(part)
            keys: list[Any] = []
            values: list[Any] = []
            for db_key, raw in of_namespace:
                value = self._left(self._loads(raw))
                if value is None:
                    continue
                keys.append(self._layout.decode(db_key[PREFIX_BYTES + len(part) :]))
                values.append(value)
                if len(keys) == BLOCK_ENTRIES:
                    yield namespace, keys, values
                    keys, values = [], []
            if keys:
                yield namespace, keys, values

    def _left(self, value: Any) -> Any:
        return value if self._expiry is None else self._expiry.kept(value, self._now_ms)


def canonical_blocks(
    entries: Iterable[Entry], tables: Mapping[int, CanonicalTable], infos: Iterable[TableInfo], operator: str
) -> Iterator[tuple[int, Block]]:
    """(table id, block) of everything in a store, for `write_blocks`, from its entries in order.

    Raises:
        StateError: there are entries of a table that the program has not opened, so that nobody knows their types.
    """
    names = {info.table_id: info.name for info in infos}
    for (group, table_id), of_table in groupby(entries, key=lambda entry: split_prefix(entry[0])):
        if table_id == _BLOCKS_TABLE:
            for db_key, content in of_table:
                yield from parse_blocks(group, content, f"operator '{operator}', stored block {db_key.hex()}")
        elif table_id in tables:
            for block in tables[table_id].blocks(group, of_table):
                yield table_id, block
        else:
            raise StateError(
                f"state '{names[table_id]}' was restored and the program does not use it: its entries cannot be converted"
                " for a canonical savepoint",
                where=f"operator '{operator}'",
                fix="take a native savepoint (SavepointFormatType.NATIVE), or declare the state in the program again",
            )


def write_canonical(
    entries: Iterable[Entry],
    tables: Mapping[int, CanonicalTable],
    infos: Iterable[TableInfo],
    context: BackendContext,
    streams: CheckpointStreams,
) -> dict[str, FileRef]:
    """The file of a canonical savepoint, by its local name; none where there are no entries. Raises as `canonical_blocks`."""
    blocks = canonical_blocks(entries, tables, infos, context.operator)
    first = next(blocks, None)
    if first is None:
        return {}
    name = exclusive_name(context, "canonical")
    return {STATE_FILE: streams.write_exclusive(name, write_blocks(chain((first,), blocks)))}


def restored_blocks(
    context: BackendContext, handles: Iterable[KeyedStateHandle], registry: TableRegistry
) -> Iterator[tuple[int, Block]]:
    """(table id, block) of the key groups of this subtask in canonical handles, for `store_blocks`.

    Raises:
        CheckpointError: CORRUPT, as the reader's.
    """
    for handle in handles:
        numbers = {info.table_id: registry.table_id(info) for info in handle.tables}
        local = context.local_dir / "restored"
        for ref in handle.files.values():
            context.reader.download(ref, local)
            for table_id, block in read_blocks(local, *context.key_groups):
                yield numbers[table_id], block
            local.unlink()


def no_native_savepoint(backend: str, operator: str) -> StateError:
    """The error for state that is in a database: a savepoint has to be whole without it."""
    return StateError(
        f"the backend '{backend}' writes no native savepoints: its state is in a database, and a savepoint is files",
        where=f"operator '{operator}'",
        fix="take a canonical savepoint (SavepointFormatType.CANONICAL)",
    )


def store_blocks(store: EntryStore, blocks: Iterable[tuple[int, Block]]) -> None:
    """Keep restored blocks, by (table id, block), until their tables are opened."""
    batch = store.new_batch()
    for number, (table_id, block) in enumerate(blocks):
        key = prefix_of(block.group, _BLOCKS_TABLE) + _PLACE.pack(table_id, number)
        batch.put(key, block.to_bytes(table_id))
        if batch.len() >= BATCH_ENTRIES:
            store.write(batch)
            batch = store.new_batch()
    store.write(batch)


def blocks_prefix(group: int, table_id: int) -> bytes:
    """What the keys of the kept blocks of a table in a key group begin with."""
    return prefix_of(group, _BLOCKS_TABLE) + _TABLE_ID.pack(table_id)


def take_blocks(
    store: EntryStore, groups: Iterable[int], table_id: int, operator: str
) -> Iterator[Iterator[Block]]:
    """The kept blocks of a table, those of one stored entry at a time; each is gone when the next one is asked for."""
    for group in groups:
        prefix = blocks_prefix(group, table_id)
        for key, content in list(store.scan(prefix)):
            where = f"operator '{operator}', stored block {key.hex()}"
            yield (block for _, block in parse_blocks(group, content, where))
            store.delete([(key, None)])


def renumbered_key(db_key: bytes, table_ids: Mapping[int, int], numbers: Iterator[int]) -> bytes:
    """The key of an entry of another store here, where tables and blocks have other numbers (`count` of own ones)."""
    group, table_id = split_prefix(db_key)
    if table_id != _BLOCKS_TABLE:
        return prefix_of(group, table_ids[table_id]) + db_key[PREFIX_BYTES:]
    of_table, _ = _PLACE.unpack_from(db_key, PREFIX_BYTES)
    return prefix_of(group, _BLOCKS_TABLE) + _PLACE.pack(table_ids[of_table], next(numbers))
