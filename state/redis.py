"""The Redis backend (`redis`): keyed state in hashes, behind a bounded write-back cache and a log.

Redis has no versions, so it only ever takes what a complete checkpoint holds. Changes wait in memory, in layers; a snapshot writes them
to the checkpoint as its log; when the checkpoint is complete they are applied, and a restart applies what a worker that died has not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..core.errors import CheckpointError, CheckpointFailureReason, StateError
from ..core.savepoints import SavepointFormatType
from .backend import BackendContext, BackendStatistics, CheckpointStreams, TableDescriptor
from .cached_table import CachedTable
from .cached_tables import CachedTables
from .canonical import no_native_savepoint, restored_blocks, store_blocks, write_canonical
from .entry_keys import PREFIX_BYTES, split_prefix
from .exclusive_names import exclusive_name
from .handles import ExternalVersion, FileRef, KeyedStateHandle, TableInfo
from .overlaid_store import OverlaidStore
from .overlay import Layer, merged
from .redis_apply import Applier
from .redis_connection import RedisConnection
from .redis_keys import RedisKeys, state_name
from .redis_log import FORMAT, LOG, write_log
from .redis_restore import progress_of, restore
from .redis_store import RedisReads
from .snapshot_format import FORMAT as CANONICAL
from .table_registry import BLOCKS_INFO, RESERVED_TABLE, TableRegistry, require_format


class RedisBackend:
    """Implements `KeyedStateBackend`.

    INVARIANT X3: Redis holds no change that is not part of a complete checkpoint, so that every restart finds it at the restored
    checkpoint or before.
    Kept by: tests/state/test_redis.py

    Raises:
        ConnectorError: Redis cannot be reached; so do all methods that read.
        StateError: a newer attempt owns the state, or Redis is not where the checkpoint can be reached from.
    """

    removes_expired = True

    def __init__(self, context: BackendContext) -> None:
        require_format(context.restored, (FORMAT, CANONICAL), context.operator, "redis")
        assert context.store is not None, "who chooses the backend gives its store"
        self._context = context
        self.clock = context.clock
        self._registry = TableRegistry(
            context.operator, (info for handle in context.restored for info in handle.tables)
        )
        owner = context.owner
        self._keys = RedisKeys(context.store.area, owner.job_id, owner.operator_id)
        self._connection = RedisConnection(context.store, context.operator)
        try:
            self._connection.refuse_eviction()
            self._applied = restore(self._connection, context, self._keys, self._registry)
        except BaseException:
            self._connection.close()
            raise
        self._states: dict[int, bytes] = {}
        self._store = OverlaidStore(RedisReads(self._connection, self._keys, self._states))
        self._tables = CachedTables(context, self._store, self._registry, lambda: None)
        self._applier = Applier(self._connection, context, self._keys, self._states)
        self._barriers: dict[int, int] = {}  # id() of a frozen layer -> the first checkpoint that holds it
        self._completed = 0
        self._pending: RedisSnapshot | None = None
        try:
            self._restore_blocks()
        except BaseException:
            self.close()
            raise

    def table(self, descriptor: TableDescriptor) -> CachedTable:
        declared = self._registry.declare(descriptor)
        for info in (declared, *self._registry.outdated(descriptor.name)):
            if info.table_id not in self._states:
                name = self._states[info.table_id] = state_name(info)
                self._connection.ask("SADD", self._keys.states, name)
        return self._tables.open(descriptor)

    def snapshot(self, checkpoint_id: int) -> RedisSnapshot:
        assert self._pending is None, "one snapshot at a time"
        self._settle()
        self._tables.write_all()
        layers = self._store.overlay.freeze()
        for layer in layers:
            self._barriers.setdefault(id(layer), checkpoint_id)
        self._pending = RedisSnapshot(
            self._context,
            ExternalVersion(
                self._context.owner.job_id,
                self._context.owner.operator_id,
                checkpoint_id,
                self._context.owner.attempt,
                self._applied,
            ),
            layers,
            self._registry.infos(),
            dict(self._states),
            self._canonical_writer(layers),
            self._require_intact,
            self._on_release,
        )
        return self._pending

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        self._completed = max(self._completed, checkpoint_id)
        self._settle()

    def notify_checkpoint_subsumed(self, oldest_retained: int) -> None:
        """There are no versions to remove."""

    def clear(self) -> None:
        self._tables.clear()

    def end_of_batch(self) -> None:
        self._tables.end_of_batch()
        self._settle()

    def statistics(self) -> BackendStatistics:
        return self._tables.statistics(bytes_on_disk=0)

    def close(self) -> None:
        if self._pending is not None:
            self._pending.abandon()
        self._tables.close()
        self._applier.close()
        self._connection.close()

    def _restore_blocks(self) -> None:
        """Keep what a canonical savepoint holds until its tables are opened; or know of what was kept before."""
        canonical = [handle for handle in self._context.restored if handle.format == CANONICAL]
        if not self._context.restored:
            return
        name = state_name(BLOCKS_INFO)
        if canonical or self._connection.ask("SISMEMBER", self._keys.states, name):
            self._registry.require_same_numbers(self._context.restored, unless=CANONICAL)
            self._states[RESERVED_TABLE] = name
            self._connection.ask("SADD", self._keys.states, name)
            store_blocks(self._store, restored_blocks(self._context, canonical, self._registry))

    def _canonical_writer(
        self, layers: tuple[Layer, ...]
    ) -> Callable[[CheckpointStreams], dict[str, FileRef]]:
        """Writes the files of a canonical savepoint as of now. Redis stays where it is until the snapshot is released, but for
        what the layers hold."""
        infos, tables = self._registry.infos(), self._tables.canonical(self.clock.now_ms())
        states = {**self._states, **{info.table_id: state_name(info) for info in infos}}
        frozen = OverlaidStore(RedisReads(self._connection, self._keys, states), frozen=layers)

        def write(streams: CheckpointStreams) -> dict[str, FileRef]:
            entries = frozen.entries(self._context.key_groups, states)
            return write_canonical(entries, tables, infos, self._context, streams)

        return write

    def _settle(self) -> None:
        """See what has been applied, and begin to apply what is complete since, unless a snapshot reads what is there."""
        outcome = self._applier.outcome()
        if outcome is not None:
            self._applied = outcome.checkpoint_id
            for layer in outcome.layers:
                del self._barriers[id(layer)]
            self._store.overlay.drop_layers(outcome.layers)
        if self._completed > self._applied and not self._applier.busy and self._pending is None:
            complete = [
                layer for layer in self._store.overlay.frozen if self._barriers[id(layer)] <= self._completed
            ]
            self._applier.start(self._completed, complete)

    def _require_intact(self, base: int) -> None:
        """Redis is where we left it; called by the thread of a snapshot, so that no checkpoint rests on reads from a Redis that has
        lost its data."""
        owner, keys = self._context.owner, self._keys
        attempt: bytes | None = self._connection.ask("HGET", keys.owner, "attempt")
        if attempt is None or int(attempt) != owner.attempt:
            raise self._connection.not_owner(owner.attempt, attempt or b"")
        progress = progress_of(self._connection, keys, self._context.key_groups)
        lost = [group for group, found in progress.items() if found.applied is None or found.applied < base]
        if lost:
            raise StateError(
                f"Redis has lost state: of key group {lost[0]} it no longer holds checkpoint {base}",
                where=self._connection.where,
                fix="Redis needs appendonly, or its last changes are lost when it fails",
            )

    def _on_release(self) -> None:
        self._pending = None


class RedisSnapshot:
    """What was not applied at the barrier. Implements `PendingSnapshot`.

    Args:
        version: what the handle says of the checkpoint.
        layers: frozen, oldest first.
        names: what tables are called in keys, by number: with those whose entries have been moved, which a layer may still remove.
        write_canonical: writes the files of a canonical savepoint.
        require_intact: raises when Redis is not at the version's base any more.
        on_release: called once in the loop's thread.
    """

    def __init__(
        self,
        context: BackendContext,
        version: ExternalVersion,
        layers: tuple[Layer, ...],
        tables: tuple[TableInfo, ...],
        names: Mapping[int, bytes],
        write_canonical: Callable[[CheckpointStreams], dict[str, FileRef]],
        require_intact: Callable[[int], None],
        on_release: Callable[[], None],
    ) -> None:
        self._context = context
        self._version = version
        self._layers = layers
        self._tables = tables
        self._names = names
        self._write_canonical = write_canonical
        self._require_intact = require_intact
        self._on_release = on_release
        self._abandoned = False

    def write_savepoint(self, streams: CheckpointStreams, kind: SavepointFormatType) -> KeyedStateHandle:
        if kind is SavepointFormatType.NATIVE:
            raise no_native_savepoint("redis", self._context.operator)
        self._require_usable()
        files = self._write_canonical(streams)
        return KeyedStateHandle(CANONICAL, self._context.key_groups, self._tables, files)

    def write(self, streams: CheckpointStreams) -> KeyedStateHandle:
        self._require_usable()
        files: dict[str, FileRef] = {}
        layer = merged(self._layers)
        if layer:
            known = {info.table_id for info in self._tables}
            numbers = {split_prefix(place.prefix[:PREFIX_BYTES])[1] for place, _ in layer.changes()}
            gone = {number: self._names[number] for number in numbers - known - {RESERVED_TABLE}}
            files[LOG] = streams.write_exclusive(exclusive_name(self._context, LOG), write_log(layer, gone))
        return KeyedStateHandle(FORMAT, self._context.key_groups, self._tables, files, self._version)

    def _require_usable(self) -> None:
        if self._abandoned:
            raise CheckpointError(
                CheckpointFailureReason.TASK_FAILED,
                f"checkpoint {self._version.checkpoint_id}: the state backend was closed before its log was written",
                where=f"operator '{self._context.operator}'",
            )
        self._require_intact(self._version.base)

    def release(self) -> None:
        self.abandon()
        self._on_release()

    def abandon(self) -> None:
        """From now on nothing is written."""
        self._abandoned = True
