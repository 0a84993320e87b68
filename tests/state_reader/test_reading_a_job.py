"""A real job's checkpoint, read without the program: every kind of state, on both backends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    CheckpointedFunction,
    KeyedProcessFunction,
    Row,
    RuntimeContext,
    StateTtlConfig,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    Types,
    WatermarkStrategy,
    state_reader,
)
from millstream.core.errors import CheckpointError, CheckpointFailureReason, StateError
from millstream.core.types import InvalidKeyError
from millstream.state.descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.state_reader import KeyedState, OperatorState, StateEntry
from millstream.testing import ManualSource, MiniCluster

HOUR = 3_600_000
START = 1_000


class Colour(Enum):
    RED = 1


@dataclass(frozen=True)
class Visit:
    page: str
    colour: Colour


class Mean:
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: int, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def get_result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]


def expiring(descriptor: Any) -> Any:
    descriptor.enable_time_to_live(StateTtlConfig.new_builder(Time.milliseconds(HOUR)).build())
    return descriptor


class Everything(KeyedProcessFunction, CheckpointedFunction):
    def open(self, runtime_context: RuntimeContext) -> None:
        get = runtime_context
        self.value = get.get_state(ValueStateDescriptor("value", int))
        self.visits = get.get_list_state(ListStateDescriptor("visits", Visit))
        self.map = get.get_map_state(MapStateDescriptor("map", str, int | None))
        self.sum = get.get_reducing_state(ReducingStateDescriptor("sum", int.__add__, int))
        self.mean = get.get_aggregating_state(AggregatingStateDescriptor("mean", Mean(), tuple[int, int]))
        self.row = get.get_state(
            ValueStateDescriptor("row", Types.ROW_NAMED(["a", "b"], [Types.LONG(), Types.STRING()]))
        )
        self.pickled = get.get_state(ValueStateDescriptor("pickled", Types.PICKLED_BYTE_ARRAY()))
        self.fading = get.get_state(expiring(ValueStateDescriptor("fading", int)))
        self.fading_list = get.get_list_state(expiring(ListStateDescriptor("fading-list", int)))
        self.fading_map = get.get_map_state(expiring(MapStateDescriptor("fading-map", str, int)))

    def initialize_state(self, context: Any) -> None:
        store = context.get_operator_state_store()
        self.seen = store.get_list_state(ListStateDescriptor("seen", Types.ROW([Types.STRING()])))
        self.union = store.get_union_list_state(ListStateDescriptor("known", str))

    def snapshot_state(self, context: Any) -> None:
        pass

    def process_element(self, value: tuple[str, int], ctx: KeyedProcessFunction.Context) -> None:
        key, number = value
        self.value.update(number)
        self.visits.add(Visit(f"/{number}", Colour.RED))
        self.map.put(f"m{number}", None if number % 2 else number)
        self.sum.add(number)
        self.mean.add(number)
        self.row.update(Row(a=number, b=key))
        self.pickled.update({"at": number})
        self.fading.update(number)
        self.fading_list.add(number)
        self.fading_map.put("x", number)
        self.seen.add(Row(key))
        self.union.add(key)
        ctx.timer_service().register_processing_time_timer(HOUR + number)


@pytest.fixture(params=["hashmap", "rocksdb"])
def checkpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    source: ManualSource[tuple[str, int]] = ManualSource()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.configure({"state.backend.type": request.param})
    env.set_parallelism(2).enable_checkpointing(60_000)
    records = env.from_source(
        source, WatermarkStrategy.no_watermarks(), "numbers", Types.TUPLE([Types.STRING(), Types.LONG()])
    )
    keyed = records.key_by(lambda record: record[0], Types.STRING())
    with MiniCluster(now_ms=START) as cluster:
        cluster.collect(keyed.process(Everything(), Types.STRING()).uid("everything"))
        job = cluster.start(env, "all kinds")
        source.batch([("a", 1), ("b", 2), ("a", 3)])
        yield job.trigger_checkpoint()


def entries(state: KeyedState) -> dict[Any, Any]:
    found = list(state.entries())
    assert state.size().entries == len(found)
    assert all(state.get(entry.key) for entry in found)
    return {(e.key if e.map_key is None else (e.key, e.map_key)): e.value for e in found}


def test_every_kind_of_keyed_state_comes_back_without_the_program(checkpoint: str) -> None:
    with state_reader.open(checkpoint) as snapshot:
        assert (snapshot.job_name, snapshot.checkpoint_id) == ("all kinds", 1)
        operator = snapshot.operator("everything")
        assert (operator.parallelism, operator.max_parallelism) == (2, 128)
        assert entries(operator.keyed("value")) == {"a": 3, "b": 2}
        assert entries(operator.keyed("sum")) == {"a": 4, "b": 2}
        assert entries(operator.keyed("mean")) == {"a": (4, 2), "b": (2, 1)}
        assert entries(operator.keyed("map")) == {("a", "m1"): None, ("a", "m3"): None, ("b", "m2"): 2}
        assert operator.keyed("map").value("a") == {"m1": None, "m3": None}
        assert entries(operator.keyed("row")) == {"a": Row(a=3, b="a"), "b": Row(a=2, b="b")}
        assert entries(operator.keyed("visits"))["b"] == [Row(page="/2", colour="RED")]
        assert all(isinstance(p, state_reader.Pickled) for p in entries(operator.keyed("pickled")).values())
        assert {e.namespace for e in operator.keyed("processing-timers").entries()} == {
            HOUR + 1,
            HOUR + 2,
            HOUR + 3,
        }


def test_what_expires_comes_without_its_times_and_tells_them(checkpoint: str) -> None:
    with state_reader.open(checkpoint) as snapshot:
        operator = snapshot.operator("everything")
        (found,) = operator.keyed("fading").get("b")
        assert found == StateEntry("b", None, None, 2, found.key_group, START, START + HOUR)
        assert not found.has_expired(START + HOUR - 1)
        assert found.has_expired(START + HOUR)
        assert entries(operator.keyed("fading-list")) == {"a": [1, 3], "b": [2]}
        assert entries(operator.keyed("fading-map")) == {("a", "x"): 3, ("b", "x"): 2}
        assert [operator.keyed(n).value_type for n in ("fading", "fading-list", "fading-map")] == [
            "LONG",
            "LIST(LONG)",
            "LONG",
        ]


def test_classes_and_pickles_are_used_when_they_are_passed_and_only_then(checkpoint: str) -> None:
    with state_reader.open(checkpoint, classes=[Visit, Colour], allow_pickle=True) as snapshot:
        operator = snapshot.operator("everything")
        assert entries(operator.keyed("visits"))["b"] == [Visit("/2", Colour.RED)]
        assert entries(operator.keyed("pickled")) == {"a": {"at": 3}, "b": {"at": 2}}


def test_states_tell_their_kind_and_types(checkpoint: str) -> None:
    with state_reader.open(checkpoint) as snapshot:
        states = {state.name: state for state in snapshot.operator("everything").states()}
    kinds = {name: state.kind for name, state in states.items()}
    assert kinds == {
        "value": "value",
        "visits": "list",
        "map": "map",
        "sum": "reducing",
        "mean": "aggregating",
        "row": "value",
        "pickled": "value",
        "fading": "value",
        "fading-list": "list",
        "fading-map": "map",
        "event-timers": "timers",
        "processing-timers": "timers",
        "seen": "operator-list",
        "known": "operator-union-list",
    }
    assert states["row"].value_type == "ROW(a LONG, b STRING)"
    assert states["seen"].value_type == "ROW(STRING)"


def test_operator_state_and_positions_of_sources_can_be_read(checkpoint: str) -> None:
    with state_reader.open(checkpoint) as snapshot:
        operator = snapshot.operator("everything")
        seen, known = operator.state("seen"), operator.state("known")
        assert isinstance(seen, OperatorState)
        assert isinstance(known, OperatorState)
        assert sorted(item.value[0] for item in seen.items()) == ["a", "a", "b"]
        assert sorted(item.value for item in known.items()) == ["a", "a", "b"]
        splits = snapshot.operator("Source: numbers").state("splits")
        assert isinstance(splits, OperatorState)
        assert [item.value[-1] for item in splits.items()] == [3]  # three records were read


def test_a_name_or_key_that_is_none_is_one_clear_error(checkpoint: str) -> None:
    with state_reader.open(checkpoint) as snapshot:
        with pytest.raises(StateError, match="no operator 'everythin'") as no_operator:
            snapshot.operator("everythin")
        assert "did you mean 'everything'?" in str(no_operator.value)
        with pytest.raises(StateError, match="no state 'valeu'"):
            snapshot.operator("everything").keyed("valeu")
        with pytest.raises(StateError, match="of the kind operator-list, which has no keys"):
            snapshot.operator("everything").keyed("seen")
        with pytest.raises(InvalidKeyError, match="as declared"):
            snapshot.operator("everything").keyed("value").get(7)
        assert snapshot.operator("everything").keyed("value").get("nobody") == []


def test_a_flipped_bit_is_found_before_anything_is_read(checkpoint: str) -> None:
    folder = Path(checkpoint)
    victim = max((p for p in folder.parent.rglob("a*-*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with state_reader.open(checkpoint) as snapshot, pytest.raises(CheckpointError) as damaged:
        list(snapshot.operator("everything").keyed("value").entries())
    assert damaged.value.reason is CheckpointFailureReason.CORRUPT


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_window_contents_are_there_by_window_and_key(backend: str) -> None:
    source: ManualSource[tuple[str, int]] = ManualSource()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.configure({"state.backend.type": backend})
    env.enable_checkpointing(60_000)
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda r, _: r[1])
    sums = (
        env.from_source(source, strategy, "clicks")
        .key_by(lambda record: record[0])
        .window(TumblingEventTimeWindows.of(Time.seconds(10)))
        .reduce(lambda a, b: (a[0], a[1] + b[1]))
        .uid("sums")
    )
    with MiniCluster() as cluster:
        cluster.collect(sums)
        job = cluster.start(env)
        source.batch([("a", 1), ("b", 2), ("a", 10_001)])
        checkpoint = job.trigger_checkpoint()
        with state_reader.open(checkpoint) as snapshot:
            state = snapshot.operator("sums").keyed("window-contents")
            assert (state.kind, state.namespace_type) == ("window", "LONG")
            found = sorted((e.namespace, e.key, e.value) for e in state.entries())
    assert found == [(0, "a", ("a", 1)), (0, "b", ("b", 2)), (10_000, "a", ("a", 10_001))]
