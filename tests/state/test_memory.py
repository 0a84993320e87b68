"""The bound in bytes on what the RocksDB backends of a worker hold."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millstream.core.types import GENERIC, Row, Types
from millstream.state.backend import BackendContext, TableDescriptor
from millstream.state.memory import WorkerMemory, entry_bytes, worker_memory
from millstream.state.rocksdb import RocksDBBackend

VALUES = TableDescriptor("values", Types.LONG(), GENERIC)
KB, MB = 1 << 10, 1 << 20


def backend_in(folder: Path, memory: WorkerMemory) -> RocksDBBackend:
    folder.mkdir()
    return RocksDBBackend(
        BackendContext("sum", 8, (0, 7), folder, (), None, 100_000, memory=memory)  # type: ignore[arg-type]
    )


@dataclasses.dataclass
class Plain:
    n: int
    name: str


@dataclasses.dataclass(slots=True)
class Slotted:
    n: int
    name: str


class Struct(msgspec.Struct):
    n: int
    name: str


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n + 10**6,
        lambda n: (n + 10**6, f"name {n}"),
        lambda n: [n + 10**6, *map(float, range(n % 100))],
        lambda n: {f"field {i}": i + 0.5 for i in range(n % 20)},
        lambda n: Plain(n + 10**6, f"name {n}"),
        lambda n: Slotted(n + 10**6, f"name {n}"),
        lambda n: Struct(n + 10**6, f"name {n}"),
        lambda n: Row(n=n + 10**6, name=f"name {n}"),
        lambda n: bytes(n % 1000),
    ],
)
def test_what_an_entry_takes_is_estimated_to_a_factor_of_two(make: Callable[[int], Any]) -> None:
    made: dict[str, Any] = {}
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for n in range(5_000):
        made[f"key {n}"] = make(n)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    estimate = sum(entry_bytes(key, value) for key, value in made.items())
    assert (after - before) / 2 < estimate < (after - before) * 2


def held_bytes(backend: RocksDBBackend, size: int) -> int:
    return backend.statistics().entries_in_memory * size


def test_large_values_leave_memory_though_they_are_few(tmp_path: Path) -> None:
    backend = backend_in(tmp_path / "a", WorkerMemory(8 * MB, objects_ratio=0.5))
    table = backend.table(VALUES)
    for start in range(0, 20_000, 100):
        for n in range(start, start + 100):
            table.namespace(None)[n] = bytes(KB)
        backend.end_of_batch()
        assert held_bytes(backend, KB) < 4 * MB
    assert held_bytes(backend, KB) > MB  # it does keep something
    assert all(table.namespace(None).peek(n) == bytes(KB) for n in range(0, 20_000, 997))
    backend.close()


def test_values_that_grow_leave_memory_too(tmp_path: Path) -> None:
    backend = backend_in(tmp_path / "a", WorkerMemory(8 * MB, objects_ratio=0.5))
    table = backend.table(VALUES)
    for _ in range(30):
        for n in range(200):
            entries = table.namespace(None)
            entries[n] = [*(entries[n] or []), *map(float, range(100))]
        backend.end_of_batch()
    lists = backend.statistics().entries_in_memory
    assert lists * 30 * 100 * 32 < 8 * MB  # a float takes 24 bytes, its reference 8
    assert len(table.namespace(None)[7] or []) == 3_000
    backend.close()


def test_backends_of_a_worker_share_objects_and_native_memory(tmp_path: Path) -> None:
    memory = WorkerMemory(12 * MB, objects_ratio=0.5, write_buffer_ratio=0.5)
    backends = [backend_in(tmp_path / name, memory) for name in "abc"]
    assert memory.objects_bytes == 2 * MB
    tables = [backend.table(VALUES) for backend in backends]
    for start in range(0, 15_000, 100):
        for backend, table in zip(backends, tables, strict=True):
            table.namespace(None).update({n: bytes(KB) for n in range(start, start + 100)})
            backend.end_of_batch()
    assert sum(held_bytes(backend, KB) for backend in backends) < 6 * MB
    cache, write_buffers = memory.native()
    assert write_buffers.get_usage() < 2 * memory.write_buffer_bytes
    assert all(table.namespace(None).peek(n) == bytes(KB) for n in range(0, 15_000, 7) for table in tables)
    assert cache.get_usage() < 1.5 * memory.native_bytes
    for backend in backends[:2]:
        backend.close()
        backend.close()
    assert memory.objects_bytes == 6 * MB
    backends[2].close()


def test_attempts_of_one_process_have_one_memory() -> None:
    first = worker_memory(MB, 0.5, 0.5)
    assert worker_memory(MB, 0.5, 0.5) is first
    assert worker_memory(MB, 0.5, 0.4) is not first
