"""Sums per key and second, from a generator into files or Kafka.

Arguments: output folder or `kafka://servers/topic`, number of events, events per second.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from millstream.connectors.datagen.rate_limit import RateLimiter
from millstream.connectors.files import Encoder, FileSink
from millstream.core.clock import Clock

KEYS = 50
WINDOW_MS = 1_000
EVENTS_PER_SECOND = 30_000


def event(index: int) -> tuple[str, int, int]:
    return f"k{index * 7 % KEYS}", index, index % 97


@dataclass(frozen=True)
class UntilHurried(RateLimiterStrategy):
    """A rate that holds until a file is there, so that a job lasts as long as its test has something to do to it."""

    hurry: Path | None = None

    def create_limiter(self, clock: Clock, parallelism: int) -> RateLimiter:
        assert self.records_per_second is not None
        return LimiterUntilHurried(clock, self.records_per_second / parallelism, self.hurry)


class LimiterUntilHurried(RateLimiter):
    def __init__(self, clock: Clock, records_per_second: float, hurry: Path | None) -> None:
        super().__init__(clock, records_per_second)
        self._hurry = hurry

    def allowed(self) -> int:
        return 10**6 if self._hurry is not None and self._hurry.exists() else super().allowed()


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


def sink_of(out: str) -> Any:
    """Lines into a folder, or into a topic named by `kafka://servers/topic`, exactly once."""
    if not out.startswith("kafka://"):
        return FileSink.for_row_format(out, Encoder.simple_string_encoder()).build()
    from millstream.connectors import kafka

    servers, _, topic = out.removeprefix("kafka://").partition("/")
    records = kafka.KafkaRecordSerializationSchema.builder().set_topic(topic)
    return (
        kafka.KafkaSink.builder()
        .set_bootstrap_servers(servers)
        .set_record_serializer(records.set_value_serialization_schema(kafka.SimpleStringSchema()).build())
        .set_delivery_guarantee(kafka.DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(topic)
        .build()
    )


def windows(
    configuration: Configuration | None, out: str, events: int, rate: int, hurry: Path | None = None
) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    source = DataGeneratorSource(event, events, UntilHurried(rate, hurry))
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(1))
    stream = env.from_source(source, strategy.with_timestamp_assigner(lambda value, _: value[1]), "events")
    sums = stream.key_by(lambda value: value[0]).window(
        TumblingEventTimeWindows.of(Duration.of_millis(WINDOW_MS))
    )
    sums.aggregate(Sum(), ToLine()).uid("sums").sink_to(sink_of(out)).uid("out")
    return env


if __name__ == "__main__":
    windows(None, sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).execute("windows")
