from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millstream.operators.session_windows import EventTimeSessionWindows
from millstream.operators.window_merging import Added, Merge, add_window
from millstream.operators.window_types import TimeWindow

SESSIONS = EventTimeSessionWindows.with_gap(5)


def at(start: int, end: int) -> TimeWindow:
    return TimeWindow(start, end)


def test_a_first_window_keeps_its_own_contents() -> None:
    assert add_window({}, at(0, 5), SESSIONS) == Added(at(0, 5), {at(0, 5): at(0, 5)})


def test_a_window_inside_another_changes_nothing() -> None:
    in_flight = {at(0, 10): at(0, 5)}
    assert add_window(in_flight, at(2, 7), SESSIONS) == Added(at(0, 10), in_flight)
    assert add_window(in_flight, at(0, 10), SESSIONS) == Added(at(0, 10), in_flight)


def test_an_extended_window_leaves_its_contents_where_they_are() -> None:
    added = add_window({at(0, 5): at(0, 5)}, at(3, 8), SESSIONS)
    assert added == Added(at(0, 8), {at(0, 8): at(0, 5)}, (Merge(at(0, 8), (at(0, 5),), at(0, 5), ()),))


def test_a_bridge_between_two_windows_moves_the_contents_of_one() -> None:
    in_flight = {at(0, 8): at(0, 5), at(12, 17): at(12, 17), at(50, 55): at(50, 55)}
    added = add_window(in_flight, at(7, 12), SESSIONS)
    assert added.window == at(0, 17)
    assert added.in_flight == {at(0, 17): at(0, 5), at(50, 55): at(50, 55)}
    (merge,) = added.merges
    assert merge == Merge(at(0, 17), (at(0, 8), at(12, 17)), at(0, 5), (at(12, 17),))


class Absorbing(EventTimeSessionWindows):
    """The merged window may be one of those merged."""

    def merge_windows(self, windows, callback):
        windows = sorted(windows)
        if len(windows) > 2:
            callback.merge(windows, windows[0])


def test_a_window_may_absorb_others() -> None:
    in_flight = {at(0, 5): at(0, 5), at(10, 15): at(10, 15)}
    added = add_window(in_flight, at(20, 25), Absorbing(5))
    assert added.window == at(0, 5)
    assert added.in_flight == {at(0, 5): at(0, 5)}
    assert added.merges == (Merge(at(0, 5), (at(0, 5), at(10, 15)), at(0, 5), (at(10, 15),)),)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=20))
def test_windows_in_flight_are_apart_and_no_two_share_contents(records) -> None:
    in_flight = {}
    for start, gap in records:
        added = add_window(in_flight, at(start, start + gap), SESSIONS)
        in_flight = added.in_flight
        assert added.window in in_flight
        assert added.window.start <= start
        assert added.window.end >= start + gap
    ordered = sorted(in_flight)
    assert all(one.end < other.start for one, other in pairwise(ordered))
    assert len(set(in_flight.values())) == len(in_flight)
