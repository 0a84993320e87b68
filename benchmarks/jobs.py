"""The same work as programs for the runtime. Each builds a stream that ends in a counting sink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from millstream import (
    Configuration,
    DataStream,
    Duration,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.base import SinkWriterContext

from . import functions as f


class CountingSink:
    """Counts records and, at the end, writes the number into a file of `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def create_writer(self, context: SinkWriterContext[Any]) -> CountingWriter:
        return CountingWriter(Path(self._folder) / f"{context.subtask}")


class CountingWriter:
    """The writer of `CountingSink`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def write_batch(self, values: list[Any], timestamps: list[int] | None) -> None:
        self._count += len(values)

    def flush(self, end_of_input: bool) -> None:
        if end_of_input:
            self._path.write_text(str(self._count))

    def close(self) -> None:
        pass


def environment(settings: dict[str, str]) -> StreamExecutionEnvironment:
    """With these settings and no others of the machine's."""
    return StreamExecutionEnvironment.get_execution_environment(Configuration(settings))


def timestamped(stream: DataStream[Any]) -> DataStream[Any]:
    """Event time from the event, up to a second out of order."""
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(1))
    return stream.assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(f.time_of))


def w1(stream: DataStream[Any]) -> DataStream[Any]:
    """map -> filter -> map"""
    return stream.map(f.double).filter(f.keep_two_thirds).map(f.value_of)


def w2(stream: DataStream[Any]) -> DataStream[Any]:
    """Running word count, every update out."""
    return stream.flat_map(f.words_of).key_by(f.key_of).reduce(f.add_counts)


def w3(stream: DataStream[Any]) -> DataStream[Any]:
    """Tumbling 10 s windows per key: sum and count."""
    windows = TumblingEventTimeWindows.of(Duration.of_seconds(10))
    return timestamped(stream).key_by(f.key_of).window(windows).aggregate(f.SumAndCount())


def w3_heavy(stream: DataStream[Any]) -> DataStream[Any]:
    """W3 behind a user function of about 5 us."""
    return w3(stream.map(f.spend_5_us))


def w4(stream: DataStream[Any]) -> DataStream[Any]:
    """Sliding windows of 60 s every 10 s per key: sum and count."""
    windows = SlidingEventTimeWindows.of(Duration.of_seconds(60), Duration.of_seconds(10))
    return timestamped(stream).key_by(f.key_of).window(windows).aggregate(f.SumAndCount())


def exchange(stream: DataStream[Any]) -> DataStream[Any]:
    """From one process to another: the map runs in a slot of its own, behind an exchange."""
    return stream.rebalance().map(f.same).slot_sharing_group("receiver")


WORKLOADS: dict[str, Callable[[DataStream[Any]], DataStream[Any]]] = {
    "w1": w1,
    "w2": w2,
    "w3": w3,
    "w3_heavy": w3_heavy,
    "w4": w4,
    "exchange": exchange,
}
