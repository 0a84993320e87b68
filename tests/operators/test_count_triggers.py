from __future__ import annotations

import pytest

from millstream.core.errors import JobDefinitionError
from millstream.operators.count_triggers import CountTrigger, DeltaTrigger, NeverTrigger, PurgingTrigger
from millstream.operators.count_windows import GlobalWindows
from millstream.operators.time_triggers import EventTimeTrigger
from millstream.operators.trigger import TriggerResult
from millstream.operators.windowing import TumblingEventTimeWindows
from tests.operators.windows import LIST, general

TUMBLING = TumblingEventTimeWindows.of(100)


class Distance:
    def get_delta(self, old_data_point, new_data_point):
        return abs(new_data_point[1] - old_data_point[1])


@pytest.mark.parametrize(
    "delta", [Distance(), lambda old, new: abs(new[1] - old[1])], ids=["object", "callable"]
)
def test_delta_trigger_fires_when_a_record_is_too_far_from_the_last_one_that_fired(start, delta) -> None:
    h = start(general(TUMBLING, PurgingTrigger.of(DeltaTrigger.of(10, delta)), contents=LIST))
    for value in (0, 10, 11, 5, 1, 0):  # the reference: 0, then 11, then 0
        h.element(("a", value), ts=1)
        h.pause()
    assert [[value for _, value in result] for result in h.results] == [[0, 10, 11], [5, 1, 0]]
    h.watermark(99)
    assert h.state_entries() == 0


def test_counts_are_of_a_key_and_window(start) -> None:
    h = start(general(TUMBLING, CountTrigger.of(2)))
    h.batch([("a", 1), ("b", 2), ("a", 4)], [1, 1, 101])
    h.pause()
    h.element(("b", 8), ts=2)
    assert h.results == [("b", 10)]
    h.watermark(199)
    assert h.state_entries() == 0


def test_never_trigger_never_fires(start) -> None:
    h = start(general(TUMBLING, NeverTrigger()))
    h.element(("a", 1), ts=1)
    h.pause()
    h.end_input()
    assert h.results == []
    assert h.state_entries() == 0


def test_a_purging_trigger_merges_if_the_nested_one_does() -> None:
    assert PurgingTrigger.of(EventTimeTrigger.create()).can_merge()
    assert not PurgingTrigger.of(DeltaTrigger.of(1, Distance())).can_merge()
    assert not NeverTrigger().can_merge()


@pytest.mark.parametrize(
    ("result", "fires", "purges"),
    [
        (TriggerResult.CONTINUE, False, False),
        (TriggerResult.FIRE, True, False),
        (TriggerResult.PURGE, False, True),
        (TriggerResult.FIRE_AND_PURGE, True, True),
    ],
)
def test_trigger_results(result, fires, purges) -> None:
    assert (result.is_fire(), result.is_purge()) == (fires, purges)


@pytest.mark.parametrize("count", [0, -1, 1.5, "3", True])
def test_a_count_is_a_positive_number(count) -> None:
    with pytest.raises(JobDefinitionError, match="positive number of records"):
        CountTrigger.of(count)


def test_a_delta_function_can_be_called() -> None:
    with pytest.raises(JobDefinitionError, match="not a delta function"):
        DeltaTrigger.of(1, 2)


def test_a_delta_trigger_remembers_records_of_any_plain_kind(start) -> None:
    h = start(general(GlobalWindows.create(), DeltaTrigger.of(0, Distance())))
    h.element(("a", 1))
    h.pause()
    h.element(("a", 2))
    assert h.results == [("a", 3)]
