from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.types import Types
from millstream.state.backend import KeyedStateBackend
from millstream.state.backends import create_backend
from millstream.state.timers import KeyedTimers
from tests.state.backend_suite import context_in
from tests.state.local_checkpoints import LocalCheckpoints


@pytest.fixture(params=["hashmap", "rocksdb"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def backend(kind: Any, tmp_path: Path) -> Iterator[KeyedStateBackend]:
    backend = create_backend(kind, context_in(tmp_path / "a"))
    yield backend
    backend.close()


def timers_on(backend: KeyedStateBackend) -> KeyedTimers:
    return KeyedTimers(backend, "event-timers", Types.STRING())


def test_timers_fire_in_order_of_time_and_once_per_key_and_time(backend: KeyedStateBackend) -> None:
    timers = timers_on(backend)
    for key, time in [("a", 30), ("b", 10), ("a", 10), ("a", 30), ("b", 20), ("a", 10)]:
        timers.register(key, time)
    assert timers.count() == 4
    assert timers.next_due_ms() == 10
    fired = list(timers.pop_due(29))
    assert [time for time, _ in fired] == [10, 10, 20]
    assert set(fired) == {(10, "a"), (10, "b"), (20, "b")}
    assert timers.next_due_ms() == 30
    assert list(timers.pop_due(30)) == [(30, "a")]
    assert timers.next_due_ms() is None
    assert timers.count() == 0


def test_timers_registered_while_firing_come_in_their_place(backend: KeyedStateBackend) -> None:
    timers = timers_on(backend)
    for time in (10, 20, 30):
        timers.register("a", time)
    fired = []
    for time, key in timers.pop_due(30):
        fired.append((time, key))
        if (time, key) == (10, "a"):
            timers.register("b", 25)
        if (time, key) == (20, "a"):
            timers.register("c", 5)  # for a time already passed
            timers.register("b", 20)
    assert fired == [(10, "a"), (20, "a"), (5, "c"), (20, "b"), (25, "b"), (30, "a")]


def test_a_timer_may_delete_others_and_register_itself_again(backend: KeyedStateBackend) -> None:
    timers = timers_on(backend)
    for key in "abc":
        timers.register(key, 10)
    timers.register("d", 20)
    fired = []
    for time, key in timers.pop_due(100):
        fired.append((time, key))
        if len(fired) == 1:
            for other in set("abcd") - {key}:
                timers.delete(other, 10)
                timers.delete(other, 20)
            timers.register(key, 10)
    assert fired == [fired[0]] * 2
    assert timers.count() == 0


def test_deleting_a_missing_timer_does_nothing(backend: KeyedStateBackend) -> None:
    timers = timers_on(backend)
    timers.delete("a", 10)
    timers.register("a", 10)
    timers.delete("b", 10)
    timers.delete("a", 11)
    assert timers.count() == 1
    timers.delete("a", 10)
    timers.delete("a", 10)
    assert timers.next_due_ms() is None
    timers.register("a", 10)
    assert list(timers.pop_due(10)) == [(10, "a")]


def test_timers_survive_a_restore_at_another_parallelism(kind: Any, tmp_path: Path) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    backend = create_backend(kind, context_in(tmp_path / "b"))
    timers = timers_on(backend)
    for n in range(100):
        timers.register(f"key-{n}", n // 2)
    list(timers.pop_due(9))
    pending = backend.snapshot(1)
    handle = pending.write(checkpoints.streams(1))
    pending.release()
    backend.close()
    fired: list[tuple[int, str]] = []
    for index, groups in enumerate([(0, 2), (3, 7)]):
        context = context_in(
            tmp_path / f"c-{index}", restored=(handle,), reader=checkpoints, key_groups=groups
        )
        restored = create_backend(kind, context)
        timers = timers_on(restored)
        assert timers.next_due_ms() == 10
        count = timers.count()
        part = list(timers.pop_due(1000))
        assert part == sorted(part, key=lambda timer: timer[0])
        assert count == len(part)
        assert list(restored.table(timers._table.descriptor).namespaces()) == []
        fired += part
        restored.close()
    assert sorted(fired) == sorted((n // 2, f"key-{n}") for n in range(20, 100))


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["register", "delete", "pop", "batch"]), st.sampled_from("ab"), st.integers(0, 5)
    )
)


@given(operations=OPERATIONS)
def test_timers_agree_with_a_sorted_set(
    operations: list[tuple[str, str, int]], tmp_path_factory: Any
) -> None:
    backend = create_backend("hashmap", context_in(tmp_path_factory.mktemp("timers") / "a"))
    timers, model = timers_on(backend), set[tuple[int, str]]()
    for operation, key, time in operations:
        match operation:
            case "register":
                timers.register(key, time)
                model.add((time, key))
            case "delete":
                timers.delete(key, time)
                model.discard((time, key))
            case "pop":
                due = {timer for timer in model if timer[0] <= time}
                fired = list(timers.pop_due(time))
                assert [t for t, _ in fired] == sorted(t for t, _ in due)
                assert set(fired) == due
                model -= due
            case "batch":
                backend.end_of_batch()
        assert timers.count() == len(model)
        assert timers.next_due_ms() == min((t for t, _ in model), default=None)
