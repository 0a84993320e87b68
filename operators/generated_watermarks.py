"""Timestamps and watermarks where a user's `WatermarkGenerator` makes the watermarks.

These operators are not fused: a batch is cut where a watermark was emitted, so that it stands right behind its record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP, RecordBatch, Watermark
from ..core.errors import JobDefinitionError
from .base import Operator, OperatorContext
from .timestamps import THE_ONLY_SPLIT, PeriodicWatermarks, timestamp_refused
from .watermark_generator import WatermarkGenerator, WatermarkOutput
from .watermark_strategy import WatermarkStrategy
from .watermark_tracker import WatermarkTracker


class _SplitOutput(WatermarkOutput):
    """What a generator says about its split goes to the tracker.

    Attributes:
        spoke: it said something that was not looked at yet.
    """

    __slots__ = ("_split_id", "_tracker", "spoke")

    def __init__(self, split_id: str, tracker: WatermarkTracker) -> None:
        self._split_id = split_id
        self._tracker = tracker
        self.spoke = False

    def emit_watermark(self, watermark: Watermark) -> None:
        given: Any = watermark  # a user's
        if not isinstance(given, Watermark) or type(given.timestamp) is not int:
            raise JobDefinitionError(
                f"a watermark generator emitted {watermark!r}",
                fix="emit a Watermark of milliseconds since the epoch: output.emit_watermark(Watermark(1_700_000_000_000))",
            )
        self._tracker.raise_split(self._split_id, watermark.timestamp)
        self.spoke = True

    def mark_idle(self) -> None:
        self._tracker.mark(self._split_id, idle=True)
        self.spoke = True

    def mark_active(self) -> None:
        self._tracker.mark(self._split_id, idle=False)
        self.spoke = True


class GeneratedTimestampsOperator(Operator):
    """Assigns timestamps, asks the generator at every record and in every interval, and emits what follows."""

    def __init__(self, strategy: WatermarkStrategy[Any]) -> None:
        assert strategy.generator is not None
        self._make_generator = strategy.generator
        self._assigner = strategy.timestamp_assigner
        self._tracker = WatermarkTracker(-1, strategy.idle_timeout_ms)
        self.watermarks = PeriodicWatermarks(self._tracker)
        self._generators: dict[str, tuple[WatermarkGenerator[Any], _SplitOutput]] = {}
        self._split = THE_ONLY_SPLIT

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._time = context.processing_time
        self._name = context.info.operator_name
        self._register_splits()
        self.watermarks.open(context, self._ask_generators)

    def _register_splits(self) -> None:
        self._begin_split(THE_ONLY_SPLIT)

    def _begin_split(self, split_id: str) -> None:
        self._tracker.add_split(split_id, self._time.now_ms())
        if split_id in self._generators:
            return
        generator = self._make_generator()
        if not isinstance(generator, WatermarkGenerator):
            raise JobDefinitionError(
                f"the supplier of for_generator() made {generator!r}, which is no WatermarkGenerator",
                where=f"operator '{self._name}'",
                fix="return an object of a class derived from WatermarkGenerator",
            )
        self._generators[split_id] = generator, _SplitOutput(split_id, self._tracker)

    def process_batch(self, batch: RecordBatch) -> None:
        values = batch.values
        if not values:
            return
        timestamps = self._timestamps(batch)
        generator, output = self._generators[self._split]
        if self._tracker.observe(self._split, MIN_TIMESTAMP, self._time.now_ms()):
            self.output.emit_status(idle=False)
        on_event, begin = generator.on_event, 0
        times: Sequence[int] = [MIN_TIMESTAMP] * len(values) if timestamps is None else timestamps
        for index, (value, timestamp) in enumerate(zip(values, times, strict=True), 1):
            on_event(value, timestamp, output)
            if output.spoke:
                output.spoke = False
                self._emit(values, timestamps, begin, index)
                begin = index
                self.watermarks.emit_progress(self._time.now_ms())
        self._emit(values, timestamps, begin, len(values))

    def _timestamps(self, batch: RecordBatch) -> list[int] | None:
        assigner = self._assigner
        if assigner is None:
            return batch.timestamps
        before: Sequence[int] = batch.timestamps or [MIN_TIMESTAMP] * len(batch.values)
        timestamps = []
        for value, had in zip(batch.values, before, strict=True):
            timestamp = assigner(value, had)
            if type(timestamp) is not int or timestamp > MAX_TIMESTAMP:
                raise timestamp_refused(timestamp, self._name)
            timestamps.append(timestamp)
        return timestamps

    def _emit(self, values: list[Any], timestamps: list[int] | None, begin: int, end: int) -> None:
        if begin == 0 and end == len(values):
            self.output.emit(RecordBatch(values, timestamps))
        elif begin < end:
            times = None if timestamps is None else timestamps[begin:end]
            self.output.emit(RecordBatch(values[begin:end], times))

    def _ask_generators(self, now_ms: int) -> None:
        for split_id, (generator, output) in self._generators.items():
            if not self._tracker.timed_out(split_id, now_ms):
                generator.on_periodic_emit(output)
                output.spoke = False  # `emit_progress` comes next

    def process_watermark(self, timestamp: int) -> None:
        if timestamp == MAX_TIMESTAMP:
            self.watermarks.emit_last()

    def process_status(self, idle: bool) -> None:
        """Idleness is decided here anew, by this operator's own strategy."""

    def note_blocked(self, duration_ms: int) -> None:
        self.watermarks.note_blocked(duration_ms)


class GeneratedSourceOperator(GeneratedTimestampsOperator):
    """The same behind a reader: with a generator for each split."""

    def _register_splits(self) -> None:
        """Splits come later, from the enumerator."""

    def add_split(self, split_id: str) -> None:
        """See `SourceHead`."""
        self._begin_split(split_id)

    def remove_split(self, split_id: str) -> None:
        """See `SourceHead`."""
        self._tracker.remove_split(split_id)
        self._generators.pop(split_id, None)

    def select_split(self, split_id: str) -> None:
        """See `SourceHead`."""
        self._split = split_id
