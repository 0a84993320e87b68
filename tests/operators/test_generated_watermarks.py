from __future__ import annotations

import pytest

from millstream import JobDefinitionError, Watermark, WatermarkGenerator, WatermarkStrategy
from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, WatermarkStatus
from millstream.operators.source import SourceSpec
from millstream.operators.timestamps import TimestampsSpec
from millstream.testing import OperatorHarness, W

IDLE, ACTIVE = WatermarkStatus(idle=True), WatermarkStatus(idle=False)


class Punctuated(WatermarkGenerator):
    """A watermark behind each record that is a multiple of ten; -1 and -2 declare the input idle and active."""

    def on_event(self, event, event_timestamp, output):
        if event == -1:
            output.mark_idle()
        elif event == -2:
            output.mark_active()
        elif event % 10 == 0:
            output.emit_watermark(Watermark(event_timestamp))


class Periodic(WatermarkGenerator):
    """Half a second behind the largest timestamp."""

    def __init__(self):
        self.largest = None

    def on_event(self, event, event_timestamp, output):
        self.largest = max(event_timestamp, self.largest or event_timestamp)

    def on_periodic_emit(self, output):
        if self.largest is not None:
            output.emit_watermark(Watermark(self.largest - 500))


def harness(supplier, spec=TimestampsSpec, **settings):
    strategy = WatermarkStrategy.for_generator(supplier).with_timestamp_assigner(lambda value, _: value)
    if "idle" in settings:
        strategy = strategy.with_idleness(settings["idle"])
    return OperatorHarness(spec(strategy))


def test_a_punctuated_watermark_stands_right_behind_its_record_even_in_one_batch() -> None:
    h = harness(Punctuated)
    h.batch([1, 10, 2, 20, 3])
    assert h.output == [1, 10, W(10), 2, 20, W(20), 3]
    assert h.timestamps == [1, 10, None, 2, 20, None, 3]
    h.close()


def test_a_watermark_that_is_not_above_the_last_one_is_ignored() -> None:
    h = harness(Punctuated)
    h.batch([20, 10, 20, 30])
    assert h.output == [20, W(20), 10, 20, 30, W(30)]
    h.close()


def test_a_periodic_generator_is_asked_in_intervals() -> None:
    h = harness(Periodic)
    h.batch([1_000, 900])
    assert h.output == [1_000, 900]
    h.set_processing_time(200)
    h.set_processing_time(400)
    h.element(2_000)
    h.set_processing_time(600)
    assert h.output == [1_000, 900, W(500), 2_000, W(1_500)]
    h.close()


def test_a_generator_sees_the_smallest_timestamp_where_there_is_none() -> None:
    seen = []

    class Looking(WatermarkGenerator):
        def on_event(self, event, event_timestamp, output):
            seen.append(event_timestamp)

    h = OperatorHarness(TimestampsSpec(WatermarkStrategy.for_generator(Looking)))
    h.element("a")
    h.element("b", ts=5)
    assert seen == [MIN_TIMESTAMP, 5]
    assert h.timestamps == [None, 5]
    h.close()


def test_a_generator_declares_its_input_idle_and_active() -> None:
    h = harness(Punctuated)
    h.batch([10, -1, 3])
    h.batch([-2, 20])
    assert h.output == [10, W(10), -1, IDLE, 3, -2, ACTIVE, 20, W(20)]
    h.close()


def test_a_watermark_makes_an_idle_input_active() -> None:
    h = harness(Punctuated)
    h.batch([-1, 20])
    assert h.output == [-1, IDLE, 20, ACTIVE, W(20)]
    h.close()


def test_with_idleness_a_silent_generator_is_not_asked_and_the_next_record_wakes_it() -> None:
    h = harness(Periodic, idle=500)
    h.element(1_000)
    for now in (200, 400, 600, 800):
        h.set_processing_time(now)
    h.element(2_000)
    h.set_processing_time(1_000)
    assert h.output == [1_000, W(500), IDLE, ACTIVE, 2_000, W(1_500)]
    h.close()


def test_the_end_of_the_input_ends_event_time_once() -> None:
    class AtOnce(WatermarkGenerator):
        def on_event(self, event, event_timestamp, output):
            output.emit_watermark(Watermark(MAX_TIMESTAMP))

    h = harness(AtOnce)
    h.element(1)
    h.end_input()
    assert h.output == [1, W(MAX_TIMESTAMP)]
    h.close()


def test_each_split_has_a_generator_of_its_own() -> None:
    h = harness(Punctuated, SourceSpec)
    head = h.operators[0]
    head.add_split("p0")
    head.add_split("p1")
    head.select_split("p0")
    h.batch([10, 20])
    head.select_split("p1")
    h.batch([10])
    head.remove_split("p1")
    h.set_processing_time(200)
    assert h.output == [10, 20, 10, W(10), W(20)]
    h.close()


def test_a_split_that_is_marked_idle_does_not_hold_back_the_others() -> None:
    h = harness(Punctuated, SourceSpec)
    head = h.operators[0]
    head.add_split("p0")
    head.add_split("p1")
    head.select_split("p1")
    h.batch([-1])
    head.select_split("p0")
    h.batch([10])
    assert h.output == [-1, 10, W(10)]
    h.close()


@pytest.mark.parametrize("wrong", [Punctuated(), "generator", lambda context: Punctuated()])
def test_a_supplier_that_cannot_be_called_is_refused_where_it_is_given(wrong) -> None:
    with pytest.raises(JobDefinitionError):
        WatermarkStrategy.for_generator(wrong)


def test_a_supplier_that_makes_something_else_is_refused() -> None:
    with pytest.raises(JobDefinitionError, match="no WatermarkGenerator"):
        harness(object)


@pytest.mark.parametrize("wrong", [5, Watermark("5")])
def test_what_is_no_watermark_is_refused(wrong) -> None:
    class Wrong(WatermarkGenerator):
        def on_event(self, event, event_timestamp, output):
            output.emit_watermark(wrong)

    with harness(Wrong) as h, pytest.raises(JobDefinitionError, match="emitted"):
        h.element(1)


@pytest.mark.parametrize(
    "align",
    [
        lambda strategy: strategy.with_watermark_alignment("", 10),
        lambda strategy: strategy.with_watermark_alignment("g", -1),
        lambda strategy: strategy.with_watermark_alignment("g", 10, 0),
        lambda strategy: WatermarkStrategy.no_watermarks().with_watermark_alignment("g", 10),
    ],
)
def test_an_alignment_that_makes_no_sense_is_refused(align) -> None:
    with pytest.raises(JobDefinitionError):
        align(WatermarkStrategy.for_monotonous_timestamps())
