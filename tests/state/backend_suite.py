"""What every state backend must do: subclass `StateBackendSuite` and say which backend it is.

The heart is a model machine: random operations on one to three subtasks, with snapshots that are written by threads while the
operations go on, lost notifications, restores at other parallelisms, compared with plain dicts all the time.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from millstream.core.errors import CheckpointError, RecordSerializationError, StateError
from millstream.core.types import GENERIC, KeyEncoder, Types
from millstream.core.types.offline import OfflineClasses
from millstream.state.backend import (
    BackendContext,
    KeyedStateBackend,
    StateOwner,
    StateStore,
    TableDescriptor,
)
from millstream.state.backends import BackendType, create_backend
from millstream.state.handles import KeyedStateHandle
from millstream.state.key_groups import key_group_of, key_group_range, subtask_of_key_group
from millstream.state.offline import OfflineTable, TableSize, lay_out
from millstream.state.type_names import TypeReader
from tests.services.availability import unique_name
from tests.state.local_checkpoints import LocalCheckpoints

MAX_PARALLELISM = 8

WINDOWS = TableDescriptor("windows", Types.STRING(), Types.LIST(Types.LONG()), namespace_type=Types.LONG())
VALUES = TableDescriptor("values", GENERIC, Types.LONG(), mutable_values=False)
MAPS = TableDescriptor(
    "maps",
    Types.LONG(),
    Types.TUPLE([GENERIC]),
    namespace_type=Types.STRING(),
    routed_by="namespace",
    few_namespaces=False,
)
TYPES = TypeReader({}, unpickle=False)
TABLES = {table.name: table for table in (WINDOWS, VALUES, MAPS)}


def context_in(
    folder: Path,
    *,
    restored: tuple[KeyedStateHandle, ...] = (),
    reader: Any = None,
    key_groups: tuple[int, int] = (0, MAX_PARALLELISM - 1),
    cache_entries: int = 100_000,
    **more: Any,
) -> BackendContext:
    folder.mkdir(parents=True)
    return BackendContext("sum", MAX_PARALLELISM, key_groups, folder, restored, reader, cache_entries, **more)


class World:
    """The subtasks of an operator, the coordinator as far as needed, and the model to compare with."""

    def __init__(self, kind: BackendType, cache_entries: int, store: StateStore | None = None) -> None:
        self.kind = kind
        self.cache_entries = cache_entries
        self.store = store
        self.job_id = unique_name("job")
        self.folder = Path(tempfile.mkdtemp(prefix="millstream-test-state-"))
        self.checkpoints = LocalCheckpoints(self.folder / "checkpoints")
        self.threads = ThreadPoolExecutor(max_workers=3)
        self.backends: list[KeyedStateBackend] = []
        self.model: dict[str, dict[Any, dict[Any, Any]]] = {name: {} for name in TABLES}
        self.held: dict[Any, Any] = {}
        self.last_id = 0
        self.attempts = 0
        self.pending: list[Any] = []
        self.futures: list[Future[KeyedStateHandle]] = []
        self.pending_model: Any = None
        self.completed: tuple[list[KeyedStateHandle], Any] | None = None
        self.late: list[int] = []  # completed checkpoints whose notification is under way

    def open(self, parallelism: int) -> None:
        self.held.clear()
        self.late.clear()
        handles, model = self.completed or ([], {name: {} for name in TABLES})
        self.model = copy.deepcopy(model)
        self.backends = self.restored(handles, parallelism)

    def restored(
        self, handles: list[KeyedStateHandle], parallelism: int, job_id: str | None = None
    ) -> list[KeyedStateBackend]:
        self.attempts += 1
        owner = StateOwner(job_id or self.job_id, "sum", self.attempts)
        backends = []
        for subtask in range(parallelism):
            first, last = key_group_range(subtask, MAX_PARALLELISM, parallelism)
            context = context_in(
                self.folder / f"attempt-{self.attempts}-{subtask}",
                restored=tuple(h for h in handles if h.key_groups[0] <= last and first <= h.key_groups[1]),
                reader=self.checkpoints,
                key_groups=(first, last),
                cache_entries=self.cache_entries,
                owner=owner,
                store=self.store,
            )
            backends.append(create_backend(self.kind, context))
        return backends

    def snapshot(self) -> None:
        self.held.clear()
        self.last_id += 1
        self.pending = [backend.snapshot(self.last_id) for backend in self.backends]
        self.pending_model = copy.deepcopy(self.model)

    def write(self) -> None:
        streams = self.checkpoints.streams(self.last_id)
        self.futures = [self.threads.submit(pending.write, streams) for pending in self.pending]

    def release(self) -> None:
        for future in self.futures:
            future.result()
        for pending in self.pending:
            pending.release()
        self.pending, self.futures = [], []

    def complete(self, *, notify: bool) -> None:
        """The pending checkpoint completes, and the one before it goes."""
        handles = [future.result() for future in self.futures]
        self.release()
        self.completed = (handles, self.pending_model)
        self.checkpoints.retain_only(handles)
        if notify:
            self.notify(self.last_id)
        else:
            self.late.append(self.last_id)

    def abort(self) -> None:
        """The pending checkpoint fails, and what it has written goes."""
        self.release()
        self.checkpoints.retain_only(self.completed[0] if self.completed else [])

    def notify(self, checkpoint_id: int) -> None:
        for backend in self.backends:
            backend.notify_checkpoint_complete(checkpoint_id)
            backend.notify_checkpoint_subsumed(checkpoint_id)

    def check_restore(self, parallelism: int) -> None:
        """What the last completed checkpoint restores, in another job, is what was there at its barrier."""
        assert self.completed is not None
        backends = self.restored(self.completed[0], parallelism, unique_name("job"))
        for name in TABLES:
            assert contents(backends, name) == not_empty(self.completed[1][name])
        if self.store is None:  # state in a database is read by asking it
            assert self.read_offline() == {
                name: not_empty(table) for name, table in self.completed[1].items() if not_empty(table)
            }
        for backend in backends:
            backend.close()

    def read_offline(self) -> dict[str, dict[Any, dict[Any, Any]]]:
        """What the last completed checkpoint holds, read without a backend."""
        assert self.completed is not None
        found: dict[str, dict[Any, dict[Any, Any]]] = {}
        self.attempts += 1
        for index, handle in enumerate(self.completed[0]):
            files = lay_out(handle, self.checkpoints, self.folder / f"offline-{self.attempts}-{index}")
            sizes = files.sizes()
            for info in handle.tables:
                table = OfflineTable(info, TYPES, OfflineClasses({}), "sum", MAX_PARALLELISM)
                entries = list(files.entries(table, 0, MAX_PARALLELISM - 1))
                assert len(entries) == sizes.get(info.table_id, TableSize()).entries
                for group, namespace, key, value in entries:
                    assert group == table.group_of(key if info.routed_by == "key" else namespace)
                    found.setdefault(info.name, {}).setdefault(namespace, {})[key] = value
            files.close()
        return found

    def stop(self) -> None:
        self.release()
        for backend in self.backends:
            backend.close()
            backend.close()
        self.backends.clear()

    def table(self, name: str, namespace: Any, key: Any) -> Any:
        descriptor = TABLES[name]
        if descriptor.routed_by == "key":
            encoded = KeyEncoder(descriptor.key_type).encode(key)
        else:
            encoded = KeyEncoder(descriptor.namespace_type).encode(namespace)
        group = key_group_of(encoded, MAX_PARALLELISM)
        return self.backends[subtask_of_key_group(group, MAX_PARALLELISM, len(self.backends))].table(
            descriptor
        )

    def tables(self, name: str, namespace: Any) -> list[Any]:
        """Those that may have entries of a namespace."""
        if TABLES[name].routed_by == "namespace":
            return [self.table(name, namespace, None)]
        return [backend.table(TABLES[name]) for backend in self.backends]

    def map(self, name: str, namespace: Any, key: Any) -> Any:
        """As operators do it: fetched once, used until the batch ends."""
        table = self.table(name, namespace, key)
        place = (id(table), namespace)
        if place not in self.held:
            self.held[place] = table.namespace(namespace)
        return self.held[place]

    def end_of_batch(self) -> None:
        self.held.clear()
        for backend in self.backends:
            backend.end_of_batch()

    def forget(self, namespace: Any) -> None:
        for place in [p for p in self.held if p[1] == namespace]:
            del self.held[place]

    def close(self) -> None:
        self.stop()
        self.threads.shutdown()
        shutil.rmtree(self.folder)


def contents(backends: list[KeyedStateBackend], name: str) -> dict[Any, dict[Any, Any]]:
    """Every entry of a table over all subtasks."""
    found: dict[Any, dict[Any, Any]] = {}
    for backend in backends:
        table = backend.table(TABLES[name])
        for namespace in table.namespaces():
            for key, value in table.namespace(namespace).entries():
                entries = found.setdefault(namespace, {})
                assert key not in entries, "an entry came twice"
                entries[key] = value
    return found


def not_empty(table: dict[Any, dict[Any, Any]]) -> dict[Any, dict[Any, Any]]:
    return {namespace: entries for namespace, entries in table.items() if entries}


names = st.sampled_from(sorted(TABLES))
few = st.integers(0, 2)


def place_of(name: str, i: int, j: int) -> tuple[Any, Any]:
    """Namespace and key; those of `values` are equal to Python in pairs."""
    match name:
        case "windows":
            return (j - 2) * 10_000, f"key-{i}"
        case "maps":
            return f"key-{i}", j
        case _:
            return None, [1, True, ("a", 1.0), ("a", 1), "x", -7, 2**70, "y", 0.5][3 * i + j]


def value_of(name: str, number: int) -> Any:
    match name:
        case "windows":
            return [number]
        case "maps":
            return (None if number == 0 else [number],)
        case _:
            return number


OPERATIONS = (
    "put",
    "put",
    "change",
    "change",
    "get",
    "peek",
    "remove",
    "drop",
    "is_empty",
    "end_of_batch",
    "put_all",
)
OUTCOMES = (
    "complete",
    "complete",
    "complete, notified late",
    "complete, notified late",
    "abort",
    "abort before writing",
)
operations = st.tuples(st.sampled_from(OPERATIONS), names, few, few, few)
bursts = st.lists(operations, min_size=5, max_size=15)


def apply(world: World, operation: str, name: str, i: int, j: int, number: int) -> None:
    """Do the same to the state and to the model, and compare."""
    namespace, key = place_of(name, i, j)
    model = world.model[name]
    match operation:
        case "put":
            world.map(name, namespace, key)[key] = value_of(name, number)
            model.setdefault(namespace, {})[key] = value_of(name, number)
        case "change":
            found, expected = world.map(name, namespace, key)[key], model.get(namespace, {}).get(key)
            assert found == expected
            for changed in (found, expected):
                change_in_place(name, changed, number)
        case "get":
            assert world.map(name, namespace, key)[key] == model.get(namespace, {}).get(key)
        case "peek":
            assert world.map(name, namespace, key).peek(key) == model.get(namespace, {}).get(key)
        case "remove":
            world.map(name, namespace, key).remove(key)
            model.get(namespace, {}).pop(key, None)
        case "drop":
            for table in world.tables(name, namespace):
                table.drop(namespace)
            world.forget(namespace)
            model.pop(namespace, None)
        case "is_empty":
            found = all(table.namespace(namespace).is_empty() for table in world.tables(name, namespace))
            assert found == (not model.get(namespace))
        case "end_of_batch":
            world.end_of_batch()
        case "put_all":  # more than the cache holds
            for n in range(9):
                apply(world, "put", name, n // 3, n % 3, number)


def change_in_place(name: str, value: Any, number: int) -> None:
    """As user code does with what it was given."""
    if value is None or name == "values":
        return
    changed = value[0] if name == "maps" else value
    if changed is not None:
        changed.append(number)


def machine_of(
    kind: BackendType, cache_entries: int, store: StateStore | None = None
) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        @initialize(parallelism=st.integers(1, 3))
        def start(self, parallelism: int) -> None:
            self.world = World(kind, cache_entries, store)
            self.world.open(parallelism)

        @rule(burst=bursts)
        def change(self, burst: list[Any]) -> None:
            for operation in burst:
                apply(self.world, *operation)

        @rule(
            before=bursts, meanwhile=bursts, outcome=st.sampled_from(OUTCOMES), parallelism=st.integers(1, 3)
        )
        def checkpoint(self, before: list[Any], meanwhile: list[Any], outcome: str, parallelism: int) -> None:
            """The barrier, the writing by threads that begins some time after it, and how it ends."""
            world = self.world
            world.snapshot()
            self.change(before)
            if outcome != "abort before writing":
                world.write()
            self.change(meanwhile)
            if outcome.startswith("abort"):
                world.abort()
            else:
                world.complete(notify=outcome == "complete")
                world.check_restore(parallelism)

        @rule()
        @precondition(lambda self: self.world.late)
        def notify_late(self) -> None:
            self.world.notify(self.world.late.pop(0))

        @rule(parallelism=st.integers(1, 3))
        @precondition(lambda self: self.world.completed)
        def restore(self, parallelism: int) -> None:
            self.world.stop()
            self.world.open(parallelism)

        @rule()
        def compare(self) -> None:
            for name in TABLES:
                assert contents(self.world.backends, name) == not_empty(self.world.model[name])

        @invariant()
        def memory_is_bounded(self) -> None:
            if kind == "rocksdb":
                for backend in self.world.backends:
                    # After a batch at most the bound, or twice it while a snapshot pends; and what a burst touches.
                    assert backend.statistics().entries_in_memory <= 2 * cache_entries + 3 * 27

        def teardown(self) -> None:
            if hasattr(self, "world"):
                try:
                    self.compare()
                finally:
                    self.world.close()

    return Machine


class StateBackendSuite:
    """Subclassed by the tests of each backend."""

    kind: ClassVar[BackendType]
    cache_entries: ClassVar[int] = 3
    examples: ClassVar[int] = 25
    store: StateStore | None = None  # of backends on a database; a fixture sets it

    @pytest.fixture
    def checkpoints(self, tmp_path: Path) -> LocalCheckpoints:
        return LocalCheckpoints(tmp_path / "checkpoints")

    def open(self, folder: Path, *, kind: BackendType | None = None, **context: Any) -> KeyedStateBackend:
        """Of a job of its own, unless told otherwise."""
        owner = StateOwner(unique_name("job"), "sum")
        return create_backend(
            kind or self.kind, context_in(folder, **{"owner": owner, "store": self.store, **context})
        )

    def written(
        self, backend: KeyedStateBackend, checkpoint_id: int, checkpoints: LocalCheckpoints
    ) -> KeyedStateHandle:
        pending = backend.snapshot(checkpoint_id)
        handle = pending.write(checkpoints.streams(checkpoint_id))
        pending.release()
        return handle

    def damage(self, handle: KeyedStateHandle, checkpoints: LocalCheckpoints) -> None:
        """What the handle names is no longer what it was."""
        for ref in handle.files.values():
            path = checkpoints.folder / ref.path
            path.write_bytes(b"\x00" + path.read_bytes()[1:])

    def test_it_behaves_like_dicts_whatever_happens(self) -> None:
        run_state_machine_as_test(
            machine_of(self.kind, self.cache_entries, self.store),
            settings=settings(
                max_examples=self.examples, stateful_step_count=20, suppress_health_check=list(HealthCheck)
            ),
        )

    def test_state_moves_from_one_subtask_to_three_to_two(self) -> None:
        world = World(self.kind, 50, self.store)
        world.open(1)
        for n in range(200):
            key = f"key-{n}"
            world.map("windows", 0, key)[key] = [n]
            world.model["windows"].setdefault(0, {})[key] = [n]
        for parallelism in (3, 2):
            world.snapshot()
            world.write()
            world.complete(notify=True)
            world.stop()
            world.open(parallelism)
            assert contents(world.backends, "windows") == world.model["windows"]
        world.close()

    def test_a_snapshot_holds_what_was_there_at_the_barrier(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a", cache_entries=100)
        counts = {f"key-{n}": [n] for n in range(1000)}
        found = backend.table(WINDOWS).namespace(0)
        for key, value in counts.items():
            found[key] = list(value)
        backend.end_of_batch()
        pending = backend.snapshot(1)
        handles: list[KeyedStateHandle] = []
        writer = threading.Thread(target=lambda: handles.append(pending.write(checkpoints.streams(1))))
        writer.start()
        for key in counts:  # goes on while it is written
            found = backend.table(WINDOWS).namespace(0)
            found[key].append(-1)
            if key.endswith("7"):
                found.remove(key)
            backend.end_of_batch()
        writer.join()
        pending.release()
        restored = self.open(tmp_path / "b", restored=tuple(handles), reader=checkpoints)
        assert dict(restored.table(WINDOWS).namespace(0).entries()) == counts
        assert dict(backend.table(WINDOWS).namespace(0).entries()) == {
            key: [*value, -1] for key, value in counts.items() if not key.endswith("7")
        }
        backend.close()
        restored.close()

    def test_tables_that_are_not_opened_are_carried_on(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        backend.table(WINDOWS).namespace(5)["x"] = [1]
        first = self.written(backend, 1, checkpoints)
        backend.close()
        backend = self.open(tmp_path / "b", restored=(first,), reader=checkpoints)
        backend.table(WINDOWS).namespace(5)["y"] = [2]
        second = self.written(backend, 2, checkpoints)
        backend.close()
        backend = self.open(tmp_path / "c", restored=(second,), reader=checkpoints)
        assert dict(backend.table(VALUES).namespace(None).entries()) == {"x": 1}
        assert dict(backend.table(WINDOWS).namespace(5).entries()) == {"x": [1], "y": [2]}
        backend.close()

    def test_cleared_it_holds_nothing_and_goes_on(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(WINDOWS).namespace(5)["x"] = [1]
        handle = self.written(backend, 1, checkpoints)
        backend.close()
        backend = self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)
        for n in range(3):
            backend.table(WINDOWS).namespace(5)["y"] = [n]
            backend.table(VALUES).namespace(None)["y"] = n
            backend.table(MAPS).namespace("y")[n] = ("z",)
            if n:
                backend.end_of_batch()
            backend.clear()
            for table, namespace in ((WINDOWS, 5), (VALUES, None), (MAPS, "y")):
                assert list(backend.table(table).namespace(namespace).entries()) == []
        handle = self.written(backend, 2, checkpoints)
        backend.close()
        restored = self.open(tmp_path / "c", restored=(handle,), reader=checkpoints)
        for table, namespace in ((WINDOWS, 5), (VALUES, None), (MAPS, "y")):
            assert list(restored.table(table).namespace(namespace).entries()) == []
        restored.close()

    def test_no_state_makes_no_file(self, tmp_path: Path, checkpoints: LocalCheckpoints) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES)
        handle = self.written(backend, 1, checkpoints)
        assert handle.files == {}
        backend.close()
        restored = self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)
        assert list(restored.table(VALUES).namespace(None).entries()) == []
        restored.close()

    def test_a_changed_value_type_is_refused(self, tmp_path: Path, checkpoints: LocalCheckpoints) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        handle = self.written(backend, 1, checkpoints)
        backend.close()
        backend = self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)
        with pytest.raises(StateError) as caught:
            backend.table(TableDescriptor("values", GENERIC, Types.DOUBLE()))
        assert "'values'" in caught.value.what
        assert "LONG" in caught.value.what
        assert "DOUBLE" in caught.value.what
        assert caught.value.where == "operator 'sum'"
        backend.close()

    def test_two_different_declarations_of_a_name_are_refused(self, tmp_path: Path) -> None:
        backend = self.open(tmp_path / "a")
        assert backend.table(VALUES) is backend.table(VALUES)
        with pytest.raises(StateError, match="declared twice"):
            backend.table(TableDescriptor("values", GENERIC, Types.LONG(), mutable_values=True))
        backend.close()

    def test_a_value_of_another_type_is_an_error_that_names_the_state(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = "not a number"
        with pytest.raises(RecordSerializationError) as caught:
            self.written(backend, 1, checkpoints)
        assert caught.value.where == "operator 'sum', state 'values'"
        assert "'not a number'" in caught.value.what
        backend.close()

    def test_the_state_of_another_backend_is_refused(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        handle = msgspec.structs.replace(self.written(backend, 1, checkpoints), format="other-1")
        backend.close()
        with pytest.raises(StateError, match=r"(?s)other-1.*state\.backend\.type"):
            self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)

    def test_an_altered_file_is_refused(self, tmp_path: Path, checkpoints: LocalCheckpoints) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        handle = self.written(backend, 1, checkpoints)
        backend.close()
        self.damage(handle, checkpoints)
        with pytest.raises(CheckpointError):
            self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)

    def test_closing_leaves_no_local_file(self, tmp_path: Path, checkpoints: LocalCheckpoints) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        handle = self.written(backend, 1, checkpoints)
        pending = backend.snapshot(2)
        pending.write(checkpoints.streams(2))
        backend.close()
        pending.release()
        backend.close()
        assert list((tmp_path / "a").iterdir()) == []
        for groups in ((0, 7), (0, 3)):
            folder = tmp_path / f"restored-{groups[1]}"
            restored = self.open(folder, restored=(handle,), reader=checkpoints, key_groups=groups)
            restored.close()
            assert list(folder.iterdir()) == []

    def test_entries_of_foreign_key_groups_are_a_bug_that_shows(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a", key_groups=(0, 0))
        found = backend.table(WINDOWS).namespace(0)
        for n in range(20):
            found[f"key-{n}"] = [n]
        with pytest.raises(Exception, match=r"key group \d reached the subtask of key groups 0-0"):
            self.written(backend, 1, checkpoints)
        backend.close()
