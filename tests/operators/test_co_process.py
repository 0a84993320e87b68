"""Operators on two connected streams, in every world."""

from __future__ import annotations

from operator import itemgetter

import pytest

from millstream.core.batch import RecordBatch, WatermarkStatus
from millstream.core.errors import StateError
from millstream.core.types import InvalidKeyError, Types
from millstream.operators.co_functions import (
    CoFlatMapFunction,
    CoMapFunction,
    CoProcessFunction,
    KeyedCoProcessFunction,
)
from millstream.operators.co_process import CoProcessSpec, KeyedCoProcessSpec, OnCoFlatMap, OnCoMap
from millstream.operators.functions import OutputTag
from millstream.state.descriptors import MapStateDescriptor, ValueStateDescriptor
from millstream.testing import W

REST = OutputTag("rest")


def keyed(function, key_type=None):
    return KeyedCoProcessSpec(itemgetter(0), itemgetter(1), key_type or Types.STRING(), function)


class Matching(KeyedCoProcessFunction):
    """Keeps the last order (input 1) until a payment (input 2) for its key comes; gives unpaid ones up after 100 ms."""

    def open(self, runtime_context):
        self.order = runtime_context.get_state(ValueStateDescriptor("order", Types.LONG()))
        self.seen = runtime_context.get_map_state(MapStateDescriptor("seen", Types.LONG(), Types.LONG()))

    def process_element1(self, value, ctx):
        self.order.update(value[1])
        self.seen.put(1, (self.seen.get(1) or 0) + 1)
        ctx.timer_service().register_event_time_timer(ctx.timestamp() + 100)

    def process_element2(self, value, ctx):
        self.seen.put(2, (self.seen.get(2) or 0) + 1)
        if self.order.value() is None:
            yield REST, value
            return
        yield ctx.get_current_key(), self.order.value(), value[0], dict(self.seen.items())
        self.order.clear()
        self.seen.clear()

    def on_timer(self, timestamp, ctx):
        if self.order.value() is not None:
            yield "unpaid", ctx.get_current_key(), timestamp
        self.order.clear()
        self.seen.clear()


def test_both_inputs_share_the_state_of_a_key(start) -> None:
    h = start(keyed(Matching()))
    h.batch1([("a", 1), ("b", 2)], [0, 1])
    h.pause()
    h.element1(("a", 3), ts=2)
    h.pause()
    h.batch2([(10, "a"), (20, "c")], [3, 4])
    assert h.results == [("a", 3, 10, {1: 2, 2: 1})]
    assert h.side == {"rest": [(20, "c")]}


def test_a_timer_of_either_input_sees_the_state_of_both(start) -> None:
    h = start(keyed(Matching()))
    h.batch1([("a", 1), ("b", 2)], [0, 1])
    h.pause()
    h.element2((10, "b"), ts=3)
    h.pause()
    h.watermark(200)
    assert h.results == [("b", 2, 10, {1: 1, 2: 1}), ("unpaid", "a", 100)]
    assert h.state_entries() == 0


def test_event_time_is_the_lesser_of_both_inputs(start) -> None:
    h = start(keyed(Matching()))
    h.element1(("a", 1), ts=0)
    h.watermark1(500)
    assert h.output == []
    h.watermark2(99)
    h.watermark2(100)
    assert h.output == [W(99), ("unpaid", "a", 100), W(100)]


def test_an_idle_input_does_not_hold_the_other_one_back(start) -> None:
    h = start(keyed(Matching()))
    h.element1(("a", 1), ts=0)
    h.watermark1(150)
    h.status2(idle=True)
    assert h.output == [("unpaid", "a", 100), W(150)]
    h.status1(idle=True)
    assert h.output[2:] == [WatermarkStatus(idle=True)]
    h.status2(idle=False)
    assert h.output[3:] == [WatermarkStatus(idle=False)]


class Late(KeyedCoProcessFunction):
    """Registers a timer for the number in each record, of whichever input."""

    def process_element1(self, value, ctx):
        ctx.timer_service().register_event_time_timer(value[1])
        yield value

    def process_element2(self, value, ctx):
        ctx.timer_service().register_event_time_timer(value[0])
        yield value

    def on_timer(self, timestamp, ctx):
        yield timestamp, ctx.get_current_key(), ctx.timestamp(), ctx.time_domain()


def test_a_timer_for_a_time_passed_fires_right_after_its_record(start) -> None:
    h = start(keyed(Late()))
    h.watermark(50)
    h.batch2([(7, "a"), (60, "a"), (8, "a")], [51, 51, 51])
    h.pause()
    h.watermark(60)
    assert h.results == [
        (7, "a"),
        (7, "a", 7, "EVENT_TIME"),
        (60, "a"),
        (8, "a"),
        (8, "a", 8, "EVENT_TIME"),
        (60, "a", 60, "EVENT_TIME"),
    ]
    assert h.state_entries() == 0


class Alarm(KeyedCoProcessFunction):
    def process_element1(self, value, ctx):
        ctx.timer_service().register_processing_time_timer(value[1])

    def process_element2(self, value, ctx):
        ctx.timer_service().delete_processing_time_timer(value[0])

    def on_timer(self, timestamp, ctx):
        yield ctx.get_current_key(), timestamp, ctx.time_domain()


def test_processing_time_timers_are_set_by_one_input_and_deleted_by_the_other(start) -> None:
    h = start(keyed(Alarm()))
    h.batch1([("a", 10), ("b", 10), ("a", 20)])
    h.pause()
    h.element2((10, "b"))
    h.set_processing_time(15)
    h.pause()
    h.set_processing_time(20)
    assert h.results == [("a", 10, "PROCESSING_TIME"), ("a", 20, "PROCESSING_TIME")]
    assert h.state_entries() == 0


@pytest.mark.parametrize("input_id", [1, 2])
def test_a_key_of_another_type_is_refused_on_either_input(start, input_id) -> None:
    h = start(keyed(Late()))
    process = h.operators[0].process_batch if input_id == 1 else h.operators[0].process_batch2
    with pytest.raises(InvalidKeyError, match="STRING"):
        process(RecordBatch([(1, 1)], [0]))


class Named(CoMapFunction):
    def open(self, runtime_context):
        self.count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def _next(self):
        self.count.update((self.count.value() or 0) + 1)
        return self.count.value()

    def map1(self, value):
        return 1, value, self._next()

    def map2(self, value):
        number = self._next()
        return (2, value, number) if value[0] else None


def test_a_co_map_counts_over_both_inputs_on_keyed_state_and_none_is_no_result(start) -> None:
    h = start(keyed(OnCoMap(Named())))
    h.element1(("a", 0))
    h.pause()
    h.batch2([(1, "a"), (0, "a"), (1, "b")])
    h.pause()
    h.element1(("a", 0))
    assert sorted(h.results) == [
        (1, ("a", 0), 1),
        (1, ("a", 0), 4),
        (2, (1, "a"), 2),
        (2, (1, "b"), 1),
    ]


class Twice(CoFlatMapFunction):
    def flat_map1(self, value):
        yield value
        yield value

    def flat_map2(self, value):
        return None if value == 0 else [value]


def test_a_co_flat_map_gives_any_number_of_results_with_the_time_of_their_record(start) -> None:
    h = start(CoProcessSpec(OnCoFlatMap(Twice())))
    h.element1("x", ts=5)
    h.pause()
    h.batch2([0, 1], [6, 7])
    assert h.results == ["x", "x", 1]
    assert h.timestamps == [5, 5, 7]


class Unkeyed(CoProcessFunction):
    def process_element1(self, value, ctx):
        ctx.output(REST, (value, ctx.timestamp()))
        yield "one", value, ctx.timer_service().current_watermark()

    def process_element2(self, value, ctx):
        if value == "timer":
            ctx.timer_service().register_event_time_timer(1)
        return [(REST, value), ("two", value)]


def test_an_unkeyed_co_process_sees_time_and_has_side_outputs_but_no_timers(start) -> None:
    h = start(CoProcessSpec(Unkeyed()))
    h.watermark(3)
    h.element1(1, ts=4)
    h.pause()
    h.element2(2, ts=4)
    assert h.results[1:] == [("two", 2)]
    assert h.results[0][:2] == ("one", 1)
    assert h.side == {"rest": [(1, 4), 2]}
    with pytest.raises(StateError, match="not keyed"):
        h.element2("timer")
