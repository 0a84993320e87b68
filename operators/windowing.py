"""How records are assigned to windows: the contract, and windows of fixed size in time, with the arithmetic of Flink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, Generic

from ..core.arguments import check_instance
from ..core.errors import JobDefinitionError
from ..core.time import TimeLike, to_millis
from .functions import RuntimeContext
from .time_triggers import EventTimeTrigger, ProcessingTimeTrigger
from .trigger import Trigger
from .window_types import MergeCallback as _MergeCallback
from .window_types import T, TimeWindow, TimeWindowSerializer, TypeSerializer, W

window_start = TimeWindow.get_window_start_with_offset


class WindowAssigner(ABC, Generic[T, W]):
    """Says which windows a record belongs to."""

    class WindowAssignerContext(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def get_current_processing_time(self) -> int:
            """The machine's clock, ms since the epoch."""

        @abstractmethod
        def get_runtime_context(self) -> RuntimeContext:
            """The subtask, and the state of the record's key."""

    @abstractmethod
    def assign_windows(self, element: T, timestamp: int, context: WindowAssignerContext) -> Collection[W]:
        """The windows of a record that happened at `timestamp` ms (`MIN_TIMESTAMP` if it has none)."""

    @abstractmethod
    def get_default_trigger(self, env: Any) -> Trigger[T, W]:
        """The trigger of windows that are given no other.

        Args:
            env: the program's StreamExecutionEnvironment.
        """

    @abstractmethod
    def get_window_serializer(self) -> TypeSerializer[W]:
        """How its windows are written into checkpoints."""

    @abstractmethod
    def is_event_time(self) -> bool:
        """Whether windows end in event time: then they are cleaned up by watermarks, and records can be late for them."""


class MergingWindowAssigner(WindowAssigner[T, W]):
    """An assigner whose windows may grow together, such as sessions. Merged windows share one state, one firing, one clean-up."""

    MergeCallback = _MergeCallback

    @abstractmethod
    def merge_windows(self, windows: Iterable[W], callback: _MergeCallback[W]) -> None:
        """Report which of the windows of a key become one: `callback.merge(to_be_merged, merge_result)`."""


class WindowStagger(Enum):
    """Whether windows of all subtasks begin at the same time, or are spread so that not all fire at once."""

    ALIGNED = "ALIGNED"
    RANDOM = "RANDOM"
    NATURAL = "NATURAL"

    def get_stagger_offset(self, current_processing_time: int, size: int, random: Random) -> int:
        """By how many ms a subtask shifts its windows: by nothing; by chance; or so that they begin with its first record.

        >>> WindowStagger.NATURAL.get_stagger_offset(1_007, 10, Random(1)), WindowStagger.ALIGNED.get_stagger_offset(7, 10, Random(1))
        (7, 0)
        """
        match self:
            case WindowStagger.ALIGNED:
                return 0
            case WindowStagger.RANDOM:
                return random.randrange(size)
            case WindowStagger.NATURAL:
                return current_processing_time % size


@dataclass(frozen=True, slots=True)
class _TumblingWindows(WindowAssigner[Any, TimeWindow]):
    """What tumbling windows have in common.

    Attributes:
        _stagger: the offset of this subtask, once it has one. Not part of checkpoints, as in Flink: each attempt has its own.
    """

    size_ms: int
    offset_ms: int = 0
    window_stagger: WindowStagger = WindowStagger.ALIGNED
    _stagger: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_positive("size", self.size_ms)
        _check_offset(self.offset_ms, "size", self.size_ms)
        stagger = self.window_stagger
        check_instance("window_stagger", stagger, WindowStagger, fix="give for example WindowStagger.NATURAL")

    def window_at(self, time: int, context: WindowAssigner.WindowAssignerContext) -> list[TimeWindow]:
        """The one window that holds this moment."""
        offset = self.offset_ms
        if self.window_stagger is not WindowStagger.ALIGNED:
            offset = (offset + self._stagger_offset(context)) % self.size_ms
        start = window_start(time, offset, self.size_ms)
        return [TimeWindow(start, start + self.size_ms)]

    def _stagger_offset(self, context: WindowAssigner.WindowAssignerContext) -> int:
        if not self._stagger:
            runtime = context.get_runtime_context()
            random = Random(f"{runtime.get_task_name_with_subtasks()} {runtime.get_attempt_number()}")
            now = context.get_current_processing_time()
            self._stagger.append(self.window_stagger.get_stagger_offset(now, self.size_ms, random))
        return self._stagger[0]

    def get_window_serializer(self) -> TypeSerializer[TimeWindow]:
        return TimeWindowSerializer()

    def __str__(self) -> str:
        stagger = "" if self.window_stagger is WindowStagger.ALIGNED else f", {self.window_stagger.name}"
        return f"{type(self).__name__}({self.size_ms} ms{_offset_text(self.offset_ms)}{stagger})"


@dataclass(frozen=True, slots=True)
class TumblingEventTimeWindows(_TumblingWindows):
    """Windows of one size, one after the other. Made by `of`.

    >>> str(TumblingEventTimeWindows.of(5_000))
    'TumblingEventTimeWindows(5000 ms)'
    """

    @staticmethod
    def of(
        size: TimeLike, offset: TimeLike | None = None, window_stagger: WindowStagger = WindowStagger.ALIGNED
    ) -> TumblingEventTimeWindows:
        """Windows `[n * size + offset, (n + 1) * size + offset)`, in each subtask shifted as `window_stagger` says.

        Raises:
            JobDefinitionError: the size is not positive, or the offset is not smaller than it.
        """
        return TumblingEventTimeWindows(to_millis(size), _offset_ms(offset), window_stagger)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        return self.window_at(timestamp, context)

    def get_default_trigger(self, env: Any) -> Trigger[Any, TimeWindow]:
        return EventTimeTrigger()

    def is_event_time(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class TumblingProcessingTimeWindows(_TumblingWindows):
    """The same by the machine's clock. Windows not over when bounded input ends do not fire.

    >>> str(TumblingProcessingTimeWindows.of(5_000, 100))
    'TumblingProcessingTimeWindows(5000 ms, offset 100 ms)'
    """

    @staticmethod
    def of(
        size: TimeLike, offset: TimeLike | None = None, window_stagger: WindowStagger = WindowStagger.ALIGNED
    ) -> TumblingProcessingTimeWindows:
        """As `TumblingEventTimeWindows.of`."""
        return TumblingProcessingTimeWindows(to_millis(size), _offset_ms(offset), window_stagger)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        return self.window_at(context.get_current_processing_time(), context)

    def get_default_trigger(self, env: Any) -> Trigger[Any, TimeWindow]:
        return ProcessingTimeTrigger()

    def is_event_time(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class _SlidingWindows(WindowAssigner[Any, TimeWindow]):
    """What sliding windows have in common."""

    size_ms: int
    slide_ms: int
    offset_ms: int = 0

    def __post_init__(self) -> None:
        _check_positive("size", self.size_ms)
        _check_positive("slide", self.slide_ms)
        _check_offset(self.offset_ms, "slide", self.slide_ms)

    def windows_at(self, time: int) -> list[TimeWindow]:
        """The windows that hold this moment, latest first."""
        size = self.size_ms
        last = window_start(time, self.offset_ms, self.slide_ms)
        return [TimeWindow(start, start + size) for start in range(last, time - size, -self.slide_ms)]

    def get_window_serializer(self) -> TypeSerializer[TimeWindow]:
        return TimeWindowSerializer()

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.size_ms} ms, {self.slide_ms} ms{_offset_text(self.offset_ms)})"


@dataclass(frozen=True, slots=True)
class SlidingEventTimeWindows(_SlidingWindows):
    """Windows of one size that begin every `slide`: they overlap if the slide is smaller. Made by `of`.

    >>> SlidingEventTimeWindows.of(10, 5).windows_at(7)
    [TimeWindow(start=5, end=15), TimeWindow(start=0, end=10)]
    """

    @staticmethod
    def of(size: TimeLike, slide: TimeLike, offset: TimeLike | None = None) -> SlidingEventTimeWindows:
        """Windows `[n * slide + offset, n * slide + offset + size)`.

        Raises:
            JobDefinitionError: size or slide is not positive, or the offset is not smaller than the slide.
        """
        return SlidingEventTimeWindows(to_millis(size), to_millis(slide), _offset_ms(offset))

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        return self.windows_at(timestamp)

    def get_default_trigger(self, env: Any) -> Trigger[Any, TimeWindow]:
        return EventTimeTrigger()

    def is_event_time(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class SlidingProcessingTimeWindows(_SlidingWindows):
    """The same by the machine's clock. Windows not over when bounded input ends do not fire.

    >>> str(SlidingProcessingTimeWindows.of(10, 5))
    'SlidingProcessingTimeWindows(10 ms, 5 ms)'
    """

    @staticmethod
    def of(size: TimeLike, slide: TimeLike, offset: TimeLike | None = None) -> SlidingProcessingTimeWindows:
        """As `SlidingEventTimeWindows.of`."""
        return SlidingProcessingTimeWindows(to_millis(size), to_millis(slide), _offset_ms(offset))

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        return self.windows_at(context.get_current_processing_time())

    def get_default_trigger(self, env: Any) -> Trigger[Any, TimeWindow]:
        return ProcessingTimeTrigger()

    def is_event_time(self) -> bool:
        return False


def _check_positive(what: str, value_ms: int) -> None:
    if type(value_ms) is not int or value_ms <= 0:
        raise JobDefinitionError(
            f"the {what} of a window must be positive, not {value_ms} ms",
            fix="give for example Duration.of_seconds(10)",
        )


def _check_offset(offset_ms: int, bound: str, bound_ms: int) -> None:
    if type(offset_ms) is not int or abs(offset_ms) >= bound_ms:
        raise JobDefinitionError(
            f"the offset of a window must be smaller than its {bound} ({bound_ms} ms), not {offset_ms} ms",
            fix=f"give an offset between {1 - bound_ms} and {bound_ms - 1} ms",
        )


def _offset_ms(offset: TimeLike | None) -> int:
    return 0 if offset is None else to_millis(offset)


def _offset_text(offset_ms: int) -> str:
    return f", offset {offset_ms} ms" if offset_ms else ""
