"""Odd records, keys, timestamps and functions: each behaves as in Flink, or is one clear error that names operator and cure.

Each program runs inside this process, and again spread over two workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream import (
    AsyncDataStream,
    DataStream,
    EventTimeSessionWindows,
    InvalidKeyError,
    JobDefinitionError,
    JobExecutionError,
    KeyedProcessFunction,
    MapFunction,
    OutputTag,
    ProcessWindowFunction,
    RecordSerializationError,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Types,
    UserFunctionError,
    WatermarkStrategy,
)
from millstream.core.configuration import Configuration

NAN = float("nan")
MODES = pytest.mark.parametrize("parallelism", [1, pytest.param(2, id="2 workers")])
Build = Callable[[StreamExecutionEnvironment], DataStream[Any]]


def environment(parallelism: int) -> StreamExecutionEnvironment:
    configuration = Configuration()
    configuration.set_string("restart-strategy.type", "none")
    return StreamExecutionEnvironment.get_execution_environment(configuration).set_parallelism(parallelism)


def results(parallelism: int, build: Build) -> list[Any]:
    """What the program gives, in an order that does not depend on the parallelism."""
    return sorted(build(environment(parallelism)).execute_and_collect(), key=repr)


def failure(parallelism: int, build: Build) -> tuple[BaseException | None, str]:
    """Why the job failed, and the whole text."""
    with pytest.raises(JobExecutionError) as caught:
        results(parallelism, build)
    notes = getattr(caught.value, "__notes__", [])
    return caught.value.__cause__, "\n".join([str(caught.value), *notes])


def same(value: Any) -> Any:
    return value


def first_field(value: Any) -> Any:
    return value[0]


def add_up(a: Any, b: Any) -> Any:
    return (a[0], a[1] + b[1])


def timed(stream: DataStream[Any], time_of: Callable[[Any], Any], bound_ms: int = 0) -> DataStream[Any]:
    strategy: WatermarkStrategy[Any] = WatermarkStrategy.for_bounded_out_of_orderness(bound_ms)
    assigned = strategy.with_timestamp_assigner(lambda value, _: time_of(value))
    return stream.assign_timestamps_and_watermarks(assigned)


def windowed(stream: DataStream[Any]) -> DataStream[Any]:
    return stream.key_by(lambda _: 0).window(TumblingEventTimeWindows.of(10)).reduce(lambda a, b: a + b)


def per_key(records: list[tuple[Any, int]], key_type: Any = None) -> Build:
    return lambda env: env.from_collection(records).key_by(first_field, key_type).reduce(add_up)


def passed_on(records: list[Any], type_info: Any = None) -> Build:
    return lambda env: env.from_collection(records, type_info).rebalance().map(same)


GOOD: dict[str, tuple[Build, list[Any]]] = {
    "nothing": (lambda env: env.from_collection([]).key_by(same).reduce(max), []),
    "nothing in windows": (lambda env: windowed(timed(env.from_collection([]), same)), []),
    "a generator": (lambda env: env.from_collection(n for n in range(3)).rebalance().map(same), [0, 1, 2]),
    "None": (passed_on([None, 1, None]), [1, None, None]),
    "huge integers": (passed_on([10**40, -(10**40)]), [-(10**40), 10**40]),
    "huge integers, declared": (passed_on([10**40], Types.BIG_INT()), [10**40]),
    "ten megabytes": (
        lambda env: env.from_collection([10**7, 10**7 - 1]).map("x".__mul__).key_by(len).map(len),
        [10**7, 10**7 - 1],
    ),
    "lone surrogates": (passed_on(["\ud800", "\udfff\ud800"]), ["\ud800", "\udfff\ud800"]),
    # As in a dict, 1, 1.0 and True are one key where no type is declared; text and bytes are others.
    "keys of several types": (
        per_key([(1, 1), ("1", 1), (1.0, 1), (True, 1), (b"1", 1)]),
        [("1", 1), (1, 1), (1, 2), (1, 3), (b"1", 1)],
    ),
    "unicode keys": (  # composed and decomposed letters are not the same key
        per_key([("\u00e9", 1), ("e\u0301", 1), ("😀", 1), ("\u00e9", 2), ("", 1)]),
        [("", 1), ("e\u0301", 1), ("\u00e9", 1), ("\u00e9", 3), ("😀", 1)],
    ),
    "surrogate keys": (per_key([("\ud800", 1), ("\ud800", 1)]), [("\ud800", 1), ("\ud800", 2)]),
    "bytes keys": (
        per_key([(b"\xff\x00", 1), (b"\xff\x00", 1), ("\xff\x00", 1)]),
        [("\xff\x00", 1), (b"\xff\x00", 1), (b"\xff\x00", 2)],
    ),
    # [-20, -10), [-10, 0): windows begin below a negative time, too.
    "negative timestamps": (
        lambda env: windowed(timed(env.from_collection([-1, -11, -10, -20]), same, bound_ms=30)),
        [-11, -31],
    ),
    "the last timestamp there is": (
        lambda env: windowed(timed(env.from_collection([1]), lambda _: 2**63 - 1)),
        [1],
    ),
    "flat_map gives None": (
        lambda env: env.from_collection([1, 2]).flat_map(lambda n: None if n == 1 else [n]),
        [2],
    ),
    "filter gives no bool": (
        lambda env: env.from_collection([0, 1, "", [], [0], None]).filter(same),
        [1, [0]],
    ),
    "map gives None": (
        lambda env: env.from_collection([1, 2]).map(lambda _: None).rebalance().map(same),
        [None, None],
    ),
    "process gives None": (lambda env: env.from_collection([1, 2]).process(lambda value, ctx: None), []),
    "a side output that nobody reads": (
        lambda env: env.from_collection([1, 2]).process(lambda n, ctx: [(OutputTag("nobody"), n), n]),
        [1, 2],
    ),
}


@MODES
@pytest.mark.parametrize("case", GOOD)
def test_odd_inputs_that_work(case: str, parallelism: int) -> None:
    build, expected = GOOD[case]
    assert results(parallelism, build) == sorted(expected, key=repr)


class PlannedError(Exception):
    """What the functions of this module raise."""


class FailsToOpen(MapFunction[Any, Any]):
    def open(self, runtime_context: Any) -> None:
        raise PlannedError("open")

    def map(self, value: Any) -> Any:
        return value


class FailsToClose(MapFunction[Any, Any]):
    def map(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        raise PlannedError("close")


class FailsInTimer(KeyedProcessFunction[Any, Any, Any]):
    def process_element(self, value: Any, ctx: Any) -> None:
        ctx.timer_service().register_event_time_timer(5)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        raise PlannedError("timer")


class FailsInWindow(ProcessWindowFunction[Any, Any, Any]):
    def process(self, key: Any, context: Any, elements: Any) -> Iterator[Any]:
        raise PlannedError("window")


class FailsToPickle:
    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


async def fails_to_answer(value: Any) -> list[Any]:
    raise PlannedError("async")


async def answers_with_a_number(value: Any) -> Any:
    return 5


def fails(value: Any) -> Any:
    raise PlannedError("map")


RAISING: dict[str, Build] = {
    "open": lambda env: env.from_collection([1]).map(FailsToOpen()).name("bad"),
    "close": lambda env: env.from_collection([1]).map(FailsToClose()).name("bad"),
    "map": lambda env: env.from_collection([1]).map(fails).name("bad"),
    "timer": lambda env: (
        timed(env.from_collection([1]), same).key_by(same).process(FailsInTimer()).name("bad")
    ),
    "window": lambda env: (
        timed(env.from_collection([1]), same)
        .key_by(same)
        .window(TumblingEventTimeWindows.of(10))
        .process(FailsInWindow())
        .name("bad")
    ),
    "async": lambda env: AsyncDataStream.ordered_wait(env.from_collection([1]), fails_to_answer, 1000).name(
        "bad"
    ),
}


@MODES
@pytest.mark.parametrize("place", RAISING)
def test_an_exception_names_the_operator_wherever_it_is_raised(place: str, parallelism: int) -> None:
    error, text = failure(parallelism, RAISING[place])
    assert isinstance(error, UserFunctionError), text
    assert error.operator == "bad"
    assert f"PlannedError: {place}" in text
    assert __file__ in text
    assert "/operators/" not in text


def window_without_timestamps(windows: Any) -> Build:
    """Behind a keyed function, whose timers could give its results a time: the program alone does not tell."""

    def build(env: StreamExecutionEnvironment) -> DataStream[Any]:
        kept = env.from_collection([1]).key_by(same).process(lambda value, ctx: [value])
        return kept.key_by(same).window(windows).reduce(max).name("bad")

    return build


def keyed_by(key: Any) -> Build:
    return lambda env: (
        env.from_collection([(key, 1)]).name("from").key_by(first_field).reduce(max).name("bad")
    )


def at_time(time: Any, others: int = 10) -> Build:
    """A timestamp that is none, among others that are larger."""
    return lambda env: timed(env.from_collection([others, time]), same).name("bad")


# What is built, the class of the error, and what its text says.
BAD: dict[str, tuple[Build, type[BaseException], list[str]]] = {
    "NaN as key": (keyed_by(NAN), InvalidKeyError, ["NaN is not equal to itself", "operator '"]),
    "NaN in a key": (keyed_by((1, NAN)), InvalidKeyError, ["NaN is not equal to itself", "operator '"]),
    "None as key": (keyed_by(None), InvalidKeyError, ["None is no key", "operator '"]),
    "a list as key": (keyed_by([1]), InvalidKeyError, ["not hashable", "operator '"]),
    "a bytearray as key": (keyed_by(bytearray(b"k")), InvalidKeyError, ["not hashable", "operator '"]),
    "a key of another type": (
        per_key([(1, 1), ("1", 1)], int),
        InvalidKeyError,
        ["declared as LONG", "it is a str"],
    ),
    "None as timestamp": (at_time(None), JobDefinitionError, ["None of type NoneType", "'bad'"]),
    "a float as timestamp": (at_time(1.5), JobDefinitionError, ["1.5 of type float", "'bad'"]),
    "a whole float as timestamp": (
        at_time(1.0, others=0),
        JobDefinitionError,
        ["1.0 of type float", "'bad'"],
    ),
    "a bool as timestamp": (at_time(True), JobDefinitionError, ["True of type bool", "'bad'"]),
    "text as timestamp": (at_time("1"), JobDefinitionError, ["'1' of type str", "'bad'"]),
    "a timestamp of 65 bits": (at_time(2**63), JobDefinitionError, ["64 bits", "'bad'"]),
    "no timestamp": (
        window_without_timestamps(TumblingEventTimeWindows.of(10)),
        JobDefinitionError,
        ["'bad'"],
    ),
    "no timestamp for a session": (
        window_without_timestamps(EventTimeSessionWindows.with_gap(5)),
        JobDefinitionError,
        ["assign_timestamps_and_watermarks", "'bad'"],
    ),
    "flat_map gives a number": (
        lambda env: env.from_collection([1]).flat_map(same).name("bad"),
        UserFunctionError,
        ["'int' object is not iterable", "'bad'"],
    ),
    "process gives a number": (
        lambda env: env.from_collection([1]).process(lambda value, ctx: value).name("bad"),  # type: ignore[arg-type,return-value]
        JobDefinitionError,
        ["returned 1 of type int", "yield the results", "'bad'"],
    ),
    "an asynchronous function gives a number": (
        lambda env: AsyncDataStream.ordered_wait(env.from_collection([1]), answers_with_a_number, 1000).name(
            "bad"
        ),
        JobDefinitionError,
        ["returned 5 of type int", "'bad'"],
    ),
    "a partitioner names a channel that is not there": (
        lambda env: env.from_collection([1]).name("bad").partition_custom(lambda key, n: n, same).map(same),
        UserFunctionError,
        ["the partitioner returned", "'bad'"],
    ),
}


@MODES
@pytest.mark.parametrize("case", BAD)
def test_odd_inputs_that_are_errors(case: str, parallelism: int) -> None:
    build, kind, parts = BAD[case]
    error, text = failure(parallelism, build)
    assert isinstance(error, kind), text
    for part in parts:
        assert part in text, text


# Types are checked where records are written down: between workers. Of four records some leave their worker.
UNWRITABLE: dict[str, tuple[Build, str]] = {
    "None of a declared type": (passed_on([None] * 4, int), "declared type LONG"),
    "an integer too large for its type": (passed_on([10**40] * 4, int), "LONG"),
    "a side output of another type": (
        lambda env: (
            env.from_collection([1] * 4)
            .process(lambda n, ctx: [(OutputTag("side", int), "text")])
            .get_side_output(OutputTag("side", int))
            .rebalance()
            .map(same)
        ),
        "declared type LONG",
    ),
    "an object that refuses to be pickled": (
        lambda env: (
            env.from_collection([1] * 4)
            .map(lambda _: FailsToPickle(), Types.PICKLED_BYTE_ARRAY())
            .rebalance()
            .map(str)
        ),
        "cannot be pickled",
    ),
}


@pytest.mark.filterwarnings("ignore:results of operator 'Map' are declared as PICKLED_BYTE_ARRAY")
@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_record_that_cannot_be_written_down_fails_between_workers(case: str) -> None:
    build, part = UNWRITABLE[case]
    error, text = failure(2, build)
    assert isinstance(error, RecordSerializationError), text
    assert part in text
    assert error.fix


@pytest.mark.slow
def test_a_million_tiny_keys_at_parallelism_4() -> None:
    env = environment(4)
    counted = env.from_sequence(1, 1_000_000).key_by(same, int).reduce(lambda a, b: a + b)
    total = counted.map(lambda _: ("all", 1)).key_by(first_field, str).reduce(add_up)
    counts = [count for _, count in total.execute_and_collect()]
    assert len(counts) == 1_000_000
    assert max(counts) == 1_000_000
