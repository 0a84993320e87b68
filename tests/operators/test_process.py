from __future__ import annotations

import math
from operator import itemgetter

import pytest

from millstream.core.batch import MIN_TIMESTAMP
from millstream.core.errors import StateError
from millstream.core.types import GENERIC, InvalidKeyError, Row, Types
from millstream.operators.functions import (
    AggregateFunction,
    KeyedProcessFunction,
    OutputTag,
    ProcessFunction,
    TimeDomain,
)
from millstream.operators.process import KeyedProcessSpec, ProcessSpec
from millstream.state.descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.testing import OperatorHarness, W
from tests.operators.scenario import groups


def keyed(function, key_type=GENERIC):
    return KeyedProcessSpec(itemgetter(0), key_type, function)


class Totals(KeyedProcessFunction):
    """A value, a list and a map per key; clears all of them at a record `"clear"`."""

    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total", Types.LONG()))
        self.seen = runtime_context.get_list_state(ListStateDescriptor("seen", Types.LONG()))
        self.counts = runtime_context.get_map_state(MapStateDescriptor("counts", Types.LONG(), Types.LONG()))

    def process_element(self, value, ctx):
        _, number = value
        if number == "clear":
            for state in (self.total, self.seen, self.counts):
                state.clear()
            return
        self.total.update((self.total.value() or 0) + number)
        self.seen.add(number)
        self.counts.put(number, (self.counts.get(number) or 0) + 1)
        yield ctx.get_current_key(), self.total.value(), list(self.seen.get()), dict(self.counts.items())


def test_keyed_state_belongs_to_the_key_of_the_record(start) -> None:
    h = start(keyed(Totals(), Types.STRING()))
    h.batch([("a", 1), ("b", 7), ("a", 1)])
    h.pause()
    h.element(("a", 2))
    h.pause()
    h.element(("b", 7))
    assert h.results == [
        ("a", 1, [1], {1: 1}),
        ("b", 7, [7], {7: 1}),
        ("a", 2, [1, 1], {1: 2}),
        ("a", 4, [1, 1, 2], {1: 2, 2: 1}),
        ("b", 14, [7, 7], {7: 2}),
    ]
    h.batch([("a", "clear"), ("b", "clear")])
    assert h.state_entries() == 0


class Mean:
    def create_accumulator(self):
        return 0, 0

    def add(self, value, accumulator):
        return accumulator[0] + value, accumulator[1] + 1

    def get_result(self, accumulator):
        return accumulator[0] / accumulator[1]


class Statistics(KeyedProcessFunction):
    """The largest number and the mean per key; forgets both at a record `"clear"`."""

    def open(self, runtime_context):
        self.largest = runtime_context.get_reducing_state(
            ReducingStateDescriptor("largest", max, Types.LONG())
        )
        self.mean = runtime_context.get_aggregating_state(AggregatingStateDescriptor("mean", Mean()))

    def process_element(self, value, ctx):
        _, number = value
        for state in (self.largest, self.mean):
            state.clear() if number == "clear" else state.add(number)
        yield ctx.get_current_key(), self.largest.get(), self.mean.get()


def test_reducing_and_aggregating_state_move_with_their_keys(start) -> None:
    h = start(keyed(Statistics(), Types.STRING()))
    h.batch([("a", 3), ("b", 7), ("a", 1)])
    h.pause()
    h.batch([("a", 5), ("b", 1)])
    h.pause()
    h.batch([("a", "clear"), ("b", 1), ("a", 2)])
    assert groups(h.results) == groups(
        [
            *[("a", 3, 3.0), ("b", 7, 7.0), ("a", 3, 2.0), ("a", 5, 3.0), ("b", 7, 4.0)],
            *[("a", None, None), ("b", 7, 3.0), ("a", 2, 2.0)],
        ]
    )
    h.batch([("a", "clear"), ("b", "clear")])
    assert h.state_entries() == 0


class Timers(KeyedProcessFunction):
    """Records `(key, command, time...)`: registers and deletes timers."""

    def process_element(self, value, ctx):
        timers = ctx.timer_service()
        for command, time in value[1:]:
            getattr(timers, command)(time)
        return [value[0]] if len(value) == 1 else None

    def on_timer(self, timestamp, ctx):
        yield ctx.get_current_key(), timestamp, ctx.timer_service().current_watermark()


def at(*times):
    return [("register_event_time_timer", time) for time in times]


def test_event_time_timers_fire_in_order_of_time_ahead_of_the_watermark(start) -> None:
    h = start(keyed(Timers()))
    h.batch([("a", *at(30, 10)), ("b", *at(20))], [1, 2])
    h.watermark(9)
    h.pause()
    h.watermark(25)
    h.pause()
    h.watermark(30)
    assert groups(h.output) == [W(9), ("a", 10, 25), ("b", 20, 25), W(25), ("a", 30, 30), W(30)]
    assert h.state_entries() == 0


def test_results_of_a_timer_happened_at_its_time(start) -> None:
    h = start(keyed(Timers()))
    h.element(("a", *at(7)), ts=1)
    h.pause()
    h.watermark(20)
    assert h.timestamps == [7, None]


def test_a_timer_fires_once_however_often_it_was_registered(start) -> None:
    h = start(keyed(Timers()))
    h.element(("a", *at(10, 10)), ts=1)
    h.pause()
    h.element(("a", *at(10)), ts=2)
    h.watermark(10)
    h.watermark(11)
    assert h.results == [("a", 10, 10)]


def test_a_deleted_timer_does_not_fire_and_deleting_none_is_a_no_op(start) -> None:
    h = start(keyed(Timers()))
    h.element(("a", *at(10, 11), ("delete_event_time_timer", 12)), ts=1)
    h.element(("b", *at(10)), ts=1)
    h.pause()
    h.element(("a", ("delete_event_time_timer", 10), ("delete_event_time_timer", 10)), ts=2)
    h.watermark(20)
    assert sorted(h.results) == [("a", 11, 20), ("b", 10, 20)]
    assert h.state_entries() == 0


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_timer_for_a_time_already_passed_fires_right_after_its_record(start, in_one_batch) -> None:
    h = start(keyed(Timers()))
    h.watermark(20)
    records = [("a", *at(30)), ("a", *at(20)), ("a",), ("a", *at(5, 19))]
    if in_one_batch:
        h.batch(records, [21] * 4)
    else:
        for record in records:
            h.element(record, ts=21)
    assert h.results == [("a", 20, 20), "a", ("a", 5, 20), ("a", 19, 20)]
    h.pause()
    h.watermark(30)
    assert h.results[4:] == [("a", 30, 30)]
    assert h.state_entries() == 0


def test_timers_registered_by_timers_fire_in_their_place_in_the_order(start) -> None:
    class Chain(KeyedProcessFunction):
        def process_element(self, value, ctx):
            ctx.timer_service().register_event_time_timer(10)
            ctx.timer_service().register_event_time_timer(30)

        def on_timer(self, timestamp, ctx):
            if timestamp == 10:
                ctx.timer_service().register_event_time_timer(20)  # between the two
                ctx.timer_service().register_event_time_timer(5)  # passed already
                ctx.timer_service().register_event_time_timer(40)  # not yet due
                ctx.timer_service().delete_event_time_timer(30)
                ctx.timer_service().register_event_time_timer(31)
            yield timestamp

    h = start(keyed(Chain()))
    h.element(("a",), ts=1)
    h.pause()
    h.watermark(35)
    h.pause()
    h.watermark(40)
    assert h.output == [10, 5, 20, 31, W(35), 40, W(40)]
    assert h.state_entries() == 0


def test_the_end_of_input_fires_event_time_timers_but_no_processing_time_timer(start) -> None:
    h = start(keyed(Timers()))
    h.element(("a", *at(10**12), ("register_processing_time_timer", 100)), ts=1)
    h.pause()
    h.end_input()
    assert [result[1] for result in h.results] == [10**12]


class Alarms(KeyedProcessFunction):
    def process_element(self, value, ctx):
        for command, time in value[1:]:
            getattr(ctx.timer_service(), command)(time)

    def on_timer(self, timestamp, ctx):
        service = ctx.timer_service()
        if ctx.time_domain() == TimeDomain.PROCESSING_TIME and timestamp == 50:
            service.register_processing_time_timer(60)
        yield ctx.get_current_key(), ctx.time_domain(), timestamp, service.current_processing_time()


def alarm(*times):
    return [("register_processing_time_timer", time) for time in times]


def test_processing_time_timers_fire_by_the_clock(start) -> None:
    h = start(keyed(Alarms()))
    h.element(("a", *alarm(100, 50)))
    h.element(("b", *alarm(70), *alarm(80), ("delete_processing_time_timer", 80)))
    h.set_processing_time(49)
    assert h.results == []
    h.pause()
    h.set_processing_time(50)
    assert h.results == [("a", "PROCESSING_TIME", 50, 50)]
    h.pause()
    h.set_processing_time(100)
    assert sorted(h.results[1:], key=itemgetter(2)) == [
        ("a", "PROCESSING_TIME", 60, 100),
        ("b", "PROCESSING_TIME", 70, 100),
        ("a", "PROCESSING_TIME", 100, 100),
    ]
    assert set(h.timestamps) == {None}
    assert h.state_entries() == 0


def test_a_processing_time_timer_whose_time_passed_during_a_restart_fires_after_it(start) -> None:
    h = start(keyed(Alarms()))
    h.element(("a", *alarm(50)))
    h.clock.advance(500)
    h.pause()
    h.set_processing_time(500)
    assert h.results == [("a", "PROCESSING_TIME", 50, 500), ("a", "PROCESSING_TIME", 60, 500)]


def test_on_timer_sees_the_state_of_its_key(start) -> None:
    class Remember(KeyedProcessFunction):
        def open(self, runtime_context):
            self.last = runtime_context.get_state(ValueStateDescriptor("last", Types.LONG()))

        def process_element(self, value, ctx):
            self.last.update(value[1])
            ctx.timer_service().register_event_time_timer(10)

        def on_timer(self, timestamp, ctx):
            yield ctx.get_current_key(), self.last.value()
            self.last.clear()

    h = start(keyed(Remember(), Types.STRING()))
    h.batch([("a", 1), ("b", 2), ("c", 3)], [1, 1, 1])
    h.pause()
    h.watermark(10)
    assert sorted(h.results) == [("a", 1), ("b", 2), ("c", 3)]
    assert h.state_entries() == 0


def test_side_outputs_are_yielded_or_written_through_the_context(start) -> None:
    tag = OutputTag("odd")

    class Route(KeyedProcessFunction):
        def process_element(self, value, ctx):
            if value[1] % 2:
                ctx.output(tag, ("context", value[1]))
                yield tag, ("yielded", value[1])
            yield value[1]

    h = start(keyed(Route()))
    h.batch([("a", 1), ("a", 2)], [1, 2])
    assert h.results == [1, 2]
    assert h.side == {"odd": [("context", 1), ("yielded", 1)]}


@pytest.mark.parametrize("key", [None, math.nan, [1]], ids=repr)
def test_what_cannot_be_a_key_is_refused(key) -> None:
    with OperatorHarness(keyed(Timers())) as h, pytest.raises(InvalidKeyError):
        h.element((key,))


def test_results_with_and_without_a_timestamp_keep_theirs() -> None:
    h = OperatorHarness(keyed(Timers()))
    h.watermark(10)
    h.batch([("a",), ("a", *at(3)), ("b",)])
    assert h.results == ["a", ("a", 3, 10), "b"]
    assert h.timestamps == [None, None, 3, None]
    h.close()


class Doubles(ProcessFunction):
    def process_element(self, value, ctx):
        yield value, ctx.timestamp()
        yield value, ctx.timer_service().current_watermark()


def test_a_process_function_needs_no_key() -> None:
    h = OperatorHarness(ProcessSpec(Doubles()))
    h.element(1, ts=5)
    h.watermark(7)
    h.element(2)
    assert h.output == [(1, 5), (1, MIN_TIMESTAMP), W(7), (2, None), (2, 7)]
    assert h.timestamps == [5, 5, None, None, None]
    h.close()


def test_a_plain_callable_is_a_process_function() -> None:
    with OperatorHarness(ProcessSpec(lambda value, ctx: [value, -value])) as h:
        h.batch([1, 2], [1, 2])
        assert h.output == [1, -1, 2, -2]


@pytest.mark.parametrize(
    "method",
    [f"{verb}_{kind}_timer" for verb in ("register", "delete") for kind in ("event_time", "processing_time")],
)
def test_timers_without_keys_are_refused_with_the_way_out(method) -> None:
    def use(value, ctx):
        getattr(ctx.timer_service(), method)(5)

    with OperatorHarness(ProcessSpec(use)) as h, pytest.raises(StateError) as refused:
        h.element(1)
    assert "key_by" in (refused.value.fix or "")


def test_keyed_state_without_keys_is_refused_with_the_way_out() -> None:
    class Asks(Doubles):
        def open(self, runtime_context):
            runtime_context.get_state(ValueStateDescriptor("x", Types.LONG()))

    with pytest.raises(StateError) as refused:
        OperatorHarness(ProcessSpec(Asks()))
    assert "key_by" in (refused.value.fix or "")


class Gathering(KeyedProcessFunction):
    """Emits the very list it keeps in state, to the main output and to a side output, and goes on changing it."""

    def open(self, runtime_context):
        self.seen = runtime_context.get_state(ValueStateDescriptor("seen", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value, ctx):
        seen = self.seen.value() or []
        seen.append(value[1])
        self.seen.update(seen)
        ctx.output(OutputTag("side"), seen)
        yield seen


def test_results_do_not_change_with_the_state_they_came_from_however_records_are_batched(start) -> None:
    h = start(KeyedProcessSpec(itemgetter(0), Types.STRING(), Gathering()))
    h.batch([("a", 1), ("a", 2), ("b", 3)])
    h.pause()
    h.element(("a", 4))
    for results in (h.results, h.side["side"]):
        assert sorted(results) == [[1], [1, 2], [1, 2, 4], [3]]
        results[-1].append("changed")
    h.element(("a", 5))
    assert h.results[-1] == h.side["side"][-1] == [1, 2, 4, 5]


ROW = Types.ROW_NAMED(["n", "s"], [Types.LONG(), Types.STRING()])


class Rows(KeyedProcessFunction):
    """Writes tuples into states that are declared to hold rows; a record `("?", key)` asks for them."""

    def open(self, runtime_context):
        self.value = runtime_context.get_state(ValueStateDescriptor("value", ROW))
        self.list = runtime_context.get_list_state(ListStateDescriptor("list", ROW))
        self.map = runtime_context.get_map_state(MapStateDescriptor("map", Types.LONG(), ROW))
        self.last = runtime_context.get_reducing_state(ReducingStateDescriptor("last", lambda a, b: b, ROW))
        self.best = runtime_context.get_aggregating_state(AggregatingStateDescriptor("best", Latest(), ROW))

    def process_element(self, value, ctx):
        fields = (value[1], "x")
        self.value.update(fields)
        self.list.add(fields)
        self.map.put(1, fields)
        self.last.add(fields)
        self.best.add(fields)
        yield self.value.value(), self.list.get()[0], self.map.get(1), self.last.get(), self.best.get()


class Latest(AggregateFunction):
    def create_accumulator(self):
        return 0, ""

    def add(self, value, accumulator):
        return value

    def get_result(self, accumulator):
        return accumulator

    def merge(self, acc_a, acc_b):
        return acc_b


def test_what_is_declared_as_rows_is_rows_in_every_state_and_backend_at_once(start) -> None:
    h = start(KeyedProcessSpec(itemgetter(0), Types.STRING(), Rows()))
    h.element(("a", 1))
    h.pause()
    h.element(("a", 1))
    assert h.results == [(Row.of_fields(("n", "s"), [1, "x"]),) * 5] * 2
