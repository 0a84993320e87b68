from __future__ import annotations

import pytest

from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, WatermarkStatus
from millstream.core.errors import JobDefinitionError
from millstream.operators.source import SourceSpec
from millstream.operators.timestamps import TimestampsSpec
from millstream.operators.watermark_strategy import TimestampAssigner, WatermarkStrategy
from millstream.operators.watermark_tracker import WatermarkTracker
from millstream.testing import OperatorHarness, W

IDLE, ACTIVE = WatermarkStatus(idle=True), WatermarkStatus(idle=False)
BOUNDED = WatermarkStrategy.for_bounded_out_of_orderness(3)


def assigned(strategy):
    return OperatorHarness(TimestampsSpec(strategy.with_timestamp_assigner(lambda value, _: value)))


def test_bounded_out_of_orderness_stays_bound_and_one_behind() -> None:
    h = assigned(BOUNDED)
    h.batch([10, 7, 12])
    assert h.timestamps == [10, 7, 12]
    h.set_processing_time(200)
    assert h.output[3:] == [W(8)]
    h.close()


def test_monotonous_timestamps_stay_one_behind() -> None:
    h = assigned(WatermarkStrategy.for_monotonous_timestamps())
    h.batch([10, 12])
    h.set_processing_time(200)
    assert h.output[2:] == [W(11)]
    h.close()


def test_watermarks_come_periodically_and_only_when_they_rise() -> None:
    h = assigned(BOUNDED)
    h.element(10)
    h.set_processing_time(199)
    h.element(20)
    h.set_processing_time(200)
    h.set_processing_time(400)
    h.element(15)
    h.set_processing_time(600)
    h.element(30)
    h.set_processing_time(800)
    assert h.output == [10, 20, W(16), 15, 30, W(26)]
    h.close()


def test_watermarks_from_upstream_end_here_but_for_the_last() -> None:
    h = assigned(BOUNDED)
    h.watermark(100)
    h.status(idle=True)
    h.element(10)
    h.watermark(MAX_TIMESTAMP)
    assert h.output == [10, W(MAX_TIMESTAMP)]
    h.close()


def test_nothing_comes_after_the_last_watermark() -> None:
    h = assigned(BOUNDED.with_idleness(100))
    h.element(10)
    h.end_input()
    h.set_processing_time(10_000)
    assert h.output == [10, W(MAX_TIMESTAMP)]
    h.close()


def test_bounded_input_without_timestamps_ends_with_the_last_watermark() -> None:
    h = OperatorHarness(TimestampsSpec(WatermarkStrategy.no_watermarks()))
    h.element("a")
    h.set_processing_time(1_000)
    h.end_input()
    assert h.output == ["a", W(MAX_TIMESTAMP)]
    assert h.timestamps == [None, None]
    h.close()


def test_an_assigner_is_given_the_timestamp_that_the_record_had() -> None:
    class Later(TimestampAssigner):
        def extract_timestamp(self, value, record_timestamp):
            return 5 if record_timestamp == MIN_TIMESTAMP else record_timestamp + 1

    h = OperatorHarness(TimestampsSpec(BOUNDED.with_timestamp_assigner(Later())))
    h.element("had none")
    h.element("had one", ts=10)
    assert h.timestamps == [5, 11]
    h.close()


def test_without_an_assigner_records_keep_their_timestamps() -> None:
    h = OperatorHarness(TimestampsSpec(BOUNDED))
    h.element("a", ts=10)
    h.element("b")
    h.set_processing_time(200)
    assert h.output == ["a", "b", W(6)]
    assert h.timestamps == [10, None, None]
    h.close()


@pytest.mark.parametrize("wrong", [None, "5", 5.5])
def test_a_timestamp_that_is_no_int_is_refused_with_the_way_out(wrong) -> None:
    strategy = BOUNDED.with_timestamp_assigner(lambda value, _: value)
    with OperatorHarness(TimestampsSpec(strategy)) as h, pytest.raises(JobDefinitionError) as refused:
        h.element(wrong)
    assert "milliseconds" in (refused.value.fix or "")


def test_an_idle_input_says_so_and_wakes_up_with_the_next_record() -> None:
    h = assigned(BOUNDED.with_idleness(500))
    h.element(10)
    h.set_processing_time(400)
    h.element(20)  # the idle timer begins anew
    h.set_processing_time(800)
    h.set_processing_time(1_000)
    h.element(30)
    h.set_processing_time(1_200)
    assert h.output == [10, W(6), 20, W(16), IDLE, ACTIVE, 30, W(26)]
    h.close()


def test_an_idle_input_that_ends_wakes_up_for_its_last_watermark() -> None:
    h = assigned(BOUNDED.with_idleness(500))
    h.element(10)
    h.set_processing_time(600)
    h.set_processing_time(1_000)
    h.end_input()
    assert h.output == [10, W(6), IDLE, ACTIVE, W(MAX_TIMESTAMP)]
    h.close()


def test_the_idle_timer_stands_still_while_the_input_is_blocked() -> None:
    h = assigned(BOUNDED.with_idleness(500))
    h.element(10)
    h.clock.advance(10_000)
    h.operators[0].note_blocked(10_000)
    h.set_processing_time(10_000)
    assert h.output == [10, W(6)]
    h.set_processing_time(10_500)
    assert h.output == [10, W(6), IDLE]
    h.close()


def source(strategy=BOUNDED):
    return OperatorHarness(SourceSpec(strategy))


def read(h, split, *times):
    h.operators[0].select_split(split)
    h.batch(list(times), times)


def test_the_watermark_of_a_source_is_the_minimum_over_its_splits() -> None:
    h = source()
    h.operators[0].add_split("p0")
    h.operators[0].add_split("p1")
    read(h, "p0", 100)
    h.set_processing_time(200)
    assert h.output == [100]  # p1 has said nothing yet
    read(h, "p1", 50)
    h.set_processing_time(400)
    read(h, "p1", 200)
    h.set_processing_time(600)
    assert h.output == [100, 50, W(46), 200, W(96)]
    h.close()


def test_a_finished_split_holds_nothing_back() -> None:
    h = source()
    h.operators[0].add_split("p0")
    h.operators[0].add_split("p1")
    read(h, "p0", 100)
    h.operators[0].remove_split("p1")
    h.set_processing_time(200)
    assert h.output == [100, W(96)]
    h.close()


def test_a_silent_split_holds_back_the_others_only_until_it_is_idle() -> None:
    h = source(BOUNDED.with_idleness(500))
    h.operators[0].add_split("p0")
    h.operators[0].add_split("p1")
    read(h, "p1", 10)
    for now in (200, 400):
        read(h, "p0", now)
        h.set_processing_time(now)
    read(h, "p0", 600)
    h.set_processing_time(600)
    assert h.output == [10, 200, W(6), 400, 600, W(596)]
    h.close()


def test_when_all_splits_become_idle_the_furthest_decides_ahead_of_the_status() -> None:
    h = source(BOUNDED.with_idleness(500))
    h.operators[0].add_split("p0")
    h.operators[0].add_split("p1")
    read(h, "p0", 100)
    read(h, "p1", 50)
    h.set_processing_time(600)
    assert h.output == [100, 50, W(46), W(96), IDLE] or h.output == [100, 50, W(96), IDLE]
    h.close()


def test_a_source_without_splits_becomes_idle_and_wakes_up_when_it_gets_one() -> None:
    h = source(BOUNDED.with_idleness(500))
    for now in (200, 400, 600, 800, 1_000):
        h.set_processing_time(now)
    assert h.output == [IDLE]
    h.operators[0].add_split("p0")
    h.set_processing_time(1_200)
    read(h, "p0", 10)
    h.set_processing_time(1_400)
    assert h.output == [IDLE, ACTIVE, 10, W(6)]
    h.close()


def test_without_an_idle_timeout_a_source_without_splits_is_never_idle() -> None:
    tracker = WatermarkTracker(0, None)
    assert [tracker.advance(now) for now in (0, 10**9)] == [None, None]
    assert not tracker.idle


def test_progress_never_goes_back() -> None:
    tracker = WatermarkTracker(0, None)
    tracker.add_split("a", 0)
    tracker.observe("a", 100, 0)
    assert tracker.advance(0) == 99
    tracker.add_split("b", 0)
    tracker.observe("b", 5, 0)
    assert tracker.advance(0) is None
    tracker.observe("b", 200, 0)
    assert tracker.advance(0) is None
    tracker.observe("a", 150, 0)
    assert tracker.advance(0) == 149
