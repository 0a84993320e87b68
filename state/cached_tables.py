"""The cached tables of one backend, and the bound on what they hold in memory together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from .backend import BackendContext, BackendStatistics, TableDescriptor
from .cached_table import CachedTable, dumps_each
from .canonical import CanonicalTable, take_blocks
from .cleanup import Sweep
from .entry_keys import KeyLayout
from .entry_store import EntryStore
from .handles import TableInfo
from .outdated_entries import move_outdated
from .snapshot_format import BlockCodec
from .table_registry import TableRegistry

_MOST_DIRTY_ENTRIES: Final = 25_000
"""More than this are never left to be written by a snapshot: it bounds what is held in memory until it is written, and the
synchronous part of a snapshot, which writes them at once for stores that are not written by other threads."""


class CachedTables:
    """What is in memory stays below `cache_entries` and below the backend's share of the worker's memory, but for what one batch
    touches, and for what is touched while the store is frozen (at most twice as much: then the backend must thaw it).

    Args:
        store: below all tables.
        registry: with what was restored, and nothing else yet.
        thaw: makes the store take writes again, at once.
    """

    def __init__(
        self,
        context: BackendContext,
        store: EntryStore,
        registry: TableRegistry,
        thaw: Callable[[], None],
    ) -> None:
        self._context = context
        self._store = store
        self._registry = registry
        self._thaw = thaw
        self._restored_names = {info.name for info in registry.infos()}
        self._tables: dict[str, CachedTable] = {}
        self._table_ids: dict[str, int] = {}
        self._sweeps: list[Sweep] = []
        context.memory.join()
        self._has_joined = True

    def open(self, descriptor: TableDescriptor) -> CachedTable:
        """See `KeyedStateBackend.table`."""
        info = self._registry.declare(descriptor)
        table = self._tables.get(descriptor.name)
        if table is None:
            layout = KeyLayout(self._context, descriptor, info.table_id)
            restored = descriptor.name in self._restored_names
            written = (*self._registry.outdated(descriptor.name), info)
            self._move_outdated(descriptor, layout)
            table = CachedTable(descriptor, layout, self._store, restored=restored)
            self._tables[descriptor.name] = table
            self._table_ids[descriptor.name] = info.table_id
            if restored:
                self._take_blocks(table, written)
            if descriptor.expiry is not None and descriptor.expiry.reads_clock_after:
                self._sweeps.append(Sweep(table, descriptor.expiry, self._context.clock))
        return table

    def canonical(self, now_ms: int) -> dict[int, CanonicalTable]:
        """What turns their stored entries into those of a canonical savepoint, by table id."""
        return {
            self._table_ids[name]: CanonicalTable(table.descriptor, table.layout, now_ms)
            for name, table in self._tables.items()
        }

    def _take_blocks(self, table: CachedTable, written: Iterable[TableInfo]) -> None:
        """Entries of a canonical savepoint, whose types are known now, and how they were written."""
        operator = self._context.operator
        if self._store.frozen:
            self._thaw()
        for info in written:
            codec = BlockCodec(table.descriptor, operator, written=info.value_schema)
            for blocks in take_blocks(self._store, table.layout.prefixes, info.table_id, operator):
                for namespace, keys, values in (run for block in blocks for run in codec.decode(block)):
                    table.namespace(namespace).update(zip(keys, values, strict=True))
                table.settle()
                table.flush(table.dirty)
                for _ in range(2):  # each first loses its older generation
                    table.evict(table.entries)

    def write_all(self) -> None:
        """Put everything that is not stored yet into the store: the synchronous part of a snapshot."""
        for table in self._tables.values():
            table.settle()
            if table.dirty:
                table.flush(table.dirty)

    def clear(self) -> None:
        """See `KeyedStateBackend.clear`."""
        for table in self._tables.values():
            for namespace in list(table.namespaces()):
                table.drop(namespace)

    def end_of_batch(self) -> None:
        """Sweep, count, and make room where the bound is passed."""
        for sweep in self._sweeps:
            sweep.end_of_batch()
        entries = dirty = 0
        for table in self._tables.values():
            table.settle()
            entries += table.entries
            dirty += table.dirty
        limit = self._limit(entries)
        if entries > limit:
            self._make_room(entries, limit)
            return
        most_dirty = max(1, min(_MOST_DIRTY_ENTRIES, limit // 2))
        if dirty > most_dirty:
            self._write_back(dirty - most_dirty * 3 // 4)

    def freeze(self) -> bool:
        """Count all that is not stored yet as stored, without storing it: the synchronous part of a snapshot whose store takes writes
        from another thread. False when there is nothing."""
        for table in self._tables.values():
            table.freeze()
        return any(table.has_frozen for table in self._tables.values())

    def write_frozen(self) -> None:
        """Store what was frozen. Any thread. Raises as `CachedTable.write_frozen`."""
        for table in list(self._tables.values()):
            table.write_frozen()

    def thawed(self, *, written: bool = True) -> None:
        """The store takes writes again; see `CachedTable.thawed`."""
        for table in self._tables.values():
            table.thawed(written=written)

    def statistics(self, bytes_on_disk: int) -> BackendStatistics:
        """As of the end of the last batch: settling now could take maps from under the operator that is using them."""
        tables = self._tables.values()
        return BackendStatistics(
            entries_in_memory=sum(table.entries for table in tables),
            loads=sum(table.loaded for table in tables),
            flushed=sum(table.flushed for table in tables),
            bytes_on_disk=bytes_on_disk,
        )

    def close(self) -> None:
        """Free the memory. Idempotent."""
        self._tables.clear()
        if self._has_joined:
            self._has_joined = False
            self._context.memory.leave()

    def _move_outdated(self, descriptor: TableDescriptor, layout: KeyLayout) -> None:
        """Bring what was restored of a table to the types it is declared with; afterwards nothing tells that they were others."""
        outdated = self._registry.outdated(descriptor.name)
        if not outdated:
            return
        if self._store.frozen:
            self._thaw()
        dumps = partial(dumps_each, descriptor.value_type)
        move_outdated(self._store, outdated, descriptor, layout.prefixes, dumps, layout.operator)
        self._registry.moved(descriptor.name)

    def _limit(self, entries: int) -> int:
        """How many entries of today's average size may be in memory."""
        held = sum(table.entries * table.entry_bytes for table in self._tables.values())
        share = self._context.memory.objects_bytes
        if held <= share:
            return self._context.cache_entries
        return max(1, min(self._context.cache_entries, entries * share // held))

    def _make_room(self, entries: int, limit: int) -> None:
        """Down to three quarters of the bound, so that it is not needed again at once."""
        target = limit * 3 // 4
        excess = entries - target
        if self._evict(excess) >= excess:
            return
        if self._store.frozen:
            if sum(table.entries for table in self._tables.values()) <= 2 * limit:
                return
            self._thaw()
        left = sum(table.entries for table in self._tables.values()) - target
        self._write_back(left)
        self._evict(left)

    def _evict(self, excess: int) -> int:
        """Forget up to about `excess` entries; twice over the tables, because each first loses its older generation."""
        done = 0
        for table in [*self._tables.values()] * 2:
            if done < excess:
                done += table.evict(excess - done)
        return done

    def _write_back(self, entries: int) -> None:
        if self._store.frozen:
            return
        for table in self._tables.values():
            if entries > 0 and table.dirty:
                entries -= table.flush(entries)
