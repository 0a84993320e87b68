from collections.abc import Iterator, Sequence
from typing import NamedTuple

from millstream import (
    AggregateFunction,
    Duration,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)


class Reading(NamedTuple):
    sensor: str
    at_ms: int
    degrees: float


class Mean(AggregateFunction[Reading, tuple[float, int], float]):
    def create_accumulator(self) -> tuple[float, int]:
        return 0.0, 0

    def add(self, value: Reading, accumulator: tuple[float, int]) -> tuple[float, int]:
        return accumulator[0] + value.degrees, accumulator[1] + 1

    def get_result(self, accumulator: tuple[float, int]) -> float:
        return accumulator[0] / accumulator[1]

    def merge(
        self, acc_a: tuple[float, int], acc_b: tuple[float, int]
    ) -> tuple[float, int]:
        return acc_a[0] + acc_b[0], acc_a[1] + acc_b[1]


class WithWindow(ProcessWindowFunction[float, str, str]):
    def process(
        self,
        key: str,
        context: ProcessWindowFunction.Context,
        elements: Sequence[float],
    ) -> Iterator[str]:
        window = context.window()
        yield f"{key} [{window.start}, {window.end}): {elements[0]}"


READINGS = [
    Reading("roof", 1_000, 20.0),
    Reading("cellar", 3_000, 9.0),
    Reading("roof", 12_000, 24.0),
    Reading("roof", 4_000, 22.0),  # out of order
]
env = StreamExecutionEnvironment.get_execution_environment()
readings = env.from_collection(READINGS, Reading).assign_timestamps_and_watermarks(
    WatermarkStrategy.for_bounded_out_of_orderness(
        Duration.of_seconds(10)
    ).with_timestamp_assigner(lambda reading, _: reading.at_ms)
)
by_sensor = readings.key_by(lambda reading: reading.sensor, str)
by_sensor.window(TumblingEventTimeWindows.of(Duration.of_seconds(10))).aggregate(
    Mean(), WithWindow()
).print()
env.execute()
