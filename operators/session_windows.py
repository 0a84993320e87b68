"""Session windows: records of a key with no gap between them longer than a given one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..core.arguments import check_call
from ..core.errors import JobDefinitionError, StateError
from ..core.time import TimeLike, to_millis
from .time_triggers import EventTimeTrigger, ProcessingTimeTrigger
from .trigger import Trigger
from .window_types import MergeCallback, TimeWindow, TimeWindowSerializer, TypeSerializer
from .windowing import MergingWindowAssigner, WindowAssigner


class SessionWindowTimeGapExtractor(ABC):
    """Says for each record how long its session waits for the next one."""

    @abstractmethod
    def extract(self, element: Any) -> int:
        """The gap in ms; positive."""


class _Sessions(MergingWindowAssigner[Any, TimeWindow]):
    """Each record opens a window as long as the gap; windows that overlap or touch become one."""

    def merge_windows(self, windows: Iterable[TimeWindow], callback: MergeCallback[TimeWindow]) -> None:
        TimeWindow.merge_windows(windows, callback)

    def get_window_serializer(self) -> TypeSerializer[TimeWindow]:
        return TimeWindowSerializer()


class _EventTimeSessions(_Sessions):
    def get_default_trigger(self, env: Any) -> Trigger[Any, TimeWindow]:
        return EventTimeTrigger()

    def is_event_time(self) -> bool:
        return True


class _ProcessingTimeSessions(_Sessions):
    def get_default_trigger(self, env: Any) -> Trigger[Any, TimeWindow]:
        return ProcessingTimeTrigger()

    def is_event_time(self) -> bool:
        return False


class EventTimeSessionWindows(_EventTimeSessions):
    """Sessions in event time: a gap of exactly its length still belongs to the session.

    >>> EventTimeSessionWindows.with_gap(5_000)
    EventTimeSessionWindows(5000 ms)
    """

    def __init__(self, session_gap: int) -> None:
        self._session_gap: Final = _checked(session_gap)

    @staticmethod
    def with_gap(size: TimeLike) -> EventTimeSessionWindows:
        """With the same gap for all records.

        Raises:
            JobDefinitionError: it is not positive.
        """
        return EventTimeSessionWindows(to_millis(size))

    @staticmethod
    def with_dynamic_gap(
        extractor: SessionWindowTimeGapExtractor | Callable[[Any], int],
    ) -> DynamicEventTimeSessionWindows:
        """With the gap that `extractor` gives for a record (ms).

        Raises:
            JobDefinitionError: it is no extractor and cannot be called.
        """
        return DynamicEventTimeSessionWindows(extractor)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        return [TimeWindow(timestamp, timestamp + self._session_gap)]

    def __repr__(self) -> str:
        return f"EventTimeSessionWindows({self._session_gap} ms)"


class ProcessingTimeSessionWindows(_ProcessingTimeSessions):
    """Sessions by the machine's clock.

    >>> ProcessingTimeSessionWindows.with_gap(5_000)
    ProcessingTimeSessionWindows(5000 ms)
    """

    def __init__(self, session_gap: int) -> None:
        self._session_gap: Final = _checked(session_gap)

    @staticmethod
    def with_gap(size: TimeLike) -> ProcessingTimeSessionWindows:
        """As `EventTimeSessionWindows.with_gap`."""
        return ProcessingTimeSessionWindows(to_millis(size))

    @staticmethod
    def with_dynamic_gap(
        extractor: SessionWindowTimeGapExtractor | Callable[[Any], int],
    ) -> DynamicProcessingTimeSessionWindows:
        """As `EventTimeSessionWindows.with_dynamic_gap`."""
        return DynamicProcessingTimeSessionWindows(extractor)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        now = context.get_current_processing_time()
        return [TimeWindow(now, now + self._session_gap)]

    def __repr__(self) -> str:
        return f"ProcessingTimeSessionWindows({self._session_gap} ms)"


class DynamicEventTimeSessionWindows(_EventTimeSessions):
    """Sessions in event time, with a gap of each record's own.

    >>> DynamicEventTimeSessionWindows.with_dynamic_gap(lambda record: record[1]).is_event_time()
    True
    """

    def __init__(
        self, session_window_time_gap_extractor: SessionWindowTimeGapExtractor | Callable[[Any], int]
    ) -> None:
        self._gap_of: Final = _extracting(session_window_time_gap_extractor)

    @staticmethod
    def with_dynamic_gap(
        extractor: SessionWindowTimeGapExtractor | Callable[[Any], int],
    ) -> DynamicEventTimeSessionWindows:
        """As `EventTimeSessionWindows.with_dynamic_gap`."""
        return DynamicEventTimeSessionWindows(extractor)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        return [TimeWindow(timestamp, timestamp + _positive(self._gap_of(element)))]

    def __repr__(self) -> str:
        return "DynamicEventTimeSessionWindows()"


class DynamicProcessingTimeSessionWindows(_ProcessingTimeSessions):
    """Sessions by the machine's clock, with a gap of each record's own.

    >>> DynamicProcessingTimeSessionWindows.with_dynamic_gap(lambda record: record[1]).is_event_time()
    False
    """

    def __init__(
        self, session_window_time_gap_extractor: SessionWindowTimeGapExtractor | Callable[[Any], int]
    ) -> None:
        self._gap_of: Final = _extracting(session_window_time_gap_extractor)

    @staticmethod
    def with_dynamic_gap(
        extractor: SessionWindowTimeGapExtractor | Callable[[Any], int],
    ) -> DynamicProcessingTimeSessionWindows:
        """As `EventTimeSessionWindows.with_dynamic_gap`."""
        return DynamicProcessingTimeSessionWindows(extractor)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[TimeWindow]:
        now = context.get_current_processing_time()
        return [TimeWindow(now, now + _positive(self._gap_of(element)))]

    def __repr__(self) -> str:
        return "DynamicProcessingTimeSessionWindows()"


def _checked(gap_ms: int) -> int:
    if type(gap_ms) is not int or gap_ms <= 0:
        raise JobDefinitionError(
            f"the gap of session windows must be positive, not {gap_ms} ms",
            fix="give for example Duration.of_seconds(10)",
        )
    return gap_ms


def _extracting(extractor: Any) -> Callable[[Any], int]:
    found: Any = getattr(extractor, "extract", extractor)
    if isinstance(extractor, type) or not callable(found):
        raise JobDefinitionError(
            f"{extractor!r} does not extract a gap from a record",
            fix="pass a callable of one record, or an object of a class derived from SessionWindowTimeGapExtractor",
        )
    check_call("gap extractor", found, 1, fix="pass a callable of one record, which gives the gap in ms")
    gap_of: Callable[[Any], int] = found
    return gap_of


def _positive(gap_ms: int) -> int:
    if gap_ms <= 0:
        raise StateError(
            f"the gap of a session must be positive, but the extractor gave {gap_ms!r}",
            fix="return a positive number of milliseconds for every record",
        )
    return gap_ms
