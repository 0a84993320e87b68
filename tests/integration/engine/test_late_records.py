"""Late records that nobody asked for are counted in a metric, whatever kind of operator drops them; in BATCH there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream import (
    AggregateFunction,
    Configuration,
    ContinuousEventTimeTrigger,
    CountEvictor,
    DataStream,
    EventTimeSessionWindows,
    OutputTag,
    ProcessWindowFunction,
    RuntimeExecutionMode,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Watermark,
    WatermarkGenerator,
    WatermarkOutput,
    WatermarkStrategy,
)
from millstream.connectors.collection import CollectionSource

# The watermark follows each timestamp: of the records at 1, 2 and 3 the last two come too late, the others in time.
TIMES = [1, 100, 2, 101, 3]
TUMBLING: Any = TumblingEventTimeWindows.of(10)


class AtOnce(WatermarkGenerator[Any]):
    """The watermark is the timestamp of the latest record."""

    def on_event(self, event: Any, event_timestamp: int, output: WatermarkOutput) -> None:
        output.emit_watermark(Watermark(event_timestamp))

    def on_periodic_emit(self, output: WatermarkOutput) -> None:
        """Nothing but the records makes watermarks."""


class Count(AggregateFunction[Any, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: Any, accumulator: int) -> int:
        return accumulator + 1

    def get_result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


class Counting(ProcessWindowFunction[Any, int, Any]):
    def process(self, key: Any, context: Any, elements: Any) -> list[int]:
        return [len(elements)]


def first(a: Any, _: Any) -> Any:
    return a


def same_key(_: Any) -> str:
    return "k"


def joined(a: Any, b: Any) -> Any:
    return (a, b)


def grouped(a: Any, b: Any) -> Any:
    return [(len(a), len(b))]


def tumbling(stream: DataStream[int]) -> Any:
    return stream.key_by(same_key).window(TUMBLING)


def sessions(stream: DataStream[int]) -> Any:
    return stream.key_by(same_key).window(EventTimeSessionWindows.with_gap(5))


def interval_joined(stream: DataStream[int]) -> Any:
    keyed = stream.key_by(same_key)
    return keyed.interval_join(keyed).between(0, 0).process(lambda a, b, _: [(a, b)])


# How a program is built, and how many records it drops: each side of a join drops its own.
KINDS: dict[str, tuple[Callable[[DataStream[int]], DataStream[Any]], int]] = {
    "reduce": (lambda s: tumbling(s).reduce(first), 2),
    "aggregate": (lambda s: tumbling(s).aggregate(Count()), 2),
    "process": (lambda s: tumbling(s).process(Counting()), 2),
    "sliding": (lambda s: s.key_by(same_key).window(SlidingEventTimeWindows.of(10, 5)).reduce(first), 2),
    "sessions": (lambda s: sessions(s).reduce(first), 2),
    "trigger": (lambda s: tumbling(s).trigger(ContinuousEventTimeTrigger.of(3)).reduce(first), 2),
    "evictor": (lambda s: tumbling(s).evictor(CountEvictor.of(1)).process(Counting()), 2),
    "allowed lateness": (lambda s: tumbling(s).allowed_lateness(50).reduce(first), 2),
    "lateness enough": (lambda s: tumbling(s).allowed_lateness(92).reduce(first), 1),
    "window_all": (lambda s: s.window_all(TUMBLING).reduce(first), 2),
    "join": (lambda s: s.join(s).where(same_key).equal_to(same_key).window(TUMBLING).apply(joined), 4),
    "co_group": (
        lambda s: s.co_group(s).where(same_key).equal_to(same_key).window(TUMBLING).apply(grouped),
        4,
    ),
    "interval join": (interval_joined, 4),
    "side output": (lambda s: tumbling(s).side_output_late_data(OutputTag("late")).reduce(first), 0),
    "count window": (lambda s: s.key_by(same_key).count_window(2).reduce(first), 0),
}


def dropped(
    mode: RuntimeExecutionMode, parallelism: int, build: Callable[[DataStream[int]], DataStream[Any]]
) -> int:
    """What the metric says when the job has ended."""
    configuration = Configuration()
    configuration.set_string("restart-strategy.type", "none")
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.set_runtime_mode(mode).set_parallelism(parallelism)
    strategy: WatermarkStrategy[int] = WatermarkStrategy.for_generator(AtOnce)
    source = env.from_source(CollectionSource(TIMES, TIMES), strategy, "times", int).force_non_parallel()
    build(source).add_sink(lambda _: None)
    statistics = env.execute().statistics
    return sum(vertex.counters.get("numLateRecordsDropped", 0) for vertex in statistics.vertices)


@pytest.mark.parametrize("kind", KINDS)
def test_late_records_are_counted_wherever_they_are_dropped(kind: str) -> None:
    build, expected = KINDS[kind]
    assert dropped(RuntimeExecutionMode.STREAMING, 1, build) == expected


@pytest.mark.parametrize("kind", ["reduce", "process", "interval join"])
def test_workers_report_the_records_they_drop(kind: str) -> None:
    build, expected = KINDS[kind]
    assert dropped(RuntimeExecutionMode.STREAMING, 2, build) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_in_batch_mode_no_record_is_late(kind: str) -> None:
    build, _ = KINDS[kind]
    assert dropped(RuntimeExecutionMode.BATCH, 1, build) == 0
