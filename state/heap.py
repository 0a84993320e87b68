"""The heap backend (`hashmap`): state lives in dicts, snapshots are whole and written from a frozen layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from ..core.savepoints import SavepointFormatType
from .backend import BackendContext, BackendStatistics, CheckpointStreams, TableDescriptor
from .exclusive_names import exclusive_name
from .handles import KeyedStateHandle, TableInfo
from .heap_table import HeapTable, Layer, visible_maps
from .routing import GroupCache, foreign_group, routing_encoder
from .snapshot_format import FORMAT, STATE_FILE, Block, BlockCodec, Run, read_blocks, write_blocks
from .table_registry import TableRegistry, naming_state, require_format

_MERGE_STEP_ENTRIES: Final = 2048
"""Entries merged per batch after a snapshot: about a millisecond's worth, in dicts too large for the processor's caches."""

_MERGE_STEP_GROWTH: Final = 1.02
"""From step to step, so that merging ends whatever the job touches meanwhile."""


class HeapBackend:
    """Keyed state in this process's memory. Implements `KeyedStateBackend`.

    INVARIANT H2: between `snapshot` and `release` nothing that the frozen layer refers to is changed: maps are stood before,
    mutable values are copied before they are handed out. Kept by: tests/state/backend_suite.py::StateBackendSuite.
    """

    removes_expired = False

    def __init__(self, context: BackendContext) -> None:
        require_format(context.restored, (FORMAT,), context.operator, "hashmap")
        self._context = context
        self.clock = context.clock
        self._registry = TableRegistry(
            context.operator, (info for handle in context.restored for info in handle.tables)
        )
        self._tables: dict[str, HeapTable] = {}
        self._unopened: dict[int, list[Block]] = {}  # by table id
        self._pending: HeapSnapshot | None = None
        self._merge_step = 0  # 0: nothing to merge
        for handle in context.restored:
            self._read(handle)

    def table(self, descriptor: TableDescriptor) -> HeapTable:
        info = self._registry.declare(descriptor)
        table = self._tables.get(descriptor.name)
        if table is None:
            restored = [*self._registry.outdated(descriptor.name), info]
            table = HeapTable(descriptor, info, self._take_restored(descriptor, restored))
            self._registry.moved(descriptor.name)
            self._tables[descriptor.name] = table
        return table

    def snapshot(self, checkpoint_id: int) -> HeapSnapshot:
        assert self._pending is None, "one snapshot at a time"
        frozen = [
            _FrozenTable(table.info, table.descriptor, table.freeze()) for table in self._tables.values()
        ]
        # Blocks of tables that the program has not opened (yet) are carried on as they are.
        carried = [(table_id, list(blocks)) for table_id, blocks in self._unopened.items()]
        self._merge_step = 0
        self._pending = HeapSnapshot(self, checkpoint_id, self._registry.infos(), frozen, carried)
        return self._pending

    def notify_checkpoint_complete(self, checkpoint_id: int) -> None:
        """Nothing to do: heap snapshots never refer to earlier ones."""

    def notify_checkpoint_subsumed(self, oldest_retained: int) -> None:
        """Files are the job manager's to delete."""

    def clear(self) -> None:
        for table in self._tables.values():
            for namespace in list(table.namespaces()):
                table.drop(namespace)

    def end_of_batch(self) -> None:
        if self._merge_step:
            # Not a generator in all(): every table makes a step.
            done = [table.merge(self._merge_step) for table in self._tables.values()]
            self._merge_step = 0 if all(done) else int(self._merge_step * _MERGE_STEP_GROWTH)
        for table in self._tables.values():
            if table.maybe_empty:
                table.forget_empty()

    def statistics(self) -> BackendStatistics:
        entries = sum(table.entries_in_memory() for table in self._tables.values())
        return BackendStatistics(entries_in_memory=entries, loads=0, flushed=0, bytes_on_disk=0)

    def close(self) -> None:
        self._tables.clear()
        self._unopened.clear()

    def _release(self) -> None:
        self._pending = None
        for table in self._tables.values():
            table.thaw()
        self._merge_step = _MERGE_STEP_ENTRIES

    def _read(self, handle: KeyedStateHandle) -> None:
        """Collect the blocks of this subtask's key groups; they are decoded when their table is opened."""
        numbers = {info.table_id: self._registry.table_id(info) for info in handle.tables}
        first, last = self._context.key_groups
        for ref in handle.files.values():
            local = self._context.local_dir / "restored"
            self._context.reader.download(ref, local)
            for table_id, block in read_blocks(local, first, last):
                self._unopened.setdefault(numbers[table_id], []).append(block)
            local.unlink()

    def _take_restored(self, descriptor: TableDescriptor, tables: Iterable[TableInfo]) -> Iterator[Run]:
        for info in tables:
            codec = BlockCodec(descriptor, self._context.operator, written=info.value_schema)
            for block in self._unopened.pop(info.table_id, ()):
                yield from codec.decode(block)


class _FrozenTable(NamedTuple):
    info: TableInfo
    descriptor: TableDescriptor
    layers: tuple[Layer, ...]


class HeapSnapshot:
    """The frozen layers of all tables, to be written. Implements `PendingSnapshot`."""

    def __init__(
        self,
        backend: HeapBackend,
        checkpoint_id: int,
        infos: tuple[TableInfo, ...],
        tables: list[_FrozenTable],
        carried: list[tuple[int, list[Block]]],
    ) -> None:
        self._backend = backend
        self._context = backend._context
        self._checkpoint_id = checkpoint_id
        self._infos = infos
        self._tables = tables
        self._carried = carried
        self._now_ms = backend.clock.now_ms()

    def write(self, streams: CheckpointStreams) -> KeyedStateHandle:
        files = {}
        blocks = self._blocks()
        first = next(blocks, None)
        if first is not None:
            name = exclusive_name(self._context, "heap")
            files[STATE_FILE] = streams.write_exclusive(name, write_blocks(chain((first,), blocks)))
        return KeyedStateHandle(FORMAT, self._context.key_groups, self._infos, files)

    def write_savepoint(self, streams: CheckpointStreams, kind: SavepointFormatType) -> KeyedStateHandle:
        """The backend's own layout is the canonical one, so that both kinds are the same."""
        del kind
        return self.write(streams)

    def release(self) -> None:
        self._tables, self._carried = [], []
        self._backend._release()

    def _blocks(self) -> Iterator[tuple[int, Block]]:
        """(table id, block) of everything, in ascending order of groups."""
        carried = [(table_id, block) for table_id, blocks in self._carried for block in blocks]
        parts = [
            (table.info.table_id, BlockCodec(table.descriptor, self._context.operator), self._by_group(table))
            for table in self._tables
        ]
        groups = {block.group for _, block in carried}.union(*(runs for _, _, runs in parts))
        for group in sorted(groups):
            yield from ((table_id, block) for table_id, block in carried if block.group == group)
            for table_id, codec, runs in parts:
                for block in codec.encode(group, runs.get(group, ())):
                    yield table_id, block

    def _by_group(self, table: _FrozenTable) -> dict[int, list[Run]]:
        """The runs of each key group. References only: nothing is copied or encoded here."""
        groups = GroupCache(routing_encoder(table.descriptor), self._context.max_parallelism)
        by_key = table.descriptor.routed_by == "key"
        result: dict[int, list[Run]] = {}
        with naming_state(self._context.operator, table.info.name):
            for namespace, entries in self._left(table):
                if by_key:
                    runs = _split_by_key(namespace, entries, groups)
                else:
                    runs = {groups[namespace]: (namespace, list(entries), list(entries.values()))}
                for group, run in runs.items():
                    result.setdefault(group, []).append(run)
        first, last = self._context.key_groups
        for group in result:
            if not first <= group <= last:
                raise foreign_group(self._context.operator, group, self._context.key_groups)
        return result

    def _left(self, table: _FrozenTable) -> Iterable[tuple[Any, dict[Any, Any]]]:
        """The namespaces and their entries, without those that have expired where that was asked for."""
        expiry = table.descriptor.expiry
        if expiry is None or not expiry.leaves_snapshots:
            for namespace, found in visible_maps(table.layers):
                yield namespace, found.flat()
            return
        for namespace, found in visible_maps(table.layers):
            kept = ((key, expiry.kept(stored, self._now_ms)) for key, stored in found.entries())
            left = {key: stored for key, stored in kept if stored is not None}
            if left:
                yield namespace, left


def _split_by_key(namespace: Any, entries: dict[Any, Any], groups: GroupCache) -> dict[int, Run]:
    runs: dict[int, Run] = {}
    for key, value in entries.items():
        group = groups[key]
        run = runs.get(group)
        if run is None:
            run = runs[group] = (namespace, [], [])
        run[1].append(key)
        run[2].append(value)
    return runs
