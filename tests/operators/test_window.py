"""Drawings: `[0----10)` is a window, digits below are records at that time."""

from __future__ import annotations

import math
from string import ascii_lowercase

import pytest

from millstream.core.batch import MAX_TIMESTAMP, PartialBatch
from millstream.core.errors import JobDefinitionError, StateError
from millstream.core.types import InvalidKeyError, Types
from millstream.operators.functions import AggregateFunction, OutputTag, ProcessWindowFunction
from millstream.operators.window import AggregatedContents, ListedContents
from millstream.testing import OperatorHarness, W
from tests.operators.scenario import groups
from tests.operators.windows import (
    COLLECT,
    COLLECT_UNMERGED,
    LIST,
    Describe,
    apply_all,
    generic,
    window,
)


def test_tumbling_windows_fire_when_the_watermark_reaches_their_last_millisecond(start) -> None:
    h = start(window(10))
    h.batch([("a", 1), ("b", 2), ("a", 4)], [0, 3, 10])  # [0----10)[10----20)
    h.watermark(8)
    h.pause()
    h.element(("a", 10), ts=9)
    h.watermark(9)
    h.pause()
    h.watermark(19)
    assert groups(h.output) == [W(8), ("a", 11), ("b", 2), W(9), ("a", 4), W(19)]
    assert h.state_entries() == 0


def test_results_carry_the_last_timestamp_of_their_window(start) -> None:
    h = start(window(10))
    h.batch([("a", 1), ("a", 2)], [3, 25])
    h.pause()
    h.watermark(29)
    assert h.timestamps == [9, 29, None]


def test_sliding_windows_share_their_records(start) -> None:
    h = start(window(10, 5))
    h.element(("a", 1), ts=2)  #  [-5---5)   1 is in two windows,
    h.element(("a", 2), ts=7)  #  [0----10)  2 in two
    h.watermark(4)
    h.pause()
    h.watermark(9)
    h.pause()
    h.watermark(14)
    assert h.output == [("a", 1), W(4), ("a", 3), W(9), ("a", 2), W(14)]
    assert h.state_entries() == 0


def test_a_watermark_that_jumps_fires_every_window_on_its_way_in_order(start) -> None:
    h = start(window(10, 5))
    h.batch([("a", 1), ("a", 2), ("a", 4)], [2, 7, 31])
    h.pause()
    h.watermark(100)
    assert h.output == [("a", 1), ("a", 3), ("a", 2), ("a", 4), ("a", 4), W(100)]
    assert h.timestamps == [4, 9, 14, 34, 39, None]
    assert h.state_entries() == 0


def test_the_end_of_the_input_fires_everything_and_leaves_nothing(start) -> None:
    h = start(window(10, 2))
    h.batch([("a", 1), ("b", 1)], [0, 1_000_000])
    h.pause()
    h.end_input()
    assert sorted(h.results) == [("a", 1)] * 5 + [("b", 1)] * 5
    assert h.output[-1] == W(MAX_TIMESTAMP)
    assert h.state_entries() == 0


def test_a_window_that_reaches_beyond_the_end_of_time_fires_at_the_end(start) -> None:
    h = start(window(10))
    h.element(("a", 1), ts=MAX_TIMESTAMP - 1)
    h.watermark(MAX_TIMESTAMP)
    assert h.results == [("a", 1)]
    assert h.state_entries() == 0


def test_windows_begin_at_their_offset_also_before_the_epoch(start) -> None:
    h = start(window(10, offset=3, contents=LIST, window_function=apply_all))
    h.batch([("a", 1), ("a", 1), ("a", 1)], [-8, 2, 3])  # [-17---(-7)) [-7----3) [3----13)
    h.pause()
    h.watermark(100)
    assert h.results == [("a", -17, 1), ("a", -7, 1), ("a", 3, 1)]


def test_a_negative_offset_shifts_sliding_windows_back(start) -> None:
    h = start(window(10, 5, offset=-2, contents=LIST, window_function=apply_all))
    h.element(("a", 1), ts=0)  # [-7----3) [-2----8)
    h.pause()
    h.watermark(100)
    assert h.results == [("a", -7, 1), ("a", -2, 1)]


def test_records_between_windows_belong_to_none(start) -> None:
    h = start(window(4, 10))  # [0--4)......[10--14)
    h.batch([("a", 1), ("a", 2), ("a", 4)], [3, 4, 10])
    h.pause()
    h.watermark(100)
    assert h.results == [("a", 1), ("a", 4)]
    assert h.counters == {}
    assert h.state_entries() == 0


@pytest.mark.parametrize("contents", [LIST, COLLECT_UNMERGED], ids=["slices", "panes"])
def test_a_record_between_windows_is_late_when_its_own_time_has_passed(start, contents) -> None:
    h = start(window(4, 10, contents=contents, allowed_lateness_ms=2, late_tag="late"))
    h.watermark(9)
    h.pause()
    h.batch([("a", 7), ("a", 8), ("a", 9)], [7, 8, 9])
    assert h.side == {"late": [("a", 7)]}
    assert h.state_entries() == 0


def test_gaps_between_windows_that_are_kept_one_by_one_belong_to_none(start) -> None:
    h = start(window(4, 6, contents=COLLECT_UNMERGED))  # [0--4)..[6--10)..
    h.batch([("a", n) for n in range(12)], range(12))
    h.pause()
    h.watermark(100)
    assert h.results == [[0, 1, 2, 3], [6, 7, 8, 9]]
    assert h.state_entries() == 0


def test_without_lateness_a_record_for_a_fired_window_is_dropped_and_counted(start) -> None:
    h = start(window(10))
    h.element(("a", 1), ts=5)
    h.watermark(9)
    h.pause()
    h.element(("a", 2), ts=9)
    h.element(("a", 4), ts=10)
    h.watermark(19)
    assert h.results == [("a", 1), ("a", 4)]
    assert h.counters == {"numLateRecordsDropped": 1}
    assert h.state_entries() == 0


def test_a_record_late_for_some_windows_still_counts_in_the_others(start) -> None:
    h = start(window(10, 5))
    h.watermark(7)  #           [-5---5) has passed
    h.pause()
    h.element(("a", 1), ts=3)  # [0----10) has not
    h.watermark(20)
    assert h.results == [("a", 1)]
    assert h.counters == {}


def test_late_records_go_to_the_side_output(start) -> None:
    h = start(window(10, late_tag="late"))
    h.watermark(9)
    h.pause()
    h.batch([("a", 1), ("b", 2), ("a", 4)], [3, 10, 9])
    h.watermark(19)
    assert h.side == {"late": [("a", 1), ("a", 4)]}
    assert h.results == [("b", 2)]
    assert h.counters == {}


def test_a_late_record_within_the_allowed_lateness_fires_the_window_again_with_everything(start) -> None:
    h = start(window(10, allowed_lateness_ms=5))  # [0----10), kept until the watermark is 14
    h.element(("a", 1), ts=3)
    h.watermark(10)
    h.pause()
    h.watermark(10)
    h.element(("a", 2), ts=4)
    h.watermark(13)
    h.element(("b", 4), ts=0)
    h.pause()
    h.element(("a", 8), ts=9)
    h.watermark(14)
    h.element(("a", 100), ts=9)
    h.watermark(30)
    assert h.results == [("a", 1), ("a", 3), ("b", 4), ("a", 11)]
    assert h.counters == {"numLateRecordsDropped": 1}
    assert h.state_entries() == 0


def test_a_late_record_fires_each_sliding_window_that_had_fired_already(start) -> None:
    h = start(window(10, 5, allowed_lateness_ms=5))
    h.element(("a", 1), ts=6)  # [0----10) [5----15)
    h.watermark(12)
    h.pause()
    h.element(("a", 2), ts=7)  # [0----10) again; [5----15) waits
    h.watermark(14)
    h.element(("a", 4), ts=8)  # [0----10) is over; [5----15) again
    h.watermark(50)
    assert h.results == [("a", 1), ("a", 3), ("a", 3), ("a", 7)]
    assert h.state_entries() == 0


def test_lateness_near_the_end_of_time_does_not_overflow(start) -> None:
    h = start(window(10, allowed_lateness_ms=MAX_TIMESTAMP))
    h.element(("a", 1), ts=5)
    h.watermark(MAX_TIMESTAMP - 1)
    h.pause()
    h.element(("a", 2), ts=6)
    h.watermark(MAX_TIMESTAMP)
    assert h.results == [("a", 1), ("a", 3)]
    assert h.state_entries() == 0


def test_a_process_function_sees_key_window_watermark_and_all_elements(start) -> None:
    h = start(window(10, 5, contents=LIST, window_function=Describe()))
    h.batch([("a", 1), ("a", 2)], [1, 7])
    h.pause()
    h.watermark(12)
    h.watermark(20)
    assert h.results == [
        ("a", -5, 5, 12, [("a", 1)]),
        ("a", 0, 10, 12, [("a", 1), ("a", 2)]),
        ("a", 5, 15, 20, [("a", 2)]),
    ]
    assert h.state_entries() == 0


def test_a_process_function_behind_an_aggregation_sees_one_result(start) -> None:
    h = start(window(10, contents=COLLECT, window_function=Describe()))
    h.batch([("a", 1), ("a", 2)], [1, 7])
    h.pause()
    h.watermark(9)
    assert h.results == [("a", 0, 10, 9, [[1, 2]])]


def test_a_process_function_can_write_to_side_outputs(start) -> None:
    tag = OutputTag("big")

    class Split(ProcessWindowFunction):
        def process(self, key, context, elements):
            context.output(tag, (key, "through the context"))
            yield tag, (key, "yielded")
            yield key

    h = start(window(10, contents=LIST, window_function=Split()))
    h.element(("a", 1), ts=1)
    h.pause()
    h.watermark(9)
    assert h.results == ["a"]
    assert h.side == {"big": [("a", "through the context"), ("a", "yielded")]}


@pytest.mark.parametrize("contents", [COLLECT, COLLECT_UNMERGED], ids=["merging slices", "panes"])
def test_accumulators_that_are_changed_in_place_belong_to_one_window_each(start, contents) -> None:
    h = start(window(10, 5, contents=contents))
    h.element(("a", 1), ts=1)
    h.pause()
    h.element(("a", 2), ts=6)
    h.watermark(9)
    h.element(("a", 3), ts=7)
    h.pause()
    h.element(("a", 4), ts=8)
    h.watermark(30)
    assert h.results == [[1], [1, 2], [2, 3, 4]]
    assert h.state_entries() == 0


@pytest.mark.parametrize("contents", [COLLECT, COLLECT_UNMERGED], ids=["merging slices", "panes"])
def test_a_result_that_was_emitted_is_not_changed_by_later_records(start, contents) -> None:
    h = start(window(10, contents=contents, allowed_lateness_ms=100))
    h.element(("a", 1), ts=1)
    h.watermark(9)
    h.element(("a", 2), ts=2)
    h.pause()
    h.element(("a", 3), ts=3)
    assert h.results == [[1], [1, 2], [1, 2, 3]]


def test_whoever_changes_a_result_does_not_change_the_window(start) -> None:
    h = start(window(10, 5, contents=COLLECT))
    h.element(("a", 1), ts=6)
    h.watermark(9)
    h.results[0].append("changed downstream")
    h.pause()
    h.watermark(14)
    assert h.results[1] == [1]


def test_accumulators_are_frozen_in_a_snapshot_while_the_live_ones_change(start) -> None:
    h = start(window(10, 5, contents=COLLECT))
    h.element(("a", 1), ts=1)
    taken = h.snapshot()
    h.element(("a", 2), ts=2)
    h.watermark(4)
    assert h.results == [[1, 2]]
    again = h.restored_from(taken)
    again.element(("a", 3), ts=2)
    again.watermark(9)
    assert again.results == [[1, 2], [1, 3], [1, 3]]
    again.close()


def test_a_list_of_records_is_kept_once_for_all_windows_that_hold_it(start) -> None:
    h = start(window(12, 3, contents=LIST, window_function=apply_all))
    h.batch([("a", n) for n in range(5)], [0] * 5)
    assert h.state_entries() == 1
    h.pause()
    h.watermark(50)
    assert h.results == [("a", start, 5) for start in (-9, -6, -3, 0)]


class _Stub(AggregateFunction):
    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        return accumulator + value[1]

    def get_result(self, accumulator):
        return accumulator

    def merge(self, acc_a, acc_b):
        pass


class _NotSupported(_Stub):
    def merge(self, acc_a, acc_b):
        raise RuntimeError("sessions are not supported")


def test_why_windows_are_kept_one_by_one_is_told(caplog) -> None:
    caplog.set_level("INFO")
    assert not AggregatedContents(_NotSupported(), Types.LONG()).can_merge
    [told] = caplog.messages
    assert told.startswith(
        "_NotSupported.merge() fails on fresh accumulators (RuntimeError('sessions are not supported'))"
    )


@pytest.mark.parametrize("stub", [_Stub, _NotSupported])
def test_an_aggregation_whose_merge_is_a_stub_is_kept_window_by_window(start, stub) -> None:
    spec = window(10, 5, contents=AggregatedContents(stub(), Types.LONG()))
    assert spec.combiner() is None
    h = start(spec)
    h.batch([("a", 1), ("a", 2)], [1, 6])
    h.pause()
    h.watermark(20)
    assert h.results == [1, 3, 2]


class _Broken(AggregateFunction):
    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        if value[1] == 13:
            return None
        return accumulator + value[1]

    def get_result(self, accumulator):
        return accumulator

    def merge(self, acc_a, acc_b):
        return None if acc_a + acc_b == 13 else acc_a + acc_b


@pytest.mark.parametrize("reached", [-100, 9], ids=["on time", "late"])
def test_an_accumulator_that_is_none_is_an_error(reached) -> None:
    contents = AggregatedContents(_Broken(), Types.LONG())
    with OperatorHarness(window(10, contents=contents, allowed_lateness_ms=5)) as h:
        h.watermark(reached)
        with pytest.raises(StateError, match="returned None"):
            h.element(("a", 13), ts=0)


def test_a_merge_of_partial_aggregates_that_gives_none_is_an_error() -> None:
    with OperatorHarness(window(10, contents=AggregatedContents(_Broken(), Types.LONG()))) as h:
        h.process(PartialBatch([("a", 0, 6)]))
        with pytest.raises(StateError, match="returned None"):
            h.process(PartialBatch([("a", 0, 7)]))


def test_records_without_timestamps_are_refused_with_the_way_out() -> None:
    with OperatorHarness(window(10)) as h, pytest.raises(JobDefinitionError) as refused:
        h.element(("a", 1))
    assert "assign_timestamps_and_watermarks" in (refused.value.fix or "")


@pytest.mark.parametrize("contents", [LIST, COLLECT_UNMERGED], ids=["slices", "panes"])
@pytest.mark.parametrize("key", [None, math.nan, [1], ("a", [1])], ids=repr)
def test_what_cannot_be_a_key_is_refused(key, contents) -> None:
    with OperatorHarness(generic(contents=contents)) as h, pytest.raises(InvalidKeyError):
        h.element((key, 1), ts=0)


def test_equal_keys_of_different_types_are_one_key_and_others_are_not(start) -> None:
    h = start(generic(contents=ListedContents(), window_function=apply_all))
    h.batch([(1, 0), (1.0, 0), ("1", 0), (True, 0), ((1, "x"), 0)], [0] * 5)
    h.pause()
    h.element((1.0, 0), ts=0)
    h.watermark(9)
    assert sorted(h.results, key=repr) == sorted([("1", 0, 1), ((1, "x"), 0, 1), (1, 0, 4)], key=repr)


def test_a_key_of_another_type_than_declared_is_refused() -> None:
    with OperatorHarness(window(10)) as h, pytest.raises(InvalidKeyError):
        h.element((1, 1), ts=0)


def test_a_watermark_that_begins_anew_after_a_restore_fires_nothing_twice(start) -> None:
    h = start(window(10, 5))
    h.element(("a", 1), ts=6)
    h.watermark(10)
    h.pause()
    h.watermark(3)
    h.watermark(9)
    h.element(("a", 2), ts=7)  # late for [0----10), whatever the watermark says now
    h.watermark(30)
    assert h.results == [("a", 1), ("a", 3)]


@pytest.mark.parametrize("contents", [LIST, COLLECT_UNMERGED], ids=["slices", "panes"])
@pytest.mark.parametrize("lateness", [0, 100])
def test_each_key_goes_on_from_the_progress_of_the_subtask_it_came_from(contents, lateness) -> None:
    spec = window(
        10, 5, contents=contents, allowed_lateness_ms=lateness, late_tag="late", window_function=apply_all
    )
    h = OperatorHarness(spec, parallelism=2)
    ahead, behind = (next(k for k in ascii_lowercase if h._owner((k, 0)) == subtask) for subtask in (0, 1))
    h.batch([(ahead, 1), (behind, 1)], [5, 5])  # [0----10) [5----15)
    h.operators[0].process_watermark(9)
    assert h.results == [(ahead, 0, 1)]
    h = h.restored(parallelism=1)
    h.batch([(ahead, 2), (behind, 2)], [3, 3])  # [-5---5) [0----10)
    if lateness:
        again = [(ahead, -5, 1), (ahead, 0, 2 if contents is LIST else 1)]
        assert sorted(h.results[1:]) == sorted(again)
    else:
        assert h.side == {"late": [(ahead, 2)]}
    h.watermark(200)
    fired = [(key, start) for key, start, _ in h.results]
    assert sorted(entry for entry in fired if entry[0] == behind) == [(behind, -5), (behind, 0), (behind, 5)]
    assert fired.count((ahead, 5)) == 1
    assert fired.count((ahead, 0)) == (2 if lateness else 1)
    assert h.state_entries() == 0
    h.close()
