from __future__ import annotations

import cloudpickle
import pytest

from millstream import (
    FlatMapFunction,
    KeyedProcessFunction,
    OutputTag,
    ProcessFunction,
    StateError,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
)
from millstream.operators.collector import takes_collector, with_plain_results
from millstream.operators.functions import MapFunction, RichFunction
from millstream.operators.stateless import FlatMapSpec, MapSpec
from millstream.testing import OperatorHarness

ODD: OutputTag[int] = OutputTag("odd")


def twice(value, out):
    out.collect(value)
    out.collect(value)


class Twice(FlatMapFunction):
    def open(self, runtime_context):
        self.opened = True

    def flat_map(self, value, out):
        assert self.opened
        twice(value, out)


class CollectsAndYields(FlatMapFunction):
    def flat_map(self, value, out):
        out.collect(value)
        yield -value


def optional(value, out=None):
    return [value]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (twice, [1, 1, 2, 2]),
        (Twice(), [1, 1, 2, 2]),
        (CollectsAndYields(), [1, -1, 2, -2]),
        (optional, [1, 2]),
        (lambda value, out: None, []),
    ],
)
def test_what_is_collected_is_the_result(function, expected) -> None:
    plain = cloudpickle.loads(cloudpickle.dumps(with_plain_results(function, "flat_map", 1)))
    with OperatorHarness(FlatMapSpec(plain)) as h:
        h.batch([1, 2])
    assert h.results == expected


def test_only_a_function_that_needs_one_argument_more_is_given_a_collector() -> None:
    assert takes_collector(twice, "flat_map", 1)
    assert not takes_collector(optional, "flat_map", 1)
    assert not takes_collector(lambda value: [], "flat_map", 1)
    assert not takes_collector(lambda value, out, more: [], "flat_map", 1)
    assert not takes_collector(Twice, "flat_map", 1)
    assert not takes_collector(len, "flat_map", 1)


@pytest.fixture
def env():
    return StreamExecutionEnvironment.get_execution_environment()


def collected(stream):
    with stream.execute_and_collect() as results:
        return list(results)


class Parting(ProcessFunction):
    def process_element(self, value, ctx, out):
        out.collect((ODD, value) if value % 2 else value)


def test_a_process_function_collects_side_outputs_too(env) -> None:
    parted = env.from_collection([1, 2, 3, 4]).process(Parting())
    assert collected(parted) == [2, 4]
    assert collected(parted.get_side_output(ODD)) == [1, 3]


class Remembering(KeyedProcessFunction):
    """In Java's style, timers too."""

    def open(self, runtime_context):
        self.sum = runtime_context.get_state(ValueStateDescriptor("sum", int))

    def process_element(self, value, ctx, out):
        self.sum.update((self.sum.value() or 0) + value)
        ctx.timer_service().register_event_time_timer(10)

    def on_timer(self, timestamp, ctx, out):
        out.collect((ctx.get_current_key(), self.sum.value()))


class TimerOnly(KeyedProcessFunction):
    def process_element(self, value, ctx):
        ctx.timer_service().register_event_time_timer(10)
        yield value

    def on_timer(self, timestamp, ctx, out):
        out.collect("timer")


def test_keyed_process_functions_collect_in_timers_as_well(env) -> None:
    keyed = env.from_collection([1, 2, 3, 4]).key_by(lambda value: value % 2)
    assert sorted(collected(keyed.process(Remembering()))) == [(0, 6), (1, 4)]
    assert collected(keyed.process(TimerOnly())) == [1, 2, 3, 4, "timer", "timer"]


class Numbering(FlatMapFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def flat_map(self, value, out):
        self.count.update((self.count.value() or 0) + 1)
        out.collect((value, self.count.value()))


def test_a_keyed_flat_map_collects_with_state_at_hand(env) -> None:
    keyed = env.from_collection(["a", "b", "a"]).key_by(lambda value: value)
    assert collected(keyed.flat_map(Numbering())) == [("a", 1), ("b", 1), ("a", 2)]
    assert collected(keyed.flat_map(twice)) == ["a", "a", "b", "b", "a", "a"]


class Where(RichFunction, MapFunction):
    def map(self, value):
        return value, self.get_runtime_context().get_index_of_this_subtask()


class PerKey(RichFunction, MapFunction):
    def map(self, value):
        count = self.get_runtime_context().get_state(ValueStateDescriptor("count", int))
        count.update((count.value() or 0) + 1)
        return value, count.value()


def test_a_rich_function_knows_its_context_at_any_time(env) -> None:
    with OperatorHarness(MapSpec(Where())) as h:
        h.element("a")
    assert h.results == [("a", 0)]
    with pytest.raises(StateError, match="Where asked for its runtime context before it was opened"):
        Where().map("a")
    keyed = env.from_collection(["a", "b", "a"]).key_by(lambda value: value)
    assert collected(keyed.map(PerKey())) == [("a", 1), ("b", 1), ("a", 2)]
