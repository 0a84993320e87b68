"""Arithmetic of slices: the disjoint pieces that tumbling and sliding windows are made of. Pure.

A record belongs to one slice, whatever size/slide is; a window's content is the combination of its slices when it fires.
Source: Li et al., "No Pane, No Gain: Efficient Evaluation of Sliding-Window Aggregates over Data Streams" (2005).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ..core.batch import MAX_TIMESTAMP


@dataclass(frozen=True, slots=True)
class Slicing:
    """Windows `[offset + i * slide, ... + size)` for all integers i; times in ms.

    >>> s = Slicing(size_ms=60, slide_ms=10, offset_ms=0)
    >>> s.slice_ms, s.slice_of(25), s.first_window_end(20), s.last_window_end(20)
    (10, 20, 30, 80)
    """

    size_ms: int
    slide_ms: int
    offset_ms: int = 0

    @property
    def slice_ms(self) -> int:
        """Length of a slice: the greatest one that divides windows and gaps alike."""
        return gcd(self.size_ms, self.slide_ms)

    def slice_of(self, timestamp: int) -> int:
        """Start of the slice that holds `timestamp`."""
        return timestamp - (timestamp - self.offset_ms) % self.slice_ms

    def _last_window_start(self, slice_start: int) -> int:
        return slice_start - (slice_start - self.offset_ms) % self.slide_ms

    def last_window_end(self, slice_start: int) -> int:
        """End of the last window that holds the slice; <= `slice_start` when it lies in a gap (slide > size)."""
        return self._last_window_start(slice_start) + self.size_ms

    def first_window_end(self, slice_start: int) -> int:
        """End of the first window that holds the slice; meaningless in a gap."""
        last = self._last_window_start(slice_start)
        return last - (last + self.size_ms - slice_start - 1) // self.slide_ms * self.slide_ms + self.size_ms

    def in_gap(self, slice_start: int) -> bool:
        """Whether no window holds the slice."""
        return self.last_window_end(slice_start) <= slice_start

    def window_ends(self, slice_start: int) -> range:
        """Ends of the windows that hold the slice, ascending."""
        return range(self.first_window_end(slice_start), self.last_window_end(slice_start) + 1, self.slide_ms)

    def slices_of_window(self, end: int) -> range:
        """Starts of the slices of the window that ends at `end`, ascending."""
        return range(end - self.size_ms, end, self.slice_ms)

    def first_live_slice(self, watermark: int, lateness_ms: int) -> int:
        """The earliest slice that some window still needs: its last window's clean-up time lies after `watermark`.

        >>> Slicing(10, 10).first_live_slice(9, 0)
        10
        """
        if watermark == MAX_TIMESTAMP:  # clean-up times are cut at the end of time, so they have all passed
            return MAX_TIMESTAMP
        last_passed_start = watermark + 1 - self.size_ms - lateness_ms
        return last_passed_start - (last_passed_start - self.offset_ms) % self.slide_ms + self.slide_ms

    def first_unfired_slice(self, watermark: int) -> int:
        """The earliest slice none of whose windows has fired at `watermark`: the end of the last window that has.

        >>> Slicing(size_ms=60, slide_ms=10).first_unfired_slice(69)
        70
        """
        last_end = watermark + 1
        return last_end - (last_end - self.offset_ms - self.size_ms) % self.slide_ms
