from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.types import Types
from millstream.state.backend import KeyedStateBackend
from millstream.state.backends import create_backend
from millstream.state.window_timers import WindowTimers
from tests.state.backend_suite import context_in
from tests.state.local_checkpoints import LocalCheckpoints

WINDOWS = Types.TUPLE([Types.BIG_INT(), Types.BIG_INT()])
FIRST, SECOND = (0, 10), (10, 20)


@pytest.fixture(params=["hashmap", "rocksdb"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def backend(kind: Any, tmp_path: Path) -> Iterator[KeyedStateBackend]:
    backend = create_backend(kind, context_in(tmp_path / "a"))
    yield backend
    backend.close()


def timers_on(backend: KeyedStateBackend) -> WindowTimers:
    return WindowTimers(backend, "window-event-timers", Types.STRING(), WINDOWS)


def test_timers_fire_in_order_of_time_and_once_per_key_window_and_time(backend) -> None:
    timers = timers_on(backend)
    for key, window, time in [
        ("a", FIRST, 30),
        ("b", FIRST, 10),
        ("a", FIRST, 10),
        ("a", SECOND, 10),
        ("a", FIRST, 10),
        ("b", SECOND, 20),
    ]:
        timers.register(key, window, time)
    assert timers.next_due_ms() == 10
    fired = list(timers.pop_due(29))
    assert [time for time, _, _ in fired] == [10, 10, 10, 20]
    assert set(fired) == {(10, "a", FIRST), (10, "a", SECOND), (10, "b", FIRST), (20, "b", SECOND)}
    assert list(timers.pop_due(30)) == [(30, "a", FIRST)]
    assert timers.next_due_ms() is None


def test_timers_registered_while_firing_come_in_their_place(backend) -> None:
    timers = timers_on(backend)
    for time in (10, 20, 30):
        timers.register("a", FIRST, time)
    fired = []
    for time, key, window in timers.pop_due(30):
        fired.append((time, key, window))
        if (time, key) == (10, "a"):
            timers.register("b", FIRST, 25)
        if (time, window) == (20, FIRST):
            timers.register("a", SECOND, 5)
            timers.register("a", SECOND, 20)
    assert [(time, key) for time, key, _ in fired] == [
        (10, "a"), (20, "a"), (5, "a"), (20, "a"), (25, "b"), (30, "a"),
    ]  # fmt: skip


def test_a_timer_may_delete_all_others_of_its_time(backend) -> None:
    timers = timers_on(backend)
    for window in (FIRST, SECOND):
        for key in "abc":
            timers.register(key, window, 10)
    fired = []
    for time, key, window in timers.pop_due(100):
        fired.append((time, key, window))
        for other in "abc":
            timers.delete(other, FIRST, 10)
            timers.delete(other, SECOND, 10)
        if len(fired) == 1:
            assert timers.next_due_ms() is None
            timers.register("d", FIRST, 50)
    assert len(fired) == 2
    assert fired[1] == (50, "d", FIRST)
    timers.delete("a", FIRST, 10)  # there is none any more


def test_timers_are_part_of_snapshots(kind, tmp_path) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")
    backend = create_backend(kind, context_in(tmp_path / "a"))
    timers = timers_on(backend)
    timers.register("a", FIRST, 10)
    timers.register("a", SECOND, 10)
    timers.register("b", FIRST, 5)
    pending = backend.snapshot(1)
    handle = pending.write(checkpoints.streams(1))
    pending.release()
    timers.delete("a", SECOND, 10)
    assert list(timers.pop_due(100)) == [(5, "b", FIRST), (10, "a", FIRST)]
    backend.close()
    restored = create_backend(kind, context_in(tmp_path / "b", restored=(handle,), reader=checkpoints))
    assert sorted(timers_on(restored).pop_due(100)) == [
        (5, "b", FIRST), (10, "a", FIRST), (10, "a", SECOND),
    ]  # fmt: skip
    restored.close()


actions = st.one_of(
    st.tuples(
        st.sampled_from(["register", "delete"]),
        st.sampled_from("ab"),
        st.sampled_from([FIRST, SECOND]),
        st.integers(0, 9),
    ),
    st.integers(0, 10),  # time advances
)


@pytest.mark.parametrize(("name", "examples"), [("hashmap", 100), ("rocksdb", 10)])
def test_timers_are_a_sorted_set(name, examples) -> None:
    @settings(max_examples=examples)
    @given(st.lists(actions, max_size=40))
    def run(program) -> None:
        check(name, program)

    run()


def check(name: Any, program: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        backend = create_backend(name, context_in(Path(folder) / "a"))
        timers, model = timers_on(backend), set()
        for step in program:
            if isinstance(step, int):
                due = {timer for timer in model if timer[0] <= step}
                fired = list(timers.pop_due(step))
                assert [time for time, _, _ in fired] == sorted(time for time, _, _ in due)
                assert set(fired) == due
                model -= due
            else:
                action, key, window, time = step
                getattr(timers, action)(key, window, time)
                (model.add if action == "register" else model.discard)((time, key, window))
            backend.end_of_batch()
        assert timers.next_due_ms() == min((time for time, _, _ in model), default=None)
        backend.close()
