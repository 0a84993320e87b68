"""Canonical savepoints of state in a database: taken there and restored on RocksDB, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from millstream.core.errors import StateError
from millstream.dev.server import Server
from millstream.state.backend import StateStore
from millstream.state.backends import BackendType
from tests.services.availability import unique_name
from tests.state.backend_suite import TABLES, World, bursts, contents, not_empty
from tests.state.test_savepoints import (
    CANONICAL,
    NATIVE,
    change,
    fill,
    open_all,
    parallelisms,
    take_checkpoint,
    take_savepoint,
)


@pytest.fixture(params=["postgresql", "redis"])
def database(request: pytest.FixtureRequest) -> tuple[BackendType, StateStore]:
    fixture = {"postgresql": "postgresql", "redis": "redis_server"}[request.param]
    server: Server = request.getfixturevalue(fixture)
    return request.param, StateStore(server.url, "millstream_tests")


def move(world: World, kind: BackendType, store: StateStore | None) -> None:
    """What is opened next is another job, which starts from what the last one has left."""
    world.kind, world.store, world.job_id = kind, store, unique_name("job")


def test_a_canonical_savepoint_moves_into_the_database_and_out_again(
    database: tuple[BackendType, StateStore],
) -> None:
    kind, store = database

    @settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
    @given(parallelisms, parallelisms, bursts, bursts, bursts)
    def run(before: int, after: int, first: list[Any], meanwhile: list[Any], then: list[Any]) -> None:
        world = World("rocksdb", cache_entries=5)
        try:
            world.open(before)
            open_all(world)
            change(world, first)
            take_savepoint(world, CANONICAL, meanwhile)
            world.stop()

            move(world, kind, store)
            world.open(after)
            take_checkpoint(world)  # of tables that nobody has opened so far
            world.stop()
            world.open(after)
            for name in TABLES:
                assert contents(world.backends, name) == not_empty(world.model[name])
            change(world, then)
            take_checkpoint(world)
            change(world, meanwhile)
            world.end_of_batch()
            take_savepoint(world, CANONICAL, then)
            take_checkpoint_after(world)
            world.stop()

            move(world, "rocksdb", None)
            world.check_restore(before)
        finally:
            world.close()

    run()


def take_checkpoint_after(world: World) -> None:
    """The job goes on from a savepoint, which stays what is restored."""
    savepoint = world.completed
    take_checkpoint(world)
    world.completed = savepoint


def test_a_native_savepoint_is_refused_with_the_way_out(database: tuple[BackendType, StateStore]) -> None:
    kind, store = database
    world = World(kind, 5, store)
    try:
        world.open(1)
        fill(world, 1)
        with pytest.raises(StateError, match="in a database") as caught:
            take_savepoint(world, NATIVE, [])
        assert "CANONICAL" in (caught.value.fix or "")
    finally:
        world.close()
