"""Sums per key in windows of four kinds, from a source that fails now and then. Arguments: output folder, number of events, events per
second, folder of checkpoints, folder of markers, the record to fail at.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from millstream import (
    AggregateFunction,
    Duration,
    ProcessWindowFunction,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink

KEYS = 20
SIZE_MS = 600
SLIDE_MS = 200


def event(index: int) -> tuple[str, int, int]:
    return f"k{index * 7 % KEYS}", index, index % 97


class FailingEvents:
    """Raises at a record or soon behind it, once it sees a checkpoint that was not there before, the first time it comes so far."""

    def __init__(self, checkpoints: Path, marker: Path, record: int) -> None:
        self.checkpoints, self.marker, self.record = checkpoints, marker, record
        self.before = self.complete()

    def complete(self) -> int:
        ids = [int(path.parent.name[4:]) for path in self.checkpoints.glob("*/chk-*/_metadata")]
        return max(ids, default=0)

    def __call__(self, index: int) -> tuple[str, int, int]:
        due = index >= self.record > 0 and index % 50 == 0
        if due and not self.marker.exists() and self.complete() > self.before:
            self.marker.touch()
            raise RuntimeError("planned")
        return event(index)


class Sum(AggregateFunction):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: tuple[str, int, int], accumulator: int) -> int:
        return accumulator + value[2]

    def get_result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, acc_a: int, acc_b: int) -> int:
        return acc_a + acc_b


class Line(ProcessWindowFunction):
    """`elements` are the sum, or all events of a window whose contents are not aggregated."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def process(self, key: str, context: ProcessWindowFunction.Context, elements: list[Any]) -> Iterator[str]:
        total = sum(e if isinstance(e, int) else e[2] for e in elements)
        yield f"{self.kind},{key},{context.window().start},{total}"


def expected_lines(events: int) -> list[str]:
    sums: Counter[tuple[str, str, int]] = Counter()
    for key, time, value in map(event, range(events)):
        sums["tumbling", key, time - time % SIZE_MS] += value
        last = time - time % SLIDE_MS
        for start in range(last, last - SIZE_MS, -SLIDE_MS):
            sums["sliding", key, start] += value
    return [
        f"{shape} {contents},{key},{start},{total}"
        for (shape, key, start), total in sums.items()
        for contents in ("sums", "events")
    ]


def main(out: str, events: int, rate: int, checkpoints: str, faults: str, fails_at: int) -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    failing = FailingEvents(Path(checkpoints), Path(faults) / f"failed-{fails_at}", fails_at)
    source = DataGeneratorSource(failing, events, RateLimiterStrategy.per_second(rate))
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(300))
    stream = env.from_source(source, strategy.with_timestamp_assigner(lambda value, _: value[1]), "events")
    keyed = stream.key_by(lambda value: value[0])
    size, slide = Duration.of_millis(SIZE_MS), Duration.of_millis(SLIDE_MS)
    for shape, assigner in (
        ("tumbling", TumblingEventTimeWindows.of(size)),
        ("sliding", SlidingEventTimeWindows.of(size, slide)),
    ):
        windows = keyed.window(assigner)
        lines = {
            "sums": windows.aggregate(Sum(), Line(f"{shape} sums")),
            "events": windows.process(Line(f"{shape} events")),
        }
        for contents, stream_of_lines in lines.items():
            sink = FileSink.for_row_format(
                f"{out}/{shape}-{contents}", Encoder.simple_string_encoder()
            ).build()
            stream_of_lines.uid(f"{shape}-{contents}").sink_to(sink).uid(f"{shape}-{contents}-files")
    env.execute("windows of four kinds")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], int(sys.argv[6]))
