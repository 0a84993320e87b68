"""BATCH and STREAMING give the same results of bounded input, whatever the keyed operator, with one input or two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from millstream import (
    BroadcastProcessFunction,
    CountTrigger,
    DataStream,
    EventTimeSessionWindows,
    GlobalWindows,
    JobDefinitionError,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    MapStateDescriptor,
    ProcessJoinFunction,
    PurgingTrigger,
    RuntimeExecutionMode,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Types,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from tests.integration.engine.harness import Workshop

RECORD = Types.TUPLE([Types.STRING(), Types.LONG()])
LEFT = [(f"k{n % 5}", n * 7) for n in range(60)]
RIGHT = [(f"k{n % 4}", n * 11) for n in range(40)]
NAMES = MapStateDescriptor("names", Types.STRING(), Types.STRING())


def key_of(record: tuple[str, int]) -> str:
    return record[0]


def timed(env: StreamExecutionEnvironment, records: list[tuple[str, int]]) -> DataStream[Any]:
    strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
        lambda record, _: record[1]
    )
    # In one subtask, so that the records of a key stay in order whatever the parallelism.
    return env.from_collection(records, RECORD).assign_timestamps_and_watermarks(strategy).set_parallelism(1)


class Total(KeyedCoProcessFunction):
    """Adds up both inputs; one result per key, when its time has come."""

    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total", Types.LONG()))

    def process_element1(self, value, ctx):
        self.total.update((self.total.value() or 0) + value[1])
        ctx.timer_service().register_event_time_timer(1_000_000)

    process_element2 = process_element1

    def on_timer(self, timestamp, ctx):
        yield ctx.get_current_key(), self.total.value()


class Pair(ProcessJoinFunction):
    def process_element(self, left, right, ctx):
        yield left, right, ctx.get_timestamp()


class Named(KeyedBroadcastProcessFunction):
    """Counts per key what comes after the names; in BATCH the broadcast side comes first."""

    def process_broadcast_element(self, value, ctx):
        ctx.get_broadcast_state(NAMES).put(value, value.upper())

    def process_element(self, value, ctx):
        yield ctx.get_broadcast_state(NAMES).get(value[0]), value[1]


class UnkeyedNamed(BroadcastProcessFunction):
    process_broadcast_element = Named.process_broadcast_element
    process_element = Named.process_element


def co_process(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
    return left.key_by(key_of, str).connect(right.key_by(key_of, str)).process(Total())


def interval_join(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
    return left.key_by(key_of, str).interval_join(right.key_by(key_of, str)).between(-30, 30).process(Pair())


def window_join(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
    joined = left.join(right).where(key_of, str).equal_to(key_of, str)
    return joined.window(TumblingEventTimeWindows.of(50)).apply(lambda one, other: (one, other))


def sessions(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
    windows = left.union(right).key_by(key_of, str).window(EventTimeSessionWindows.with_gap(36))
    return windows.reduce(lambda one, other: (one[0], one[1] + other[1]))


def counted(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
    windows = (
        left.key_by(key_of, str).window(GlobalWindows.create()).trigger(PurgingTrigger.of(CountTrigger.of(3)))
    )
    return windows.reduce(lambda one, other: (one[0], one[1] + other[1]))


def union_window_all(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
    windows = left.union(right).window_all(TumblingEventTimeWindows.of(100))
    return windows.reduce(lambda one, other: ("all", one[1] + other[1])).map(lambda found: found[1])


def co_mapped(left: DataStream[Any], right: DataStream[Any]) -> DataStream[Any]:
    from millstream import CoMapFunction

    class Sides(CoMapFunction):
        def map1(self, value):
            return "left", value

        def map2(self, value):
            return "right", value

    return left.connect(right).map(Sides())


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize(
    "build", [co_process, interval_join, window_join, sessions, counted, union_window_all, co_mapped]
)
def test_results_are_the_same_in_both_modes(
    workshop: Workshop, build: Callable[[Any, Any], DataStream[Any]], parallelism: int
) -> None:
    def results(mode: RuntimeExecutionMode) -> Counter[str]:
        env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
        env.set_parallelism(parallelism).set_runtime_mode(mode)
        with build(timed(env, LEFT), timed(env, RIGHT)).execute_and_collect() as found:
            return Counter(map(repr, found))

    found = results(RuntimeExecutionMode.BATCH)
    assert found == results(RuntimeExecutionMode.STREAMING)
    assert found


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("keyed", [True, False])
def test_the_broadcast_side_comes_first_in_batch_mode(
    workshop: Workshop, parallelism: int, keyed: bool
) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    env.set_parallelism(parallelism).set_runtime_mode(RuntimeExecutionMode.BATCH)
    names = env.from_collection([f"k{n}" for n in range(5)], Types.STRING()).broadcast(NAMES)
    records = timed(env, LEFT)
    connected = (records.key_by(key_of, str) if keyed else records).connect(names)
    with connected.process(Named() if keyed else UnkeyedNamed()).execute_and_collect() as found:
        assert Counter(found) == Counter((name.upper(), number) for name, number in LEFT)


def test_an_iteration_is_refused_in_batch_mode_and_streamed_in_automatic_mode(workshop: Workshop) -> None:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())

    def counted_down() -> DataStream[int]:
        loop = env.from_collection([3, 1], int).iterate()
        lower = loop.map(lambda number: number - 1, int)
        loop.close_with(lower.filter(lambda number: number > 0))
        return lower

    env.set_runtime_mode(RuntimeExecutionMode.BATCH)
    with pytest.raises(JobDefinitionError, match="iteration"):
        counted_down().execute_and_collect()
    env.set_runtime_mode(RuntimeExecutionMode.AUTOMATIC)
    with counted_down().execute_and_collect() as found:
        assert sorted(found) == [0, 0, 1, 2]
