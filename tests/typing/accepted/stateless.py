"""Functions of every form, for records one at a time. Checked by tests/typing/test_typing.py, never run."""

from collections.abc import Iterator
from functools import partial
from typing import Any, assert_type

from millstream import (
    Collector,
    DataStream,
    FilterFunction,
    FlatMapFunction,
    KeyedProcessFunction,
    KeyedStream,
    KeySelector,
    MapFunction,
    OutputTag,
    Partitioner,
    ProcessFunction,
    Row,
    StreamExecutionEnvironment,
    TimestampAssigner,
    Types,
    WatermarkStrategy,
)


class Length(MapFunction[str, int]):
    def map(self, value: str) -> int:
        return len(value)


class Letters(FlatMapFunction[str, str]):
    def flat_map(self, value: str) -> Iterator[str]:
        yield from value


class Long(FilterFunction[str]):
    def filter(self, value: str) -> bool:
        return len(value) > 3


class Initial(KeySelector[str, str]):
    def get_key(self, value: str) -> str:
        return value[0]


class ByLength(Partitioner[int]):
    def partition(self, key: int, num_partitions: int) -> int:
        return key % num_partitions


class Numbered(ProcessFunction[str, tuple[str, int | None]]):
    def process_element(
        self, value: str, ctx: ProcessFunction.Context
    ) -> Iterator[tuple[str, int | None] | tuple[OutputTag[Any], Any]]:
        assert_type(ctx.timestamp(), int | None)
        ctx.output(LONG, len(value))
        yield value, ctx.timestamp()
        yield LONG, 3


class PerKey(KeyedProcessFunction[str, str, bytes]):
    def process_element(self, value: str, ctx: KeyedProcessFunction.Context) -> list[bytes]:
        ctx.timer_service().register_processing_time_timer(5)
        return [value.encode()]

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> list[bytes]:
        return [ctx.time_domain().encode()]


class FirstDigit(TimestampAssigner[str]):
    def extract_timestamp(self, value: str, record_timestamp: int) -> int:
        return int(value[0]) + record_timestamp


def halve(number: int, by: int) -> float:
    return number / by


def words(line: str, out: Collector[str]) -> None:
    for word in line.split():
        out.collect(word)


def shout(word: str, ctx: ProcessFunction.Context) -> list[str]:
    return [word.upper()]


def name_key(word: str, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
    yield f"{ctx.get_current_key()} {word}"


LONG = OutputTag("long", int)
env = StreamExecutionEnvironment.get_execution_environment()
lines = env.from_collection(["to be", "or not"])
assert_type(lines, DataStream[str])
assert_type(env.from_collection([[1], [2]], Types.LIST(Types.INT())), DataStream[list[int]])
assert_type(env.from_sequence(1, 5), DataStream[int])

assert_type(lines.map(Length()), DataStream[int])
assert_type(lines.map(len), DataStream[int])
assert_type(lines.map(lambda line: line.split()), DataStream[list[str]])
assert_type(lines.map(lambda line: line.split(), Types.LIST(Types.STRING())), DataStream[list[str]])
assert_type(lines.map(str.upper).map(str.encode, bytes), DataStream[bytes])
assert_type(env.from_sequence(1, 5).map(partial(halve, by=2)), DataStream[float])
assert_type(lines.map(lambda line: Row(line, 1)), DataStream[Row])
assert_type(lines.map(lambda line: (line, len(line))), DataStream[tuple[str, int]])

assert_type(lines.flat_map(Letters()), DataStream[str])
assert_type(lines.flat_map(str.split), DataStream[str])
assert_type(lines.flat_map(words), DataStream[str])
assert_type(lines.flat_map(lambda line: (len(word) for word in line.split())), DataStream[int])
assert_type(lines.filter(Long()), DataStream[str])
assert_type(lines.filter(str.isalpha), DataStream[str])
assert_type(lines.map(lambda line: (line, 1)).project(1, 0), DataStream[tuple[Any, ...]])

numbered = lines.process(Numbered())
assert_type(numbered, DataStream[tuple[str, int | None]])
assert_type(numbered.get_side_output(LONG), DataStream[int])
assert_type(lines.process(shout), DataStream[str])

keyed = lines.key_by(Initial())
assert_type(keyed, KeyedStream[str, str])
assert_type(lines.key_by(len), KeyedStream[int, str])
assert_type(lines.key_by(lambda line: (line[0], len(line))), KeyedStream[tuple[str, int], str])
assert_type(keyed.map(Length()), DataStream[int])
assert_type(keyed.map(lambda line: line.split()), DataStream[list[str]])
assert_type(keyed.flat_map(Letters()), DataStream[str])
assert_type(keyed.filter(Long()), DataStream[str])
assert_type(keyed.process(PerKey()), DataStream[bytes])
assert_type(keyed.process(name_key), DataStream[str])
assert_type(keyed.process(PerKey()).get_side_output(LONG), DataStream[int])
assert_type(keyed.reduce(max), DataStream[str])
assert_type(keyed.sum(), DataStream[str])
assert_type(keyed.min(), DataStream[str])
assert_type(keyed.max(), DataStream[str])
assert_type(keyed.min_by(), DataStream[str])
assert_type(keyed.union(lines), DataStream[str])

assert_type(lines.rebalance(), DataStream[str])
assert_type(lines.adaptive_rebalance(), DataStream[str])
assert_type(lines.rescale(), DataStream[str])
assert_type(lines.shuffle(), DataStream[str])
assert_type(lines.global_(), DataStream[str])
assert_type(lines.forward(), DataStream[str])
assert_type(lines.broadcast(), DataStream[str])
assert_type(lines.partition_custom(ByLength(), len), DataStream[str])
assert_type(lines.union(lines, lines.map(str.upper)), DataStream[str])
assert_type(
    lines.map(len).set_parallelism(2).slot_sharing_group("a").disable_chaining().start_new_chain(),
    DataStream[int],
)

by_digit = WatermarkStrategy[str].for_monotonous_timestamps().with_timestamp_assigner(FirstDigit())
assert_type(lines.assign_timestamps_and_watermarks(by_digit), DataStream[str])
by_length = (
    WatermarkStrategy[str].for_bounded_out_of_orderness(5).with_timestamp_assigner(lambda line, _: len(line))
)
assert_type(lines.assign_timestamps_and_watermarks(by_length.with_idleness(10)), DataStream[str])
