"""Functions that do not fit their stream: an error is expected in each statement that says so, and in no other. Never run."""

from collections.abc import Iterator, Sequence

from millstream import (
    AggregateFunction,
    AsyncDataStream,
    BroadcastProcessFunction,
    CoFlatMapFunction,
    CoMapFunction,
    CoProcessFunction,
    FilterFunction,
    FlatMapFunction,
    GlobalWindow,
    JoinFunction,
    KeyedProcessFunction,
    KeySelector,
    MapFunction,
    MapPartitionFunction,
    MapStateDescriptor,
    Order,
    OutputTag,
    ProcessFunction,
    ProcessJoinFunction,
    ProcessWindowFunction,
    ReduceFunction,
    SinkFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Types,
    ValueStateDescriptor,
    WatermarkStrategy,
    WindowFunction,
)
from millstream.connectors.datagen import NumberSequenceSource
from millstream.connectors.files import Encoder, FileSink


class MapText(MapFunction[str, int]):
    def map(self, value: str) -> int:
        return len(value)


class FlatMapText(FlatMapFunction[str, int]):
    def flat_map(self, value: str) -> list[int]:
        return [len(value)]


class FilterText(FilterFunction[str]):
    def filter(self, value: str) -> bool:
        return bool(value)


class KeyOfText(KeySelector[str, str]):
    def get_key(self, value: str) -> str:
        return value


class ReduceText(ReduceFunction[str]):
    def reduce(self, value1: str, value2: str) -> str:
        return value1 + value2


class ProcessText(ProcessFunction[str, int]):
    def process_element(self, value: str, ctx: ProcessFunction.Context) -> list[int]:
        return [len(value)]


class ProcessNumberOfTextKey(KeyedProcessFunction[str, int, int]):
    def process_element(self, value: int, ctx: KeyedProcessFunction.Context) -> list[int]:
        return [value]


class SumOfText(AggregateFunction[str, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: str, accumulator: int) -> int:
        return accumulator + len(value)

    def get_result(self, accumulator: int) -> int:
        return accumulator


class Sum(AggregateFunction[int, int, int]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: int, accumulator: int) -> int:
        return accumulator + value

    def get_result(self, accumulator: int) -> int:
        return accumulator


class WindowOfText(ProcessWindowFunction[str, str, int]):
    def process(
        self, key: int, context: ProcessWindowFunction.Context, elements: Sequence[str]
    ) -> Iterator[str]:
        yield from elements


class GlobalOnly(WindowFunction[int, int, int, GlobalWindow]):
    def apply(self, key: int, window: GlobalWindow, inputs: Sequence[int]) -> Iterator[int]:
        yield from inputs


class TwoTexts(CoMapFunction[str, str, str]):
    def map1(self, value: str) -> str:
        return value

    def map2(self, value: str) -> str:
        return value


class FlatTwoTexts(CoFlatMapFunction[str, str, str]):
    def flat_map1(self, value: str) -> list[str]:
        return [value]

    def flat_map2(self, value: str) -> list[str]:
        return [value]


class ProcessTwoTexts(CoProcessFunction[str, str, str]):
    def process_element1(self, value: str, ctx: CoProcessFunction.Context) -> list[str]:
        return [value]

    def process_element2(self, value: str, ctx: CoProcessFunction.Context) -> list[str]:
        return [value]


class Ruled(BroadcastProcessFunction[str, str, str]):
    def process_element(self, value: str, ctx: BroadcastProcessFunction.ReadOnlyContext) -> list[str]:
        return [value]

    def process_broadcast_element(self, value: str, ctx: BroadcastProcessFunction.Context) -> None:
        return None


class JoinTexts(JoinFunction[str, str, str]):
    def join(self, first: str, second: str) -> str:
        return first + second


class NearTexts(ProcessJoinFunction[str, str, str]):
    def process_element(self, left: str, right: str, ctx: ProcessJoinFunction.Context) -> list[str]:
        return [left + right]


class PartitionOfText(MapPartitionFunction[str, str]):
    def map_partition(self, values: Iterator[str]) -> Iterator[str]:
        return values


class KeepText(SinkFunction[str]):
    def invoke(self, value: str, context: SinkFunction.Context) -> None:
        """Is given a record."""


class Unchanged(MapFunction[int, int]):
    def map(self, value: str) -> int:  # error: override; reportIncompatibleMethodOverride
        return len(value)


async def ask(text: str) -> list[str]:
    return [text]


def not_async(number: int) -> list[int]:
    return [number]


env = StreamExecutionEnvironment.get_execution_environment()
numbers = env.from_sequence(1, 5)
texts = numbers.map(str)
by_number = numbers.key_by(lambda number: number)
by_text = texts.key_by(lambda text: text)
late = OutputTag[str]("late")
state = MapStateDescriptor("state", str, str)

env.from_collection([1, 2], Types.STRING())  # error: misc; reportArgumentType
numbers.map(MapText())  # error: arg-type; reportArgumentType
numbers.map(
    lambda number: number, Types.STRING()
)  # error: arg-type,return-value; reportArgumentType,reportReturnType
numbers.flat_map(FlatMapText())  # error: arg-type,call-overload; reportArgumentType,reportCallIssue
numbers.flat_map(
    lambda number: number
)  # error: call-overload,arg-type,return-value; reportArgumentType,reportCallIssue
numbers.filter(FilterText())  # error: arg-type; reportArgumentType
numbers.key_by(KeyOfText())  # error: arg-type; reportArgumentType
numbers.process(ProcessText())  # error: arg-type; reportArgumentType
numbers.process(ProcessNumberOfTextKey())  # error: arg-type; reportArgumentType
numbers.partition_custom(
    lambda key, count: key.upper(), lambda number: number
)  # error: attr-defined; reportAttributeAccessIssue
numbers.partition_custom(
    lambda key, count: "first", lambda number: number
)  # error: arg-type,return-value; reportArgumentType
numbers.get_side_output("late")  # error: arg-type; reportArgumentType
numbers.add_sink(KeepText())  # error: arg-type; reportArgumentType
numbers.sink_to(FileSink.for_row_format("out", str.encode).build())  # error: arg-type; reportArgumentType
numbers.sink_to(Encoder())  # error: arg-type; reportArgumentType
env.from_source(
    NumberSequenceSource, WatermarkStrategy.no_watermarks(), "a"
)  # error: arg-type; reportArgumentType
numbers.assign_timestamps_and_watermarks("monotonous")  # error: arg-type; reportArgumentType

by_number.reduce(ReduceText())  # error: arg-type; reportArgumentType
by_number.process(ProcessNumberOfTextKey())  # error: arg-type; reportArgumentType
by_number.process(ProcessText())  # error: arg-type; reportArgumentType
windows = by_number.window(TumblingEventTimeWindows.of(5))
windows.aggregate(SumOfText())  # error: arg-type,call-overload,misc; reportArgumentType,reportCallIssue
windows.aggregate(
    Sum(), WindowOfText()
)  # error: arg-type,call-overload,misc; reportArgumentType,reportCallIssue
windows.reduce(ReduceText())  # error: arg-type,call-overload,misc; reportArgumentType,reportCallIssue
windows.process(WindowOfText())  # error: arg-type; reportArgumentType
windows.apply(GlobalOnly())  # error: arg-type; reportArgumentType
windows.side_output_late_data(late)  # error: arg-type; reportArgumentType

numbers.connect(texts).map(TwoTexts())  # error: arg-type; reportArgumentType
numbers.connect(texts).flat_map(FlatTwoTexts())  # error: arg-type; reportArgumentType
numbers.connect(texts).process(ProcessTwoTexts())  # error: arg-type; reportArgumentType
numbers.connect(texts).key_by(len, len)  # error: arg-type; reportArgumentType
numbers.connect(texts.broadcast(state)).process(Ruled())  # error: arg-type; reportArgumentType
numbers.broadcast(
    ValueStateDescriptor("state", int)
)  # error: arg-type,call-overload,misc; reportArgumentType,reportCallIssue
by_number.interval_join(by_text)  # error: arg-type; reportArgumentType
by_number.interval_join(numbers)  # error: arg-type; reportArgumentType
near = by_number.interval_join(by_number).between(-1, 1)
near.process(NearTexts())  # error: arg-type; reportArgumentType
near.side_output_left_late_data(late)  # error: arg-type; reportArgumentType
joined = numbers.join(texts).where(lambda number: number).equal_to(len).window(TumblingEventTimeWindows.of(5))
joined.apply(JoinTexts())  # error: arg-type; reportArgumentType

AsyncDataStream.ordered_wait(numbers, ask, 5)  # error: arg-type; reportArgumentType
AsyncDataStream.unordered_wait(numbers, not_async, 5)  # error: arg-type; reportArgumentType
numbers.iterate().close_with(texts)  # error: arg-type; reportArgumentType
numbers.full_window_partition().map_partition(PartitionOfText())  # error: arg-type; reportArgumentType
numbers.full_window_partition().sort_partition(0, "ascending")  # error: arg-type; reportArgumentType
numbers.full_window_partition().sort_partition(
    lambda number: number.upper(), Order.ASCENDING
)  # error: attr-defined; reportAttributeAccessIssue
