"""Wrong arguments anywhere in the DataStream API fail while the program is built, at the user's own line, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import millstream as ms
from millstream import (
    AsyncDataStream,
    AsyncRetryStrategies,
    Duration,
    Instant,
    JobDefinitionError,
    MapStateDescriptor,
    OutputTag,
    StateError,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    Types,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, NumberSequenceSource, RateLimiterStrategy
from millstream.connectors.files import (
    BucketAssigner,
    Encoder,
    FileSink,
    FileSource,
    OutputFileConfig,
    RollingPolicy,
    StreamFormat,
)
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)

NAN = float("nan")
FOR_EVER = 2**63  # one more than fits into Flink's times


class Scene:
    """A fresh environment and one of each kind of stream."""

    def __init__(self) -> None:
        self.env: Any = StreamExecutionEnvironment.get_execution_environment()
        self.numbers: Any = self.env.from_collection([1, 2], int)
        self.words: Any = self.env.from_collection(["a"], str)
        self.pairs: Any = self.env.from_collection([("a", 1)], Types.TUPLE([Types.STRING(), Types.LONG()]))
        self.keyed: Any = self.numbers.key_by(lambda n: n % 2, int)
        self.keyed_words: Any = self.words.key_by(lambda word: word, str)
        self.windowed: Any = self.keyed.window(TumblingEventTimeWindows.of(10))
        self.sessions: Any = self.keyed.window(ms.EventTimeSessionWindows.with_gap(10))
        self.all_windowed: Any = self.numbers.window_all(TumblingEventTimeWindows.of(10))
        self.connected: Any = self.numbers.connect(self.words)
        self.rules: Any = self.words.broadcast(MapStateDescriptor("rules", str, str))
        self.strategy: Any = WatermarkStrategy.for_monotonous_timestamps()


class NoArguments(ms.MapFunction[Any, Any]):
    def map(self) -> Any:  # type: ignore[override]
        return None


class Sum(ms.AggregateFunction[Any, Any, Any]):
    def create_accumulator(self) -> Any:
        return 0

    def add(self, value: Any, accumulator: Any) -> Any:
        return value + accumulator

    def get_result(self, accumulator: Any) -> Any:
        return accumulator


class AddsOne(Sum):
    def add(self, value: Any) -> Any:  # type: ignore[override]
        return value


class Looking(ms.AsyncFunction[Any, Any]):
    async def async_invoke(self, value: Any) -> Any:
        return [value]


async def look_up(value: Any) -> list[Any]:
    return [value]


async def look_up_two(left: Any, right: Any, other: Any) -> list[Any]:
    return [left, right, other]


FIXED: Any = AsyncRetryStrategies.FixedDelayRetryStrategyBuilder
EXPONENTIAL: Any = AsyncRetryStrategies.ExponentialBackoffDelayRetryStrategyBuilder
anything: Any = ms  # the same module for calls that a type checker refuses
WINDOWS: Any = TumblingEventTimeWindows
SLIDING: Any = ms.SlidingEventTimeWindows
SESSIONS: Any = ms.EventTimeSessionWindows
STRATEGY: Any = WatermarkStrategy
TYPES: Any = Types
GROUP: Any = ms.SlotSharingGroup
KAFKA: Any = KafkaSource
KAFKA_SINK: Any = KafkaSink
OFFSETS: Any = KafkaOffsetsInitializer
KAFKA_RECORD: Any = KafkaRecordSerializationSchema
FILES: Any = FileSource
FILE_SINK: Any = FileSink
ROLLING: Any = RollingPolicy


def kafka_source() -> Any:
    source: Any = KafkaSource.builder().set_bootstrap_servers("localhost:1").set_topics("t")
    return source.set_value_only_deserializer(lambda value: value)


def kafka_sink() -> Any:
    record: Any = KafkaRecordSerializationSchema.builder().set_topic("t")
    record = record.set_value_serialization_schema(lambda value: value).build()
    return KafkaSink.builder().set_bootstrap_servers("localhost:1").set_record_serializer(record)


def kafka_record() -> Any:
    return KafkaRecordSerializationSchema.builder().set_value_serialization_schema(lambda value: value)


def file_sink() -> Any:
    return FileSink.for_row_format("/nowhere", Encoder.simple_string_encoder())


def file_source() -> Any:
    return FileSource.for_record_stream_format(StreamFormat.text_line_format(), "/nowhere")


CASES: dict[str, list[Callable[[Scene], Any]]] = {
    "map": [
        lambda s: s.numbers.map(None),
        lambda s: s.numbers.map(3),
        lambda s: s.numbers.map(lambda: 1),
        lambda s: s.numbers.map(lambda a, b: a),
        lambda s: s.numbers.map(look_up),
        lambda s: s.numbers.map(NoArguments()),
        lambda s: s.numbers.map(ms.MapFunction),
        lambda s: s.numbers.map(lambda n: n, "no type"),
        lambda s: s.numbers.map(lambda n: n, 3),
        lambda s: s.numbers.map(OutputTag("t")),
        lambda s: s.numbers.map(s.words),
        lambda s: s.keyed.map(None),
        lambda s: s.keyed.map(NoArguments()),
    ],
    "flat_map": [
        lambda s: s.numbers.flat_map(None),
        lambda s: s.numbers.flat_map(lambda: [1]),
        lambda s: s.numbers.flat_map(lambda a, b, c: []),
        lambda s: s.numbers.flat_map("text"),
        lambda s: s.numbers.flat_map(ms.FlatMapFunction),
        lambda s: s.numbers.flat_map(lambda n: [n], 5),
        lambda s: s.keyed.flat_map(None),
    ],
    "filter": [
        lambda s: s.numbers.filter(None),
        lambda s: s.numbers.filter(lambda: True),
        lambda s: s.numbers.filter(True),
        lambda s: s.numbers.filter(look_up),
        lambda s: s.keyed.filter(7),
    ],
    "project": [
        lambda s: s.pairs.project(),
        lambda s: s.pairs.project(2),
        lambda s: s.pairs.project(-1),
        lambda s: s.pairs.project("a"),
        lambda s: s.pairs.project(True),
        lambda s: s.pairs.project(None),
    ],
    "process": [
        lambda s: s.numbers.process(None),
        lambda s: s.numbers.process(lambda value: []),
        lambda s: s.numbers.process(ms.ProcessFunction),
        lambda s: s.keyed.process(None),
        lambda s: s.keyed.process(lambda value: []),
        lambda s: s.keyed.process(lambda value, ctx: [], "no type"),
    ],
    "timestamps": [
        lambda s: s.numbers.assign_timestamps_and_watermarks(None),
        lambda s: s.numbers.assign_timestamps_and_watermarks(WatermarkStrategy),
        lambda s: s.numbers.assign_timestamps_and_watermarks(lambda value: value),
        lambda s: STRATEGY.for_bounded_out_of_orderness(-1),
        lambda s: STRATEGY.for_bounded_out_of_orderness(None),
        lambda s: STRATEGY.for_bounded_out_of_orderness(1.5),
        lambda s: STRATEGY.for_bounded_out_of_orderness(NAN),
        lambda s: STRATEGY.for_bounded_out_of_orderness("1 s"),
        lambda s: STRATEGY.for_bounded_out_of_orderness(True),
        lambda s: STRATEGY.for_bounded_out_of_orderness(FOR_EVER),
        lambda s: STRATEGY.for_generator(None),
        lambda s: STRATEGY.for_generator(5),
        lambda s: STRATEGY.for_generator(lambda context: None),
        lambda s: s.strategy.with_timestamp_assigner(None),
        lambda s: s.strategy.with_timestamp_assigner(5),
        lambda s: s.strategy.with_timestamp_assigner(lambda value: value),
        lambda s: s.strategy.with_timestamp_assigner(lambda a, b, c: a),
        lambda s: s.strategy.with_timestamp_assigner(look_up),
        lambda s: s.strategy.with_timestamp_assigner(ms.TimestampAssigner),
        lambda s: s.strategy.with_idleness(0),
        lambda s: s.strategy.with_idleness(-1),
        lambda s: s.strategy.with_idleness(None),
        lambda s: s.strategy.with_idleness(1.5),
        lambda s: s.strategy.with_watermark_alignment("", 1),
        lambda s: s.strategy.with_watermark_alignment(None, 1),
        lambda s: s.strategy.with_watermark_alignment(5, 1),
        lambda s: s.strategy.with_watermark_alignment("g", -1),
        lambda s: s.strategy.with_watermark_alignment("g", None),
        lambda s: s.strategy.with_watermark_alignment("g", 1, 0),
        lambda s: WatermarkStrategy.no_watermarks().with_watermark_alignment("g", 1),
    ],
    "lengths of time": [
        lambda s: anything.Duration.of_seconds(1.5),
        lambda s: anything.Duration.of_days("1"),
        lambda s: anything.Duration.of_millis(None),
        lambda s: anything.Duration.of_nanos(NAN),
        lambda s: anything.Duration.of_minutes(True),
        lambda s: anything.Duration([1]),
        lambda s: anything.Time.seconds(1.5),
        lambda s: anything.Time.days("1"),
        lambda s: anything.Time.hours([1]),
        lambda s: anything.Time.minutes(None),
        lambda s: anything.Time.milliseconds(NAN),
        lambda s: anything.Time(True),
        lambda s: anything.Instant.of_epoch_milli(1.5),
        lambda s: anything.Instant.of_epoch_milli(None),
        lambda s: anything.Instant("now"),
        lambda s: Instant(0, 10**9),
        lambda s: Instant(0, -1),
    ],
    "window assigners": [
        lambda s: s.keyed.window(None),
        lambda s: s.keyed.window(10),
        lambda s: s.keyed.window(WINDOWS),
        lambda s: s.keyed.window(ms.CountTrigger.of(1)),
        lambda s: s.numbers.window_all(None),
        lambda s: s.numbers.window_all(Time.seconds(1)),
        lambda s: WINDOWS.of(0),
        lambda s: WINDOWS.of(-1),
        lambda s: WINDOWS.of(None),
        lambda s: WINDOWS.of(1.5),
        lambda s: WINDOWS.of(NAN),
        lambda s: WINDOWS.of("1 min"),
        lambda s: WINDOWS.of(FOR_EVER),
        lambda s: WINDOWS.of(Duration.of_nanos(1)),
        lambda s: WINDOWS.of(timedelta(0)),
        lambda s: WINDOWS.of(10, 10),
        lambda s: WINDOWS.of(10, -10),
        lambda s: WINDOWS.of(10, "1"),
        lambda s: WINDOWS.of(10, 0, None),
        lambda s: WINDOWS.of(10, 0, "RANDOM"),
        lambda s: WINDOWS(None),
        lambda s: WINDOWS(2.5),
        lambda s: anything.TumblingProcessingTimeWindows.of(0),
        lambda s: anything.TumblingProcessingTimeWindows.of(10, 11),
        lambda s: SLIDING.of(0, 1),
        lambda s: SLIDING.of(10, 0),
        lambda s: SLIDING.of(10, -5),
        lambda s: SLIDING.of(10, None),
        lambda s: SLIDING.of(10, 5, 5),
        lambda s: SLIDING.of(10, 5, -5),
        lambda s: SLIDING(10, "5"),
        lambda s: anything.SlidingProcessingTimeWindows.of(-1, 1),
        lambda s: SESSIONS.with_gap(0),
        lambda s: SESSIONS.with_gap(-5),
        lambda s: SESSIONS.with_gap(None),
        lambda s: SESSIONS.with_gap("5"),
        lambda s: SESSIONS(0),
        lambda s: SESSIONS(None),
        lambda s: SESSIONS.with_dynamic_gap(None),
        lambda s: SESSIONS.with_dynamic_gap(5),
        lambda s: SESSIONS.with_dynamic_gap(lambda: 5),
        lambda s: SESSIONS.with_dynamic_gap(lambda a, b: 5),
        lambda s: anything.ProcessingTimeSessionWindows.with_gap(0),
        lambda s: anything.DynamicEventTimeSessionWindows.with_dynamic_gap("gap"),
        lambda s: anything.DynamicProcessingTimeSessionWindows.with_dynamic_gap(
            ms.SessionWindowTimeGapExtractor
        ),
        lambda s: anything.GlobalWindows(5),
        lambda s: anything.CountTumblingWindowAssigner.of(0),
        lambda s: anything.CountTumblingWindowAssigner.of(None),
        lambda s: anything.CountSlidingWindowAssigner.of(5, 0),
        lambda s: anything.CountSlidingWindowAssigner.of(-1, 1),
        lambda s: anything.CountSlidingWindowAssigner.of(2.5, 1),
        lambda s: s.keyed.count_window(0),
        lambda s: s.keyed.count_window(-1),
        lambda s: s.keyed.count_window(None),
        lambda s: s.keyed.count_window("3"),
        lambda s: s.keyed.count_window(NAN),
        lambda s: s.keyed.count_window(True),
        lambda s: s.keyed.count_window(3, -1),
        lambda s: s.keyed.count_window(3, 1.5),
        lambda s: s.numbers.count_window_all(0),
        lambda s: s.numbers.count_window_all(3, -1),
    ],
    "triggers": [
        lambda s: s.windowed.trigger(None),
        lambda s: s.windowed.trigger(ms.CountTrigger),
        lambda s: s.windowed.trigger(ms.CountEvictor.of(1)),
        lambda s: s.all_windowed.trigger(5),
        lambda s: s.sessions.trigger(ms.DeltaTrigger.of(1, lambda a, b: b - a)),
        lambda s: anything.CountTrigger.of(0),
        lambda s: anything.CountTrigger.of(-1),
        lambda s: anything.CountTrigger.of(None),
        lambda s: anything.CountTrigger.of(1.5),
        lambda s: anything.CountTrigger.of(True),
        lambda s: anything.PurgingTrigger.of(None),
        lambda s: anything.PurgingTrigger.of(ms.CountTrigger),
        lambda s: anything.ContinuousEventTimeTrigger.of(0),
        lambda s: anything.ContinuousEventTimeTrigger.of(-1),
        lambda s: anything.ContinuousEventTimeTrigger.of(None),
        lambda s: anything.ContinuousEventTimeTrigger("1"),
        lambda s: anything.ContinuousProcessingTimeTrigger.of(0),
        lambda s: anything.ContinuousProcessingTimeTrigger.of("1"),
        lambda s: anything.DeltaTrigger.of(None, lambda a, b: 1),
        lambda s: anything.DeltaTrigger.of("far", lambda a, b: 1),
        lambda s: anything.DeltaTrigger.of(NAN, lambda a, b: 1),
        lambda s: anything.DeltaTrigger.of(1, None),
        lambda s: anything.DeltaTrigger.of(1, lambda a: 1),
        lambda s: anything.DeltaTrigger.of(1, lambda a, b: 1, "no type"),
        lambda s: anything.ProcessingTimeoutTrigger.of(None, 5),
        lambda s: anything.ProcessingTimeoutTrigger.of(ms.CountTrigger.of(1), 0),
        lambda s: anything.ProcessingTimeoutTrigger.of(ms.CountTrigger.of(1), None),
    ],
    "evictors": [
        lambda s: s.windowed.evictor(None),
        lambda s: s.windowed.evictor(ms.CountEvictor),
        lambda s: s.all_windowed.evictor(ms.CountTrigger.of(1)),
        lambda s: anything.CountEvictor.of(0),
        lambda s: anything.CountEvictor.of(-1),
        lambda s: anything.CountEvictor.of(None),
        lambda s: anything.CountEvictor.of(1.5),
        lambda s: anything.TimeEvictor.of(0),
        lambda s: anything.TimeEvictor.of(None),
        lambda s: anything.TimeEvictor(1.5),
        lambda s: anything.TimeEvictor("5"),
        lambda s: anything.DeltaEvictor.of(None, lambda a, b: 1),
        lambda s: anything.DeltaEvictor.of(NAN, lambda a, b: 1),
        lambda s: anything.DeltaEvictor.of(1, 5),
        lambda s: anything.DeltaEvictor.of(1, lambda a: 1),
    ],
    "windows": [
        lambda s: s.windowed.allowed_lateness(-1),
        lambda s: s.windowed.allowed_lateness(None),
        lambda s: s.windowed.allowed_lateness(1.5),
        lambda s: s.windowed.allowed_lateness("1"),
        lambda s: s.windowed.allowed_lateness(FOR_EVER),
        lambda s: s.all_windowed.allowed_lateness(-1),
        lambda s: s.windowed.side_output_late_data(None),
        lambda s: s.windowed.side_output_late_data("late"),
        lambda s: s.all_windowed.side_output_late_data(5),
        lambda s: s.windowed.reduce(None),
        lambda s: s.windowed.reduce(lambda a: a),
        lambda s: s.windowed.reduce(Sum()),
        lambda s: s.windowed.reduce(lambda a, b: a, 5),
        lambda s: s.windowed.reduce(lambda a, b: a, lambda key, window: []),
        lambda s: s.windowed.reduce(lambda a, b: a, ms.ProcessWindowFunction),
        lambda s: s.windowed.aggregate(None),
        lambda s: s.windowed.aggregate(Sum),
        lambda s: s.windowed.aggregate(AddsOne()),
        lambda s: s.windowed.aggregate(lambda a, b: a),
        lambda s: s.windowed.aggregate(Sum(), 5),
        lambda s: s.windowed.aggregate(Sum(), None, "no type"),
        lambda s: s.sessions.aggregate(Sum()),
        lambda s: s.windowed.process(None),
        lambda s: s.windowed.process(lambda key, context, elements: []),
        lambda s: s.windowed.process(ms.ProcessWindowFunction),
        lambda s: s.windowed.apply(None),
        lambda s: s.windowed.apply("text"),
        lambda s: s.all_windowed.process(5),
        lambda s: s.all_windowed.reduce(lambda: 1),
        lambda s: s.all_windowed.aggregate("text"),
        lambda s: s.all_windowed.apply(None),
        lambda s: s.windowed.sum("no such field"),
        lambda s: s.windowed.min(3),
        lambda s: s.windowed.max(None),
        lambda s: s.windowed.min_by(-1),
        lambda s: s.windowed.max_by(1.5),
        lambda s: s.all_windowed.sum(True),
    ],
    "rolling": [
        lambda s: s.keyed.reduce(None),
        lambda s: s.keyed.reduce(lambda a: a),
        lambda s: s.keyed.reduce(ms.ReduceFunction),
        lambda s: s.keyed.sum("x"),
        lambda s: s.keyed.sum(2),
        lambda s: s.keyed.sum(None),
        lambda s: s.keyed_words.sum(),
        lambda s: s.keyed.min(-1),
        lambda s: s.keyed.max([1]),
        lambda s: s.keyed.min_by(1.0),
        lambda s: s.keyed.max_by(True),
    ],
    "keys and partitions": [
        lambda s: s.numbers.key_by(None),
        lambda s: s.numbers.key_by(0),
        lambda s: s.numbers.key_by("name"),
        lambda s: s.numbers.key_by(lambda: 1),
        lambda s: s.numbers.key_by(look_up),
        lambda s: s.numbers.key_by(ms.KeySelector),
        lambda s: s.numbers.key_by(lambda n: n, "no type"),
        lambda s: s.keyed.rebalance(),
        lambda s: s.keyed.forward(),
        lambda s: s.numbers.partition_custom(None, lambda n: n),
        lambda s: s.numbers.partition_custom(lambda key: 0, lambda n: n),
        lambda s: s.numbers.partition_custom(lambda key, count: 0, None),
        lambda s: s.numbers.partition_custom(lambda key, count: 0, lambda: 1),
        lambda s: s.numbers.partition_custom(ms.Partitioner, lambda n: n),
        lambda s: s.numbers.union(None),
        lambda s: s.numbers.union([s.words]),
        lambda s: s.numbers.union(Scene().numbers),
    ],
    "two inputs": [
        lambda s: s.numbers.connect(None),
        lambda s: s.numbers.connect(5),
        lambda s: s.numbers.connect(Scene().numbers),
        lambda s: s.connected.map(None),
        lambda s: s.connected.map(lambda value: value),
        lambda s: s.connected.map(ms.CoMapFunction),
        lambda s: s.connected.flat_map(lambda value: []),
        lambda s: s.connected.process(lambda value, ctx: []),
        lambda s: s.connected.key_by(None, lambda word: word),
        lambda s: s.connected.key_by(lambda n: n, 5),
        lambda s: s.keyed.connect(s.keyed_words).process(Looking()),
        lambda s: s.words.broadcast(ms.ValueStateDescriptor("rules")),
        lambda s: s.words.broadcast("rules"),
        lambda s: s.numbers.connect(s.rules).process(None),
        lambda s: s.keyed.connect(s.rules).process(ms.BroadcastProcessFunction),
        lambda s: s.keyed.interval_join(None),
        lambda s: s.keyed.interval_join(s.words),
        lambda s: s.keyed.interval_join(s.keyed_words),
        lambda s: s.keyed.interval_join(s.keyed).between(None, 1),
        lambda s: s.keyed.interval_join(s.keyed).between(0, "1"),
        lambda s: s.keyed.interval_join(s.keyed).between(1, 0),
        lambda s: s.keyed.interval_join(s.keyed).between(1.5, 2),
        lambda s: s.keyed.interval_join(s.keyed).between(0, FOR_EVER),
        lambda s: s.keyed.interval_join(s.keyed).in_processing_time(),
        lambda s: s.keyed.interval_join(s.keyed).between(0, 1).process(None),
        lambda s: s.keyed.interval_join(s.keyed).between(0, 1).process(lambda a, b: []),
        lambda s: s.keyed.interval_join(s.keyed).between(0, 1).side_output_left_late_data("late"),
        lambda s: s.keyed.interval_join(s.keyed).between(0, 1).side_output_right_late_data(None),
        lambda s: s.numbers.join(None),
        lambda s: s.numbers.join(5),
        lambda s: s.numbers.join(Scene().numbers),
        lambda s: s.numbers.join(s.words).where(None),
        lambda s: s.numbers.join(s.words).where(lambda: 1),
        lambda s: s.numbers.join(s.words).where(lambda n: n).equal_to(5),
        lambda s: s.numbers.join(s.numbers).where(lambda n: n).equal_to(lambda n: n).window(None),
        lambda s: (
            s.numbers.join(s.numbers)
            .where(lambda n: n)
            .equal_to(lambda n: n)
            .window(WINDOWS.of(1))
            .apply(None)
        ),
        lambda s: s.numbers.join(s.numbers).where(abs).equal_to(abs).window(WINDOWS.of(1)).apply(lambda a: a),
        lambda s: s.numbers.join(s.numbers).where(abs).equal_to(abs).window(WINDOWS.of(1)).trigger(1),
        lambda s: s.numbers.join(s.numbers).where(abs).equal_to(abs).window(WINDOWS.of(1)).evictor(1),
        lambda s: (
            s.numbers.join(s.numbers).where(abs).equal_to(abs).window(WINDOWS.of(1)).allowed_lateness(-1)
        ),
        lambda s: s.numbers.co_group(None),
        lambda s: s.numbers.co_group(s.words).where(None),
        lambda s: s.numbers.co_group(s.numbers).where(abs).equal_to(abs).window(5),
        lambda s: (
            s.numbers.co_group(s.numbers).where(abs).equal_to(abs).window(WINDOWS.of(1)).apply(lambda a: [])
        ),
    ],
    "loops and partitions": [
        lambda s: s.numbers.iterate(-1),
        lambda s: s.numbers.iterate("1"),
        lambda s: s.numbers.iterate().close_with(None),
        lambda s: s.numbers.iterate().close_with(s.numbers),
        lambda s: s.numbers.full_window_partition().map_partition(None),
        lambda s: s.numbers.full_window_partition().map_partition(lambda: [1]),
        lambda s: s.numbers.full_window_partition().sort_partition(None),
        lambda s: s.numbers.full_window_partition().sort_partition(lambda n: n, "DESCENDING"),
        lambda s: s.numbers.full_window_partition().sort_partition(1.5),
        lambda s: s.numbers.full_window_partition().sort_partition(-1),
        lambda s: s.numbers.full_window_partition().reduce(lambda a: a),
        lambda s: s.numbers.full_window_partition().aggregate(None),
        lambda s: s.numbers.full_window_partition().aggregate(Sum),
        lambda s: s.keyed.full_window_partition().reduce(5),
    ],
    "side outputs": [
        lambda s: anything.OutputTag(""),
        lambda s: anything.OutputTag(None),
        lambda s: anything.OutputTag(5),
        lambda s: anything.OutputTag("late", "no type"),
        lambda s: anything.OutputTag("late", 5),
        lambda s: s.numbers.map(abs).get_side_output(None),
        lambda s: s.numbers.map(abs).get_side_output("late"),
        lambda s: s.keyed.get_side_output(OutputTag("late")),
    ],
    "sinks": [
        lambda s: s.numbers.sink_to(None),
        lambda s: s.numbers.sink_to(FileSink),
        lambda s: s.numbers.sink_to(print),
        lambda s: s.numbers.add_sink(None),
        lambda s: s.numbers.add_sink(lambda: None),
        lambda s: s.numbers.add_sink(ms.SinkFunction),
        lambda s: s.numbers.add_sink(kafka_sink().build()),
        lambda s: s.numbers.print(5),
        lambda s: s.numbers.execute_and_collect(limit=-1),
        lambda s: s.numbers.execute_and_collect(limit="3"),
        lambda s: s.numbers.execute_and_collect(limit=1.5),
    ],
    "asynchronous": [
        lambda s: AsyncDataStream.ordered_wait(None, look_up, 1),
        lambda s: AsyncDataStream.unordered_wait(5, look_up, 1),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, None, 1),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, abs, 1),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, Looking, 1),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up_two, 1),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, lambda value: value, 1),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, -1),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, None),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, 1.5),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, NAN),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, 1, 0),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, 1, -5),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, 1, None),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, 1, 1.5),
        lambda s: AsyncDataStream.ordered_wait(s.numbers, look_up, 1, 1, "no type"),
        lambda s: AsyncDataStream.ordered_wait_with_retry(s.numbers, look_up, 0, FIXED(1, 1).build()),
        lambda s: AsyncDataStream.unordered_wait_with_retry(s.numbers, look_up, 1, None),
        lambda s: AsyncDataStream.unordered_wait_with_retry(s.numbers, look_up, 1, FIXED(1, 1)),
        lambda s: FIXED(0, 1).build(),
        lambda s: FIXED(-1, 1).build(),
        lambda s: FIXED(None, 1).build(),
        lambda s: FIXED(1.5, 1).build(),
        lambda s: FIXED(NAN, 1).build(),
        lambda s: FIXED(1, 0).build(),
        lambda s: FIXED(1, "1").build(),
        lambda s: FIXED(1, 1.5).build(),
        lambda s: FIXED(1, 1).if_result(5).build(),
        lambda s: FIXED(1, 1).if_result(lambda: True).build(),
        lambda s: FIXED(1, 1).if_exception("text").build(),
        lambda s: EXPONENTIAL(0, 1, 1, 2.0).build(),
        lambda s: EXPONENTIAL(1, 0, 1, 2.0).build(),
        lambda s: EXPONENTIAL(1, 1, 0, 2.0).build(),
        lambda s: EXPONENTIAL(1, 1, 1, 0).build(),
        lambda s: EXPONENTIAL(1, 1, 1, NAN).build(),
        lambda s: EXPONENTIAL(1, 1, 1, None).build(),
        lambda s: EXPONENTIAL(1, NAN, 1, 2.0).build(),
    ],
    "settings of operators": [
        lambda s: s.numbers.map(abs).name(None),
        lambda s: s.numbers.map(abs).name(""),
        lambda s: s.numbers.map(abs).name(5),
        lambda s: s.numbers.print().name(None),
        lambda s: s.numbers.print().name(5),
        lambda s: s.numbers.map(abs).uid(""),
        lambda s: s.numbers.map(abs).uid(None),
        lambda s: s.numbers.map(abs).uid(5),
        lambda s: s.numbers.map(abs).set_uid_hash("xyz"),
        lambda s: s.numbers.map(abs).set_uid_hash(None),
        lambda s: s.numbers.map(abs).set_description(None),
        lambda s: s.numbers.map(abs).set_description(5),
        lambda s: s.numbers.map(abs).set_parallelism(0),
        lambda s: s.numbers.map(abs).set_parallelism(-1),
        lambda s: s.numbers.map(abs).set_parallelism(None),
        lambda s: s.numbers.map(abs).set_parallelism("2"),
        lambda s: s.numbers.map(abs).set_parallelism(1.5),
        lambda s: s.numbers.map(abs).set_parallelism(True),
        lambda s: s.numbers.map(abs).set_parallelism(40_000),
        lambda s: s.numbers.map(abs).set_max_parallelism(0),
        lambda s: s.numbers.map(abs).set_max_parallelism(32_769),
        lambda s: s.numbers.map(abs).set_max_parallelism(NAN),
        lambda s: s.numbers.map(abs).set_buffer_timeout(-2),
        lambda s: s.numbers.map(abs).set_buffer_timeout(None),
        lambda s: s.numbers.map(abs).slot_sharing_group(None),
        lambda s: s.numbers.map(abs).slot_sharing_group(""),
        lambda s: s.numbers.map(abs).slot_sharing_group(5),
        lambda s: s.keyed.name("keyed"),
        lambda s: s.numbers.rebalance().set_parallelism(2),
        lambda s: s.numbers.union(s.words).uid("both"),
        lambda s: GROUP.builder(None),
        lambda s: GROUP.builder(""),
        lambda s: GROUP.builder("g").set_cpu_cores(0),
        lambda s: GROUP.builder("g").set_cpu_cores(NAN),
        lambda s: GROUP.builder("g").set_cpu_cores(None),
        lambda s: GROUP.builder("g").set_cpu_cores("two"),
        lambda s: GROUP.builder("g").set_task_heap_memory(5),
        lambda s: GROUP.builder("g").set_task_heap_memory_mb(0),
        lambda s: GROUP.builder("g").set_task_heap_memory_mb(1.5),
        lambda s: GROUP.builder("g").set_task_off_heap_memory_mb("1"),
        lambda s: GROUP.builder("g").set_managed_memory(None),
        lambda s: GROUP.builder("g").set_external_resource("gpu", -1),
        lambda s: GROUP.builder("g").set_external_resource(None, 1),
        lambda s: GROUP.builder("g").set_external_resource("gpu", None),
        lambda s: anything.MemorySize.of_mebi_bytes(None),
        lambda s: anything.MemorySize(-1),
    ],
    "environment": [
        lambda s: s.env.set_parallelism(0),
        lambda s: s.env.set_parallelism(None),
        lambda s: s.env.set_parallelism("2"),
        lambda s: s.env.set_max_parallelism(-1),
        lambda s: s.env.set_max_parallelism(1 << 20),
        lambda s: s.env.enable_checkpointing(0),
        lambda s: s.env.enable_checkpointing(-1),
        lambda s: s.env.enable_checkpointing(None),
        lambda s: s.env.enable_checkpointing("1 s"),
        lambda s: s.env.enable_checkpointing(1000, "exactly"),
        lambda s: s.env.set_runtime_mode("batch"),
        lambda s: s.env.set_runtime_mode(None),
        lambda s: s.env.set_state_backend("rocksdb"),
        lambda s: s.env.set_state_backend(None),
        lambda s: s.env.set_state_backend(ms.HashMapStateBackend),
        lambda s: s.env.set_buffer_timeout(-5),
        lambda s: s.env.set_buffer_timeout("1"),
        lambda s: s.env.register_slot_sharing_group("group"),
        lambda s: s.env.register_slot_sharing_group(None),
        lambda s: s.env.configure(None),
        lambda s: s.env.configure("a=b"),
        lambda s: s.env.configure({"parallelism.default": "no number"}),
        lambda s: s.env.configure({"parallelism.defalt": "1"}),
        lambda s: s.env.configure({5: "1"}),
        lambda s: s.env.execute(5),
        lambda s: s.env.execute_async(5),
        lambda s: StreamExecutionEnvironment.get_execution_environment(anything),
        lambda s: StreamExecutionEnvironment.get_execution_environment(
            anything.Configuration({"parallelism.default": 0})
        ),
        lambda s: anything.Configuration(5),
        lambda s: anything.Configuration().set(None, 1),
        lambda s: anything.Configuration().set_string(5, "1"),
        lambda s: anything.Configuration().set_string("k", object()),
        lambda s: anything.Configuration().add_all({"a": "b"}),
        lambda s: s.env.get_config().set_auto_watermark_interval(0),
        lambda s: s.env.get_config().set_auto_watermark_interval(None),
        lambda s: s.env.get_config().set_global_job_parameters(5),
        lambda s: s.env.get_config().set_parallelism(0),
        lambda s: s.env.get_config().set_max_parallelism(0),
        lambda s: s.env.get_checkpoint_config().set_checkpoint_interval(0),
        lambda s: s.env.get_checkpoint_config().set_checkpoint_timeout(0),
        lambda s: s.env.get_checkpoint_config().set_checkpoint_timeout(None),
        lambda s: s.env.get_checkpoint_config().set_min_pause_between_checkpoints(-1),
        lambda s: s.env.get_checkpoint_config().set_max_concurrent_checkpoints(0),
        lambda s: s.env.get_checkpoint_config().set_max_concurrent_checkpoints(None),
        lambda s: s.env.get_checkpoint_config().set_tolerable_checkpoint_failure_number(-1),
        lambda s: s.env.get_checkpoint_config().set_tolerable_checkpoint_failure_number("one"),
        lambda s: s.env.get_checkpoint_config().set_checkpointing_mode("exactly"),
        lambda s: s.env.get_checkpoint_config().set_externalized_checkpoint_retention("keep"),
        lambda s: s.env.get_checkpoint_config().set_checkpoint_storage_dir(None),
        lambda s: s.env.get_checkpoint_config().set_checkpoint_storage_dir(""),
    ],
    "sources": [
        lambda s: s.env.from_collection(None),
        lambda s: s.env.from_collection(5),
        lambda s: s.env.from_collection([1], "no type"),
        lambda s: s.env.from_collection([1], 5),
        lambda s: s.env.from_sequence(None, 1),
        lambda s: s.env.from_sequence(1, "2"),
        lambda s: s.env.from_sequence(1.5, 2),
        lambda s: s.env.from_sequence(2, 1),
        lambda s: s.env.read_text_file(None),
        lambda s: s.env.read_text_file(5),
        lambda s: s.env.read_text_file("/nowhere", "no charset"),
        lambda s: s.env.read_text_file("/nowhere", None),
        lambda s: s.env.socket_text_stream(None, 1),
        lambda s: s.env.socket_text_stream("", 1),
        lambda s: s.env.socket_text_stream("localhost", 0),
        lambda s: s.env.socket_text_stream("localhost", 65_536),
        lambda s: s.env.socket_text_stream("localhost", "80"),
        lambda s: s.env.socket_text_stream("localhost", None),
        lambda s: s.env.socket_text_stream("localhost", 80, ""),
        lambda s: s.env.socket_text_stream("localhost", 80, None),
        lambda s: s.env.socket_text_stream("localhost", 80, "\n", -2),
        lambda s: s.env.socket_text_stream("localhost", 80, "\n", "often"),
        lambda s: s.env.from_source(None, s.strategy, "source"),
        lambda s: s.env.from_source(KafkaSource, s.strategy, "source"),
        lambda s: s.env.from_source(NumberSequenceSource(1, 2), None, "source"),
        lambda s: s.env.from_source(NumberSequenceSource(1, 2), s.strategy, None),
        lambda s: s.env.from_source(NumberSequenceSource(1, 2), s.strategy, 5),
        lambda s: s.env.from_source(NumberSequenceSource(1, 2), s.strategy, "source", "no type"),
        lambda s: NumberSequenceSource(2, 1),
        lambda s: NumberSequenceSource(None, 1),  # type: ignore[arg-type]
        lambda s: DataGeneratorSource(None, 1),  # type: ignore[arg-type,var-annotated]
        lambda s: DataGeneratorSource(lambda: 1, 1),  # type: ignore[arg-type,misc]
        lambda s: DataGeneratorSource(abs, -1),
        lambda s: DataGeneratorSource(abs, "1"),  # type: ignore[arg-type]
        lambda s: DataGeneratorSource(abs, 1.5),  # type: ignore[arg-type]
        lambda s: DataGeneratorSource(abs, 1, 5),  # type: ignore[arg-type]
        lambda s: RateLimiterStrategy.per_second(0),
        lambda s: RateLimiterStrategy.per_second(NAN),
        lambda s: RateLimiterStrategy.per_second(None),  # type: ignore[arg-type]
        lambda s: RateLimiterStrategy.per_second("1"),  # type: ignore[arg-type]
    ],
    "files": [
        lambda s: FILES.for_record_stream_format(StreamFormat.text_line_format()),
        lambda s: FILES.for_record_stream_format(None, "/nowhere"),
        lambda s: FILES.for_record_stream_format(StreamFormat.text_line_format(), None),
        lambda s: FILES.for_record_stream_format(StreamFormat.text_line_format(), ""),
        lambda s: FILES.for_record_stream_format(StreamFormat.text_line_format(), "s3://bucket/key"),
        lambda s: FILES.for_bulk_file_format(5, "/nowhere"),
        lambda s: StreamFormat.text_line_format(None),  # type: ignore[arg-type]
        lambda s: StreamFormat.text_line_format("no charset"),
        lambda s: file_source().monitor_continuously(0),
        lambda s: file_source().monitor_continuously(None),
        lambda s: file_source().set_split_bytes(0),
        lambda s: file_source().set_split_bytes(None),
        lambda s: file_source().set_split_bytes("1"),
        lambda s: file_source().set_split_bytes(NAN),
        lambda s: file_source().set_file_enumerator(None),
        lambda s: file_source().set_split_assigner(None),
        lambda s: FILE_SINK.for_row_format(None, str),
        lambda s: FILE_SINK.for_row_format("", str),
        lambda s: FILE_SINK.for_row_format("/nowhere", None),
        lambda s: FILE_SINK.for_row_format("/nowhere", 5),
        lambda s: FILE_SINK.for_row_format("/nowhere", lambda: ""),
        lambda s: FILE_SINK.for_bulk_format("/nowhere", 5),
        lambda s: file_sink().with_bucket_assigner(None),
        lambda s: file_sink().with_bucket_assigner(5),
        lambda s: file_sink().with_bucket_assigner(lambda record: ""),
        lambda s: file_sink().with_rolling_policy(None),
        lambda s: file_sink().with_rolling_policy(5),
        lambda s: file_sink().with_output_file_config(None),
        lambda s: file_sink().with_output_file_config("part"),
        lambda s: file_sink().with_bucket_check_interval(0),
        lambda s: file_sink().with_bucket_check_interval(None),
        lambda s: ROLLING.default_rolling_policy(0),
        lambda s: ROLLING.default_rolling_policy(None),
        lambda s: ROLLING.default_rolling_policy("1 MB"),
        lambda s: ROLLING.default_rolling_policy(NAN),
        lambda s: ROLLING.default_rolling_policy(1, 0),
        lambda s: ROLLING.default_rolling_policy(1, 1, -1),
        lambda s: OutputFileConfig.builder().with_part_prefix("").build(),
        lambda s: OutputFileConfig.builder().with_part_prefix(".hidden").build(),
        lambda s: OutputFileConfig.builder().with_part_prefix(None).build(),  # type: ignore[arg-type]
        lambda s: OutputFileConfig.builder().with_part_suffix("/").build(),
        lambda s: OutputFileConfig.builder().with_part_suffix(5).build(),  # type: ignore[arg-type]
        lambda s: BucketAssigner.date_time_bucket_assigner("qqq"),
        lambda s: BucketAssigner.date_time_bucket_assigner("'open"),
        lambda s: BucketAssigner.date_time_bucket_assigner(None),  # type: ignore[arg-type]
        lambda s: BucketAssigner.date_time_bucket_assigner("yyyy", "Atlantis/Capital"),
        lambda s: BucketAssigner.date_time_bucket_assigner("yyyy", 5),  # type: ignore[arg-type]
        lambda s: Encoder.simple_string_encoder("no charset"),
        lambda s: Encoder.simple_string_encoder(None),  # type: ignore[arg-type]
    ],
    "kafka": [
        lambda s: KAFKA.builder().build(),
        lambda s: KAFKA.builder().set_bootstrap_servers("h:1").build(),
        lambda s: KAFKA.builder().set_bootstrap_servers("h:1").set_topics("t").build(),
        lambda s: KAFKA.builder().set_bootstrap_servers(None),
        lambda s: KAFKA.builder().set_bootstrap_servers(5),
        lambda s: KAFKA.builder().set_bootstrap_servers(["h:1"]),
        lambda s: KAFKA.builder().set_topics(),
        lambda s: KAFKA.builder().set_topics(None),
        lambda s: KAFKA.builder().set_topics(["t"]),
        lambda s: KAFKA.builder().set_topics(""),
        lambda s: KAFKA.builder().set_topic_pattern("("),
        lambda s: KAFKA.builder().set_topic_pattern(None),
        lambda s: KAFKA.builder().set_partitions(None),
        lambda s: KAFKA.builder().set_partitions([]),
        lambda s: KAFKA.builder().set_partitions(["t"]),
        lambda s: KAFKA.builder().set_partitions([KafkaTopicPartition("t", -1)]),
        lambda s: KAFKA.builder().set_group_id(None),
        lambda s: KAFKA.builder().set_group_id(5),
        lambda s: KAFKA.builder().set_client_id_prefix(5),
        lambda s: KAFKA.builder().set_starting_offsets(None),
        lambda s: KAFKA.builder().set_starting_offsets("earliest"),
        lambda s: KAFKA.builder().set_bounded(None),
        lambda s: KAFKA.builder().set_bounded(5),
        lambda s: KAFKA.builder().set_unbounded("latest"),
        lambda s: KAFKA.builder().set_value_only_deserializer(None),
        lambda s: KAFKA.builder().set_value_only_deserializer(5),
        lambda s: KAFKA.builder().set_deserializer(5),
        lambda s: KAFKA.builder().set_property(None, "1"),
        lambda s: KAFKA.builder().set_properties("a=b"),
        lambda s: kafka_source().set_topic_pattern("t.*").build(),
        lambda s: kafka_source().set_starting_offsets(KafkaOffsetsInitializer.committed_offsets()).build(),
        lambda s: kafka_source().set_property("auto.offset.reset", "never").build(),
        lambda s: kafka_source().set_property("partition.discovery.interval.ms", "often").build(),
        lambda s: OFFSETS.timestamp(None),
        lambda s: OFFSETS.timestamp("now"),
        lambda s: OFFSETS.timestamp(-1),
        lambda s: OFFSETS.committed_offsets("earliest"),
        lambda s: OFFSETS.offsets(None),
        lambda s: OFFSETS.offsets({"t": 5}),
        lambda s: OFFSETS.offsets({KafkaTopicPartition("t", 0): "5"}),
        lambda s: OFFSETS.offsets({KafkaTopicPartition("t", 0): -5}),
        lambda s: KAFKA_SINK.builder().build(),
        lambda s: KAFKA_SINK.builder().set_bootstrap_servers("h:1").build(),
        lambda s: KAFKA_SINK.builder().set_bootstrap_servers(5),
        lambda s: KAFKA_SINK.builder().set_record_serializer(None),
        lambda s: KAFKA_SINK.builder().set_record_serializer(lambda value: value),
        lambda s: KAFKA_SINK.builder().set_delivery_guarantee(None),
        lambda s: KAFKA_SINK.builder().set_delivery_guarantee("exactly-once"),
        lambda s: KAFKA_SINK.builder().set_transactional_id_prefix(5),
        lambda s: KAFKA_SINK.builder().set_property(5, "1"),
        lambda s: KAFKA_SINK.builder().set_properties(None),
        lambda s: kafka_sink().set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE).build(),
        lambda s: kafka_sink().set_property("transactional.id", "mine").build(),
        lambda s: kafka_sink().set_property("transaction.timeout.ms", "long").build(),
        lambda s: kafka_record().build(),
        lambda s: kafka_record().set_topic(None),
        lambda s: kafka_record().set_topic(""),
        lambda s: kafka_record().set_topic_selector(5),
        lambda s: KAFKA_RECORD.builder().set_topic("t").build(),
        lambda s: KAFKA_RECORD.builder().set_value_serialization_schema(5),
        lambda s: KAFKA_RECORD.builder().set_key_serialization_schema(5),
    ],
    "types": [
        lambda s: TYPES.LIST(None),
        lambda s: TYPES.LIST(5),
        lambda s: TYPES.MAP(Types.STRING(), None),
        lambda s: TYPES.MAP("key", Types.STRING()),
        lambda s: TYPES.TUPLE(None),
        lambda s: TYPES.TUPLE([5]),
        lambda s: TYPES.TUPLE(Types.INT()),
        lambda s: TYPES.ROW(5),
        lambda s: TYPES.ROW(["INT"]),
        lambda s: TYPES.ROW_NAMED(["a"], []),
        lambda s: TYPES.ROW_NAMED([5], [Types.INT()]),
        lambda s: TYPES.ROW_NAMED("a", [Types.INT()]),
        lambda s: TYPES.ROW_NAMED(["a", "a"], [Types.INT(), Types.INT()]),
        lambda s: TYPES.ROW_NAMED(None, None),
        lambda s: TYPES.PRIMITIVE_ARRAY(Types.STRING()),
        lambda s: TYPES.PRIMITIVE_ARRAY(None),
        lambda s: TYPES.BASIC_ARRAY(Types.LIST(Types.INT())),
        lambda s: TYPES.BASIC_ARRAY(5),
        lambda s: TYPES.OBJECT_ARRAY("x"),
        lambda s: TYPES.ENUM(int),
        lambda s: TYPES.ENUM(None),
    ],
    "state": [
        lambda s: anything.ValueStateDescriptor(None),
        lambda s: anything.ValueStateDescriptor(""),
        lambda s: anything.ValueStateDescriptor("v", "no type"),
        lambda s: anything.ValueStateDescriptor("v", 5),
        lambda s: anything.ValueStateDescriptor("v", int).enable_time_to_live(None),
        lambda s: anything.ValueStateDescriptor("v", int).enable_time_to_live(5),
        lambda s: anything.ListStateDescriptor(5),
        lambda s: anything.ListStateDescriptor("l", 5),
        lambda s: anything.MapStateDescriptor(None, int, int),
        lambda s: anything.MapStateDescriptor("m", 5, int),
        lambda s: anything.MapStateDescriptor("m", int, "no type"),
        lambda s: anything.ReducingStateDescriptor("r", None),
        lambda s: anything.ReducingStateDescriptor("r", lambda a: a),
        lambda s: anything.ReducingStateDescriptor("r", Sum()),
        lambda s: anything.ReducingStateDescriptor(None, lambda a, b: a),
        lambda s: anything.AggregatingStateDescriptor("a", None),
        lambda s: anything.AggregatingStateDescriptor("a", lambda a, b: a),
        lambda s: anything.AggregatingStateDescriptor("a", Sum),
        lambda s: anything.AggregatingStateDescriptor("a", AddsOne()),
        lambda s: anything.AggregatingStateDescriptor("a", Sum(), 5),
    ],
}


def lines_of(build: Callable[[Scene], Any]) -> set[int]:
    """The numbers of the lines that it is written on."""
    return {line for _, _, line in build.__code__.co_lines() if line is not None}


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, id=f"{area}-{n}")
        for area, builds in CASES.items()
        for n, build in enumerate(builds)
    ],
)
def test_a_wrong_argument_is_refused_at_the_user_s_line(build: Callable[[Scene], Any]) -> None:
    scene = Scene()
    with pytest.raises((JobDefinitionError, StateError)) as caught:
        build(scene)
    error = caught.value
    assert error.what
    assert error.fix
    assert any(f"{__file__}:{line}" in str(error) for line in lines_of(build)), str(error)
