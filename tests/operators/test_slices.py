"""The arithmetic of slices against windows written out one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import MAX_TIMESTAMP
from millstream.operators.slices import Slicing
from millstream.operators.windowing import SlidingEventTimeWindows


@st.composite
def slicings(draw: st.DrawFn) -> Slicing:
    slide = draw(st.integers(1, 20))
    return Slicing(draw(st.integers(1, 20)), slide, draw(st.integers(1 - slide, slide - 1)))


times = st.integers(-100, 100)


def ends_of(slicing: Slicing, timestamp: int) -> list[int]:
    windows = SlidingEventTimeWindows(slicing.size_ms, slicing.slide_ms, slicing.offset_ms)
    return sorted(window.end for window in windows.assign_windows(None, timestamp, None))


@given(slicings(), times)
def test_a_slice_lies_in_the_windows_of_each_of_its_records(slicing, timestamp) -> None:
    start = slicing.slice_of(timestamp)
    assert start <= timestamp < start + slicing.slice_ms
    wanted = ends_of(slicing, timestamp)
    assert slicing.in_gap(start) == (not wanted)
    assert list(slicing.window_ends(start)) == wanted
    if wanted:
        assert (slicing.first_window_end(start), slicing.last_window_end(start)) == (wanted[0], wanted[-1])
        assert all(start in slicing.slices_of_window(end) for end in wanted)


@given(slicings(), times)
def test_the_slices_of_a_window_cover_it_once(slicing, timestamp) -> None:
    for end in ends_of(slicing, timestamp):
        slices = list(slicing.slices_of_window(end))
        assert slices[0] == end - slicing.size_ms
        assert slices[-1] + slicing.slice_ms == end
        assert [slicing.slice_of(start) for start in slices] == slices


@given(slicings(), times, times, st.integers(0, 30))
def test_slices_are_live_until_the_clean_up_of_their_last_window(
    slicing, timestamp, watermark, lateness
) -> None:
    start = slicing.slice_of(timestamp)
    for_windows = ends_of(slicing, timestamp)
    if for_windows:
        live = for_windows[-1] - 1 + lateness > watermark
        assert (start >= slicing.first_live_slice(watermark, lateness)) == live


@given(slicings(), times, times)
def test_slices_are_unfired_until_their_first_window_fires(slicing, timestamp, watermark) -> None:
    start = slicing.slice_of(timestamp)
    for_windows = ends_of(slicing, timestamp)
    if for_windows and slicing.slide_ms <= slicing.size_ms:
        unfired = for_windows[0] - 1 > watermark
        assert (start >= slicing.first_unfired_slice(watermark)) == unfired


@given(slicings())
def test_nothing_is_live_after_the_end_of_time(slicing) -> None:
    assert slicing.first_live_slice(MAX_TIMESTAMP, 10**18) == MAX_TIMESTAMP
