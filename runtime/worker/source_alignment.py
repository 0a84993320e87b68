"""Aligns a source subtask with its group: reports how far it is, and leaves out what is ahead of the limit it was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...connectors.base import SourceReader, SupportsSplitPausing
from ...core.batch import MAX_TIMESTAMP
from ...operators.base import ProcessingTime
from ...operators.watermark_strategy import WatermarkAlignmentParams
from ...operators.watermark_tracker import WatermarkTracker
from .split_alignment import SplitAlignment


class SourceAlignment:
    """The aligned side of a `SourceTask`; all methods run in the loop's thread.

    Checkpoints do not wait for it: a subtask that reads nothing still takes its snapshot and emits the barrier at once.

    Args:
        tracker: of the watermarks of the reader's splits.
        report: sends a watermark (ms) to the JobManager.
    """

    def __init__(
        self,
        params: WatermarkAlignmentParams,
        reader: SourceReader[Any, Any],
        tracker: WatermarkTracker,
        time: ProcessingTime,
        report: Callable[[int], None],
    ) -> None:
        self._interval_ms = params.update_interval_ms
        self._pausing_reader = reader if isinstance(reader, SupportsSplitPausing) else None
        self._decisions = SplitAlignment(per_split=self._pausing_reader is not None)
        self._tracker = tracker
        self._time = time
        self._report = report
        self._ended = False

    @property
    def waits(self) -> bool:
        """Whether the reader must not be polled now."""
        return self._decisions.waits

    def start(self) -> None:
        """Report from now on. Half an interval ahead of the announcements, so that these tell what is new."""
        self._time.schedule(self._time.now_ms() + max(1, self._interval_ms // 2), self._tick)

    def set_limit(self, max_watermark: int) -> None:
        """From the JobManager."""
        self._decisions.set_limit(max_watermark)
        self.update()

    def update(self) -> None:
        """Progress was made, or the limit has changed."""
        change = self._decisions.update(self._tracker.split_watermarks())
        if change is None:
            return
        self._tracker.set_paused(self._decisions.paused, self._time.now_ms())
        if self._pausing_reader is not None:
            self._pausing_reader.pause_or_resume_splits(change.pause, change.resume)

    def remove_split(self, split_id: str) -> None:
        """The reader has finished it."""
        self._decisions.forget(split_id)
        self.update()

    def end(self) -> None:
        """The source has ended and holds back nobody."""
        self._ended = True
        self._report(MAX_TIMESTAMP)

    def _tick(self, now_ms: int) -> None:
        if self._ended:
            return
        self.update()  # splits may have become idle, or active
        lowest = self._tracker.lowest()
        self._report(MAX_TIMESTAMP if lowest is None else lowest)
        self._time.schedule(now_ms + self._interval_ms, self._tick)
