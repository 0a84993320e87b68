from __future__ import annotations

from millstream.core.batch import MIN_TIMESTAMP
from millstream.operators.watermark_tracker import WatermarkTracker


def two_splits(idle_timeout_ms: int | None = 500) -> WatermarkTracker:
    tracker = WatermarkTracker(0, idle_timeout_ms)
    for split in ("a", "b"):
        tracker.add_split(split, 0)
    return tracker


def test_a_paused_split_does_not_become_idle() -> None:
    tracker = two_splits()
    tracker.observe("a", 10, 0)
    tracker.set_paused({"a"}, 100)
    tracker.observe("b", 50, 9_000)
    assert tracker.advance(9_100) == 9  # a still holds b back
    tracker.set_paused((), 10_000)
    tracker.observe("b", 50, 10_200)
    assert tracker.advance(10_399) is None  # silent for 100 ms before the pause and 399 ms after it
    assert tracker.advance(10_400) == 49


def test_time_that_the_whole_input_was_blocked_is_not_counted_twice_for_a_paused_split() -> None:
    tracker = two_splits()
    tracker.observe("a", 10, 0)
    tracker.remove_split("b")
    tracker.set_paused({"a"}, 0)
    tracker.stand_still(1_000)
    tracker.set_paused((), 1_000)
    tracker.advance(1_499)
    assert not tracker.idle
    tracker.advance(1_500)
    assert tracker.idle


def test_the_lowest_watermark_is_that_of_splits_which_are_not_idle() -> None:
    tracker = two_splits()
    assert tracker.lowest() == MIN_TIMESTAMP
    tracker.observe("a", 100, 400)
    tracker.advance(600)
    assert tracker.lowest() == 99  # b is idle
    tracker.observe("b", 20, 600)
    assert tracker.lowest() == 19  # as far as it is, though 99 was emitted
    tracker.advance(5_000)
    assert tracker.lowest() is None
