"""Timestamps and watermarks: at the source, per split, and anywhere in the stream.

The decisions are in `WatermarkTracker`, which knows no clock and no output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from ..core.errors import JobDefinitionError
from .base import FusibleOperator, Operator, OperatorContext
from .codegen import CodeBuilder, Element
from .user_function import UserFunction
from .watermark_strategy import WatermarkStrategy

_THE_ONLY_SPLIT: Final = ""


@dataclass(slots=True)
class _SplitProgress:
    max_timestamp: int
    last_event_ms: int
    idle: bool = False


class WatermarkTracker:
    """Derives a watermark from the largest timestamp of each split: the minimum over the splits that are not idle.

    Args:
        out_of_orderness_ms: how much earlier than the largest timestamp a record may come; 0 for ascending timestamps.
        idle_timeout_ms: after how long without records a split stops holding back the others; None: never.
    """

    def __init__(self, out_of_orderness_ms: int, idle_timeout_ms: int | None) -> None:
        self._bound = out_of_orderness_ms
        self._idle_timeout_ms = idle_timeout_ms
        self._splits: dict[str, _SplitProgress] = {}
        self._emitted = MIN_TIMESTAMP
        self._without_splits_since_ms: int | None = None
        self.idle = False

    def add_split(self, split_id: str, now_ms: int) -> None:
        """The split takes part from now on; until its first record it holds the watermark back."""
        self._splits.setdefault(split_id, _SplitProgress(MIN_TIMESTAMP, now_ms))
        self._without_splits_since_ms = None

    def remove_split(self, split_id: str) -> None:
        """The split has ended and holds nothing back any more."""
        self._splits.pop(split_id, None)

    def observe(self, split_id: str, max_timestamp: int, now_ms: int) -> bool:
        """Records came, the latest of them at `max_timestamp`. True when the whole input was idle until now."""
        split = self._splits[split_id]
        split.last_event_ms = now_ms
        split.idle = False
        split.max_timestamp = max(split.max_timestamp, max_timestamp)
        was_idle, self.idle = self.idle, False
        return was_idle

    def advance(self, now_ms: int) -> int | None:
        """Called periodically: the new watermark (ms) if it rose, else None. May turn `idle` on, or off for a new split."""
        if self._idle_timeout_ms is not None:
            for split in self._splits.values():
                split.idle = now_ms - split.last_event_ms >= self._idle_timeout_ms
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
        watermark = max_timestamp - self._bound - 1
        if max_timestamp == MIN_TIMESTAMP or watermark <= self._emitted:
            return None
        self._emitted = watermark
        return watermark

    def stand_still(self, duration_ms: int) -> None:
        """The input was blocked (back-pressure, alignment) for so long: silence that does not count as idleness."""
        for split in self._splits.values():
            split.last_event_ms += duration_ms
        if self._without_splits_since_ms is not None:
            self._without_splits_since_ms += duration_ms


@dataclass(frozen=True, slots=True)
class TimestampsSpec:
    """`assign_timestamps_and_watermarks` in the middle of a stream."""

    strategy: WatermarkStrategy[Any]
    kind: ClassVar[str] = "Timestamps/Watermarks"

    def user_functions(self) -> Sequence[Any]:
        return () if self.strategy.timestamp_assigner is None else (self.strategy.timestamp_assigner,)

    def create(self) -> Operator:
        return TimestampsOperator(self.strategy)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What stands behind a source reader: timestamps and watermarks per split."""

    strategy: WatermarkStrategy[Any]
    kind: ClassVar[str] = "Source"

    def user_functions(self) -> Sequence[Any]:
        return () if self.strategy.timestamp_assigner is None else (self.strategy.timestamp_assigner,)

    def create(self) -> Operator:
        return SourceOperator(self.strategy)


class TimestampsOperator(FusibleOperator):
    """Assigns timestamps and emits periodic watermarks; those from upstream end here, but for the last one."""

    def __init__(self, strategy: WatermarkStrategy[Any]) -> None:
        self._strategy = strategy
        bound = strategy.out_of_orderness_ms
        self._tracker = None if bound is None else WatermarkTracker(bound, strategy.idle_timeout_ms)
        self._split = _THE_ONLY_SPLIT
        self._ended = False

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._time = context.processing_time
        self._interval_ms = context.info.auto_watermark_interval_ms
        self._name = context.info.operator_name
        if self._tracker is not None:
            self._register_splits(self._tracker)
            if self._interval_ms > 0:  # 0: only the watermark that ends the input
                self._time.schedule(self._time.now_ms() + self._interval_ms, self._emit_periodically)

    def _register_splits(self, tracker: WatermarkTracker) -> None:
        tracker.add_split(_THE_ONLY_SPLIT, self._time.now_ms())

    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        timestamp = element.timestamp
        assigner = self._strategy.timestamp_assigner
        if assigner is not None:
            timestamp = code.fresh("t")
            function = code.bind(UserFunction(assigner, "extract_timestamp").call, "timestamp_of")
            code.line(f"{timestamp} = {function}({element.value}, {element.timestamp or MIN_TIMESTAMP})")
        if timestamp is not None and self._tracker is not None:
            largest = code.fresh("largest")
            code.before.append(f"{largest} = {MIN_TIMESTAMP}")
            code.line("try:")  # costs nothing unless it catches
            code.line(f"    if {timestamp} > {largest}:")
            code.line(f"        {largest} = {timestamp}")
            code.line("except TypeError:")
            code.line(f"    {code.bind(self._refuse, 'refuse')}({timestamp})")
            code.after.append(f"{code.bind(self._observe, 'observe')}({largest})")
        return Element(element.value, timestamp)

    def _observe(self, largest: int) -> None:
        if type(largest) is not int:
            self._refuse(largest)
        if largest == MIN_TIMESTAMP:  # an empty batch, or one without timestamps
            return
        tracker = self._tracker
        assert tracker is not None
        if tracker.observe(self._split, largest, self._time.now_ms()):
            self.output.emit_status(idle=False)

    def _refuse(self, timestamp: object) -> NoReturn:
        raise JobDefinitionError(
            f"a timestamp assigner returned {timestamp!r} of type {type(timestamp).__name__}",
            where=f"operator '{self._name}'",
            fix="return the event time as an int: milliseconds since the epoch",
        )

    def _emit_periodically(self, now_ms: int) -> None:
        if self._ended:
            return
        self._emit_progress(now_ms)
        self._time.schedule(now_ms + self._interval_ms, self._emit_periodically)

    def _emit_progress(self, now_ms: int) -> None:
        tracker = self._tracker
        assert tracker is not None
        was_idle = tracker.idle
        watermark = tracker.advance(now_ms)
        if was_idle and not tracker.idle:
            self.output.emit_status(idle=False)
        if watermark is not None:
            self.output.emit_watermark(watermark)
        if tracker.idle and not was_idle:
            self.output.emit_status(idle=True)

    def process_watermark(self, timestamp: int) -> None:
        if timestamp == MAX_TIMESTAMP and not self._ended:
            self._ended = True
            if self._tracker is not None and self._tracker.idle:
                self.output.emit_status(idle=False)  # nobody listens to the watermark of an idle input
            self.output.emit_watermark(timestamp)

    def process_status(self, idle: bool) -> None:
        """Idleness is decided here anew, by this operator's own strategy."""

    def note_blocked(self, duration_ms: int) -> None:
        if self._tracker is not None:
            self._tracker.stand_still(duration_ms)


class SourceOperator(TimestampsOperator):
    """The same behind a reader: progress is kept per split."""

    def _register_splits(self, tracker: WatermarkTracker) -> None:
        """Splits come later, from the enumerator."""

    def add_split(self, split_id: str) -> None:
        """The reader was given a split."""
        if self._tracker is not None:
            self._tracker.add_split(split_id, self._time.now_ms())

    def remove_split(self, split_id: str) -> None:
        """The reader finished a split."""
        if self._tracker is not None:
            self._tracker.remove_split(split_id)

    def select_split(self, split_id: str) -> None:
        """The batch that follows belongs to this split."""
        self._split = split_id
