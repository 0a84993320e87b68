"""The RocksDB backend (`rocksdb`): state larger than memory behind a bounded write-back cache, incremental snapshots."""

from __future__ import annotations

from typing import Final

from .backend import BackendContext, BackendStatistics, TableDescriptor
from .cleanup import Sweep
from .handles import FileRef
from .rocksdb_keys import KeyLayout
from .rocksdb_restore import restore
from .rocksdb_snapshot import FORMAT, RocksSnapshot
from .rocksdb_store import RocksStore
from .rocksdb_table import RocksTable
from .table_registry import TableRegistry, require_format
from .uploaded_files import UploadedFiles

_MOST_DIRTY_ENTRIES: Final = 25_000
"""More than this are never left to be written at a barrier: it bounds the synchronous part of a snapshot."""


class RocksDBBackend:
    """Keyed state in RocksDB. Implements `KeyedStateBackend`.

    What is in memory of it stays below `cache_entries`, but for what one batch touches, and for what is touched while a
    snapshot waits for its links (at most twice as much: then the loop makes them itself).
    """

    removes_expired = True

    def __init__(self, context: BackendContext) -> None:
        require_format(context.restored, FORMAT, context.operator, "rocksdb")
        self._context = context
        self.clock = context.clock
        self._registry = TableRegistry(
            context.operator, (info for handle in context.restored for info in handle.tables)
        )
        self._restored_names = {info.name for info in self._registry.infos()}
        self._store = RocksStore(context.local_dir / "db")
        self._uploaded = UploadedFiles(restore(context, self._store, self._registry))
        self._tables: dict[str, RocksTable] = {}
        self._sweeps: list[Sweep] = []
        self._pending: RocksSnapshot | None = None
        self._most_dirty = max(1, min(_MOST_DIRTY_ENTRIES, context.cache_entries // 2))

    def table(self, descriptor: TableDescriptor) -> RocksTable:
        info = self._registry.declare(descriptor)
        table = self._tables.get(descriptor.name)
        if table is None:
            layout = KeyLayout(self._context, descriptor, info.table_id)
            restored = self._store.is_open and descriptor.name in self._restored_names
            table = RocksTable(descriptor, layout, self._store, restored=restored)
            self._tables[descriptor.name] = table
            if descriptor.expiry is not None and descriptor.expiry.reads_clock_after:
                self._sweeps.append(Sweep(table, descriptor.expiry, self.clock))
        return table

    def snapshot(self, checkpoint_id: int) -> RocksSnapshot:
        assert self._pending is None, "one snapshot at a time"
        for table in self._tables.values():
            table.settle()
            if table.dirty:
                table.flush(table.dirty)
        store = self._store if self._store.is_open else None
        self._store.frozen = store is not None

        def on_release(written: dict[str, FileRef] | None) -> None:
            if written is not None:
                self._uploaded.uploaded(checkpoint_id, written)
            self._pending = None
            self._thaw()

        self._pending = RocksSnapshot(
            self._context, checkpoint_id, store, self._registry.infos(), self._uploaded.reusable(), on_release
        )
        return self._pending

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        self._uploaded.completed(checkpoint_id)

    def clear(self) -> None:
        for table in self._tables.values():
            for namespace in list(table.namespaces()):
                table.drop(namespace)

    def end_of_batch(self) -> None:
        for sweep in self._sweeps:
            sweep.end_of_batch()
        entries = dirty = 0
        for table in self._tables.values():
            table.settle()
            entries += table.entries
            dirty += table.dirty
        if self._store.frozen and self._pending is not None and self._pending.linked:
            self._thaw()
        if entries > self._context.cache_entries:
            self._make_room(entries)
        elif dirty > self._most_dirty:
            self._write_back(dirty - self._most_dirty * 3 // 4)

    def statistics(self) -> BackendStatistics:
        # As of the end of the last batch: settling now could take maps from under the operator that is using them.
        tables = self._tables.values()
        return BackendStatistics(
            entries_in_memory=sum(table.entries for table in tables),
            loads=sum(table.loaded for table in tables),
            flushed=sum(table.flushed for table in tables),
            bytes_on_disk=self._store.size_bytes(),
        )

    def close(self) -> None:
        if self._pending is not None:
            self._pending.abandon()
        self._tables.clear()
        self._store.close()

    def _make_room(self, entries: int) -> None:
        """Down to three quarters of the bound, so that it is not needed again at once."""
        target = self._context.cache_entries * 3 // 4
        excess = entries - target
        if self._evict(excess) >= excess:
            return
        if self._store.frozen:
            if sum(table.entries for table in self._tables.values()) <= 2 * self._context.cache_entries:
                return
            assert self._pending is not None, "the store is frozen by a pending snapshot only"
            self._pending.link()
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

    def _thaw(self) -> None:
        self._store.thaw()
        for table in self._tables.values():
            table.thawed()
