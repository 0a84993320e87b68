from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.types import GENERIC, Types
from millstream.state.backend import BackendContext, TableDescriptor
from millstream.state.backends import create_backend
from millstream.state.entry_keys import KeyLayout, namespace_slice, successor
from millstream.state.handles import KeyedStateHandle
from tests.state.backend_suite import VALUES, WINDOWS, StateBackendSuite, context_in
from tests.state.local_checkpoints import LocalCheckpoints


class TestRocksDB(StateBackendSuite):
    kind = "rocksdb"

    def test_a_second_snapshot_refers_to_the_files_of_the_first(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        found = backend.table(WINDOWS).namespace(0)
        for n in range(1000):
            found[f"key-{n}"] = [n]
        first = self.written(backend, 1, checkpoints)
        backend.notify_checkpoint_complete(1)
        backend.table(WINDOWS).namespace(0)["new"] = [1]
        uploads = checkpoints.uploads
        second = self.written(backend, 2, checkpoints)
        assert checkpoints.uploads == uploads + 1
        shared = {name: ref for name, ref in first.files.items() if ref.shared}
        assert shared
        assert shared.items() < second.files.items()
        backend.close()

    def test_a_restored_backend_refers_to_the_files_it_came_from(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        first = self.written(backend, 1, checkpoints)
        backend.close()
        uploads = checkpoints.uploads
        backend = self.open(tmp_path / "b", restored=(first,), reader=checkpoints)
        backend.table(VALUES)
        second = self.written(backend, 2, checkpoints)
        backend.close()
        assert checkpoints.uploads == uploads
        assert {ref for ref in second.files.values() if ref.shared} == {
            ref for ref in first.files.values() if ref.shared
        }
        backend = self.open(tmp_path / "c", restored=(second,), reader=checkpoints, key_groups=(0, 3))
        self.written(backend, 3, checkpoints)
        backend.close()
        assert checkpoints.uploads <= uploads + 1, "entries that were copied are new files"

    def test_files_of_another_job_are_not_referred_to(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        handle = self.written(backend, 1, checkpoints)
        backend.close()
        elsewhere = {
            name: msgspec.structs.replace(ref, path=str(checkpoints.folder / ref.path))
            for name, ref in handle.files.items()
        }
        foreign = msgspec.structs.replace(handle, files=elsewhere)
        backend = self.open(tmp_path / "b", restored=(foreign,), reader=checkpoints)
        second = self.written(backend, 2, checkpoints)
        backend.close()
        assert not {ref.path for ref in second.files.values()} & {ref.path for ref in elsewhere.values()}
        assert checkpoints.uploads == 2

    def test_files_of_an_aborted_checkpoint_are_uploaded_again(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        self.written(backend, 1, checkpoints)
        self.written(backend, 2, checkpoints)
        assert checkpoints.uploads == 2
        backend.close()

    def test_a_fresh_window_reads_and_writes_nothing_on_disk(self, tmp_path: Path) -> None:
        backend = self.open(tmp_path / "a")
        table = backend.table(WINDOWS)
        for start in range(20):
            for n in range(50):
                table.namespace(start)[f"key-{n}"] = [n]
                assert table.namespace(start)["other"] is None
            backend.end_of_batch()
            table.drop(start)
            backend.end_of_batch()
        statistics = backend.statistics()
        assert (statistics.loads, statistics.flushed, statistics.bytes_on_disk) == (0, 0, 0)
        assert not (tmp_path / "a" / "db").exists()
        backend.close()

    def test_few_entries_are_read_once_when_all_of_a_namespace_are_looked_at_again_and_again(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        for n in range(50):
            backend.table(WINDOWS).namespace(5)[f"key-{n}"] = [n]
        handle = self.written(backend, 1, checkpoints)
        backend.close()
        backend = self.open(tmp_path / "b", restored=(handle,), reader=checkpoints, cache_entries=100)
        table = backend.table(WINDOWS)
        expected = {f"key-{n}": [n] for n in range(50)}
        for n in range(50, 53):
            table.namespace(5)[f"key-{n}"] = expected[f"key-{n}"] = [n]
            assert dict(table.namespace(5).entries()) == expected
            assert table.namespace(5)["none"] is None
            backend.end_of_batch()
        assert backend.statistics().loads == 50
        assert backend.statistics().entries_in_memory == 53, "they count"
        for start in range(200):
            table.namespace(start)["other"] = [start]
            backend.end_of_batch()
        assert dict(table.namespace(5).entries()) == expected | {"other": [5]}, (
            "some were forgotten meanwhile"
        )
        assert backend.statistics().loads > 50
        backend.close()

    def test_memory_stays_within_the_bound(self, tmp_path: Path) -> None:
        backend = self.open(tmp_path / "a", cache_entries=100)
        for n in range(1000):
            backend.table(VALUES).namespace(None)[f"key-{n}"] = n
            backend.end_of_batch()
            assert backend.statistics().entries_in_memory <= 100
        assert [backend.table(VALUES).namespace(None)[f"key-{n}"] for n in range(1000)] == list(range(1000))
        backend.end_of_batch()
        assert backend.statistics().entries_in_memory <= 100
        backend.close()

    def test_what_pends_at_a_barrier_is_bounded(self, tmp_path: Path) -> None:
        backend = self.open(tmp_path / "a", cache_entries=100)
        for n in range(95):
            backend.table(VALUES).namespace(None)[f"key-{n}"] = n
        backend.end_of_batch()
        flushed = backend.statistics().flushed
        assert flushed >= 45
        assert backend.statistics().entries_in_memory == 95, "written, and still cached"
        backend.close()

    def test_writing_waits_for_the_links_of_a_pending_snapshot(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a", cache_entries=10)
        for n in range(8):
            backend.table(VALUES).namespace(None)[n] = n
        pending = backend.snapshot(1)
        flushed = backend.statistics().flushed
        for n in range(100, 112):
            backend.table(VALUES).namespace(None)[n] = n
            backend.end_of_batch()
        assert backend.statistics().flushed == flushed
        for n in range(200, 230):  # until memory becomes too full: then the loop makes the links itself
            backend.table(VALUES).namespace(None)[n] = n
            backend.end_of_batch()
            assert backend.statistics().entries_in_memory <= 20
        assert backend.statistics().flushed > flushed
        handle = pending.write(checkpoints.streams(1))
        pending.release()
        restored = self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)
        assert dict(restored.table(VALUES).namespace(None).entries()) == {n: n for n in range(8)}
        restored.close()
        backend.close()

    def test_dropping_a_window_on_disk_deletes_it_there(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a", cache_entries=10)
        table = backend.table(WINDOWS)
        for start in range(-2, 2):
            for n in range(500):
                table.namespace(start)[f"key-{n}"] = [n]
            backend.end_of_batch()
        assert sorted(table.namespaces()) == [-2, -1, 0, 1]
        table.drop(-1)
        table.drop(1)
        assert sorted(table.namespaces()) == [-2, 0]
        table.namespace(1)["again"] = [1]
        handle = self.written(backend, 1, checkpoints)
        backend.close()
        restored = self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)
        assert sorted(restored.table(WINDOWS).namespaces()) == [-2, 0, 1]
        assert dict(restored.table(WINDOWS).namespace(1).entries()) == {"again": [1]}
        restored.close()

    def test_a_snapshot_of_a_closed_backend_fails_by_name(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)["x"] = 1
        pending = backend.snapshot(1)
        backend.close()
        with pytest.raises(Exception, match="closed before its files were written"):
            pending.write(checkpoints.streams(1))
        pending.release()


def layout_of(tmp_path: Path, namespace_type: object) -> KeyLayout:
    context = BackendContext("sum", 8, (0, 7), tmp_path, (), None, 10)  # type: ignore[arg-type]
    return KeyLayout(context, TableDescriptor("t", Types.STRING(), Types.LONG(), namespace_type), 3)  # type: ignore[arg-type]


NAMESPACES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.text(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.tuples(st.integers()),
)


@given(one=NAMESPACES, other=NAMESPACES)
def test_namespaces_are_one_on_disk_where_they_are_equal(one: object, other: object) -> None:
    layout = layout_of(Path(), GENERIC)
    first, second = layout.namespace_part(one), layout.namespace_part(other)
    assert (first == second) == (one == other)
    assert first == second or not second.startswith(first)
    assert layout.namespace_of(first) == one
    assert namespace_slice(b"\0\1\0\2" + first + b"key") == first


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_timestamps_sort_on_disk_as_in_time(numbers: list[int]) -> None:
    layout = layout_of(Path(), Types.LONG())
    assert sorted(numbers, key=layout.namespace_part) == sorted(numbers)


@given(st.binary(min_size=1), st.binary())
def test_the_successor_comes_after_all_that_begin_alike(prefix: bytes, rest: bytes) -> None:
    if prefix.strip(b"\xff"):
        assert prefix + rest < successor(prefix)
        assert successor(prefix)[:-1] <= prefix


def contents_of(backend: Any) -> dict[Any, Any]:
    return dict(backend.table(WINDOWS).namespace(5).entries())


def restored_contents(
    folder: Path, handle: KeyedStateHandle, checkpoints: LocalCheckpoints
) -> dict[Any, Any]:
    backend = create_backend("rocksdb", context_in(folder, restored=(handle,), reader=checkpoints))
    found = contents_of(backend)
    backend.close()
    return found


@pytest.mark.parametrize("ends", ["written", "aborted"])
def test_what_happens_between_the_barrier_and_the_writing_is_not_in_the_snapshot(
    tmp_path: Path, ends: str
) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    backend: Any = create_backend("rocksdb", context_in(tmp_path / "a"))
    backend.table(WINDOWS).namespace(5).update({f"k{n}": [n] for n in range(50)})
    backend.table(WINDOWS).namespace(6)["gone"] = [0]
    first = backend.snapshot(1)
    first.write(checkpoints.streams(1))
    first.release()
    backend.table(WINDOWS).namespace(5).update({f"k{n}": [n, n] for n in range(30)})
    backend.table(WINDOWS).namespace(5).remove("k49")
    backend.end_of_batch()
    flushed = backend.statistics().flushed
    second = backend.snapshot(2)
    assert backend.statistics().flushed == flushed  # nothing is written at the barrier
    entries = backend.table(WINDOWS).namespace(5)
    entries["k0"].append(-1)  # frozen: changed in place
    entries["k1"] = [-1]
    entries.remove("k2")
    entries["k49"] = [-1]  # was removed
    backend.table(WINDOWS).drop(6)
    backend.end_of_batch()
    at_barrier = {f"k{n}": [n, n] if n < 30 else [n] for n in range(49)}
    now = at_barrier | {"k0": [0, 0, -1], "k1": [-1], "k49": [-1]}
    del now["k2"]
    assert contents_of(backend) == now
    if ends == "written":
        handle = second.write(checkpoints.streams(2))
        assert restored_contents(tmp_path / "b", handle, checkpoints) == at_barrier
    second.release()
    assert contents_of(backend) == now
    third = backend.snapshot(3)
    handle = third.write(checkpoints.streams(3))
    third.release()
    assert restored_contents(tmp_path / "c", handle, checkpoints) == now
    assert list(backend.table(WINDOWS).namespaces()) == [5]
    backend.close()


def test_a_window_that_is_dropped_while_it_is_written_is_gone(tmp_path: Path) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    backend: Any = create_backend("rocksdb", context_in(tmp_path / "a"))
    backend.table(WINDOWS).namespace(5).update({f"k{n}": [n] for n in range(200)})
    pending = backend.snapshot(1)
    backend.table(WINDOWS).drop(5)
    backend.table(WINDOWS).namespace(5)["again"] = [1]
    handle = pending.write(checkpoints.streams(1))
    assert len(restored_contents(tmp_path / "b", handle, checkpoints)) == 200
    pending.release()
    assert contents_of(backend) == {"again": [1]}
    pending = backend.snapshot(2)
    handle = pending.write(checkpoints.streams(2))
    pending.release()
    assert restored_contents(tmp_path / "c", handle, checkpoints) == {"again": [1]}
    backend.close()
