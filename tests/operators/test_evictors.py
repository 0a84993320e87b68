from __future__ import annotations

import pytest

from millstream.core.errors import JobDefinitionError
from millstream.operators.count_triggers import CountTrigger
from millstream.operators.count_windows import GlobalWindows
from millstream.operators.evictors import CountEvictor, DeltaEvictor, Evictor, TimeEvictor, TimestampedValue
from millstream.operators.functions import ProcessWindowFunction
from millstream.operators.session_windows import EventTimeSessionWindows
from millstream.operators.windowing import TumblingEventTimeWindows
from tests.operators.windows import COLLECT_UNMERGED, LIST, SUM, general

EVERY = CountTrigger.of(1)


def values(results):
    return [[value for _, value in result] for result in results]


def accumulating(evictor, **changes):
    """A global window that fires at every record."""
    return general(GlobalWindows.create(), EVERY, contents=LIST, evictor=evictor, **changes)


def test_a_count_evictor_keeps_the_last_records(start) -> None:
    h = start(accumulating(CountEvictor.of(2)))
    for number in range(1, 5):
        h.element(("a", number))
        h.pause()
    assert values(h.results) == [[1], [1, 2], [2, 3], [3, 4]]
    assert h.state_entries() == 1


def test_an_evictor_may_come_after_the_function(start) -> None:
    h = start(accumulating(CountEvictor.of(2, do_evict_after=True)))
    for number in range(1, 6):
        h.element(("a", number))
        h.pause()
    assert values(h.results) == [[1], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


def test_a_time_evictor_keeps_what_is_near_the_newest_record(start) -> None:
    h = start(accumulating(TimeEvictor.of(10)))
    for number, time in [(1, 100), (2, 109), (3, 110), (4, 105), (5, 130)]:
        h.element(("a", number), ts=time)
        h.pause()
    assert values(h.results) == [[1], [1, 2], [2, 3], [2, 3, 4], [5]]


def test_a_time_evictor_keeps_records_without_timestamps(start) -> None:
    h = start(accumulating(TimeEvictor.of(10)))
    h.element(("a", 1))
    h.pause()
    h.element(("a", 2))
    assert values(h.results) == [[1], [1, 2]]


def test_a_delta_evictor_keeps_what_is_close_to_the_last_record(start) -> None:
    h = start(accumulating(DeltaEvictor.of(10, lambda element, last: abs(last[1] - element[1]))))
    for number in (1, 10, 11, 5):
        h.element(("a", number))
        h.pause()
    assert values(h.results) == [[1], [1, 10], [10, 11], [10, 11, 5]]


@pytest.mark.parametrize(
    ("contents", "expected"), [(SUM, ("a", 12)), (COLLECT_UNMERGED, [4, 8])], ids=["reduced", "aggregated"]
)
def test_what_is_reduced_or_aggregated_is_what_the_evictor_left(start, contents, expected) -> None:
    h = start(general(TumblingEventTimeWindows.of(10), contents=contents, evictor=CountEvictor.of(2)))
    h.batch([("a", 1), ("a", 2)], [1, 2])
    h.pause()
    h.batch([("a", 4), ("a", 8)], [3, 4])
    h.watermark(9)
    assert h.results == [expected]
    assert h.state_entries() == 0


def test_sessions_with_an_evictor_need_no_merge_function(start) -> None:
    spec = general(EventTimeSessionWindows.with_gap(5), contents=COLLECT_UNMERGED, evictor=TimeEvictor.of(6))
    h = start(spec)
    h.batch([("a", 1), ("a", 2)], [0, 10])
    h.pause()
    h.element(("a", 3), ts=5)
    h.watermark(14)
    assert [sorted(result) for result in h.results] == [[2, 3]]
    assert h.state_entries() == 0


class Everything(Evictor):
    """Leaves nothing, and tells what it saw."""

    def __init__(self, *, after: bool) -> None:
        self.after = after

    def evict_before(self, elements, size, window, evictor_context) -> None:
        assert size == len(elements)
        assert evictor_context.get_current_processing_time() >= 0
        assert evictor_context.get_current_watermark() < 0
        assert all(isinstance(element, TimestampedValue) for element in elements)
        if not self.after:
            elements.clear()

    def evict_after(self, elements, size, window, evictor_context) -> None:
        assert size == len(elements)
        elements.clear()


@pytest.mark.parametrize("after", [False, True])
def test_evicted_elements_are_gone_for_good(start, after) -> None:
    class Counted(ProcessWindowFunction):
        def process(self, key, context, elements):
            yield len(elements)

    h = start(accumulating(Everything(after=after), window_function=Counted()))
    h.element(("a", 1), ts=0)
    h.pause()
    h.element(("a", 2), ts=0)
    assert h.results == [int(after)] * 2
    h.pause()
    assert h.state_entries() == 0


def test_nothing_left_to_reduce_gives_no_result(start) -> None:
    h = start(general(GlobalWindows.create(), EVERY, evictor=Everything(after=False)))
    h.element(("a", 1), ts=0)
    assert h.results == []
    assert h.state_entries() == 0


def test_a_record_without_a_timestamp_has_none_to_give() -> None:
    assert TimestampedValue("a", 3).get_timestamp() == 3
    assert not TimestampedValue("a").has_timestamp()
    with pytest.raises(ValueError, match="no timestamp"):
        TimestampedValue("a").get_timestamp()


@pytest.mark.parametrize(
    "make", [lambda: CountEvictor.of(0), lambda: TimeEvictor.of(0), lambda: DeltaEvictor.of(1, "no function")]
)
def test_evictors_that_cannot_work_are_refused(make) -> None:
    with pytest.raises(JobDefinitionError):
        make()
