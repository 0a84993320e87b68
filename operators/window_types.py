"""The kinds of windows, and how they are written down: pure values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Generic, Protocol

from ..core.batch import MAX_TIMESTAMP
from ..core.errors import JobDefinitionError
from ..core.types.exact import dumps, loads

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T")
    # Most windows are of time: `ProcessWindowFunction[IN, OUT, K]` is enough.
    W = TypeVar("W", default="TimeWindow")
    W_co = TypeVar("W_co", default="TimeWindow", covariant=True)
    W_contra = TypeVar("W_contra", contravariant=True)
else:
    from typing import TypeVar

    T = TypeVar("T")
    W = TypeVar("W")
    W_co = TypeVar("W_co", covariant=True)
    W_contra = TypeVar("W_contra", contravariant=True)


class Window(ABC):
    """A group of records. A value: hashable, equal to every other window of the same group."""

    __slots__ = ()

    @abstractmethod
    def max_timestamp(self) -> int:
        """The last timestamp (ms) that belongs to it; what comes of the window happened then."""


class MergeCallback(Protocol[W_contra]):
    """Where `merge_windows` reports what it found."""

    def merge(self, to_be_merged: Iterable[W_contra], merge_result: W_contra) -> None:
        """These windows become that one."""


@dataclass(frozen=True, slots=True, order=True)
class TimeWindow(Window):
    """The time from `start` (inclusive) to `end` (exclusive), in ms since the epoch.

    >>> TimeWindow(0, 10).max_timestamp()
    9
    """

    start: int
    end: int

    def max_timestamp(self) -> int:
        """The last timestamp that belongs to it: the window fires when the watermark reaches it."""
        return self.end - 1

    def intersects(self, other: TimeWindow) -> bool:
        """Whether they overlap or touch.

        >>> TimeWindow(0, 10).intersects(TimeWindow(10, 20)), TimeWindow(0, 10).intersects(TimeWindow(11, 20))
        (True, False)
        """
        return self.start <= other.end and self.end >= other.start

    def cover(self, other: TimeWindow) -> TimeWindow:
        """The smallest window that holds both.

        >>> TimeWindow(0, 10).cover(TimeWindow(5, 15))
        TimeWindow(start=0, end=15)
        """
        return TimeWindow(min(self.start, other.start), max(self.end, other.end))

    @staticmethod
    def get_window_start_with_offset(timestamp: int, offset: int, window_size: int) -> int:
        """Start of the tumbling window of `window_size` ms, shifted by `offset` ms, that holds `timestamp`.

        >>> [TimeWindow.get_window_start_with_offset(time, offset, 5) for time, offset in ((12, 0), (-1, 0), (12, 3))]
        [10, -5, 8]
        """
        return timestamp - (timestamp - offset) % window_size

    @staticmethod
    def merge_windows(windows: Iterable[TimeWindow], callback: MergeCallback[TimeWindow]) -> None:
        """Report each group of windows that overlap or touch, with the window that covers it."""
        group: list[TimeWindow] = []
        cover = TimeWindow(0, 0)
        for window in sorted(set(windows)):
            if group and cover.intersects(window):
                group.append(window)
                cover = cover.cover(window)
                continue
            if len(group) > 1:
                callback.merge(group, cover)
            group, cover = [window], window
        if len(group) > 1:
            callback.merge(group, cover)


@dataclass(frozen=True, slots=True, order=True)
class CountWindow(Window):
    """The `id`th group of so many records, counted from 0 per key.

    >>> CountWindow(3).max_timestamp() == MAX_TIMESTAMP
    True
    """

    id: int

    def max_timestamp(self) -> int:
        """The end of time: event time says nothing about it."""
        return MAX_TIMESTAMP


@dataclass(frozen=True, slots=True)
class GlobalWindow(Window):
    """The one window that holds all records of a key.

    >>> GlobalWindow.get() == GlobalWindow()
    True
    """

    @staticmethod
    def get() -> GlobalWindow:
        """The window."""
        return GlobalWindow()

    def max_timestamp(self) -> int:
        """The end of time."""
        return MAX_TIMESTAMP


class TypeSerializer(ABC, Generic[T]):
    """Writes and reads windows of a user-defined kind. What it writes is part of checkpoints: it must stay readable, and equal
    windows must be written the same."""

    @abstractmethod
    def serialize(self, element: T, stream: BytesIO) -> None:
        """Append `element` to `stream`."""

    @abstractmethod
    def deserialize(self, stream: BytesIO) -> T:
        """Read back what `serialize` wrote."""


class _FieldsSerializer(TypeSerializer[Any]):
    """Writes the fields of a window."""

    def serialize(self, element: Any, stream: BytesIO) -> None:
        stream.write(dumps(self.to_plain(element)))

    def deserialize(self, stream: BytesIO) -> Any:
        return self.from_plain(loads(stream.read()))

    @abstractmethod
    def to_plain(self, window: Any) -> Any:
        """The plain value that stands for a window."""

    @abstractmethod
    def from_plain(self, value: Any) -> Any:
        """Its inverse."""


class TimeWindowSerializer(_FieldsSerializer):
    """For `TimeWindow`."""

    def to_plain(self, window: TimeWindow) -> tuple[int, int]:
        return window.start, window.end

    def from_plain(self, value: tuple[int, int]) -> TimeWindow:
        return TimeWindow(*value)


class CountWindowSerializer(_FieldsSerializer):
    """For `CountWindow`."""

    def to_plain(self, window: CountWindow) -> int:
        return window.id

    def from_plain(self, value: int) -> CountWindow:
        return CountWindow(value)


class GlobalWindowSerializer(_FieldsSerializer):
    """For `GlobalWindow`."""

    def to_plain(self, window: GlobalWindow) -> bool:
        return True

    def from_plain(self, value: bool) -> GlobalWindow:
        return GlobalWindow()


def check_kind(value: Any, kind: type, what: str, example: str) -> None:
    """Refuse what is no object of the class it has to be.

    Raises:
        JobDefinitionError: saying what to pass instead.
    """
    if not isinstance(value, kind):
        raise JobDefinitionError(f"{value!r} is not {what}", fix=f"pass for example {example}")
