"""Sums per key and second, from a generator into files. Arguments: output folder, number of events, events per second."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from millstream import (
    AggregateFunction,
    Configuration,
    Duration,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink

KEYS = 50
WINDOW_MS = 1_000
EVENTS_PER_SECOND = 30_000


def event(index: int) -> tuple[str, int, int]:
    return f"k{index * 7 % KEYS}", index, index % 97


class Sum(AggregateFunction):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: tuple[str, int, int], accumulator: int) -> int:
        return accumulator + value[2]

    def get_result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


class ToLine(ProcessWindowFunction):
    def process(self, key: str, context: ProcessWindowFunction.Context, elements: list[int]) -> Iterator[str]:
        for total in elements:
            yield f"{key},{context.window().start},{total}"


def expected_lines(events: int) -> list[str]:
    sums: dict[tuple[str, int], int] = {}
    for key, time, value in map(event, range(events)):
        window = (key, time // WINDOW_MS * WINDOW_MS)
        sums[window] = sums.get(window, 0) + value
    return [f"{key},{start},{total}" for (key, start), total in sums.items()]


def windows(
    configuration: Configuration | None, out: str, events: int, rate: int
) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    source = DataGeneratorSource(event, events, RateLimiterStrategy.per_second(rate))
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(1))
    stream = env.from_source(source, strategy.with_timestamp_assigner(lambda value, _: value[1]), "events")
    sums = stream.key_by(lambda value: value[0]).window(
        TumblingEventTimeWindows.of(Duration.of_millis(WINDOW_MS))
    )
    sink = FileSink.for_row_format(out, Encoder.simple_string_encoder()).build()
    sums.aggregate(Sum(), ToLine()).uid("sums").sink_to(sink).uid("files")
    return env


if __name__ == "__main__":
    windows(None, sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).execute("windows")
