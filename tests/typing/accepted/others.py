"""Asynchronous calls, loops, partitions, state, sources and sinks. Checked by tests/typing/test_typing.py, never run."""

from collections.abc import Iterable, Iterator
from typing import assert_type

from millstream import (
    AggregateFunction,
    AggregatingState,
    AggregatingStateDescriptor,
    AsyncDataStream,
    AsyncFunction,
    AsyncRetryPredicates,
    AsyncRetryStrategies,
    CachedDataStream,
    DataStream,
    DataStreamSink,
    IntCounter,
    IterativeStream,
    KeyedPartitionWindowedStream,
    KeyedProcessFunction,
    ListState,
    ListStateDescriptor,
    MapPartitionFunction,
    MapState,
    MapStateDescriptor,
    Order,
    PartitionWindowedStream,
    ReducingState,
    ReducingStateDescriptor,
    ResultFuture,
    RuntimeContext,
    SinkFunction,
    StreamExecutionEnvironment,
    ValueState,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, NumberSequenceSource
from millstream.connectors.files import Encoder, FileSink, FileSource, StreamFormat
from millstream.connectors.print_sink import PrintSink


class Ask(AsyncFunction[int, str]):
    async def async_invoke(self, value: int) -> list[str]:
        return [str(value)]


async def ask(number: int) -> list[bytes]:
    return [str(number).encode()]


def ask_in_java_s_style(number: int, result: ResultFuture[float]) -> None:
    result.complete([number / 2])


class Mean(AggregateFunction[int, tuple[int, int], float]):
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: int, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def get_result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]


class Count(MapPartitionFunction[int, str]):
    def map_partition(self, values: Iterator[int]) -> Iterable[str]:
        return [str(sum(1 for _ in values))]


class Remember(KeyedProcessFunction[int, int, int]):
    def open(self, runtime_context: RuntimeContext) -> None:
        assert_type(runtime_context.get_index_of_this_subtask(), int)
        assert_type(runtime_context.get_int_counter("seen"), IntCounter)
        value = runtime_context.get_state(ValueStateDescriptor("value", str))
        assert_type(value, ValueState[str])
        assert_type(value.value(), str | None)
        elements = runtime_context.get_list_state(ListStateDescriptor("list", int))
        assert_type(elements, ListState[int])
        assert_type(elements.get(), list[int])
        entries = runtime_context.get_map_state(MapStateDescriptor("map", str, float))
        assert_type(entries, MapState[str, float])
        assert_type(entries.get("a"), float | None)
        greatest = runtime_context.get_reducing_state(ReducingStateDescriptor("max", max, int))
        assert_type(greatest, ReducingState[int])
        mean = runtime_context.get_aggregating_state(AggregatingStateDescriptor("mean", Mean()))
        assert_type(mean, AggregatingState[int, float])
        assert_type(mean.get(), float | None)

    def process_element(self, value: int, ctx: KeyedProcessFunction.Context) -> list[int]:
        return [value]


class Keep(SinkFunction[int]):
    def invoke(self, value: int, context: SinkFunction.Context) -> None:
        assert_type(context.timestamp(), int | None)


env = StreamExecutionEnvironment.get_execution_environment()
numbers = env.from_sequence(1, 10)
assert_type(numbers.key_by(lambda number: number % 2).process(Remember()), DataStream[int])

assert_type(AsyncDataStream.ordered_wait(numbers, Ask(), 1000), DataStream[str])
assert_type(AsyncDataStream.unordered_wait(numbers, Ask(), 1000, capacity=5), DataStream[str])
assert_type(AsyncDataStream.ordered_wait(numbers, ask, 1000), DataStream[bytes])
assert_type(AsyncDataStream.unordered_wait(numbers, ask, 1000), DataStream[bytes])
assert_type(AsyncDataStream.unordered_wait(numbers, ask_in_java_s_style, 1000), DataStream[float])
retry = (
    AsyncRetryStrategies.FixedDelayRetryStrategyBuilder(3, 100)
    .if_exception(AsyncRetryPredicates.has_exception_predicate)
    .build()
)
assert_type(AsyncDataStream.ordered_wait_with_retry(numbers, Ask(), 1000, retry), DataStream[str])
assert_type(AsyncDataStream.unordered_wait_with_retry(numbers, ask, 1000, retry), DataStream[bytes])

loop = numbers.iterate()
assert_type(loop, IterativeStream[int])
halved = loop.map(lambda number: number // 2)
assert_type(loop.close_with(halved.filter(lambda number: number > 1)), DataStream[int])

cached = numbers.cache()
assert_type(cached, CachedDataStream[int])
assert_type(cached.map(str), DataStream[str])

partitions = numbers.full_window_partition()
assert_type(partitions, PartitionWindowedStream[int])
assert_type(partitions.map_partition(Count()), DataStream[str])
assert_type(partitions.map_partition(lambda values: [sum(values) / 2]), DataStream[float])
assert_type(partitions.sort_partition(lambda number: -number, Order.ASCENDING), DataStream[int])
assert_type(partitions.reduce(lambda left, right: left + right), DataStream[int])
assert_type(partitions.aggregate(Mean()), DataStream[float])
of_keys = numbers.key_by(lambda number: number % 2).full_window_partition()
assert_type(of_keys, KeyedPartitionWindowedStream[int])
assert_type(of_keys.aggregate(Mean()), DataStream[float])

no_watermarks = WatermarkStrategy.no_watermarks()
assert_type(env.from_source(NumberSequenceSource(1, 5), no_watermarks, "numbers"), DataStream[int])
generated = DataGeneratorSource(lambda index: f"line {index}", 5)
assert_type(env.from_source(generated, no_watermarks, "generated"), DataStream[str])
files = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "in").build()
assert_type(env.from_source(files, no_watermarks, "files"), DataStream[str])
assert_type(env.read_text_file("in"), DataStream[str])
assert_type(env.socket_text_stream("localhost", 1234), DataStream[str])

assert_type(numbers.add_sink(Keep()), DataStreamSink)
assert_type(numbers.add_sink(print), DataStreamSink)
assert_type(numbers.sink_to(PrintSink("numbers")), DataStreamSink)
to_files = FileSink.for_row_format("out", Encoder.simple_string_encoder()).build()
assert_type(numbers.map(str).sink_to(to_files).name("files"), DataStreamSink)
