"""Drawings: `[0----10)` is a window, digits below are records at that time."""

from __future__ import annotations

import math

import pytest

from millstream.core.batch import MAX_TIMESTAMP
from millstream.core.errors import JobDefinitionError, StateError
from millstream.core.types import GENERIC, InvalidKeyError
from millstream.operators.count_triggers import CountTrigger, PurgingTrigger
from millstream.operators.count_windows import (
    CountSlidingWindowAssigner,
    CountTumblingWindowAssigner,
    GlobalWindows,
)
from millstream.operators.evictors import CountEvictor, TimeEvictor
from millstream.operators.functions import OutputTag, ProcessWindowFunction
from millstream.operators.metrics import CounterValue
from millstream.operators.session_windows import EventTimeSessionWindows, ProcessingTimeSessionWindows
from millstream.operators.trigger import Trigger, TriggerResult
from millstream.operators.window import ListedContents, ReducedContents
from millstream.operators.window_types import TimeWindow, TimeWindowSerializer, TypeSerializer, Window
from millstream.operators.windowing import (
    MergingWindowAssigner,
    SlidingEventTimeWindows,
    SlidingProcessingTimeWindows,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    WindowAssigner,
    WindowStagger,
)
from millstream.state.descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.testing import OperatorHarness, W
from tests.operators.scenario import groups
from tests.operators.windows import (
    COLLECT,
    LIST,
    Collected,
    apply_all,
    general,
    one_by_one,
    window,
)

SESSIONS = EventTimeSessionWindows.with_gap(5)
CLOCK_SESSIONS = ProcessingTimeSessionWindows.with_gap(5)
TUMBLING = TumblingEventTimeWindows.of(10)


class Bounds(ProcessWindowFunction):
    """(key, start, end, sum)."""

    def process(self, key, context, elements):
        yield key, context.window().start, context.window().end, sum(value for _, value in elements)


def sessions(**changes):
    return general(SESSIONS, window_function=Bounds(), **changes)


# ---- sessions


def test_a_session_ends_a_gap_after_its_last_record(start) -> None:
    h = start(sessions())
    h.batch([("a", 1), ("a", 2), ("b", 4)], [0, 3, 4])  # a: [0-------8)  b: [4-------9)
    h.watermark(6)
    h.pause()
    h.watermark(7)
    assert h.results == [("a", 0, 8, 3)]
    assert h.timestamps[-2] == 7
    h.watermark(8)
    assert groups(h.output) == [W(6), ("a", 0, 8, 3), W(7), ("b", 4, 9, 4), W(8)]
    assert h.state_entries() == 0


def test_touching_sessions_merge_and_a_millisecond_more_parts_them(start) -> None:
    h = start(sessions())
    h.batch([("a", 1), ("a", 2), ("a", 4)], [1, 6, 12])  # [1----6)[6----11).[12----17)
    h.pause()
    h.watermark(100)
    assert h.results == [("a", 1, 11, 3), ("a", 12, 17, 4)]
    assert h.state_entries() == 0


def test_a_record_between_two_sessions_makes_them_one(start) -> None:
    h = start(sessions())
    h.element(("a", 1), ts=0)  #  [0----5)
    h.element(("a", 2), ts=10)  #           [10---15)
    h.pause()
    h.element(("a", 4), ts=5)  #      [5----10)
    h.pause()
    h.watermark(14)
    assert h.output == [("a", 0, 15, 7), W(14)]
    assert h.state_entries() == 0


@pytest.mark.parametrize("contents", [LIST, COLLECT], ids=["listed", "aggregated"])
def test_merged_sessions_hold_what_both_held(start, contents) -> None:
    h = start(general(SESSIONS, contents=contents))
    for value, time in [(1, 0), (2, 20), (3, 10), (4, 15), (5, 5)]:
        h.element(("a", value), ts=time)
        h.pause()
    h.watermark(100)
    (result,) = h.results
    assert sorted(value if contents is COLLECT else value[1] for value in result) == [1, 2, 3, 4, 5]
    assert h.state_entries() == 0


def test_a_late_record_that_joins_a_live_session_is_not_late(start) -> None:
    h = start(sessions(late_tag="late"))
    h.element(("a", 1), ts=12)  # [12---17)
    h.watermark(13)
    h.pause()
    h.watermark(13)
    h.batch([("a", 2), ("b", 2)], [8, 8])  # [8---13) is past by itself, and a's is now [8------17)
    assert h.side["late"] == [("b", 2)]
    h.watermark(16)
    assert h.results == [("a", 8, 17, 3)]
    assert h.state_entries() == 0


def test_late_sessions_are_counted_and_leave_nothing(start) -> None:
    h = start(sessions())
    h.watermark(100)
    h.pause()
    h.watermark(100)
    h.batch([("a", 1), ("b", 1)], [96, 97])  # [96---101) [97---102)
    assert h.counters == {"numLateRecordsDropped": 1}
    h.watermark(101)
    assert h.results == [("b", 97, 102, 1)]
    assert h.state_entries() == 0


def test_a_late_record_within_the_allowed_lateness_fires_its_session_again(start) -> None:
    h = start(sessions(allowed_lateness_ms=10))
    h.element(("a", 1), ts=0)
    h.watermark(4)
    h.pause()
    h.watermark(4)
    h.element(("a", 2), ts=4)  # extends it to 9: not past any more
    assert h.results == [("a", 0, 5, 1)]
    h.watermark(8)
    h.pause()
    h.watermark(8)
    h.element(("a", 4), ts=2)  # lies within it: fires at once
    assert h.results == [("a", 0, 5, 1), ("a", 0, 9, 3), ("a", 0, 9, 7)]
    h.watermark(17)
    assert h.state_entries() > 0
    h.watermark(18)  # 8, the last millisecond, + 10
    assert h.state_entries() == 0
    h.element(("a", 1), ts=2)
    assert h.counters == {"numLateRecordsDropped": 1}


def test_sessions_of_many_keys_do_not_mix(start) -> None:
    h = start(sessions())
    keys = [f"k{number}" for number in range(40)]
    h.batch([(key, 1) for key in keys for _ in range(2)], [3, 1] * 40)
    h.pause()
    h.batch([(key, 1) for key in keys], [8] * 40)
    h.pause()
    h.watermark(12)
    assert sorted(h.results) == sorted((key, 1, 13, 3) for key in keys)
    assert h.state_entries() == 0


def test_a_dynamic_gap_is_that_of_each_record(start) -> None:
    h = start(
        general(EventTimeSessionWindows.with_dynamic_gap(lambda record: record[1]), window_function=Bounds())
    )
    h.batch([("a", 10), ("a", 2), ("a", 3)], [0, 1, 20])  # [0------10), [1-3) lies in it, [20-23)
    h.pause()
    h.watermark(100)
    assert h.results == [("a", 0, 10, 12), ("a", 20, 23, 3)]


def test_a_gap_that_is_not_positive_is_refused(start) -> None:
    h = start(general(EventTimeSessionWindows.with_dynamic_gap(lambda record: 0)))
    with pytest.raises(StateError, match="gap of a session must be positive"):
        h.element(("a", 1), ts=0)


def test_sessions_count_across_merges(start) -> None:
    h = start(general(SESSIONS, CountTrigger.of(3), contents=LIST, window_function=apply_all))
    h.element(("a", 1), ts=0)
    h.element(("a", 1), ts=10)
    h.pause()
    h.element(("a", 1), ts=5)  # one window now, with the counts of both
    assert h.results == [("a", 0, 3)]
    h.pause()
    h.watermark(100)
    assert h.results == [("a", 0, 3)]
    assert h.state_entries() == 0


def test_a_purging_session_goes_on_from_nothing(start) -> None:
    h = start(general(SESSIONS, PurgingTrigger.of(CountTrigger.of(2)), window_function=Bounds()))
    h.batch([("a", 1), ("a", 2)], [0, 3])
    h.pause()
    h.element(("a", 4), ts=6)
    h.element(("a", 8), ts=9)
    assert h.results == [("a", 0, 8, 3), ("a", 0, 14, 12)]
    h.pause()
    h.watermark(100)
    assert h.state_entries() == 0


# ---- processing time


def test_processing_time_windows_fire_when_the_clock_reaches_their_last_millisecond(start) -> None:
    h = start(general(TumblingProcessingTimeWindows.of(10), window_function=Bounds()))
    h.batch([("a", 1), ("a", 2)])
    h.set_processing_time(8)
    h.pause()
    h.element(("a", 4))
    h.set_processing_time(9)
    assert h.results == [("a", 0, 10, 7)]
    assert h.timestamps == [9]
    assert h.state_entries() == 0
    h.watermark(MAX_TIMESTAMP)
    assert h.results == [("a", 0, 10, 7)]


def test_sliding_processing_time_windows_share_their_records(start) -> None:
    h = start(general(SlidingProcessingTimeWindows.of(10, 5), window_function=Bounds()))
    h.element(("a", 1))
    h.set_processing_time(5)
    h.pause()
    h.element(("a", 2))
    h.set_processing_time(100)
    assert h.results == [("a", -5, 5, 1), ("a", 0, 10, 3), ("a", 5, 15, 2)]
    assert h.state_entries() == 0


def test_processing_time_sessions_end_a_gap_after_their_last_record(start) -> None:
    h = start(general(CLOCK_SESSIONS, window_function=Bounds()))
    h.element(("a", 1))
    h.set_processing_time(3)
    h.pause()
    h.element(("a", 2))
    h.set_processing_time(6)
    assert h.results == []
    h.pause()
    h.set_processing_time(7)
    assert h.results == [("a", 0, 8, 3)]
    assert h.state_entries() == 0


def test_processing_time_windows_not_over_at_the_end_of_the_input_do_not_fire(start) -> None:
    h = start(general(TumblingProcessingTimeWindows.of(10)))
    h.element(("a", 1), ts=3)
    h.pause()
    h.end_input()
    h.set_processing_time(100)
    assert h.results == []


def test_nothing_is_late_in_processing_time(start) -> None:
    h = start(general(TumblingProcessingTimeWindows.of(10), allowed_lateness_ms=5, late_tag="late"))
    h.watermark(1_000)
    h.element(("a", 1), ts=3)
    h.pause()
    h.set_processing_time(9)  # the allowed lateness is of event time: clean-up comes at once
    assert h.results == [("a", 1)]
    assert h.side == {}
    assert h.state_entries() == 0


@pytest.mark.parametrize("stagger", [WindowStagger.NATURAL, WindowStagger.RANDOM])
def test_staggered_windows_are_shifted_by_one_offset_per_subtask(stagger) -> None:
    assigner = TumblingProcessingTimeWindows.of(10, window_stagger=stagger)
    h = OperatorHarness(general(assigner, contents=LIST, window_function=apply_all))
    h.set_processing_time(7)
    h.element(("a", 1))
    h.set_processing_time(1_000)
    h.element(("a", 1))
    h.set_processing_time(2_000)
    starts = [start for _, start, _ in h.results]
    assert len({start % 10 for start in starts}) == 1
    assert starts[0] <= 7 < starts[0] + 10
    assert stagger is WindowStagger.RANDOM or starts[0] == 7


def test_a_staggered_event_time_window_holds_its_record() -> None:
    assigner = TumblingEventTimeWindows.of(10, 2, WindowStagger.NATURAL)
    h = OperatorHarness(general(assigner, contents=LIST, window_function=apply_all))
    h.set_processing_time(5)
    h.element(("a", 1), ts=103)
    h.end_input()
    assert h.results == [("a", 97, 1)]  # 97 = 7 modulo 10


# ---- global and count windows


def count_windows(size: int, slide: int | None = None, **changes):
    if slide is None:
        return general(GlobalWindows.create(), PurgingTrigger.of(CountTrigger.of(size)), **changes)
    return general(GlobalWindows.create(), CountTrigger.of(slide), evictor=CountEvictor.of(size), **changes)


def test_a_global_window_never_fires_by_itself(start) -> None:
    h = start(general(GlobalWindows.create()))
    h.batch([("a", 1), ("a", 2)], [0, 1])
    h.pause()
    h.end_input()
    assert h.results == []


def test_a_global_window_may_fire_at_the_end_of_the_input(start) -> None:
    h = start(general(GlobalWindows.create_with_end_of_stream_trigger()))
    h.batch([("a", 1), ("a", 2), ("b", 1)], [0, 1, 2])
    h.watermark(10**15)
    h.pause()
    assert h.results == []
    h.end_input()
    assert sorted(h.results) == [("a", 3), ("b", 1)]
    assert h.state_entries() == 0


def test_tumbling_count_windows_hold_so_many_records_of_a_key(start) -> None:
    h = start(count_windows(2))
    h.batch([("a", 1), ("b", 1), ("a", 2)])
    h.pause()
    h.batch([("a", 4), ("b", 2)])
    assert sorted(h.results) == [("a", 3), ("b", 3)]
    assert h.timestamps == [MAX_TIMESTAMP] * 2
    h.pause()
    h.element(("a", 8))
    assert sorted(h.results) == [("a", 3), ("a", 12), ("b", 3)]
    assert h.state_entries() == 0


def test_sliding_count_windows_hold_the_last_records_after_every_slide(start) -> None:
    h = start(count_windows(3, 2, contents=LIST))
    for number in range(1, 8):
        h.element(("a", number))
        h.pause()
    assert [[value for _, value in result] for result in h.results] == [[1, 2], [2, 3, 4], [4, 5, 6]]


@pytest.mark.parametrize(
    ("assigner", "expected"),
    [
        (CountTumblingWindowAssigner.of(3), [(0, 6), (1, 15)]),
        (CountSlidingWindowAssigner.of(4, 2), [(0, 10), (1, 18), (2, 26)]),
        (CountSlidingWindowAssigner.of(2, 3), [(0, 3), (1, 9), (2, 15)]),
    ],
    ids=str,
)
def test_numbered_count_windows_fire_once_they_are_full(start, assigner, expected) -> None:
    class Numbered(ProcessWindowFunction):
        def process(self, key, context, elements):
            yield context.window().id, sum(value for _, value in elements)

    h = start(general(assigner, window_function=Numbered()))
    for number in range(1, 9):
        h.element(("a", number))
        h.pause()
    assert h.results == expected


def test_full_numbered_windows_leave_only_the_count(start) -> None:
    h = start(general(CountTumblingWindowAssigner.of(2)))
    h.batch([("a", 1), ("a", 2), ("a", 3)])
    h.pause()
    h.element(("a", 4))
    assert h.results == [("a", 3), ("a", 7)]
    assert h.state_entries() == 1


# ---- triggers decide


def test_a_trigger_replaces_the_default_one(start) -> None:
    h = start(general(TUMBLING, CountTrigger.of(2)))
    h.batch([("a", 1), ("a", 2), ("a", 4), ("b", 1)], [1, 2, 3, 4])
    h.pause()
    h.watermark(9)  # the window is over: nothing fires, everything goes
    assert h.output == [("a", 3), W(9)]
    assert h.state_entries() == 0


def test_accumulating_triggers_repeat_the_content_and_purging_ones_do_not(start) -> None:
    for trigger, expected in [
        (CountTrigger.of(2), [("a", 3), ("a", 15)]),
        (PurgingTrigger.of(CountTrigger.of(2)), [("a", 3), ("a", 12)]),
    ]:
        h = start(general(TUMBLING, trigger))
        h.batch([("a", 1), ("a", 2)], [1, 2])
        h.pause()
        h.batch([("a", 4), ("a", 8)], [3, 4])
        assert h.results == expected
        h.pause()
        h.watermark(9)
        assert h.results == expected
        assert h.state_entries() == 0


class Script(Trigger):
    """Does what the record says; its timers fire."""

    def on_element(self, element, timestamp, window, ctx):
        _, action = element
        if isinstance(action, tuple):
            getattr(ctx, action[0])(action[1])
            return TriggerResult.CONTINUE
        return action

    def on_processing_time(self, time, window, ctx):
        return TriggerResult.FIRE

    def on_event_time(self, time, window, ctx):
        return TriggerResult.FIRE

    def clear(self, window, ctx):
        pass


def scripted(assigner=TUMBLING, **changes):
    fields = {
        "contents": ListedContents(GENERIC),
        "value_type": GENERIC,
        "window_function": apply_all,
        **changes,
    }
    return general(assigner, Script(), **fields)


class Counting(Script):
    def on_element(self, element, timestamp, window, ctx):
        ctx.get_metric_group().add_group("trigger").counter("elements").inc()
        return super().on_element(element, timestamp, window, ctx)


def test_a_trigger_counts_in_the_metrics_of_its_operator(start) -> None:
    contents = {"contents": ListedContents(GENERIC), "value_type": GENERIC, "window_function": apply_all}
    h = start(general(TUMBLING, PurgingTrigger.of(Counting()), **contents))
    h.element(("a", TriggerResult.CONTINUE), ts=1)
    h.element(("b", TriggerResult.CONTINUE), ts=11)
    assert h.metrics == [{"trigger.elements": CounterValue(2)}]


def test_purging_an_empty_window_and_firing_it_emits_nothing(start) -> None:
    h = start(scripted())
    h.element(("a", TriggerResult.PURGE), ts=1)
    h.element(("a", ("register_event_time_timer", 5)), ts=1)
    h.element(("a", TriggerResult.PURGE), ts=1)
    h.watermark(6)
    assert h.output == [W(6)]


def test_timers_of_a_window_fire_in_order_and_deleted_ones_do_not(start) -> None:
    class Told(ProcessWindowFunction):
        def process(self, key, context, elements):
            yield key, context.window().start, context.current_watermark()

    h = start(scripted(window_function=Told()))
    h.element(("a", ("register_event_time_timer", 4)), ts=1)
    h.element(("a", ("register_event_time_timer", 3)), ts=11)
    h.element(("a", ("register_event_time_timer", 2)), ts=1)
    h.element(("a", ("delete_event_time_timer", 4)), ts=1)
    h.pause()
    h.watermark(2)
    h.watermark(4)
    assert h.output == [("a", 0, 2), W(2), ("a", 10, 4), W(4)]


def test_a_processing_time_timer_of_an_event_time_window_fires(start) -> None:
    h = start(scripted())
    h.element(("a", ("register_processing_time_timer", 50)), ts=1)
    h.pause()
    h.set_processing_time(50)
    assert h.results == [("a", 0, 1)]
    h.watermark(9)
    assert h.state_entries() == 0


def test_a_timer_for_a_time_already_passed_fires_with_the_next_watermark(start) -> None:
    h = start(scripted())
    h.watermark(3)
    h.element(("a", ("register_event_time_timer", 2)), ts=1)
    assert h.results == []
    h.watermark(4)
    assert h.results == [("a", 0, 1)]


def test_what_is_no_trigger_result_is_refused() -> None:
    h = OperatorHarness(scripted())
    with pytest.raises(StateError, match="Script returned None, which is not a TriggerResult"):
        h.element(("a", None), ts=1)


class Remembering(Trigger):
    """Has one state of each kind that can be merged, and fires when told to."""

    COUNT = ReducingStateDescriptor("count", lambda a, b: a + b, int)
    SEEN = ListStateDescriptor("seen", int)
    ALL = AggregatingStateDescriptor("all", Collected())
    LAST = ValueStateDescriptor("last", int)
    TIMES = MapStateDescriptor("times", str, int)

    def on_element(self, element, timestamp, window, ctx):
        ctx.get_partitioned_state(self.COUNT).add(1)
        ctx.get_partitioned_state(self.SEEN).add(element[1])
        ctx.get_partitioned_state(self.ALL).add(element)
        ctx.register_event_time_timer(window.max_timestamp())
        return TriggerResult.CONTINUE

    def on_processing_time(self, time, window, ctx):
        return TriggerResult.CONTINUE

    def on_event_time(self, time, window, ctx):
        count = ctx.get_partitioned_state(self.COUNT).get()
        seen, everything = (
            sorted(ctx.get_partitioned_state(self.SEEN).get()),
            sorted(ctx.get_partitioned_state(self.ALL).get()),
        )
        assert count == len(seen)
        assert seen == everything
        return TriggerResult.FIRE if seen == [1, 2, 3] else TriggerResult.CONTINUE

    def can_merge(self):
        return True

    def on_merge(self, window, ctx):
        for descriptor in (self.COUNT, self.SEEN, self.ALL):
            ctx.merge_partitioned_state(descriptor)

    def clear(self, window, ctx):
        ctx.delete_event_time_timer(window.max_timestamp())
        for descriptor in (self.COUNT, self.SEEN, self.ALL):
            ctx.get_partitioned_state(descriptor).clear()


def test_trigger_state_merges_with_its_windows_and_goes_with_them(start) -> None:
    h = start(sessions(trigger=Remembering()))
    h.element(("a", 1), ts=0)
    h.element(("a", 2), ts=10)
    h.element(("b", 1), ts=0)
    h.pause()
    h.element(("a", 3), ts=5)
    h.pause()
    h.watermark(14)
    assert h.results == [("a", 0, 15, 6)]
    assert h.state_entries() == 0


def test_value_and_map_state_of_a_trigger_cannot_be_merged() -> None:
    class Wrong(Remembering):
        def on_merge(self, window, ctx):
            ctx.merge_partitioned_state(self.LAST)

    h = OperatorHarness(sessions(trigger=Wrong()))
    h.element(("a", 1), ts=0)
    with pytest.raises(StateError, match="cannot be merged"):
        h.element(("a", 2), ts=1)


# ---- state of window functions


class Stateful(ProcessWindowFunction):
    """How often a window fired, how often the key's windows did, and what the key saw in between."""

    COUNT = ValueStateDescriptor("count", int)
    SEEN = MapStateDescriptor("seen", int, int)

    def open(self, runtime_context):
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process(self, key, context, elements):
        counts = [
            context.window_state().get_state(self.COUNT),
            context.global_state().get_state(self.COUNT),
            self.total,
        ]
        for count in counts:
            count.update((count.value() or 0) + 1)
        seen = context.window_state().get_map_state(self.SEEN)
        seen.put(len(elements), 0)
        yield key, *(count.value() for count in counts), sorted(seen.keys())


class Clearing(Stateful):
    def clear(self, context):
        context.window_state().get_state(self.COUNT).clear()
        seen = context.window_state().get_map_state(self.SEEN)
        assert not seen.is_empty()
        seen.clear()
        total = context.global_state().get_state(ValueStateDescriptor("cleared", int))
        total.update((total.value() or 0) + 1)


def test_window_functions_have_state_per_window_and_per_key(start) -> None:
    h = start(general(TUMBLING, contents=LIST, window_function=Clearing(), allowed_lateness_ms=100))
    h.batch([("a", 1), ("a", 2), ("b", 1)], [1, 11, 1])
    h.watermark(19)
    h.pause()
    h.watermark(19)
    h.element(("a", 4), ts=2)  # fires [0---10) again
    assert sorted(h.results) == [
        ("a", 1, 1, 1, [1]),
        ("a", 1, 2, 2, [1]),
        ("a", 2, 3, 3, [1, 2]),
        ("b", 1, 1, 1, [1]),
    ]
    h.pause()
    h.batch([("a", 1), ("b", 1)], [200, 200])
    h.watermark(400)
    assert h.state_entries() == 6  # per key: the total, the count of its windows, and that of those cleared


def test_slices_give_window_functions_the_same_state(start) -> None:
    slices = window(10, contents=LIST, window_function=Stateful(), allowed_lateness_ms=100)
    for spec in (slices, one_by_one(slices)):
        h = start(spec)
        h.batch([("a", 1), ("a", 2), ("b", 1)], [1, 11, 1])
        h.watermark(19)
        h.pause()
        h.watermark(19)
        h.element(("a", 4), ts=2)
        assert sorted(h.results) == [
            ("a", 1, 1, 1, [1]),
            ("a", 1, 2, 2, [1]),
            ("a", 2, 3, 3, [1, 2]),
            ("b", 1, 1, 1, [1]),
        ]


def test_state_of_one_window_is_refused_where_windows_merge() -> None:
    h = OperatorHarness(general(SESSIONS, contents=LIST, window_function=Stateful()))
    h.element(("a", 1), ts=0)
    with pytest.raises(StateError, match="these windows merge"):
        h.watermark(100)


def test_clear_is_told_once_per_key_and_window_after_its_last_firing(start) -> None:
    class Telling(ProcessWindowFunction):
        def process(self, key, context, elements):
            yield "fired", key, context.window().start

        def clear(self, context):
            context.output(OutputTag("cleared"), context.window().start)

    h = start(general(TUMBLING, contents=LIST, window_function=Telling(), allowed_lateness_ms=5))
    h.batch([("a", 1), ("b", 1), ("a", 1)], [1, 1, 11])
    h.watermark(9)
    assert h.side == {}
    h.pause()
    h.watermark(14)
    assert h.side == {"cleared": [0, 0]}
    h.end_input()
    assert h.side == {"cleared": [0, 0, 10]}


# ---- assigners of users


class HalfOpen(Window):
    """Everything up to the next multiple of 10 whose decade is even; a kind of window of the user's own."""

    def __init__(self, decade: int) -> None:
        self.decade = decade

    def max_timestamp(self) -> int:
        return self.decade * 10 + 9

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HalfOpen) and other.decade == self.decade

    def __hash__(self) -> int:
        return hash(self.decade)


class HalfOpenSerializer(TypeSerializer):
    def serialize(self, element, stream) -> None:
        stream.write(str(element.decade).encode())

    def deserialize(self, stream):
        return HalfOpen(int(stream.read()))


class ByDecade(WindowAssigner):
    def assign_windows(self, element, timestamp, context):
        assert context.get_current_processing_time() >= 0
        return [HalfOpen(timestamp // 10)] if timestamp >= 0 else []

    def get_default_trigger(self, env):
        return window(1).assigner.get_default_trigger(env)

    def get_window_serializer(self):
        return HalfOpenSerializer()

    def is_event_time(self) -> bool:
        return True


def test_windows_of_a_kind_of_the_users_own(start) -> None:
    class Told(ProcessWindowFunction):
        def process(self, key, context, elements):
            yield key, context.window().decade, sorted(value for _, value in elements)

    h = start(general(ByDecade(), contents=LIST, window_function=Told()))
    h.batch([("a", 1), ("a", 2), ("b", 4), ("a", 8)], [3, 14, 5, -1])
    h.pause()
    h.element(("a", 16), ts=9)
    h.watermark(19)
    assert groups(h.output) == [("a", 0, [1, 16]), ("a", 1, [2]), ("b", 0, [4]), W(19)]
    assert h.state_entries() == 0


def test_a_record_of_no_window_is_late_when_its_own_time_has_passed(start) -> None:
    h = start(general(ByDecade(), late_tag="late"))
    h.element(("a", 1), ts=-5)
    assert h.side == {}
    h.watermark(0)
    h.element(("a", 2), ts=-5)
    assert h.side == {"late": [("a", 2)]}


class Shrinking(MergingWindowAssigner):
    """Wrong: merges windows into one that ended long ago."""

    def assign_windows(self, element, timestamp, context):
        return [TimeWindow(timestamp, timestamp + 5)]

    def merge_windows(self, windows, callback) -> None:
        windows = list(windows)
        if len(windows) > 1:
            callback.merge(windows, TimeWindow(-100, -90))

    def get_default_trigger(self, env):
        return SESSIONS.get_default_trigger(env)

    def get_window_serializer(self):
        return TimeWindowSerializer()

    def is_event_time(self) -> bool:
        return True


def test_windows_cannot_be_merged_into_the_past() -> None:
    h = OperatorHarness(general(Shrinking()))
    h.element(("a", 1), ts=0)
    h.watermark(0)
    with pytest.raises(StateError, match="over already"):
        h.element(("a", 2), ts=20)


# ---- the edges


@pytest.mark.parametrize("key", [None, math.nan, [1]], ids=str)
def test_a_key_that_cannot_be_one_is_refused_where_it_is_computed(key) -> None:
    h = OperatorHarness(general(SESSIONS, key_type=GENERIC, value_type=GENERIC))
    with pytest.raises(InvalidKeyError):
        h.element((key, 1), ts=0)


def test_records_without_timestamps_are_refused_by_event_time_windows() -> None:
    h = OperatorHarness(sessions())
    with pytest.raises(JobDefinitionError, match="without timestamps"):
        h.element(("a", 1))


def test_a_window_that_reaches_beyond_the_end_of_time_fires_at_the_end(start) -> None:
    for assigner in (TUMBLING, SESSIONS):
        h = start(general(assigner, allowed_lateness_ms=10))
        h.element(("a", 1), ts=MAX_TIMESTAMP - 1)
        h.watermark(MAX_TIMESTAMP - 1)
        h.pause()
        assert h.results == []
        h.watermark(MAX_TIMESTAMP)
        assert h.results == [("a", 1)]
        assert h.state_entries() == 0


def test_a_reduce_function_that_returns_none_is_refused() -> None:
    h = OperatorHarness(general(TUMBLING, contents=ReducedContents(lambda a, b: None)))
    h.element(("a", 1), ts=0)
    with pytest.raises(StateError, match="returned None"):
        h.element(("a", 1), ts=0)


def test_results_are_not_changed_by_what_comes_later() -> None:
    h = OperatorHarness(general(GlobalWindows.create(), CountTrigger.of(1), contents=COLLECT))
    h.element(("a", 1))
    h.element(("a", 2))
    assert h.results == [[1], [1, 2]]


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
@pytest.mark.parametrize("reverse", [False, True])
def test_state_of_the_other_window_operator_is_refused(backend, reverse) -> None:
    """A program that now needs the other operator does not silently begin with nothing."""
    specs = [window(10), one_by_one(window(10))]
    if reverse:
        specs.reverse()
    h = OperatorHarness(specs[0], backend=backend)
    h.element(("a", 1), ts=0)
    snapshot = h.snapshot()
    h.spec = specs[1]
    with pytest.raises(StateError, match="'window-contents'"):
        h.restored_from(snapshot)


def test_evictors_and_overlapping_windows_see_records_with_their_timestamps(start) -> None:
    h = start(general(SlidingEventTimeWindows.of(10, 5), contents=LIST, evictor=TimeEvictor.of(3)))
    h.batch([("a", 1), ("a", 2), ("a", 3)], [1, 4, 7])
    h.pause()
    h.watermark(100)
    assert [[value for _, value in result] for result in h.results] == [[2], [3], [3]]
    assert h.state_entries() == 0
