"""Operators that are told when a key ends, as in BATCH mode."""

from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, RecordBatch
from millstream.core.types import GENERIC, Types
from millstream.operators.functions import KeyedProcessFunction, ReduceFunction
from millstream.operators.keyed import ReduceSpec
from millstream.operators.process import KeyedProcessSpec
from millstream.operators.window import ListedContents, ReducedContents, WindowSpec
from millstream.operators.windowing import SlidingEventTimeWindows, TumblingEventTimeWindows
from millstream.state.descriptors import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor
from millstream.testing import OperatorHarness


def first(value):
    return value[0]


def add(left, right):
    return left[0], left[1] + right[1]


class Harness(OperatorHarness):
    """One subtask, fed key by key."""

    def key(self, values, timestamps=None):
        self.process(RecordBatch(values, timestamps))
        self.end_key()
        assert self.state_entries() == 0


class Recalling(KeyedProcessFunction):
    """Tells what it finds of earlier records, and keeps all kinds of state."""

    def open(self, runtime_context):
        self.value = runtime_context.get_state(ValueStateDescriptor("value", Types.LONG()))
        self.list = runtime_context.get_list_state(ListStateDescriptor("list", Types.LONG()))
        self.map = runtime_context.get_map_state(MapStateDescriptor("map", Types.LONG(), Types.LONG()))

    def process_element(self, value, ctx):
        yield value, self.value.value(), self.list.get(), dict(self.map.items())
        self.value.update(value[1])
        self.list.add(value[1])
        self.map.put(value[1], value[1])
        ctx.timer_service().register_event_time_timer(value[1])

    def on_timer(self, timestamp, ctx):
        yield "timer", ctx.get_current_key(), timestamp, self.list.get()


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_a_key_that_comes_again_finds_nothing_of_before(backend):
    with Harness(KeyedProcessSpec(first, Types.STRING(), Recalling()), backend=backend) as h:
        h.key([("a", 1), ("a", 2)], [1, 2])
        h.key([("a", 3)], [3])
        assert h.output == [
            (("a", 1), None, [], {}),
            (("a", 2), 1, [1], {1: 1}),
            ("timer", "a", 1, [1, 2]),
            ("timer", "a", 2, [1, 2]),
            (("a", 3), None, [], {}),
            ("timer", "a", 3, [3]),
        ]
        assert h.timestamps == [1, 2, 1, 2, 3, 3]


class Clockwork(KeyedProcessFunction):
    def process_element(self, value, ctx):
        timers = ctx.timer_service()
        yield "at", timers.current_watermark()
        timers.register_processing_time_timer(value[1])
        timers.register_event_time_timer(value[1] + 10)
        timers.register_event_time_timer(MAX_TIMESTAMP)

    def on_timer(self, timestamp, ctx):
        timers = ctx.timer_service()
        yield ctx.time_domain(), timestamp, timers.current_watermark()
        timers.register_event_time_timer(timestamp + 1)
        timers.register_processing_time_timer(timestamp + 1)


def test_at_the_end_of_a_key_event_timers_fire_then_processing_timers_and_those_they_register_do_not():
    with Harness(KeyedProcessSpec(first, Types.STRING(), Clockwork())) as h:
        for key in "ab":
            h.key([(key, 1)])
        of_a_key = [
            ("at", MIN_TIMESTAMP),
            ("EVENT_TIME", 11, MAX_TIMESTAMP),
            ("EVENT_TIME", MAX_TIMESTAMP, MAX_TIMESTAMP),
            ("PROCESSING_TIME", 1, MAX_TIMESTAMP),
        ]
        assert h.output == [*of_a_key, *of_a_key]


@pytest.mark.parametrize("assigner", [TumblingEventTimeWindows.of(10), SlidingEventTimeWindows.of(10, 5)])
@pytest.mark.parametrize("lateness", [0, 7])
@pytest.mark.parametrize("contents", [ReducedContents(add, GENERIC), ListedContents(GENERIC)])
@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=20))
def test_windows_key_by_key_are_those_of_a_stream_without_watermarks(assigner, lateness, contents, records):
    spec = WindowSpec(first, Types.STRING(), assigner, contents, allowed_lateness_ms=lateness)
    with Harness(spec) as by_key, OperatorHarness(spec) as at_once:
        for key in "abc":
            of_key = [record for record in records if record[0] == key]
            if of_key:
                by_key.key(of_key, [time for _, time in of_key])
        by_key.end_input()
        at_once.batch(records, [time for _, time in records])
        at_once.end_input()
        results = zip(at_once.output, at_once.timestamps, strict=True)
        assert sorted(map(str, results)) == sorted(
            str(result) for result in zip(by_key.output, by_key.timestamps, strict=True)
        )
        assert "numLateRecordsDropped" not in by_key.counters
        assert at_once.state_entries() == by_key.state_entries() == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans())
    )
)
def test_a_reduce_gives_the_last_result_of_each_key_with_the_time_of_its_last_record(keys):
    with Harness(ReduceSpec(first, Types.STRING(), add, GENERIC).in_batch_mode()) as h:
        for key, numbers, timed in keys:
            for number in numbers[:-1]:
                h.process(RecordBatch([(key, number)], [number] if timed else None))
            h.key([(key, numbers[-1])], [numbers[-1]] if timed else None)
        h.end_input()
        assert h.results == [(key, sum(numbers)) for key, numbers, _ in keys]
        assert h.timestamps[: len(keys)] == [numbers[-1] if timed else None for _, numbers, timed in keys]


def test_a_reduce_to_none_gives_nothing_as_in_flink():
    spec = ReduceSpec(first, Types.STRING(), lambda left, right: None, GENERIC).in_batch_mode()
    with Harness(spec) as h:
        h.key([("a", 1), ("a", 2)])
        h.key([("b", 1), ("b", 2), ("b", 3)])
        h.flush()
        assert h.output == [("b", 3)]


class Opened(ReduceFunction):
    events: ClassVar[list] = []

    def open(self, runtime_context):
        self.events.append(runtime_context.get_index_of_this_subtask())

    def close(self):
        self.events.append("closed")

    def reduce(self, value1, value2):
        return add(value1, value2)


def test_a_reduce_function_is_opened_and_closed():
    Opened.events.clear()
    with Harness(ReduceSpec(first, Types.STRING(), Opened(), GENERIC).in_batch_mode()) as h:
        h.key([("a", 1), ("a", 2)])
    assert Opened.events == [0, "closed"]


def test_results_of_many_keys_leave_before_there_are_too_many():
    with Harness(ReduceSpec(first, Types.STRING(), add, GENERIC).in_batch_mode()) as h:
        for number in range(1_500):
            h.key([(str(number), number)])
        assert len(h.output) == 1_024
