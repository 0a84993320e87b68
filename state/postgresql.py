"""The PostgreSQL backend (`postgresql`): keyed state as versioned rows behind a bounded write-back cache.

What is written carries the id of the next checkpoint; a snapshot is what was written up to it, and no file. A restart reads as of
the checkpoint it restores. See docs/adr/ for why, and `postgresql_schema.py` for the tables.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ..core.errors import CheckpointError, CheckpointFailureReason
from ..core.savepoints import SavepointFormatType
from .backend import BackendContext, BackendStatistics, CheckpointStreams, TableDescriptor
from .cached_table import CachedTable
from .cached_tables import CachedTables
from .canonical import CanonicalTable, no_native_savepoint, restored_blocks, store_blocks, write_canonical
from .handles import ExternalVersion, FileRef, KeyedStateHandle, TableInfo
from .overlaid_store import OverlaidStore
from .overlay import Layer, merged
from .postgresql_collector import VersionCollector
from .postgresql_connection import PostgreSQLConnection
from .postgresql_restore import take_over
from .postgresql_schema import set_up
from .postgresql_store import PostgreSQLReads, StateIds, entries_as_of, has_entries, state_id
from .postgresql_write import require_ownership, write_layer
from .snapshot_format import FORMAT as CANONICAL
from .table_registry import BLOCKS_INFO, RESERVED_TABLE, TableRegistry, require_format

if TYPE_CHECKING:
    from .postgresql_connection import Connection

FORMAT: Final = "postgresql-1"
"""`KeyedStateHandle.format` of state in the tables of `postgresql_schema.py`."""

_MOST_UNWRITTEN: Final = 20_000
"""Changes kept in memory before the loop's thread writes them itself: some hundred milliseconds; left at a barrier to the thread of the snapshot."""

_COMPLETE: Final = """
INSERT INTO snapshots (operator_id, first_group, last_group, version, attempt) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (operator_id, first_group, last_group, version) DO UPDATE SET attempt = EXCLUDED.attempt
"""


class PostgreSQLBackend:
    """Implements `KeyedStateBackend`.

    Raises:
        ConnectorError: PostgreSQL cannot be reached; so do all methods that read or write.
        StateError: a newer attempt owns the state.
        CheckpointError: CORRUPT, when PostgreSQL no longer has what is restored.
    """

    removes_expired = True

    def __init__(self, context: BackendContext) -> None:
        require_format(context.restored, (FORMAT, CANONICAL), context.operator, "postgresql")
        assert context.store is not None, "who chooses the backend gives its store"
        store = context.store
        self._context = context
        self.clock = context.clock
        self._registry = TableRegistry(
            context.operator, (info for handle in context.restored for info in handle.tables)
        )
        self._connection = PostgreSQLConnection(store, context.operator)
        try:
            self._connection.run(lambda connection: set_up(connection, store))
            self._operator_id, restored = self._connection.run(
                lambda connection: take_over(connection, context)
            )
        except BaseException:
            self._connection.close()
            raise
        self._states = StateIds()
        self._store = OverlaidStore(PostgreSQLReads(self._connection, self._states), self._bound_unwritten)
        self._tables = CachedTables(context, self._store, self._registry, lambda: None)
        self._writer = _Writer(context, self._operator_id, self._states)
        collecting = PostgreSQLConnection(store, context.operator)
        self._collector = VersionCollector(collecting, self._operator_id, context.key_groups)
        self._version = restored + 1
        self._most_unwritten = max(1, min(_MOST_UNWRITTEN, context.cache_entries // 2))
        self._pending: PostgreSQLSnapshot | None = None
        self._at_barrier = False
        try:
            self._restore_blocks()
        except BaseException:
            self.close()
            raise

    def table(self, descriptor: TableDescriptor) -> CachedTable:
        declared = self._registry.declare(descriptor)
        for info in (declared, *self._registry.outdated(descriptor.name)):
            if info.table_id not in self._states:
                self._states[info.table_id] = self._connection.run(partial(self._state_id, info))
        return self._tables.open(descriptor)

    def snapshot(self, checkpoint_id: int) -> PostgreSQLSnapshot:
        assert self._pending is None, "one snapshot at a time"
        self._at_barrier = True
        self._tables.write_all()
        self._at_barrier = False
        layers = self._store.overlay.freeze()
        self._version = checkpoint_id + 1
        self._pending = PostgreSQLSnapshot(
            self._context,
            checkpoint_id,
            self._writer,
            layers,
            self._registry.infos(),
            self._tables.canonical(self.clock.now_ms()),
            self._on_release,
        )
        return self._pending

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Nothing depends on it: versions are complete by what the snapshot has written."""

    def notify_checkpoint_subsumed(self, oldest_retained: int) -> None:
        self._collector.collect(oldest_retained, self._writer.rows)

    def clear(self) -> None:
        self._tables.clear()

    def end_of_batch(self) -> None:
        self._tables.end_of_batch()
        self._bound_unwritten()

    def statistics(self) -> BackendStatistics:
        return self._tables.statistics(bytes_on_disk=0)

    def close(self) -> None:
        if self._pending is not None:
            self._pending.abandon()
        self._tables.close()
        self._collector.close()
        self._writer.close()
        self._connection.close()

    def _restore_blocks(self) -> None:
        """Keep what a canonical savepoint holds until its tables are opened; or know of what was kept before."""
        canonical = [handle for handle in self._context.restored if handle.format == CANONICAL]
        if not self._context.restored:
            return
        state = self._connection.run(partial(self._state_id, BLOCKS_INFO))
        kept = self._connection.run(partial(has_entries, state, self._context.key_groups))
        if canonical or kept:
            self._registry.require_same_numbers(self._context.restored, unless=CANONICAL)
            self._states[RESERVED_TABLE] = state
            store_blocks(self._store, restored_blocks(self._context, canonical, self._registry))

    def _state_id(self, info: TableInfo, connection: Connection) -> int:
        return state_id(connection, self._operator_id, info)

    def _bound_unwritten(self) -> None:
        """Write what is unwritten once it is too much, as a version that is not complete. Layers are written in their order: a dropped namespace must
        find the rows of the layer before. So a pending snapshot is first, and done here once twice the bound has come meanwhile."""
        overlay, pending = self._store.overlay, self._pending
        if self._at_barrier or overlay.size <= self._most_unwritten:
            return
        if pending is not None:
            if not pending.written and overlay.size <= 2 * self._most_unwritten:
                return
            pending.write_rows()
            overlay.drop_layers(pending.layers)
        layers = overlay.freeze()
        self._writer.write(layers, self._version)
        overlay.drop_layers(layers)

    def _on_release(self, snapshot: PostgreSQLSnapshot) -> None:
        self._pending = None
        if snapshot.written:
            self._store.overlay.drop_layers(snapshot.layers)


class _Writer:
    """Writes layers over a connection of its own; by the thread of a snapshot or by the loop's, one at a time."""

    def __init__(self, context: BackendContext, operator_id: int, states: StateIds) -> None:
        assert context.store is not None, "who chooses the backend gives its store"
        self._context = context
        self._operator_id = operator_id
        self._states = states
        self._connection = PostgreSQLConnection(context.store, context.operator)
        self._writing = threading.Lock()
        self.rows = 0

    def canonical(
        self,
        version: int,
        tables: Mapping[int, CanonicalTable],
        infos: Sequence[TableInfo],
        streams: CheckpointStreams,
    ) -> dict[str, FileRef]:
        """The files of a canonical savepoint, from a version that is complete."""
        with self._writing:
            states = {
                info.table_id: self._connection.run(partial(_state_id, self._operator_id, info))
                for info in (*infos, BLOCKS_INFO)
            }
            entries = entries_as_of(self._connection, states, self._context.key_groups, version)
            return write_canonical(entries, tables, infos, self._context, streams)

    def write(self, layers: tuple[Layer, ...], version: int, *, complete: bool = False) -> None:
        """All of it or nothing, as rows of `version`, which is marked as complete if it is. Safe to repeat."""
        layer = merged(layers)
        attempt = self._context.owner.attempt

        def transaction(connection: Connection) -> None:
            with connection.transaction():
                require_ownership(connection, self._operator_id, attempt)
                write_layer(connection, layer, version, self._states)
                if complete:
                    bounds = self._context.key_groups
                    connection.execute(_COMPLETE, (self._operator_id, *bounds, version, attempt))

        with self._writing:
            self._connection.run(transaction)
            self.rows += layer.size

    def close(self) -> None:
        """Waits for the transaction in progress."""
        with self._writing:
            self._connection.close()


def _state_id(operator_id: int, info: TableInfo, connection: Connection) -> int:
    return state_id(connection, operator_id, info)


class PostgreSQLSnapshot:
    """What was unwritten at the barrier. Implements `PendingSnapshot`.

    Args:
        layers: frozen.
        canonical: what turns entries into those of a canonical savepoint, by table.
        on_release: called once in the loop's thread.

    Attributes:
        written: the rows are in the database.
    """

    def __init__(
        self,
        context: BackendContext,
        checkpoint_id: int,
        writer: _Writer,
        layers: tuple[Layer, ...],
        tables: tuple[TableInfo, ...],
        canonical: Mapping[int, CanonicalTable],
        on_release: Callable[[PostgreSQLSnapshot], None],
    ) -> None:
        self._context = context
        self._checkpoint_id = checkpoint_id
        self._writer = writer
        self.layers = layers
        self._tables = tables
        self._canonical = canonical
        self._on_release = on_release
        self._once = threading.Lock()
        self._abandoned = False
        self.written = False

    def write_rows(self) -> None:
        """Unless they are written. Any thread.

        Raises:
            CheckpointError: TASK_FAILED, when the backend was closed before.
        """
        with self._once:
            if self._abandoned:
                raise CheckpointError(
                    CheckpointFailureReason.TASK_FAILED,
                    f"checkpoint {self._checkpoint_id}: the state backend was closed before its rows were written",
                    where=f"operator '{self._context.operator}'",
                )
            if not self.written:
                self._writer.write(self.layers, self._checkpoint_id, complete=True)
                self.written = True

    def write(self, streams: CheckpointStreams) -> KeyedStateHandle:
        self.write_rows()
        owner = self._context.owner
        version = ExternalVersion(owner.job_id, owner.operator_id, self._checkpoint_id, owner.attempt)
        return KeyedStateHandle(FORMAT, self._context.key_groups, self._tables, {}, version)

    def write_savepoint(self, streams: CheckpointStreams, kind: SavepointFormatType) -> KeyedStateHandle:
        if kind is SavepointFormatType.NATIVE:
            raise no_native_savepoint("postgresql", self._context.operator)
        self.write_rows()
        files = self._writer.canonical(self._checkpoint_id, self._canonical, self._tables, streams)
        return KeyedStateHandle(CANONICAL, self._context.key_groups, self._tables, files)

    def release(self) -> None:
        self.abandon()
        self._on_release(self)

    def abandon(self) -> None:
        """From now on no rows are written. Waits while they are being written."""
        with self._once:
            self._abandoned = True
