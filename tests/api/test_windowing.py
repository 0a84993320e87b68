"""The arithmetic of window assigners."""

from hypothesis import given
from hypothesis import strategies as st

from millstream import SlidingEventTimeWindows, TimeWindow, TumblingEventTimeWindows

TIMESTAMPS = st.integers(-(10**13), 10**13)
LENGTHS = st.integers(1, 10**9)


@given(TIMESTAMPS, LENGTHS, st.data())
def test_a_tumbling_window_holds_its_record_and_begins_at_the_offset(timestamp, size, data):
    offset = data.draw(st.integers(1 - size, size - 1))
    (window,) = TumblingEventTimeWindows.of(size, offset).assign_windows(None, timestamp, None)
    assert window.start <= timestamp <= window.max_timestamp()
    assert window.end - window.start == size
    assert (window.start - offset) % size == 0


@given(TIMESTAMPS, st.integers(1, 200), st.integers(1, 200), st.data())
def test_sliding_windows_are_exactly_those_that_hold_the_record(timestamp, size, slide, data):
    offset = data.draw(st.integers(1 - slide, slide - 1))
    windows = SlidingEventTimeWindows.of(size, slide, offset).assign_windows(None, timestamp, None)
    expected = [
        TimeWindow(start, start + size)
        for start in range(timestamp, timestamp - size, -1)
        if (start - offset) % slide == 0
    ]
    assert windows == expected


@given(TIMESTAMPS, LENGTHS)
def test_a_sliding_window_that_slides_by_its_size_tumbles(timestamp, size):
    tumbling = TumblingEventTimeWindows.of(size).assign_windows(None, timestamp, None)
    assert SlidingEventTimeWindows.of(size, size).assign_windows(None, timestamp, None) == tumbling
