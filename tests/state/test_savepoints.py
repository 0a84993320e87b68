"""Keyed state in savepoints: what either backend writes in the canonical format the other one restores, whatever happened before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.core.errors import StateError
from millstream.core.savepoints import SavepointFormatType
from millstream.core.types import Types
from millstream.state.backend import TableDescriptor
from millstream.state.backends import BackendType, create_backend
from tests.state.backend_suite import (
    TABLES,
    VALUES,
    World,
    apply,
    bursts,
    contents,
    context_in,
    few,
    not_empty,
)
from tests.state.local_checkpoints import LocalCheckpoints

CANONICAL, NATIVE = SavepointFormatType.CANONICAL, SavepointFormatType.NATIVE
KINDS: tuple[BackendType, ...] = ("hashmap", "rocksdb")
kinds = st.sampled_from(KINDS)
parallelisms = st.integers(1, 3)


def change(world: World, burst: list[Any]) -> None:
    for operation in burst:
        apply(world, *operation)


def open_all(world: World) -> None:
    """As the operators of a program do in `open`."""
    for backend in world.backends:
        for descriptor in TABLES.values():
            backend.table(descriptor)


def fill(world: World, seed: int) -> None:
    for name in TABLES:
        for n in range(9):
            apply(world, "put", name, n // 3, n % 3, seed + n)


def take_savepoint(world: World, kind: SavepointFormatType, meanwhile: list[Any]) -> None:
    """The barrier, then changes, then the writing: the job goes on."""
    world.snapshot()
    change(world, meanwhile)
    streams = world.checkpoints.streams(world.last_id)
    uploads = world.checkpoints.uploads
    handles = [pending.write_savepoint(streams, kind) for pending in world.pending]
    if kind is CANONICAL:
        assert {handle.format for handle in handles} == {"heap-1"}
        assert world.checkpoints.uploads == uploads
    world.release()
    world.completed = (handles, world.pending_model)


def take_checkpoint(world: World) -> None:
    world.snapshot()
    world.write()
    world.complete(notify=True)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds, kinds, parallelisms, parallelisms, bursts, bursts, bursts, st.booleans())
def test_a_canonical_savepoint_moves_between_backends_and_parallelisms(
    kind: BackendType,
    other: BackendType,
    before: int,
    after: int,
    first: list[Any],
    meanwhile: list[Any],
    then: list[Any],
    opened: bool,
) -> None:
    world = World(kind, cache_entries=5)
    try:
        world.open(before)
        open_all(world)
        change(world, first)
        take_savepoint(world, CANONICAL, meanwhile)
        change(world, then)  # what the job does afterwards is not in the savepoint
        world.stop()

        world.kind = other
        world.open(after)
        if opened:
            for name in TABLES:
                assert contents(world.backends, name) == not_empty(world.model[name])
        take_checkpoint(world)  # also of tables that nobody has opened so far
        world.check_restore(before)
        change(world, then)
        world.end_of_batch()
        open_all(world)
        take_savepoint(world, CANONICAL, meanwhile)
        world.kind = kind
        world.check_restore(after)
    finally:
        world.close()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds, parallelisms, parallelisms, bursts, bursts, few)
def test_a_native_savepoint_stands_on_its_own(
    kind: BackendType, before: int, after: int, first: list[Any], then: list[Any], seed: int
) -> None:
    world = World(kind, cache_entries=5)
    try:
        world.open(before)
        open_all(world)
        fill(world, seed)
        change(world, first)
        take_checkpoint(world)
        change(world, then)
        checkpoints, world.checkpoints = world.checkpoints, LocalCheckpoints(world.folder / "savepoint")
        take_savepoint(world, NATIVE, [])
        savepoint, savepoint_of = world.checkpoints, world.completed
        world.checkpoints = checkpoints
        change(world, first)
        take_checkpoint(world)  # goes on incrementally, as if there had been no savepoint
        world.check_restore(after)

        shutil.rmtree(checkpoints.folder)
        world.checkpoints, world.completed = savepoint, savepoint_of
        world.check_restore(after)
    finally:
        world.close()


def test_a_native_savepoint_of_another_backend_is_refused_with_the_way_out(tmp_path: Path) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    rocksdb = create_backend("rocksdb", context_in(tmp_path / "one"))
    rocksdb.table(VALUES).namespace(None)["x"] = 1
    handle = rocksdb.snapshot(1).write_savepoint(checkpoints.streams(1), NATIVE)  # type: ignore[attr-defined]
    rocksdb.close()
    with pytest.raises(StateError) as refused:
        create_backend("hashmap", context_in(tmp_path / "two", restored=(handle,), reader=checkpoints))
    assert "rocksdb-1" in refused.value.what
    assert "canonical savepoint" in str(refused.value.fix)


def test_state_that_the_program_no_longer_has_is_not_left_out_of_a_canonical_savepoint(
    tmp_path: Path,
) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    first = create_backend("rocksdb", context_in(tmp_path / "one"))
    first.table(VALUES).namespace(None)["x"] = 1
    handle = first.snapshot(1).write(checkpoints.streams(1))
    first.close()
    second = create_backend("rocksdb", context_in(tmp_path / "two", restored=(handle,), reader=checkpoints))
    pending = second.snapshot(2)
    with pytest.raises(StateError, match="'values' was restored and the program does not use it"):
        pending.write_savepoint(checkpoints.streams(2), CANONICAL)  # type: ignore[attr-defined]
    pending.release()
    second.close()


def test_a_namespace_larger_than_a_block_is_converted_whole(tmp_path: Path) -> None:
    numbers = TableDescriptor("numbers", Types.LONG(), Types.LONG())
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    first = create_backend("rocksdb", context_in(tmp_path / "one", cache_entries=1_000))
    found = first.table(numbers).namespace(None)
    for n in range(100_000):
        found[n] = -n
    handle = first.snapshot(1).write_savepoint(checkpoints.streams(1), CANONICAL)  # type: ignore[attr-defined]
    first.close()
    for kind in KINDS:
        context = context_in(tmp_path / kind, restored=(handle,), reader=checkpoints, cache_entries=1_000)
        backend = create_backend(kind, context)
        restored = backend.table(numbers).namespace(None)
        assert dict(restored.entries()) == {n: -n for n in range(100_000)}
        if kind == "rocksdb":
            backend.end_of_batch()
            assert backend.statistics().entries_in_memory <= 1_000, "restoring filled the memory"
        backend.close()
