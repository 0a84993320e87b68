from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, Watermark, WatermarkStatus
from millstream.runtime.worker.watermark_valve import WatermarkValve

W = Watermark
IDLE, ACTIVE = WatermarkStatus(idle=True), WatermarkStatus(idle=False)


def test_the_watermark_is_the_minimum_over_all_inputs() -> None:
    valve = WatermarkValve(2)
    assert valve.on_watermark(0, 10) == []
    assert valve.on_watermark(1, 5) == [W(5)]
    assert valve.on_watermark(1, 20) == [W(10)]
    assert valve.on_watermark(0, 15) == [W(15)]


def test_it_never_goes_back() -> None:
    valve = WatermarkValve(1)
    assert valve.on_watermark(0, 10) == [W(10)]
    assert valve.on_watermark(0, 9) == []
    assert valve.on_watermark(0, 10) == []
    assert valve.on_watermark(0, 11) == [W(11)]


def test_an_idle_input_does_not_hold_back_the_others() -> None:
    valve = WatermarkValve(2)
    valve.on_watermark(0, 10)
    assert valve.on_status(1, idle=True) == [W(10)]
    assert valve.on_watermark(0, 12) == [W(12)]


def test_an_input_that_wakes_up_does_not_hold_back_the_minimum_until_it_has_caught_up() -> None:
    valve = WatermarkValve(2)
    valve.on_watermark(0, 10)
    valve.on_status(1, idle=True)
    assert valve.on_status(1, idle=False) == []
    assert valve.on_watermark(1, 3) == []
    assert valve.on_watermark(0, 20) == [W(20)]  # still not held back
    assert valve.on_watermark(1, 20) == []  # caught up
    assert valve.on_watermark(0, 30) == []  # counts again
    assert valve.on_watermark(1, 25) == [W(25)]


def test_when_all_inputs_are_idle_the_largest_watermark_goes_ahead_of_the_status() -> None:
    valve = WatermarkValve(2)
    valve.on_watermark(0, 10)
    valve.on_watermark(1, 5)
    assert valve.on_status(0, idle=True) == []
    assert valve.on_status(1, idle=True) == [W(10), IDLE]
    assert valve.on_status(1, idle=True) == []
    assert valve.on_status(0, idle=False) == [ACTIVE]
    assert valve.on_status(1, idle=False) == []


def test_watermarks_of_idle_inputs_are_ignored() -> None:
    valve = WatermarkValve(2)
    valve.on_status(0, idle=True)
    assert valve.on_watermark(0, 50) == []
    assert valve.on_watermark(1, 10) == [W(10)]


def test_the_minimum_is_derived_afresh_when_an_input_becomes_active_again() -> None:
    valve = WatermarkValve(3)
    valve.on_watermark(0, 0)
    valve.on_status(1, idle=True)
    assert valve.on_watermark(2, 1) == [W(0)]
    valve.on_status(2, idle=True)
    valve.on_status(1, idle=False)  # it has said nothing yet and does not count until it has caught up
    assert valve.on_status(0, idle=True) == []
    assert valve.on_status(2, idle=False) == [W(1)]


def test_inputs_that_end_do_not_hold_back_the_others() -> None:
    valve = WatermarkValve(2)
    valve.on_watermark(1, 10)
    assert valve.on_watermark(0, MAX_TIMESTAMP) == [W(10)]
    assert valve.on_watermark(1, MAX_TIMESTAMP) == [W(MAX_TIMESTAMP)]


class Model:
    """The rules as sentences: which inputs count, and what follows."""

    def __init__(self, inputs: int) -> None:
        self.watermarks = [MIN_TIMESTAMP] * inputs
        self.idle, self.counts = [False] * inputs, [True] * inputs
        self.emitted = MIN_TIMESTAMP

    def settle(self) -> None:
        if all(self.idle):
            self.emitted = max(self.emitted, *self.watermarks)
            return
        counting = [
            w
            for w, idle, counts in zip(self.watermarks, self.idle, self.counts, strict=True)
            if counts and not idle
        ]
        if counting:
            self.emitted = max(self.emitted, min(counting))

    def on_watermark(self, channel: int, timestamp: int) -> None:
        if not self.idle[channel]:
            self.watermarks[channel] = max(self.watermarks[channel], timestamp)
            self.counts[channel] |= self.watermarks[channel] >= self.emitted
            self.settle()

    def on_status(self, channel: int, *, idle: bool) -> None:
        if idle != self.idle[channel]:
            self.idle[channel] = idle
            self.counts[channel] = not idle and self.watermarks[channel] >= self.emitted
            self.settle()


events = st.tuples(st.integers(0, 2), st.integers(-5, 30) | st.booleans())


@given(st.lists(events, max_size=50))
def test_it_does_what_the_rules_say(program) -> None:
    valve, model, seen, idle = WatermarkValve(3), Model(3), MIN_TIMESTAMP, False
    for channel, event in program:
        if isinstance(event, bool):
            elements = valve.on_status(channel, idle=event)
            model.on_status(channel, idle=event)
        else:
            elements = valve.on_watermark(channel, event)
            model.on_watermark(channel, event)
        for element in elements:
            if isinstance(element, Watermark):
                assert element.timestamp > seen
                assert not idle
                seen = element.timestamp
            else:
                assert element.idle != idle
                idle = element.idle
        assert seen == model.emitted
        assert idle == all(model.idle)


@given(
    advances=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 30)), max_size=40),
    behind=st.lists(st.integers(1, 30), max_size=40),
)
def test_an_input_that_has_not_caught_up_changes_nothing_for_the_others(advances, behind) -> None:
    """The same inputs with a third one that woke up behind, and stays behind whatever it says."""
    alone, accompanied, emitted = WatermarkValve(2), WatermarkValve(3), 0
    accompanied.on_status(2, idle=True)
    for valve in (alone, accompanied):
        valve.on_watermark(0, 0)
        assert valve.on_watermark(1, 0) == [W(0)]
    accompanied.on_status(2, idle=False)
    laggard = iter(behind)
    for channel, timestamp in advances:
        expected = alone.on_watermark(channel, timestamp)
        assert accompanied.on_watermark(channel, timestamp) == expected
        emitted = max([emitted, *(element.timestamp for element in expected)])
        assert accompanied.on_watermark(2, min(next(laggard, 0), emitted - 1)) == []
