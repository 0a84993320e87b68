"""Harnesses made from functions and from programs."""

from __future__ import annotations

from operator import itemgetter

import pytest

from millstream import (
    BroadcastProcessFunction,
    CoProcessFunction,
    CountTrigger,
    JobDefinitionError,
    KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction,
    KeyedProcessFunction,
    MapStateDescriptor,
    OutputTag,
    ProcessFunction,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    ValueStateDescriptor,
)
from millstream.core.types import Types
from millstream.testing import ProcessFunctionTestHarnesses as Harnesses
from millstream.testing import TwoInputOperatorHarness, W, harness_of, two_input_harness_of

KEY = itemgetter(0)
LIMITS = MapStateDescriptor("limits", str, int)
ODD = OutputTag("odd", int)


def numbers():
    return StreamExecutionEnvironment.get_execution_environment().from_collection([("a", 0)])


# ---- of functions


class Halves(ProcessFunction):
    def process_element(self, value, ctx):
        if value % 2:
            yield ODD, value
        else:
            yield value // 2


def test_a_process_function() -> None:
    with Harnesses.for_process_function(Halves()) as h:
        h.batch([2, 3, 8])
        assert h.results == [1, 4]
        assert h.side == {"odd": [3]}


class Written(ProcessFunction):
    def process_element(self, value, ctx, out):
        out.collect(value)
        out.collect(value)


def test_a_function_in_java_s_style() -> None:
    with Harnesses.for_process_function(Written()) as h:
        h.element("a")
        assert h.results == ["a", "a"]


class Count(KeyedProcessFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def process_element(self, value, ctx):
        self.count.update((self.count.value() or 0) + 1)
        yield value[0], self.count.value()


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_a_keyed_process_function_with_the_options_of_a_harness(backend) -> None:
    h = Harnesses.for_keyed_process_function(
        Count(), KEY, Types.STRING(), backend=backend, parallelism=2, max_parallelism=8
    )
    h.batch([("a", 1), ("b", 1), ("a", 1)])
    with h.restored(parallelism=8) as again:
        again.element(("a", 1))
        assert sorted(again.results) == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]


class Both(CoProcessFunction):
    def process_element1(self, value, ctx):
        yield 1, value

    def process_element2(self, value, ctx):
        yield 2, value


def test_a_co_process_function() -> None:
    with Harnesses.for_co_process_function(Both()) as h:
        h.element1("a")
        h.element2("b")
        assert h.results == [(1, "a"), (2, "b")]


class Last(KeyedCoProcessFunction):
    def open(self, runtime_context):
        self.last = runtime_context.get_state(ValueStateDescriptor("last", int))

    def process_element1(self, value, ctx):
        self.last.update(value[1])

    def process_element2(self, value, ctx):
        yield value, self.last.value()


def test_a_keyed_co_process_function() -> None:
    with Harnesses.for_keyed_co_process_function(Last(), KEY, lambda key: key, str, parallelism=3) as h:
        h.batch1([("a", 1), ("b", 2)])
        h.element2("b")
        assert h.results == [("b", 2)]


class Above(BroadcastProcessFunction):
    def process_element(self, value, ctx):
        if value[1] > (ctx.get_broadcast_state(LIMITS).get(value[0]) or 0):
            yield value

    def process_broadcast_element(self, value, ctx):
        ctx.get_broadcast_state(LIMITS).put(*value)


class KeyedAbove(KeyedBroadcastProcessFunction):
    process_element = Above.process_element
    process_broadcast_element = Above.process_broadcast_element


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: Harnesses.for_broadcast_process_function(Above(), LIMITS, **options),
        lambda **options: Harnesses.for_keyed_broadcast_process_function(
            KeyedAbove(), KEY, str, LIMITS, **options
        ),
    ],
)
def test_broadcast_functions(make) -> None:
    with make(parallelism=2) as h:
        h.batch2([("a", 10), ("b", 20)])
        h.batch1([("a", 11), ("b", 11)])
        assert h.results == [("a", 11)]


# ---- of programs


def test_a_window_as_it_is_in_the_program() -> None:
    sums = (
        numbers()
        .key_by(KEY, str)
        .window(TumblingEventTimeWindows.of(Time.milliseconds(10)))
        .allowed_lateness(5)
        .reduce(lambda a, b: (a[0], a[1] + b[1]))
    )
    h = harness_of(sums)
    h.batch([("a", 1), ("a", 2)], [3, 9])
    h = h.restored(parallelism=2)
    h.watermark(9)
    h.element(("a", 4), ts=4)
    h.watermark(14)
    assert h.output == [("a", 3), W(9), ("a", 7), W(14)]
    assert h.state_entries() == 0
    h.close()


def test_a_trigger_and_a_processing_time_window() -> None:
    counted = numbers().key_by(KEY, str).window(TumblingProcessingTimeWindows.of(Time.milliseconds(10)))
    with harness_of(counted.trigger(CountTrigger.of(2)).reduce(lambda a, b: (a[0], a[1] + b[1]))) as h:
        h.batch([("a", 1), ("a", 2), ("a", 3)])
        assert h.results == [("a", 3)]
        h.set_processing_time(10)
        assert (h.state_entries(), h.processing_time_timers()) == (0, 0)


def test_connected_streams_as_they_are_in_the_program() -> None:
    stream = numbers()
    with two_input_harness_of(stream.connect(stream).process(Both())) as h:
        assert isinstance(h, TwoInputOperatorHarness)
        h.element2(("b", 1))
        assert h.results == [(2, ("b", 1))]


def test_what_has_no_harness_is_refused_with_what_to_do() -> None:
    stream = numbers()
    with pytest.raises(JobDefinitionError, match=r"use SourceHarness\(source, strategy\)"):
        harness_of(stream)
    with pytest.raises(JobDefinitionError, match=r"call two_input_harness_of\(\) instead"):
        harness_of(stream.connect(stream).process(Both()))
    with pytest.raises(JobDefinitionError, match=r"call harness_of\(\) instead"):
        two_input_harness_of(numbers().map(str))
    with pytest.raises(JobDefinitionError, match=r"call harness_of\(\) right behind the operator"):
        harness_of(numbers().map(str).rebalance())
    with pytest.raises(JobDefinitionError, match="KeyedProcessFunction"):
        Harnesses.for_process_function(Count())
