"""Triggers that go by time, on windows of `(key, value)`; results are sums."""

from __future__ import annotations

import pytest

from millstream.core.errors import JobDefinitionError
from millstream.operators.count_triggers import CountTrigger, NeverTrigger, PurgingTrigger
from millstream.operators.count_windows import GlobalWindows
from millstream.operators.session_windows import EventTimeSessionWindows, ProcessingTimeSessionWindows
from millstream.operators.time_triggers import (
    ContinuousEventTimeTrigger,
    ContinuousProcessingTimeTrigger,
    EventTimeTrigger,
    ProcessingTimeoutTrigger,
    ProcessingTimeTrigger,
)
from millstream.operators.windowing import TumblingEventTimeWindows, TumblingProcessingTimeWindows
from millstream.testing import W
from tests.operators.windows import general

TUMBLING = TumblingEventTimeWindows.of(100)
SESSIONS = EventTimeSessionWindows.with_gap(10)


def test_event_time_trigger_fires_at_the_end_and_for_each_late_record(start) -> None:
    h = start(general(TUMBLING, EventTimeTrigger.create(), allowed_lateness_ms=50))
    h.element(("a", 1), ts=3)
    h.watermark(99)
    h.pause()
    h.watermark(99)
    h.element(("a", 2), ts=4)
    h.element(("a", 4), ts=4)
    assert h.results == [("a", 1), ("a", 3), ("a", 7)]
    h.watermark(149)
    assert h.state_entries() == 0


def test_a_purging_event_time_trigger_fires_late_with_what_came_since(start) -> None:
    h = start(general(TUMBLING, PurgingTrigger.of(EventTimeTrigger.create()), allowed_lateness_ms=50))
    h.element(("a", 1), ts=3)
    h.watermark(99)
    h.pause()
    h.watermark(99)
    h.element(("a", 2), ts=4)
    assert h.results == [("a", 1), ("a", 2)]
    h.watermark(149)
    assert h.state_entries() == 0


def test_processing_time_trigger_fires_event_time_windows_by_the_clock(start) -> None:
    h = start(general(TUMBLING, ProcessingTimeTrigger.create()))
    h.element(("a", 1), ts=3)
    h.pause()
    h.set_processing_time(99)
    assert h.results == [("a", 1)]
    h.watermark(99)
    assert h.results == [("a", 1)]
    assert h.state_entries() == 0


def test_continuous_event_time_trigger_fires_at_each_multiple_and_at_the_end(start) -> None:
    h = start(general(TUMBLING, ContinuousEventTimeTrigger.of(30)))
    h.element(("a", 1), ts=5)
    h.watermark(29)
    assert h.results == []
    h.pause()
    h.watermark(30)
    h.element(("a", 2), ts=40)
    h.watermark(60)
    h.pause()
    h.watermark(98)
    h.watermark(99)
    h.watermark(200)
    assert h.output == [
        W(29), ("a", 1), W(30), ("a", 3), W(60), ("a", 3), W(98), ("a", 3), W(99), W(200),
    ]  # fmt: skip
    assert h.state_entries() == 0


def test_continuous_event_time_trigger_fires_once_per_interval_passed(start) -> None:
    h = start(general(TUMBLING, ContinuousEventTimeTrigger.of(30)))
    h.element(("a", 1), ts=5)
    h.pause()
    h.watermark(95)
    assert h.results == [("a", 1)] * 3


def test_continuous_event_time_trigger_fires_late_records_at_once(start) -> None:
    h = start(general(TUMBLING, ContinuousEventTimeTrigger.of(30), allowed_lateness_ms=10))
    h.watermark(99)
    h.element(("a", 1), ts=5)
    assert h.results == [("a", 1)]
    h.watermark(109)
    assert h.state_entries() == 0


def test_continuous_event_time_trigger_of_a_window_without_an_end_ends_with_the_input(start) -> None:
    h = start(general(GlobalWindows.create(), ContinuousEventTimeTrigger.of(30)))
    h.element(("a", 1), ts=5)
    h.watermark(60)
    assert h.results == [("a", 1)] * 2
    h.pause()
    h.end_input()
    assert h.results == [("a", 1)] * 4  # at 90, and at the end


def test_continuous_event_time_trigger_of_merged_sessions_fires_with_the_earliest(start) -> None:
    h = start(general(SESSIONS, ContinuousEventTimeTrigger.of(7)))
    h.element(("a", 1), ts=0)  # next at 7
    h.element(("a", 2), ts=15)  # next at 21
    h.pause()
    h.element(("a", 4), ts=8)  # one session now: [0----25)
    h.watermark(7)
    h.pause()
    h.watermark(14)
    h.watermark(24)
    assert h.output == [("a", 7), W(7), ("a", 7), W(14), ("a", 7), ("a", 7), W(24)]
    assert h.state_entries() == 0


def test_continuous_processing_time_trigger_fires_by_the_clock(start) -> None:
    h = start(general(TumblingProcessingTimeWindows.of(100), ContinuousProcessingTimeTrigger.of(40)))
    h.set_processing_time(5)
    h.element(("a", 1))
    h.set_processing_time(39)
    assert h.results == []
    h.pause()
    h.set_processing_time(40)
    h.element(("a", 2))
    h.set_processing_time(80)
    h.pause()
    h.set_processing_time(99)
    assert h.results == [("a", 1), ("a", 3), ("a", 3)]
    h.set_processing_time(1_000)
    assert h.results == [("a", 1), ("a", 3), ("a", 3)]
    assert h.state_entries() == 0


def test_continuous_processing_time_trigger_makes_a_global_window_tell_how_it_grows(start) -> None:
    h = start(general(GlobalWindows.create(), ContinuousProcessingTimeTrigger.of(40)))
    h.element(("a", 1))
    h.set_processing_time(100)
    h.pause()
    h.element(("a", 2))
    h.set_processing_time(120)
    assert h.results == [("a", 1), ("a", 1), ("a", 3)]


def test_continuous_processing_time_trigger_merges(start) -> None:
    h = start(general(ProcessingTimeSessionWindows.with_gap(30), ContinuousProcessingTimeTrigger.of(25)))
    h.element(("a", 1))
    h.set_processing_time(10)
    h.pause()
    h.element(("a", 2))  # [0-----40)
    h.set_processing_time(25)
    assert h.results == [("a", 3)]
    h.pause()
    h.set_processing_time(39)
    assert h.results == [("a", 3)] * 2
    assert h.state_entries() == 0


def test_a_timeout_fires_what_the_nested_trigger_did_not(start) -> None:
    h = start(general(GlobalWindows.create(), ProcessingTimeoutTrigger.of(CountTrigger.of(3), 50)))
    h.element(("a", 1))
    h.set_processing_time(20)
    h.element(("a", 2))
    h.pause()
    h.set_processing_time(49)
    assert h.results == []
    h.set_processing_time(50)
    assert h.results == [("a", 3)]
    h.element(("a", 4))
    h.element(("a", 8))
    assert h.results == [("a", 3)]  # the count began anew
    h.element(("a", 16))
    assert h.results == [("a", 3), ("a", 31)]
    h.pause()
    h.set_processing_time(1_000)
    assert h.results == [("a", 3), ("a", 31)]  # a firing ends the waiting


def test_a_timeout_that_each_record_puts_off(start) -> None:
    trigger = ProcessingTimeoutTrigger.of(PurgingTrigger.of(CountTrigger.of(9)), 50, True)
    h = start(general(GlobalWindows.create(), trigger))
    h.element(("a", 1))
    h.set_processing_time(40)
    h.element(("a", 2))
    h.pause()
    h.set_processing_time(89)
    assert h.results == []
    h.set_processing_time(90)
    assert h.results == [("a", 3)]


def test_a_timeout_may_leave_the_nested_trigger_alone(start) -> None:
    trigger = ProcessingTimeoutTrigger.of(CountTrigger.of(3), 50, should_clear_on_timeout=False)
    h = start(general(GlobalWindows.create(), trigger))
    h.batch([("a", 1), ("a", 2)])
    h.set_processing_time(50)
    h.pause()
    h.element(("a", 4))
    assert h.results == [("a", 3), ("a", 7)]


def test_a_timeout_leaves_nothing_behind_in_time_windows(start) -> None:
    h = start(general(TUMBLING, ProcessingTimeoutTrigger.of(EventTimeTrigger.create(), 500)))
    h.element(("a", 1), ts=3)
    h.pause()
    h.watermark(99)
    assert h.results == [("a", 1)]
    assert h.state_entries() == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: ContinuousEventTimeTrigger.of(0),
        lambda: ContinuousProcessingTimeTrigger.of(-1),
        lambda: ProcessingTimeoutTrigger.of(NeverTrigger(), 0),
        lambda: ProcessingTimeoutTrigger.of(None, 10),
        lambda: PurgingTrigger.of(CountTrigger),
    ],
)
def test_triggers_that_cannot_work_are_refused(make) -> None:
    with pytest.raises(JobDefinitionError):
        make()
