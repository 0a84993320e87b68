from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from millstream import Row, StateTtlConfig
from millstream.core.errors import JobDefinitionError, StateError
from millstream.core.time import Duration, Time
from millstream.core.types import Types
from millstream.operators.operator_state import OperatorStateStore
from millstream.state.backend import StateStore
from millstream.state.descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.state.namespaced import NamespaceContext, NamespacedStateStore
from tests.state.ttl_operator import TTL, Operator, with_ttl


@pytest.fixture(params=["hashmap", "rocksdb", "postgresql", "redis"])
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operator]:
    servers = {"postgresql": "postgresql", "redis": "redis_server"}
    server = servers.get(request.param)
    store = None if server is None else StateStore(request.getfixturevalue(server).url, "millstream_tests")
    operator = Operator(request.param, tmp_path, store)
    yield operator
    operator.backend.close()


class Mean:
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: int, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def get_result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]

    def merge(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return a[0] + b[0], a[1] + b[1]


def test_a_value_expires_to_the_millisecond_and_reading_it_then_removes_it(operator: Operator) -> None:
    descriptor = with_ttl(ValueStateDescriptor("v", int))
    state = operator.store.get_state(descriptor)
    state.update(7)
    operator.clock.advance(TTL - 1)
    assert state.value() == 7
    operator.restore()
    state = operator.store.get_state(descriptor)
    assert state.value() == 7
    operator.clock.advance(1)
    assert operator.entries(descriptor) == 1
    assert state.value() is None
    assert operator.entries(descriptor) == 0


def test_writing_prolongs_and_reading_does_only_when_asked_to(operator: Operator) -> None:
    written = operator.store.get_state(with_ttl(ValueStateDescriptor("w", int)))
    on_read = StateTtlConfig.new_builder(TTL).update_ttl_on_read_and_write()
    read = operator.store.get_state(with_ttl(ValueStateDescriptor("r", list[int]), on_read))
    elements = operator.store.get_list_state(with_ttl(ListStateDescriptor("l", int), on_read))
    entries = operator.store.get_map_state(with_ttl(MapStateDescriptor("m", str, int), on_read))
    written.update(1)
    read.update([1])
    elements.add(1)
    entries.put("a", 1)
    for _ in range(4):
        operator.clock.advance(TTL - 1)
        assert read.value() == [1]
        assert elements.get() == [1]
        assert entries.contains("a")
        written.update(1)
    operator.clock.advance(TTL - 1)
    assert (written.value(), read.value()) == (1, [1])
    operator.clock.advance(TTL - 1)
    assert (written.value(), read.value()) == (None, [1])


def test_what_has_expired_may_be_read_once_where_that_is_asked_for(operator: Operator) -> None:
    visible = StateTtlConfig.new_builder(TTL).return_expired_if_not_cleaned_up()
    visible.disable_cleanup_in_background()
    value = operator.store.get_state(with_ttl(ValueStateDescriptor("v", int), visible))
    total = operator.store.get_reducing_state(
        with_ttl(ReducingStateDescriptor("s", int.__add__, int), visible)
    )
    entries = operator.store.get_map_state(with_ttl(MapStateDescriptor("m", str, int), visible))
    value.update(1)
    total.add(1)
    entries.put("a", 1)
    operator.clock.advance(TTL)
    assert [value.value(), value.value()] == [1, None]
    total.add(2)
    assert total.get() == 3
    assert [entries.is_empty(), list(entries.items()), entries.is_empty()] == [False, [("a", 1)], True]


def test_elements_of_a_list_expire_one_by_one(operator: Operator) -> None:
    descriptor = with_ttl(ListStateDescriptor("l", int))
    state = operator.store.get_list_state(descriptor)
    state.add_all([1, 2])
    operator.clock.advance(60)
    state.add(3)
    operator.restore()
    state = operator.store.get_list_state(descriptor)
    assert state.get() == [1, 2, 3]
    operator.clock.advance(40)
    assert state.get() == list(state) == [3]
    state.update([4, 5])
    operator.clock.advance(60)
    assert state.get() == [4, 5]
    operator.clock.advance(40)
    assert state.get() == []
    assert operator.entries(descriptor) == 0
    with pytest.raises(StateError, match="None was added"):
        state.add(None)


def test_a_list_that_shows_what_has_expired_shows_it_until_all_has(operator: Operator) -> None:
    visible = StateTtlConfig.new_builder(TTL).return_expired_if_not_cleaned_up()
    visible.disable_cleanup_in_background()
    state = operator.store.get_list_state(with_ttl(ListStateDescriptor("l", int), visible))
    state.add(1)
    operator.clock.advance(60)
    state.add(2)
    operator.clock.advance(40)
    assert [state.get(), state.get()] == [[1, 2], [1, 2]]
    operator.clock.advance(60)
    assert [state.get(), state.get()] == [[1, 2], []]


def test_entries_of_a_map_expire_one_by_one(operator: Operator) -> None:
    descriptor = with_ttl(MapStateDescriptor("m", str, None))
    state = operator.store.get_map_state(descriptor)
    state.put_all({"a": None, "b": [1]})
    operator.clock.advance(60)
    state.put("c", 3)
    operator.restore()
    state = operator.store.get_map_state(descriptor)
    assert dict(state.items()) == {"a": None, "b": [1], "c": 3}
    operator.clock.advance(40)
    assert not state.contains("a")
    assert state.get("b") is None
    assert list(state.keys()) == list(state) == ["c"]
    assert list(state.values()) == [3]
    state.put("c", 4)
    operator.clock.advance(TTL)
    assert state.is_empty()
    assert list(state.items()) == []
    assert operator.entries(descriptor) == 0


def test_reducing_and_aggregating_state_begin_anew_once_expired(operator: Operator) -> None:
    largest = with_ttl(ReducingStateDescriptor("max", max, int))
    mean = with_ttl(AggregatingStateDescriptor("mean", Mean()))
    reducing, aggregating = (
        operator.store.get_reducing_state(largest),
        operator.store.get_aggregating_state(mean),
    )
    reducing.add(9)
    aggregating.add(9)
    operator.clock.advance(TTL - 1)
    reducing.add(5)
    aggregating.add(5)
    operator.restore()
    reducing, aggregating = (
        operator.store.get_reducing_state(largest),
        operator.store.get_aggregating_state(mean),
    )
    operator.clock.advance(TTL - 1)
    assert (reducing.get(), aggregating.get()) == (9, 7.0)
    operator.clock.advance(1)
    reducing.add(1)
    aggregating.add(1)
    assert (reducing.get(), aggregating.get()) == (1, 1.0)
    reducing.clear()
    aggregating.clear()
    assert (reducing.get(), aggregating.get()) == (None, None)
    assert operator.entries(largest) == operator.entries(mean) == 0


def test_a_disabled_configuration_is_none_at_all(operator: Operator) -> None:
    off = StateTtlConfig.new_builder(1).set_update_type(StateTtlConfig.UpdateType.Disabled)
    assert not off.build().is_enabled()
    operator.store.get_state(with_ttl(ValueStateDescriptor("v", int), off)).update(1)
    operator.clock.advance(1000)
    operator.restore()
    assert operator.store.get_state(ValueStateDescriptor("v", int)).value() == 1


@pytest.mark.parametrize("was_on", [True, False])
def test_turning_it_on_or_off_for_restored_state_is_refused(operator: Operator, was_on: bool) -> None:
    plain, expiring = ValueStateDescriptor("v", int), with_ttl(ValueStateDescriptor("v", int))
    before, after = (expiring, plain) if was_on else (plain, expiring)
    operator.store.get_state(before).update(1)
    operator.restore()
    was, now = ("with time-to-live", "without") if was_on else ("without", "with time-to-live")
    message = f"'v': the restored state was written {was}, the job declares it {now}"
    with pytest.raises(StateError, match=message):
        operator.store.get_state(after)


def test_a_type_of_the_user_is_never_taken_for_a_value_with_its_time(operator: Operator) -> None:
    operator.store.get_state(ValueStateDescriptor("v", tuple[int, int])).update((1, 2))
    operator.restore()
    with pytest.raises(StateError, match="was written without"):
        operator.store.get_state(with_ttl(ValueStateDescriptor("v", int)))


def test_another_time_to_live_holds_for_what_is_restored(operator: Operator) -> None:
    operator.store.get_state(with_ttl(ValueStateDescriptor("v", int))).update(1)
    operator.restore()
    longer = StateTtlConfig.new_builder(10 * TTL).update_ttl_on_read_and_write()
    state = operator.store.get_state(with_ttl(ValueStateDescriptor("v", int), longer))
    operator.clock.advance(10 * TTL - 1)
    assert state.value() == 1


def test_state_of_a_window_expires_too_and_merges_what_is_alive(operator: Operator) -> None:
    context = NamespaceContext()
    context.current_key = "k"
    store = NamespacedStateStore(operator.backend, context, Types.STRING(), Types.LONG(), "window:")
    total = with_ttl(ReducingStateDescriptor("t", int.__add__, int))
    mean = with_ttl(AggregatingStateDescriptor("a", Mean()))
    seen = with_ttl(ListStateDescriptor("l", int))
    entries = with_ttl(MapStateDescriptor("m", str, int))
    for window in (0, 1, 2):
        context.current_namespace = window
        store.get(total).add(window)
        store.get(mean).add(window)
        store.get(seen).add(window)
        store.get(entries).put("x", window)
        operator.clock.advance(40)
    for descriptor in (total, mean, seen):
        store.merge(descriptor, [0, 1])
    assert (store.get(total).get(), store.get(mean).get(), store.get(seen).get()) == (3, 1.5, [2, 1])
    assert dict(store.get(entries).items()) == {"x": 2}
    store.get(entries).put("y", 3)
    operator.clock.advance(60)
    assert dict(store.get(entries).items()) == {"y": 3}
    store.get(entries).clear()
    assert store.get(entries).is_empty()


@pytest.mark.parametrize("visible", [False, True])
@pytest.mark.parametrize("cleans_up", [False, True])
def test_reading_and_cleaning_up_stay_out_of_a_running_snapshot(
    operator: Operator, visible: bool, cleans_up: bool
) -> None:
    builder = StateTtlConfig.new_builder(TTL).update_ttl_on_read_and_write()
    if cleans_up:
        builder.cleanup_incrementally(10, True)
    else:
        builder.disable_cleanup_in_background()
    if visible:
        builder.return_expired_if_not_cleaned_up()
    elements = with_ttl(ListStateDescriptor("l", list[int]), builder)
    value = with_ttl(ValueStateDescriptor("v", list[int]), builder)
    entries = with_ttl(MapStateDescriptor("m", str, list[int]), builder)
    stores = [operator.store.get_any_state(descriptor) for descriptor in (elements, value, entries)]
    stores[0].add([1])
    operator.clock.advance(60)
    stores[0].add([2])
    stores[1].update([3])
    stores[2].put_all({"a": [4], "b": [5]})
    pending = operator.backend.snapshot(1)
    operator.clock.advance(40)
    operator.keys.current_key = "k"  # cleans up, if anything does
    for found in (*stores[0].get(), stores[1].value(), *(item for _, item in stores[2].items())):
        found.append(0)
    stores[2].put("a", [6])
    stores[0].add([7])
    handle = pending.write(operator.checkpoints.streams(1))
    pending.release()
    operator.backend.close()
    operator.open((handle,))
    now = operator.clock.now_ms()
    tables = [operator.backend.table(operator.store._table_descriptor(d)) for d in (elements, value, entries)]
    assert tables[0].namespace(None).peek("k") == [(now - 100, [1]), (now - 40, [2])]
    assert tables[1].namespace(None).peek("k") == (now - 40, [3])
    assert dict(tables[2].namespace("k").entries()) == {"a": (now - 40, ([4],)), "b": (now - 40, ([5],))}


class Anything:
    """An object that only pickle can encode."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Anything) and self.number == other.number

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("type_info", "value"),
    [
        (Types.PICKLED_BYTE_ARRAY(), Anything(1)),
        (Types.ROW_NAMED(["a", "b"], [Types.LONG(), Types.STRING()]), Row(a=1, b="x")),
        (None, {"a": [1, (2, None)]}),
        (Types.FLOAT(), 1.5),
    ],
    ids=["pickled", "row", "any", "float"],
)
def test_values_of_every_type_keep_their_time(operator: Operator, type_info: Any, value: Any) -> None:
    of_value, of_list = (
        with_ttl(ValueStateDescriptor("v", type_info)),
        with_ttl(ListStateDescriptor("l", type_info)),
    )
    of_map = with_ttl(MapStateDescriptor("m", str, type_info))
    operator.store.get_state(of_value).update(value)
    operator.store.get_list_state(of_list).add(value)
    operator.store.get_map_state(of_map).put("a", value)
    operator.clock.advance(TTL - 1)
    operator.restore()
    assert operator.store.get_state(of_value).value() == value
    assert operator.store.get_list_state(of_list).get() == [value]
    assert dict(operator.store.get_map_state(of_map).items()) == {"a": value}
    operator.clock.advance(1)
    assert operator.store.get_state(of_value).value() is None
    assert operator.store.get_list_state(of_list).get() == []
    assert operator.store.get_map_state(of_map).is_empty()


def test_full_snapshots_leave_out_what_has_expired(tmp_path: Path) -> None:
    operator = Operator("hashmap", tmp_path)
    full = StateTtlConfig.new_builder(TTL).cleanup_full_snapshot().disable_cleanup_in_background()
    value, elements = ValueStateDescriptor("v", int), ListStateDescriptor("l", int)
    entries = MapStateDescriptor("m", str, int)
    for descriptor in (value, elements, entries):
        with_ttl(descriptor, full)
    for key in ("old", "new"):
        operator.keys.current_key = key
        operator.store.get_state(value).update(1)
        operator.store.get_list_state(elements).add_all([1, 2])
        operator.store.get_map_state(entries).put("a", 1)
        operator.clock.advance(60)
    operator.store.get_list_state(elements).add(3)
    operator.clock.advance(40)
    handle = operator.written()
    for descriptor in (value, elements, entries):
        assert operator.entries(descriptor) == 2, "the state at hand keeps it"
    operator.backend.close()
    operator.open((handle,))
    assert operator.store.get_keys(value) == operator.store.get_keys(entries) == []
    assert operator.store.get_keys(elements) == ["new"]
    operator.keys.current_key = "new"
    assert operator.store.get_list_state(elements).get() == [3]
    operator.backend.close()


def fill(operator: Operator, descriptor: Any, keys: int) -> Any:
    state = operator.store.get_any_state(descriptor)
    for n in range(keys):
        operator.keys.current_key = f"key-{n}"
        match descriptor:
            case ValueStateDescriptor():
                state.update(n)
            case ListStateDescriptor():
                state.add(n)
            case MapStateDescriptor():
                state.put_all({"a": n, "b": n})
    return state


KINDS = [
    lambda: ValueStateDescriptor("s", int),
    lambda: ListStateDescriptor("s", int),
    lambda: MapStateDescriptor("s", str, int),
]


@pytest.mark.parametrize("make", KINDS)
def test_each_access_visits_so_many_entries_on_the_heap(tmp_path: Path, make: Any) -> None:
    operator = Operator("hashmap", tmp_path)
    descriptor = with_ttl(make(), StateTtlConfig.new_builder(TTL).cleanup_incrementally(3, False))
    state = fill(operator, descriptor, 30)
    operator.restore()
    state = operator.store.get_any_state(descriptor)
    before = operator.entries(descriptor)
    operator.clock.advance(TTL)
    operator.keys.current_key = "another"
    for accesses in range(1, before // 3 + 1):
        state.clear()
        assert operator.entries(descriptor) == before - 3 * accesses
    assert operator.entries(descriptor) == 0
    operator.backend.close()


def test_visiting_survives_changes_snapshots_and_an_end_of_the_key(tmp_path: Path) -> None:
    operator = Operator("hashmap", tmp_path)
    descriptor = with_ttl(
        MapStateDescriptor("s", str, int), StateTtlConfig.new_builder(TTL).cleanup_incrementally(1, False)
    )
    state = fill(operator, descriptor, 20)
    operator.clock.advance(TTL)
    operator.keys.current_key = "fresh"
    for n in range(15):
        state.put(f"{n}", n)
        operator.backend.end_of_batch()
    pending = operator.backend.snapshot(7)
    for n in range(20):
        state.put(f"{n}", n)
    pending.write(operator.checkpoints.streams(7))
    pending.release()
    for _ in range(60):
        state.put("0", 0)
        operator.backend.end_of_batch()
    assert operator.store.get_keys(descriptor) == ["fresh"]
    assert len(dict(state.items())) == 20
    operator.backend.clear()
    assert state.is_empty()
    state.put("0", 0)
    assert dict(state.items()) == {"0": 0}
    operator.backend.close()


def test_each_record_visits_entries_where_that_is_asked_for(tmp_path: Path) -> None:
    operator = Operator("hashmap", tmp_path)
    plain = type(operator.keys)
    descriptor = with_ttl(
        ValueStateDescriptor("s", int), StateTtlConfig.new_builder(TTL).cleanup_incrementally(2, True)
    )
    other = with_ttl(
        ValueStateDescriptor("o", int), StateTtlConfig.new_builder(TTL).cleanup_incrementally(1, True)
    )
    assert type(operator.keys) is plain, "setting the key costs nothing until it is asked for"
    operator.store.get_state(descriptor).update(1)
    operator.store.get_state(other).update(1)
    fill(operator, descriptor, 9)
    operator.clock.advance(TTL)
    for _ in range(5):
        operator.keys.current_key = "idle"
        assert operator.keys.current_key == "idle"
    assert operator.entries(descriptor) == operator.entries(other) == 0
    operator.backend.close()


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("restored", [False, True])
def test_rocksdb_sweeps_between_batches_until_nothing_is_left(
    tmp_path: Path, make: Any, restored: bool
) -> None:
    operator = Operator("rocksdb", tmp_path)
    descriptor = with_ttl(
        make(), StateTtlConfig.new_builder(TTL).cleanup_in_rocksdb_compact_filter(7, Duration.of_days(1))
    )
    fill(operator, descriptor, 300)
    if restored:
        operator.restore()
        operator.store.get_any_state(descriptor)
    operator.backend.end_of_batch()
    before = operator.entries(descriptor)
    assert before >= 300
    operator.clock.advance(TTL)
    operator.backend.end_of_batch()
    assert before - 7 <= operator.entries(descriptor) <= before, "a bounded number at a time"
    for _ in range(2 * before // 7 + 2):
        operator.backend.end_of_batch()
    assert operator.entries(descriptor) == 0
    operator.restore()
    operator.store.get_any_state(descriptor)
    assert operator.entries(descriptor) == 0
    operator.backend.close()


def test_a_sweep_leaves_alone_what_was_written_meanwhile(tmp_path: Path) -> None:
    operator = Operator("rocksdb", tmp_path)
    builder = StateTtlConfig.new_builder(TTL).cleanup_in_rocksdb_compact_filter(1)
    descriptor = with_ttl(ValueStateDescriptor("s", int), builder)
    fill(operator, descriptor, 100)
    operator.restore()
    state = operator.store.get_state(descriptor)
    operator.clock.advance(TTL)
    operator.backend.end_of_batch()  # the sweep has read many entries, and looked at one
    for n in range(0, 100, 2):
        operator.keys.current_key = f"key-{n}"
        state.update(-n)
    for _ in range(300):
        operator.keys.current_key = "another"  # far more than the cache holds goes through it
        state.update(1)
        operator.backend.end_of_batch()
    state.clear()
    assert sorted(operator.store.get_keys(descriptor)) == sorted(f"key-{n}" for n in range(0, 100, 2))
    operator.backend.close()


def test_without_clean_up_nothing_is_removed_but_by_reading(operator: Operator) -> None:
    descriptor = with_ttl(ValueStateDescriptor("s", int))
    state = fill(operator, descriptor, 20)
    operator.clock.advance(TTL)
    for _ in range(50):
        operator.keys.current_key = "other"
        assert state.value() is None
        operator.backend.end_of_batch()
    assert operator.entries(descriptor) == 20


def test_the_configuration_says_what_pyflink_says() -> None:
    config = StateTtlConfig.new_builder(Time.seconds(1)).build()
    assert config.get_ttl() == Time.seconds(1)
    assert config.get_update_type() is StateTtlConfig.UpdateType.OnCreateAndWrite
    assert config.get_state_visibility() is StateTtlConfig.StateVisibility.NeverReturnExpired
    assert config.get_ttl_time_characteristic() is StateTtlConfig.TtlTimeCharacteristic.ProcessingTime
    cleanup = config.get_cleanup_strategies()
    assert cleanup.is_cleanup_in_background()
    assert not cleanup.in_full_snapshot()
    incremental = cleanup.get_incremental_cleanup_strategy()
    assert incremental is not None
    assert (incremental.get_cleanup_size(), incremental.run_cleanup_for_every_record()) == (5, False)
    compaction = cleanup.get_rocksdb_compact_filter_cleanup_strategy()
    assert compaction is not None
    assert compaction.get_query_time_after_num_entries() == 1000
    assert compaction.get_periodic_compaction_time() == Duration.of_days(30)
    cleanup = (
        StateTtlConfig.new_builder(timedelta(hours=1))
        .set_ttl(Time.days(1))
        .use_processing_time()
        .update_ttl_on_create_and_write()
        .never_return_expired()
        .cleanup_full_snapshot()
        .disable_cleanup_in_background()
        .build()
        .get_cleanup_strategies()
    )
    assert cleanup.in_full_snapshot()
    assert cleanup.get_incremental_cleanup_strategy() is None
    assert cleanup.get_rocksdb_compact_filter_cleanup_strategy() is None
    kinds = StateTtlConfig.CleanupStrategies
    assert isinstance(kinds.EMPTY_STRATEGY, kinds.EmptyCleanupStrategy)
    assert [s.name for s in kinds.Strategies] == [
        "FULL_STATE_SCAN_SNAPSHOT",
        "INCREMENTAL_CLEANUP",
        "ROCKSDB_COMPACTION_FILTER",
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StateTtlConfig.new_builder(0), "too short"),
        (lambda: StateTtlConfig.new_builder(Time.seconds(1)).set_ttl(Time.seconds(-1)), "too short"),
        (lambda: StateTtlConfig.new_builder(1).set_update_type("OnRead"), "no StateTtlConfig.UpdateType"),
        (lambda: StateTtlConfig.new_builder(1).set_state_visibility(1), "no StateTtlConfig.StateVisibility"),
        (
            lambda: StateTtlConfig.new_builder(1).set_ttl_time_characteristic(None),
            "no StateTtlConfig.TtlTime",
        ),
        (lambda: StateTtlConfig.new_builder(1).cleanup_incrementally(0, False), "cleanup_size is 0"),
        (
            lambda: StateTtlConfig.new_builder(1).cleanup_in_rocksdb_compact_filter(True),
            "query_time_after_num",
        ),
        (
            lambda: ValueStateDescriptor("v", int).enable_time_to_live(Time.hours(1)),
            "time-to-live of the state 'v'",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(build: Any, message: str) -> None:
    with pytest.raises(StateError, match=message):
        build()


def test_a_time_to_live_is_a_length_of_time() -> None:
    with pytest.raises(JobDefinitionError, match="not a length of time"):
        StateTtlConfig.new_builder("1h")  # type: ignore[arg-type]


def test_operator_state_has_no_time_to_live() -> None:
    store = OperatorStateStore({})
    with pytest.raises(StateError, match="'l' was declared with time-to-live"):
        store.get_list_state(with_ttl(ListStateDescriptor("l", int)))
    with pytest.raises(StateError, match="'b' was declared with time-to-live"):
        store.get_broadcast_state(with_ttl(MapStateDescriptor("b", str, int)))
