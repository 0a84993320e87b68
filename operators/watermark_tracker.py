"""The watermark of an input as it follows from the progress of its splits. Pure: it knows no clock and no output."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..core.batch import MIN_TIMESTAMP


@dataclass(slots=True)
class _SplitProgress:
    max_timestamp: int
    last_event_ms: int
    idle: bool = False
    marked_idle: bool = False
    paused_since_ms: int | None = None


class WatermarkTracker:
    """Derives a watermark from the largest timestamp of each split: the minimum over the splits that are not idle.

    Args:
        out_of_orderness_ms: how much earlier than the largest timestamp a record may come; 0 for ascending timestamps; -1
            where splits tell watermarks instead of timestamps (`raise_split`).
        idle_timeout_ms: after how long without records a split stops holding back the others; None: never.
    """

    def __init__(self, out_of_orderness_ms: int, idle_timeout_ms: int | None) -> None:
        self._behind = out_of_orderness_ms + 1
        self._idle_timeout_ms = idle_timeout_ms
        self._splits: dict[str, _SplitProgress] = {}
        self._without_splits_since_ms: int | None = None
        self.emitted = MIN_TIMESTAMP
        self.idle = False

    # ---- splits

    def add_split(self, split_id: str, now_ms: int) -> None:
        """The split takes part from now on; until its first record it holds the watermark back."""
        self._splits.setdefault(split_id, _SplitProgress(MIN_TIMESTAMP, now_ms))
        self._without_splits_since_ms = None

    def remove_split(self, split_id: str) -> None:
        """The split has ended and holds nothing back any more."""
        self._splits.pop(split_id, None)

    def set_paused(self, split_ids: Collection[str], now_ms: int) -> None:
        """Exactly these splits are not read now, by our own decision: their silence does not count as idleness."""
        for split_id, split in self._splits.items():
            if split_id in split_ids:
                if split.paused_since_ms is None:
                    split.paused_since_ms = now_ms
            elif split.paused_since_ms is not None:
                split.last_event_ms += now_ms - split.paused_since_ms
                split.paused_since_ms = None

    # ---- progress

    def observe(self, split_id: str, max_timestamp: int, now_ms: int) -> bool:
        """Records came, the latest of them at `max_timestamp`. True when the whole input was idle until now."""
        split = self._splits[split_id]
        split.last_event_ms = now_ms
        split.idle = split.marked_idle
        split.max_timestamp = max(split.max_timestamp, max_timestamp)
        if split.idle:
            return False
        was_idle, self.idle = self.idle, False
        return was_idle

    def raise_split(self, split_id: str, watermark: int) -> None:
        """A watermark generator said that no record at or before `watermark` follows in this split, which is active then."""
        split = self._splits[split_id]
        split.max_timestamp = max(split.max_timestamp, watermark)
        split.marked_idle = False

    def mark(self, split_id: str, *, idle: bool) -> None:
        """A watermark generator declared its split idle or active."""
        self._splits[split_id].marked_idle = idle

    def timed_out(self, split_id: str, now_ms: int) -> bool:
        """Whether the split has been silent for too long."""
        return self._is_silent(self._splits[split_id], now_ms)

    def _is_silent(self, split: _SplitProgress, now_ms: int) -> bool:
        timeout_ms = self._idle_timeout_ms
        if timeout_ms is None or split.paused_since_ms is not None:
            return False
        return now_ms - split.last_event_ms >= timeout_ms

    def advance(self, now_ms: int) -> int | None:
        """Called periodically: the new watermark (ms) if it rose, else None. May turn `idle` on, or off for a new split."""
        for split in self._splits.values():
            split.idle = split.marked_idle or self._is_silent(split, now_ms)
        active = [split.max_timestamp for split in self._splits.values() if not split.idle]
        if active:
            self.idle = False
            return self._raise_to(min(active))
        if self.idle or not (self._splits or self._was_long_without_splits(now_ms)):
            return None
        # All became idle: what the furthest of them has seen is flushed before the idle status.
        self.idle = True
        return self._raise_to(
            max((split.max_timestamp for split in self._splits.values()), default=MIN_TIMESTAMP)
        )

    def _was_long_without_splits(self, now_ms: int) -> bool:
        """A reader with nothing to read (more subtasks than splits) would hold back everybody for ever."""
        if self._without_splits_since_ms is None:
            self._without_splits_since_ms = now_ms
        return (
            self._idle_timeout_ms is not None
            and now_ms - self._without_splits_since_ms >= self._idle_timeout_ms
        )

    def _raise_to(self, max_timestamp: int) -> int | None:
        watermark = self._watermark_behind(max_timestamp)
        if watermark <= self.emitted:
            return None
        self.emitted = watermark
        return watermark

    def _watermark_behind(self, max_timestamp: int) -> int:
        return max(MIN_TIMESTAMP, max_timestamp - self._behind)

    def stand_still(self, duration_ms: int) -> None:
        """The input was blocked (back-pressure, alignment) for so long: silence that does not count as idleness."""
        for split in self._splits.values():
            if split.paused_since_ms is None:  # that of a paused split is counted when it goes on
                split.last_event_ms += duration_ms
        if self._without_splits_since_ms is not None:
            self._without_splits_since_ms += duration_ms

    # ---- for the alignment with other splits and sources

    def split_watermarks(self) -> dict[str, int]:
        """The watermark (ms) of each split that is not idle."""
        return {
            split_id: self._watermark_behind(split.max_timestamp)
            for split_id, split in self._splits.items()
            if not split.idle
        }

    def lowest(self) -> int | None:
        """The least watermark (ms) of the splits that are not idle; None when nothing holds anybody back."""
        return min(self.split_watermarks().values(), default=None)
