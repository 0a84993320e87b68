"""What the caller of `execute()` reads when a user's function raises: operator, subtask, record, and the user's own line."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream import (
    AggregateFunction,
    DataStream,
    JobExecutionError,
    KeyedProcessFunction,
    MapFunction,
    ProcessFunction,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    UserFunctionError,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource
from millstream.connectors.files import FileSink
from tests.integration.engine.harness import Program, Workshop

RECORDS = [("a", 1), ("b", 2), ("a", 3), ("boom", 40), ("boom", 41), ("c", 5), ("boom", 42)]
BY_TIME = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])


class PlannedError(Exception):
    """What the functions of this module raise."""


def explode(value: Any) -> Any:
    if "boom" in str(value):
        raise PlannedError(f"cannot take {value}")  # the user's own line
    return value


class Mapper(MapFunction):
    def map(self, value: Any) -> Any:
        return explode(value)


class Opening(MapFunction):
    def open(self, runtime_context: Any) -> None:
        explode("boom")

    def map(self, value: Any) -> Any:
        return value


class Table:
    def look_up(self, value: Any) -> Any:
        return explode(value)


class Processing(ProcessFunction):
    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        yield explode(value)


class KeyedProcessing(KeyedProcessFunction):
    def open(self, runtime_context: Any) -> None:
        self.last = runtime_context.get_state(ValueStateDescriptor("last"))

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        self.last.update(explode(value))
        yield value


class OnTimer(KeyedProcessFunction):
    def process_element(self, value: Any, ctx: Any) -> None:
        ctx.timer_service().register_event_time_timer(50)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        yield explode(ctx.get_current_key())


class Total(AggregateFunction):
    """Raises in the method of that name."""

    def __init__(self, bad: str) -> None:
        self.bad = bad

    def create_accumulator(self) -> Any:
        return ()

    def add(self, value: Any, accumulator: Any) -> Any:
        return (*accumulator, self._explode("add", value))

    def get_result(self, accumulator: Any) -> Any:
        return self._explode("get_result", accumulator)

    def merge(self, acc_a: Any, acc_b: Any) -> Any:
        return self._explode("merge", acc_a + acc_b)

    def _explode(self, method: str, value: Any) -> Any:
        return explode(value) if self.bad == method else value


class InWindow(ProcessWindowFunction):
    def process(self, key: Any, context: Any, elements: Any) -> Iterator[Any]:
        yield explode(key)


def windowed(stream: DataStream[Any]) -> Any:
    timed = stream.assign_timestamps_and_watermarks(BY_TIME)
    return timed.key_by(lambda value: value[0]).window(TumblingEventTimeWindows.of(1_000))


def keyed(stream: DataStream[Any]) -> Any:
    return stream.key_by(lambda value: value[0])


def timed(stream: DataStream[Any]) -> Any:
    return keyed(stream.assign_timestamps_and_watermarks(BY_TIME))


BOOM = "('boom', 4"  # which of the three comes first is a matter of chance after an exchange
# What is built, the operator's name, and what of the record the message must show (None: there is no record).
CASES: dict[str, tuple[Callable[[DataStream[Any]], Any], str, str | None]] = {
    "map": (lambda s: s.map(explode).name("bad"), "bad", BOOM),
    "lambda": (lambda s: s.map(lambda value: explode(value)).name("bad"), "bad", BOOM),
    "method": (lambda s: s.map(Table().look_up).name("bad"), "bad", BOOM),
    "MapFunction": (lambda s: s.map(Mapper()).name("bad"), "bad", BOOM),
    "filter": (lambda s: s.filter(explode).name("bad"), "bad", BOOM),
    "flat_map": (lambda s: s.flat_map(lambda value: [explode(value)]).name("bad"), "bad", BOOM),
    "generator": (lambda s: s.flat_map(generate).name("bad"), "bad", BOOM),
    "in the middle of a chain": (lambda s: s.map(tuple).map(explode).name("bad").map(str), "bad", BOOM),
    "open": (lambda s: s.map(Opening()).name("bad"), "bad", None),
    "key selector": (lambda s: s.key_by(explode).reduce(max).name("after"), "", None),
    "reduce": (lambda s: keyed(s).reduce(lambda a, b: explode(b)).name("bad"), "bad", BOOM),
    "process": (lambda s: s.process(Processing()).name("bad"), "bad", BOOM),
    "keyed process": (lambda s: keyed(s).process(KeyedProcessing()).name("bad"), "bad", BOOM),
    "on_timer": (lambda s: timed(s).process(OnTimer()).name("bad"), "bad", None),
    "add": (lambda s: windowed(s).aggregate(Total("add")).name("bad"), "", BOOM),
    "get_result": (lambda s: windowed(s).aggregate(Total("get_result")).name("bad"), "bad", None),
    "window process": (lambda s: windowed(s).process(InWindow()).name("bad"), "bad", None),
    "window reduce": (lambda s: windowed(s).reduce(lambda a, b: explode(b)).name("bad"), "", BOOM),
    "timestamps": (lambda s: s.assign_timestamps_and_watermarks(EXPLODING_TIMES).name("bad"), "bad", BOOM),
}


def generate(value: Any) -> Iterator[Any]:
    yield value
    yield explode(value)


EXPLODING_TIMES = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda value, _: explode(value)[1]
)


def failure(env: StreamExecutionEnvironment) -> tuple[UserFunctionError, str]:
    """The error that `execute()` raised, and what it prints."""
    with pytest.raises(JobExecutionError) as caught:
        env.execute("failing")
    cause = caught.value.__cause__
    assert isinstance(cause, UserFunctionError), str(caught.value)
    return cause, str(caught.value)


def environment(workshop: Workshop, parallelism: int, **changes: str) -> StreamExecutionEnvironment:
    configuration = workshop.configuration(restart__strategy_type="none", **changes)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    return env.set_parallelism(parallelism)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("parallelism", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_function_that_raises_is_named_with_its_record_and_line(
    workshop: Workshop, case: str, parallelism: int
) -> None:
    build, operator, record = CASES[case]
    env = environment(workshop, parallelism)
    build(env.from_collection(RECORDS))
    error, text = failure(env)
    assert "PlannedError: cannot take " in text.splitlines()[0]
    assert operator in error.operator
    assert f"({'1' if parallelism == 1 else ''}" in error.subtask
    if record is not None:
        assert error.record is not None
        assert record in error.record
    check_ends_in_the_users_line(text)
    assert isinstance(error.__cause__, PlannedError)
    assert list(workshop.tmp.iterdir()) == []


def check_ends_in_the_users_line(text: str) -> None:
    lines = without_carets(text)
    assert "PlannedError: cannot take " in lines[-1]
    assert "raise PlannedError" in lines[-2]
    number = inspect.getsourcelines(explode)[1] + 2
    assert f'{__file__}", line {number}, in explode' in lines[-3]
    assert "/runtime/" not in text
    assert "/operators/" not in text


def without_carets(text: str) -> list[str]:
    """The lines of a traceback without those that underline, which not every version of Python has."""
    return [line for line in text.rstrip().splitlines() if set(line) - set(" ^~")]


@pytest.mark.parametrize("parallelism", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_merge_that_raises(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop, parallelism)
    source = DataGeneratorSource(lambda index: ("boom", index), 2_000)
    stream = env.from_source(source, BY_TIME, "generated")
    # Partial results of several slices of one window meet in the window operator.
    from millstream import SlidingEventTimeWindows

    window = stream.key_by(lambda value: value[0]).window(SlidingEventTimeWindows.of(1_000, 100))
    window.aggregate(Total("merge")).name("bad")
    _, text = failure(env)
    check_ends_in_the_users_line(text)


@pytest.mark.parametrize("parallelism", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_source_s_function_that_raises(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop, parallelism)
    source = DataGeneratorSource(lambda index: explode("boom" if index == 3 else index), 1_000)
    env.from_source(source, WatermarkStrategy.no_watermarks(), "generated").map(str)
    error, text = failure(env)
    assert "generated" in error.operator
    check_ends_in_the_users_line(text)


@pytest.mark.parametrize("parallelism", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sink_s_function_that_raises(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop, parallelism)
    sink = FileSink.for_row_format(str(workshop.out), lambda value: str(explode(value))).build()
    env.from_collection(RECORDS).sink_to(sink).name("files")
    error, text = failure(env)
    assert "files" in error.operator
    assert error.record is not None
    assert BOOM in error.record
    check_ends_in_the_users_line(text)
    assert workshop.hidden() == []


def test_a_long_record_is_cut(workshop: Workshop) -> None:
    env = environment(workshop, 1)
    env.from_collection([("boom", "x" * 100_000)]).map(shorten)
    error, text = failure(env)
    assert error.record is not None
    assert len(error.record) < 1_000
    assert len(text) < 5_000


def shorten(value: Any) -> Any:
    raise PlannedError("cannot take this")


class Stubborn(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("never")


def refuse(value: Any) -> Any:
    raise Stubborn("I stay here")


@pytest.mark.parametrize("mode", ["embedded", "process"])
def test_an_exception_that_cannot_travel_is_told_all_the_same(workshop: Workshop, mode: str) -> None:
    env = environment(workshop, 1, taskmanager_mode=mode)
    env.from_collection([1]).map(refuse)
    error, text = failure(env)
    assert "Stubborn: I stay here" in error.error
    assert "raise Stubborn" in text


def leave(value: Any) -> Any:
    sys.exit("enough")


def test_a_function_that_exits_fails_its_task_and_not_the_worker(workshop: Workshop) -> None:
    env = environment(workshop, 1, taskmanager_mode="process")
    env.from_collection([1]).map(leave).name("leaving")
    error, text = failure(env)
    assert error.operator == "leaving"
    assert "SystemExit: enough" in text


JOB = """
    from millstream import StreamExecutionEnvironment

    class Prices:
        def __init__(self):
            self.prices = {"pear": 3}

        def price(self, fruit):
            return self.prices[fruit]

    env = StreamExecutionEnvironment.get_execution_environment()
    env.from_collection(["pear", "plum"]).map(Prices().price).name("price").print()
    env.execute("prices")
"""


@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_the_command_line_shows_it_and_exits_with_1(workshop: Workshop, parallelism: str) -> None:
    job = workshop.tmp.with_name("prices.py")
    job.write_text(inspect.cleandoc(JOB))
    program = Program(workshop, job, "-p", parallelism)
    assert program.end() == 1
    lines = without_carets(program.text())
    assert lines[-1] == "KeyError: 'plum'"
    assert "return self.prices[fruit]" in lines[-2]
    assert f'{job}", line 8' in lines[-3]
    assert any("operator 'price'" in line and "record 'plum'" in line for line in lines)
    assert "millstream/" not in program.text()
