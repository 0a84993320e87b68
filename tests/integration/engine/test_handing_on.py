"""What an operator hands on: of the declared type however it travels, and nothing that the operator still uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream import (
    DataStream,
    KeyedProcessFunction,
    OutputTag,
    ProcessFunction,
    ProcessWindowFunction,
    Row,
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    Types,
    ValueStateDescriptor,
    WatermarkStrategy,
)

NAMED = Types.ROW_NAMED(["n", "s"], [Types.LONG(), Types.STRING()])
SIDE = OutputTag("side", Types.TUPLE([Types.LONG(), NAMED]))
BY_VALUE = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda record, _: record[1])


def pair(number: int) -> Any:
    return number, str(number)


class Dicts(ProcessFunction[Any, Any]):
    def process_element(self, value: int, ctx: ProcessFunction.Context) -> Any:
        yield {"s": str(value), "n": value}
        yield SIDE, (value, pair(value))


def add(left: Any, right: Any) -> Any:
    return left[0] + right[0], right[1]


def row(number: int, text: str) -> Row:
    return Row.of_fields(("n", "s"), [number, text])


ROWS = [row(*pair(number)) for number in range(6)]
SUMS = [*ROWS[:4], row(5, "4"), row(7, "5")]
PRODUCERS: dict[str, tuple[Callable[[DataStream[int]], DataStream[Any]], list[Any]]] = {
    "map": (lambda numbers: numbers.map(pair, NAMED), ROWS),
    "map into lists": (
        lambda numbers: numbers.map(lambda n: [pair(n)], Types.LIST(NAMED)),
        [[r] for r in ROWS],
    ),
    "flat_map": (lambda numbers: numbers.flat_map(lambda n: [pair(n)], NAMED), ROWS),
    "process": (lambda numbers: numbers.process(Dicts(), NAMED), ROWS),
    "side output": (
        lambda numbers: numbers.process(Dicts(), NAMED).get_side_output(SIDE),
        list(enumerate(ROWS)),
    ),
    "reduce": (
        lambda numbers: (
            numbers.map(pair, NAMED).set_parallelism(1).key_by(lambda r: r.n % 3, int).reduce(add)
        ),
        SUMS,
    ),
}
WAYS: dict[str, Callable[[DataStream[Any]], DataStream[str]]] = {
    "chained": lambda stream: stream.map(repr, str),
    "not chained": lambda stream: stream.map(repr, str).disable_chaining(),
    "exchanged": lambda stream: stream.rebalance().map(repr, str),
}


def numbers_of(parallelism: int) -> DataStream[int]:
    env = StreamExecutionEnvironment.get_execution_environment().set_parallelism(parallelism)
    return env.from_collection(range(6), int).set_parallelism(1)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("produce", "expected"), PRODUCERS.values(), ids=PRODUCERS.keys())
def test_rows_are_of_the_declared_type_for_the_next_operator_too(
    produce: Any, expected: Any, way: Any
) -> None:
    assert sorted(way(produce(numbers_of(1))).execute_and_collect()) == sorted(map(repr, expected))


def test_rows_are_of_the_declared_type_between_processes() -> None:
    numbers = numbers_of(2)
    first, *others = (WAYS["exchanged"](produce(numbers)) for produce, _ in PRODUCERS.values())
    expected = [repr(value) for _, values in PRODUCERS.values() for value in values]
    assert sorted(first.union(*others).execute_and_collect()) == sorted(expected)


def lists(env: StreamExecutionEnvironment) -> DataStream[list[int]]:
    records = [["a", 1], ["a", 2], ["b", 3], ["a", 4]]
    timed = env.from_collection(records).assign_timestamps_and_watermarks(BY_VALUE)
    return timed.set_parallelism(1)  # rebalancing loses the order


def gather(left: list[Any], right: list[Any]) -> list[Any]:
    left.append(right[1])  # changes what it was given, and gives it back
    return left


class Gather(KeyedProcessFunction[Any, Any, Any]):
    def open(self, runtime_context: Any) -> None:
        self.seen = runtime_context.get_state(ValueStateDescriptor("seen", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Any:
        seen = self.seen.value() or [value[0]]
        seen.append(value[1])
        self.seen.update(seen)
        yield seen


def spoil(record: list[Any]) -> str:
    text = str(record)
    record.append("spoilt")
    return text


def first(record: list[Any]) -> str:
    return str(record[0])


SO_FAR = ["['a', 1, 2, 4]", "['a', 1, 2]", "['a', 1]", "['b', 3]"]


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_change_in_place_further_down_or_later_reaches_no_state(backend: str, parallelism: int) -> None:
    env = StreamExecutionEnvironment.get_execution_environment().set_parallelism(parallelism)
    env.configure({"state.backend.type": backend})
    reduced = lists(env).key_by(first, str).reduce(gather).map(spoil)
    processed = lists(env).key_by(first, str).process(Gather()).map(spoil)
    assert sorted(reduced.execute_and_collect()) == SO_FAR
    assert sorted(processed.execute_and_collect()) == SO_FAR


class Elements(ProcessWindowFunction[Any, Any, Any, Any]):
    def process(self, key: Any, context: Any, elements: Any) -> Any:
        return elements


def test_a_change_in_place_further_down_does_not_reach_the_other_windows_of_a_record() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    windows = lists(env).key_by(first, str).window(SlidingEventTimeWindows.of(4, 2))
    spoilt = windows.process(Elements()).map(spoil)
    assert "spoilt" not in "".join(spoilt.execute_and_collect())


def test_with_object_reuse_the_very_objects_are_handed_on() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.get_config().enable_object_reuse()
    results = lists(env).key_by(first, str).process(Gather()).map(spoil)
    assert "['a', 1, 2, 4, 'spoilt', 'spoilt']" in set(results.execute_and_collect())
