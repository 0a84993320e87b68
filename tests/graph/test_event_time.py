"""Event-time operators over records without timestamps are refused while the program is built, where that can be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream import (
    DataStream,
    EventTimeSessionWindows,
    JobDefinitionError,
    KeyedProcessFunction,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.collection import CollectionSource
from millstream.connectors.datagen import DataGeneratorSource
from millstream.connectors.files import FileSource, StreamFormat

Env = StreamExecutionEnvironment
Build = Callable[[Any], DataStream[Any]]
NONE: WatermarkStrategy[Any] = WatermarkStrategy.no_watermarks()
TIMED: WatermarkStrategy[Any] = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda value, _: value
)
UNTIMED: WatermarkStrategy[Any] = WatermarkStrategy.for_monotonous_timestamps()


def same(value: Any) -> Any:
    return value


def window(stream: Any, assigner: Any = None) -> DataStream[Any]:
    windowed = stream.key_by(same).window(assigner or TumblingEventTimeWindows.of(10))
    return windowed.reduce(max).name("windows")


def window_all(stream: Any) -> DataStream[Any]:
    return stream.window_all(TumblingEventTimeWindows.of(10)).reduce(max).name("windows")


def join(stream: Any, other: Any) -> DataStream[Any]:
    joined = stream.join(other).where(same).equal_to(same).window(TumblingEventTimeWindows.of(10))
    return joined.apply(lambda a, b: (a, b)).name("windows")


def interval_join(stream: Any, other: Any) -> DataStream[Any]:
    joined = stream.key_by(same).interval_join(other.key_by(same)).between(0, 1)
    return joined.process(lambda a, b, _: [(a, b)]).name("windows")


class WithTimers(KeyedProcessFunction[Any, Any, Any]):
    def process_element(self, value: Any, ctx: Any) -> None:
        ctx.timer_service().register_event_time_timer(1)

    def on_timer(self, timestamp: int, ctx: Any) -> list[Any]:
        return [timestamp]


def timed(env: Any) -> Any:
    return env.from_source(DataGeneratorSource(same, 3, timestamps=same), UNTIMED, "timed")


def lines(env: Any) -> Any:
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "/nowhere").build()
    return env.from_source(source, UNTIMED, "lines")


REFUSED: dict[str, Build] = {
    "a collection": lambda env: window(env.from_collection([1])),
    "a sequence": lambda env: window(env.from_sequence(1, 2), SlidingEventTimeWindows.of(10, 5)),
    "a generator": lambda env: window(env.from_source(DataGeneratorSource(same, 3), UNTIMED, "source")),
    "lines of files": lambda env: window(lines(env)),
    "a socket": lambda env: window(env.socket_text_stream("localhost", 1)),
    "sessions": lambda env: window(env.from_collection([1]), EventTimeSessionWindows.with_gap(5)),
    "all records": lambda env: window_all(env.from_collection([1])),
    "a chain of functions": lambda env: window(
        env.from_collection([1]).map(same).filter(same).flat_map(lambda value: [value]).rebalance()
    ),
    "a strategy without assigner": lambda env: window(
        env.from_collection([1]).assign_timestamps_and_watermarks(UNTIMED)
    ),
    "one side of a union": lambda env: window(timed(env).union(env.from_collection([1]))),
    "one side of a join": lambda env: join(timed(env), env.from_collection([1])),
    "one side of an interval join": lambda env: interval_join(timed(env), env.from_collection([1])),
}

ACCEPTED: dict[str, Build] = {
    "timestamps of the source": lambda env: window(timed(env)),
    "of a collection": lambda env: window(env.from_source(CollectionSource([1], [1]), UNTIMED, "timed")),
    "an assigner at the source": lambda env: window(
        env.from_source(DataGeneratorSource(same, 3), TIMED, "source")
    ),
    "an assigner later": lambda env: window(
        env.from_collection([1]).assign_timestamps_and_watermarks(TIMED).map(same)
    ),
    "processing time": lambda env: window(env.from_collection([1]), TumblingProcessingTimeWindows.of(10)),
    "counts": lambda env: env.from_collection([1]).key_by(same).count_window(2).reduce(max),
    "timers give their own times": lambda env: window(
        env.from_collection([1]).key_by(same).process(WithTimers())
    ),
    "no record": lambda env: window(env.from_collection([])),
}


@pytest.mark.parametrize("case", REFUSED)
def test_event_time_over_records_without_timestamps_is_refused_with_both_lines(case: str) -> None:
    env = Env.get_execution_environment()
    REFUSED[case](env).print()
    with pytest.raises(JobDefinitionError, match="have no timestamps") as caught:
        env.get_execution_plan()
    assert "windows" in str(caught.value.where)
    assert f"{__file__}:" in str(caught.value.where)
    assert f"{__file__}:" in caught.value.what
    assert "assign_timestamps_and_watermarks" in str(caught.value.fix)


@pytest.mark.parametrize("case", ACCEPTED)
def test_where_timestamps_may_come_from_somewhere_the_program_is_accepted(case: str) -> None:
    env = Env.get_execution_environment()
    ACCEPTED[case](env).print()
    assert env.get_execution_plan()
