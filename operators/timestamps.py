"""Timestamps and watermarks: at the source, per split, and anywhere in the stream.

The decisions are in `WatermarkTracker`; the operators of strategies with a generator are in `generated_watermarks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn, Protocol, runtime_checkable

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from ..core.errors import JobDefinitionError
from .base import FusibleOperator, Operator, OperatorContext
from .codegen import CodeBuilder, Element
from .user_function import UserFunction
from .watermark_strategy import WatermarkStrategy
from .watermark_tracker import WatermarkTracker

THE_ONLY_SPLIT: Final = ""
"""Name of the input of a strategy in the middle of a stream."""


@dataclass(frozen=True, slots=True)
class TimestampsSpec:
    """`assign_timestamps_and_watermarks` in the middle of a stream."""

    strategy: WatermarkStrategy[Any]
    kind: ClassVar[str] = "Timestamps/Watermarks"

    def user_functions(self) -> Sequence[Any]:
        return _user_functions(self.strategy)

    def create(self) -> Operator:
        if self.strategy.generator is not None:
            from .generated_watermarks import GeneratedTimestampsOperator

            return GeneratedTimestampsOperator(self.strategy)
        return TimestampsOperator(self.strategy)

    def in_batch_mode(self) -> TimestampsSpec:
        return TimestampsSpec(_silent(self.strategy))


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What stands behind a source reader: timestamps and watermarks per split."""

    strategy: WatermarkStrategy[Any]
    kind: ClassVar[str] = "Source"

    def user_functions(self) -> Sequence[Any]:
        return _user_functions(self.strategy)

    def create(self) -> Operator:
        if self.strategy.generator is not None:
            from .generated_watermarks import GeneratedSourceOperator

            return GeneratedSourceOperator(self.strategy)
        return SourceOperator(self.strategy)

    def in_batch_mode(self) -> SourceSpec:
        return SourceSpec(_silent(self.strategy))


def _silent(strategy: WatermarkStrategy[Any]) -> WatermarkStrategy[Any]:
    """Timestamps alone: in BATCH mode event time stands still until the input has ended, so nobody is asked for watermarks."""
    return WatermarkStrategy(None, strategy.timestamp_assigner)


def _user_functions(strategy: WatermarkStrategy[Any]) -> Sequence[Any]:
    return [
        function for function in (strategy.timestamp_assigner, strategy.generator) if function is not None
    ]


@runtime_checkable
class SourceHead(Protocol):
    """What the task of a source asks of the operator behind the reader.

    Attributes:
        watermarks: of its splits.
    """

    watermarks: PeriodicWatermarks

    def add_split(self, split_id: str) -> None:
        """The reader was given a split."""

    def remove_split(self, split_id: str) -> None:
        """The reader finished a split."""

    def select_split(self, split_id: str) -> None:
        """The batch that follows belongs to this split."""


class PeriodicWatermarks:
    """Emits what a tracker decides: watermarks in intervals, changes between idle and active, and the last watermark.

    Args:
        tracker: None where there is no watermark but the last one.

    Attributes:
        ended: the last watermark was emitted.
    """

    def __init__(self, tracker: WatermarkTracker | None) -> None:
        self.tracker = tracker
        self.ended = False
        self._ask: Callable[[int], None] | None = None

    def open(self, context: OperatorContext, ask: Callable[[int], None] | None = None) -> None:
        """Begin. `ask(now_ms)` is called in every interval before the tracker is looked at."""
        self._output = context.output
        self._time = context.processing_time
        self._interval_ms = context.info.auto_watermark_interval_ms
        self._ask = ask
        if self.tracker is not None and self._interval_ms > 0:  # 0: only the watermark that ends the input
            self._time.schedule(self._time.now_ms() + self._interval_ms, self._emit_periodically)

    def _emit_periodically(self, now_ms: int) -> None:
        if self.ended:
            return
        if self._ask is not None:
            self._ask(now_ms)
        self.emit_progress(now_ms)
        self._time.schedule(now_ms + self._interval_ms, self._emit_periodically)

    def emit_progress(self, now_ms: int) -> None:
        """Emit what has changed."""
        tracker = self.tracker
        assert tracker is not None
        was_idle = tracker.idle
        watermark = tracker.advance(now_ms)
        if was_idle and not tracker.idle:
            self._output.emit_status(idle=False)
        if watermark is not None:
            self._output.emit_watermark(watermark)
        if tracker.idle and not was_idle:
            self._output.emit_status(idle=True)

    def emit_last(self) -> None:
        """The input has ended."""
        if self.ended:
            return
        self.ended = True
        tracker = self.tracker
        if tracker is not None and tracker.idle:
            self._output.emit_status(idle=False)  # nobody listens to the watermark of an idle input
        if tracker is None or tracker.emitted < MAX_TIMESTAMP:
            self._output.emit_watermark(MAX_TIMESTAMP)

    def note_blocked(self, duration_ms: int) -> None:
        """Idleness clocks stand still while the input is blocked."""
        if self.tracker is not None:
            self.tracker.stand_still(duration_ms)


class TimestampsOperator(FusibleOperator):
    """Assigns timestamps and emits periodic watermarks; those from upstream end here, but for the last one."""

    def __init__(self, strategy: WatermarkStrategy[Any]) -> None:
        self._strategy = strategy
        bound = strategy.out_of_orderness_ms
        self._tracker = None if bound is None else WatermarkTracker(bound, strategy.idle_timeout_ms)
        self.watermarks = PeriodicWatermarks(self._tracker)
        self._split = THE_ONLY_SPLIT

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._time = context.processing_time
        self._name = context.info.operator_name
        if self._tracker is not None:
            self._register_splits(self._tracker)
        self.watermarks.open(context)

    def _register_splits(self, tracker: WatermarkTracker) -> None:
        tracker.add_split(THE_ONLY_SPLIT, self._time.now_ms())

    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        timestamp = element.timestamp
        assigner = self._strategy.timestamp_assigner
        if assigner is not None:
            timestamp = code.fresh("t")
            function = code.bind(UserFunction(assigner, "extract_timestamp").call, "timestamp_of")
            code.line(f"{timestamp} = {function}({element.value}, {element.timestamp or MIN_TIMESTAMP})")
            code.line(f"if type({timestamp}) is not int:")
            code.line(f"    {code.bind(self._refuse, 'refuse')}({timestamp})")
        if timestamp is not None and self._tracker is not None:
            largest = code.fresh("largest")
            code.before.append(f"{largest} = {MIN_TIMESTAMP}")
            # What an assigner gives was checked; a source may give what is no timestamp. To try costs nothing.
            comparison = (f"if {timestamp} > {largest}:", f"    {largest} = {timestamp}")
            lines = comparison if assigner is not None else self._tried(code, comparison, timestamp)
            for line in lines:
                code.line(line)
            code.after.append(f"{code.bind(self._observe, 'observe')}({largest})")
        return Element(element.value, timestamp)

    def _tried(self, code: CodeBuilder, lines: Sequence[str], timestamp: str) -> list[str]:
        refusal = f"    {code.bind(self._refuse, 'refuse')}({timestamp})"
        return ["try:", *(f"    {line}" for line in lines), "except TypeError:", refusal]

    def _observe(self, largest: int) -> None:
        if type(largest) is not int or largest > MAX_TIMESTAMP:
            self._refuse(largest)
        if largest == MIN_TIMESTAMP:  # an empty batch, or one without timestamps
            return
        tracker = self._tracker
        assert tracker is not None
        if tracker.observe(self._split, largest, self._time.now_ms()):
            self.output.emit_status(idle=False)

    def _refuse(self, timestamp: object) -> NoReturn:
        raise timestamp_refused(timestamp, self._name)

    def process_watermark(self, timestamp: int) -> None:
        if timestamp == MAX_TIMESTAMP:
            self.watermarks.emit_last()

    def process_status(self, idle: bool) -> None:
        """Idleness is decided here anew, by this operator's own strategy."""

    def note_blocked(self, duration_ms: int) -> None:
        self.watermarks.note_blocked(duration_ms)


class SourceOperator(TimestampsOperator):
    """The same behind a reader: progress is kept per split."""

    def _register_splits(self, tracker: WatermarkTracker) -> None:
        """Splits come later, from the enumerator."""

    def add_split(self, split_id: str) -> None:
        """See `SourceHead`."""
        if self._tracker is not None:
            self._tracker.add_split(split_id, self._time.now_ms())

    def remove_split(self, split_id: str) -> None:
        """See `SourceHead`."""
        if self._tracker is not None:
            self._tracker.remove_split(split_id)

    def select_split(self, split_id: str) -> None:
        """See `SourceHead`."""
        self._split = split_id


def timestamp_refused(timestamp: object, operator: str) -> JobDefinitionError:
    """The error for what is no timestamp."""
    return JobDefinitionError(
        f"a timestamp assigner returned {timestamp!r} of type {type(timestamp).__name__}",
        where=f"operator '{operator}'",
        fix="return the event time as an int of 64 bits: milliseconds since the epoch",
    )
