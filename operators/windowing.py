"""Windows and how records are assigned to them: pure descriptions with the arithmetic of Flink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..core.errors import JobDefinitionError
from ..core.time import TimeLike, to_millis


@dataclass(frozen=True, slots=True, order=True)
class TimeWindow:
    """The time from `start` (inclusive) to `end` (exclusive), in ms since the epoch.

    >>> TimeWindow(0, 10).max_timestamp()
    9
    """

    start: int
    end: int

    def max_timestamp(self) -> int:
        """The last timestamp that belongs to it: the window fires when the watermark reaches it."""
        return self.end - 1


def window_start(timestamp: int, offset: int, size: int) -> int:
    """Start of the tumbling window of `size` ms, shifted by `offset` ms, that holds `timestamp`.

    >>> window_start(12, 0, 5), window_start(-1, 0, 5), window_start(12, 3, 5)
    (10, -5, 8)
    """
    return timestamp - (timestamp - offset) % size


class WindowAssigner(ABC):
    """Says which windows a record belongs to."""

    @abstractmethod
    def assign_windows(self, timestamp: int) -> list[TimeWindow]:
        """The windows of a record that happened at `timestamp` ms, latest first."""

    def is_event_time(self) -> bool:
        """Whether windows are of event time."""
        return True


@dataclass(frozen=True, slots=True)
class TumblingEventTimeWindows(WindowAssigner):
    """Windows of one size, one after the other. Made by `of`.

    >>> TumblingEventTimeWindows.of(5_000).assign_windows(7_000)
    [TimeWindow(start=5000, end=10000)]
    """

    size_ms: int
    offset_ms: int = 0

    @staticmethod
    def of(size: TimeLike, offset: TimeLike = 0) -> TumblingEventTimeWindows:
        """Windows `[n * size + offset, (n + 1) * size + offset)`.

        Raises:
            JobDefinitionError: the size is not positive, or the offset is not smaller than it.
        """
        size_ms, offset_ms = to_millis(size), to_millis(offset)
        _check_positive("size", size_ms)
        _check_offset(offset_ms, "size", size_ms)
        return TumblingEventTimeWindows(size_ms, offset_ms)

    def assign_windows(self, timestamp: int) -> list[TimeWindow]:
        start = window_start(timestamp, self.offset_ms, self.size_ms)
        return [TimeWindow(start, start + self.size_ms)]

    def __str__(self) -> str:
        return f"TumblingEventTimeWindows({self.size_ms} ms{_offset_text(self.offset_ms)})"


@dataclass(frozen=True, slots=True)
class SlidingEventTimeWindows(WindowAssigner):
    """Windows of one size that begin every `slide`: they overlap if the slide is smaller. Made by `of`.

    >>> SlidingEventTimeWindows.of(10, 5).assign_windows(7)
    [TimeWindow(start=5, end=15), TimeWindow(start=0, end=10)]
    """

    size_ms: int
    slide_ms: int
    offset_ms: int = 0

    @staticmethod
    def of(size: TimeLike, slide: TimeLike, offset: TimeLike = 0) -> SlidingEventTimeWindows:
        """Windows `[n * slide + offset, n * slide + offset + size)`.

        Raises:
            JobDefinitionError: size or slide is not positive, or the offset is not smaller than the slide.
        """
        size_ms, slide_ms, offset_ms = to_millis(size), to_millis(slide), to_millis(offset)
        _check_positive("size", size_ms)
        _check_positive("slide", slide_ms)
        _check_offset(offset_ms, "slide", slide_ms)
        return SlidingEventTimeWindows(size_ms, slide_ms, offset_ms)

    def assign_windows(self, timestamp: int) -> list[TimeWindow]:
        last = window_start(timestamp, self.offset_ms, self.slide_ms)
        return [
            TimeWindow(start, start + self.size_ms)
            for start in range(last, timestamp - self.size_ms, -self.slide_ms)
        ]

    def __str__(self) -> str:
        return f"SlidingEventTimeWindows({self.size_ms} ms, {self.slide_ms} ms{_offset_text(self.offset_ms)})"


def _check_positive(what: str, value_ms: int) -> None:
    if value_ms <= 0:
        raise JobDefinitionError(
            f"the {what} of a window must be positive, not {value_ms} ms",
            fix="give for example Duration.of_seconds(10)",
        )


def _check_offset(offset_ms: int, bound: str, bound_ms: int) -> None:
    if abs(offset_ms) >= bound_ms:
        raise JobDefinitionError(
            f"the offset of a window must be smaller than its {bound} ({bound_ms} ms), not {offset_ms} ms",
            fix=f"give an offset between {1 - bound_ms} and {bound_ms - 1} ms",
        )


def _offset_text(offset_ms: int) -> str:
    return f", offset {offset_ms} ms" if offset_ms else ""
