"""What type checkers infer of a program. Checked by tests/typing/test_typing.py, never run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_type

from millstream import (
    AggregateFunction,
    AllWindowedStream,
    CollectedResults,
    Collector,
    CountEvictor,
    CountTrigger,
    DataStream,
    DataStreamSink,
    EventTimeSessionWindows,
    EventTimeTrigger,
    FlatMapFunction,
    GlobalWindow,
    KeyedProcessFunction,
    KeyedStream,
    MapFunction,
    OutputTag,
    ProcessAllWindowFunction,
    ProcessWindowFunction,
    PurgingTrigger,
    StreamExecutionEnvironment,
    TimeWindow,
    TumblingEventTimeWindows,
    Types,
    ValueStateDescriptor,
    WindowedStream,
)


@dataclass
class Reading:
    sensor: str
    celsius: float


class Mean(AggregateFunction[Reading, tuple[float, int], float]):
    def create_accumulator(self) -> tuple[float, int]:
        return 0.0, 0

    def add(self, value: Reading, accumulator: tuple[float, int]) -> tuple[float, int]:
        return accumulator[0] + value.celsius, accumulator[1] + 1

    def get_result(self, accumulator: tuple[float, int]) -> float:
        return accumulator[0] / accumulator[1]


class Label(ProcessWindowFunction[float, str, str]):
    def process(
        self, key: str, context: ProcessWindowFunction.Context, elements: Iterable[float]
    ) -> Iterator[str]:
        for mean in elements:
            yield f"{key} {mean} {context.window().end}"


class Last(ProcessWindowFunction[Reading, Reading, str, GlobalWindow]):
    def process(
        self, key: str, context: ProcessWindowFunction.Context[GlobalWindow], elements: Sequence[Reading]
    ) -> Iterator[Reading]:
        context.window_state().get_state(ValueStateDescriptor("last", int)).update(1)
        yield elements[-1]


class Everyone(ProcessAllWindowFunction[Reading, int]):
    def process(
        self, context: ProcessAllWindowFunction.Context, elements: Sequence[Reading]
    ) -> Iterator[int]:
        yield context.window().start


class Alert(KeyedProcessFunction[str, Reading, bool]):
    def process_element(
        self, value: Reading, ctx: KeyedProcessFunction.Context
    ) -> Iterator[bool | tuple[OutputTag[Any], Any]]:
        yield value.celsius > 100
        yield OutputTag("hot", str), value.sensor


class Name(MapFunction[Reading, str]):
    def map(self, value: Reading) -> str:
        return value.sensor


class Celsius(FlatMapFunction[Reading, float]):
    def flat_map(self, value: Reading) -> list[float]:
        return [value.celsius]


def collect_celsius(reading: Reading, out: Collector[float]) -> None:
    out.collect(reading.celsius)


def read(line: str) -> Reading:
    sensor, celsius = line.split()
    return Reading(sensor, float(celsius))


env = StreamExecutionEnvironment.get_execution_environment().set_parallelism(2)
lines = env.from_collection(["a 1.0"])
assert_type(lines, DataStream[str])
readings = lines.map(read).name("read").uid("read")
assert_type(readings, DataStream[Reading])
assert_type(readings.map(Name()), DataStream[str])
assert_type(readings.filter(lambda reading: reading.celsius > 0), DataStream[Reading])
keyed_by_sensor = readings.key_by(lambda reading: reading.sensor)
assert_type(readings.flat_map(lambda reading: [reading.celsius]), DataStream[float])
assert_type(readings.flat_map(Celsius()), DataStream[float])
assert_type(readings.flat_map(collect_celsius), DataStream[float])
assert_type(keyed_by_sensor.flat_map(collect_celsius), DataStream[float])
assert_type(keyed_by_sensor.max_by("celsius"), DataStream[Reading])
assert_type(
    readings.partition_custom(lambda key, count: len(key) % count, lambda r: r.sensor), DataStream[Reading]
)
assert_type(readings.union(readings), DataStream[Reading])
keyed = readings.key_by(lambda reading: reading.sensor)
assert_type(keyed, KeyedStream[str, Reading])
assert_type(readings.key_by(lambda reading: reading.sensor, Types.STRING()), KeyedStream[str, Reading])
assert_type(keyed.reduce(lambda left, right: left), DataStream[Reading])
assert_type(keyed.process(Alert()).get_side_output(OutputTag("hot", str)), DataStream[str])
windows = keyed.window(TumblingEventTimeWindows.of(1000)).allowed_lateness(5)
assert_type(windows, WindowedStream[str, Reading, TimeWindow])
assert_type(
    windows.trigger(PurgingTrigger.of(CountTrigger.of(3))).evictor(CountEvictor.of(2)),
    WindowedStream[str, Reading, TimeWindow],
)
assert_type(windows.trigger(EventTimeTrigger.create()).max_by("celsius"), DataStream[Reading])
assert_type(windows.aggregate(Mean()), DataStream[float])
sessions = EventTimeSessionWindows.with_gap(5)
assert_type(keyed.window(sessions), WindowedStream[str, Reading, TimeWindow])
assert_type(keyed.count_window(3, 1), WindowedStream[str, Reading, GlobalWindow])
assert_type(keyed.count_window(3).process(Last()), DataStream[Reading])
assert_type(readings.window_all(sessions), AllWindowedStream[Reading, TimeWindow])
assert_type(readings.window_all(sessions).process(Everyone()), DataStream[int])
assert_type(readings.count_window_all(3).sum(1), DataStream[Reading])
assert_type(windows.aggregate(Mean(), Label()), DataStream[str])
assert_type(windows.reduce(lambda left, right: left), DataStream[Reading])
assert_type(readings.print(), DataStreamSink)
assert_type(readings.execute_and_collect(limit=3), list[Reading])
assert_type(readings.execute_and_collect("job", 3), list[Reading])
assert_type(readings.execute_and_collect(), CollectedResults[Reading])
