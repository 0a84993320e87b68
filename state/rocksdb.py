"""The RocksDB backend (`rocksdb`): state larger than memory behind a bounded write-back cache, incremental snapshots."""

from __future__ import annotations

from .backend import BackendContext, BackendStatistics, TableDescriptor
from .cached_table import CachedTable
from .cached_tables import CachedTables
from .handles import FileRef
from .rocksdb_restore import restore
from .rocksdb_snapshot import FORMAT, RocksSnapshot
from .rocksdb_store import RocksStore
from .snapshot_format import FORMAT as CANONICAL
from .table_registry import TableRegistry, require_format
from .uploaded_files import UploadedFiles


class RocksDBBackend:
    """Keyed state in RocksDB, bounded in memory by `CachedTables`. Implements `KeyedStateBackend`."""

    removes_expired = True

    def __init__(self, context: BackendContext) -> None:
        require_format(context.restored, (FORMAT, CANONICAL), context.operator, "rocksdb")
        self._context = context
        self.clock = context.clock
        self._registry = TableRegistry(
            context.operator, (info for handle in context.restored for info in handle.tables)
        )
        self._store = RocksStore(context.local_dir / "db", context.memory)
        self._tables = CachedTables(context, self._store, self._registry, self._link_and_thaw)
        self._uploaded = UploadedFiles(restore(context, self._store, self._registry))
        self._pending: RocksSnapshot | None = None

    def table(self, descriptor: TableDescriptor) -> CachedTable:
        return self._tables.open(descriptor)

    def snapshot(self, checkpoint_id: int) -> RocksSnapshot:
        assert self._pending is None, "one snapshot at a time"
        # Where this is the first snapshot with anything in it, the thread that writes it opens the database, too.
        store = self._store if self._tables.freeze() or self._store.is_open else None
        self._store.frozen = store is not None

        def on_release(written: dict[str, FileRef] | None) -> None:
            if written is not None:
                self._uploaded.uploaded(checkpoint_id, written)
            assert self._pending is not None, "released once"
            linked, self._pending = self._pending.linked, None
            self._thaw(written=linked)

        self._pending = RocksSnapshot(
            self._context,
            checkpoint_id,
            store,
            self._registry.infos(),
            self._uploaded.reusable(),
            self._tables.canonical(self.clock.now_ms()),
            self._tables.write_frozen,
            on_release,
        )
        return self._pending

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        self._uploaded.completed(checkpoint_id)

    def notify_checkpoint_subsumed(self, oldest_retained: int) -> None:
        """Files are the job manager's to delete."""

    def clear(self) -> None:
        self._tables.clear()

    def end_of_batch(self) -> None:
        if self._store.frozen and self._pending is not None and self._pending.linked:
            self._thaw(written=True)
        self._tables.end_of_batch()

    def statistics(self) -> BackendStatistics:
        return self._tables.statistics(self._store.size_bytes())

    def close(self) -> None:
        if self._pending is not None:
            self._pending.abandon()
        self._tables.close()
        self._store.close()

    def _link_and_thaw(self) -> None:
        assert self._pending is not None, "the store is frozen by a pending snapshot only"
        self._pending.link()
        self._thaw(written=True)

    def _thaw(self, *, written: bool) -> None:
        self._store.thaw()
        self._tables.thawed(written=written)
