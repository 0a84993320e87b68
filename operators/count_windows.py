"""Windows that do not end in time: one for all records, and groups of so many."""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

from ..core.arguments import check_instance
from ..core.types import Types
from ..state.descriptors import ValueStateDescriptor
from .count_triggers import CountTrigger, NeverTrigger, PurgingTrigger, check_count
from .evictors import CountEvictor
from .time_triggers import EndOfStreamTrigger
from .trigger import Trigger
from .window_types import (
    CountWindow,
    CountWindowSerializer,
    GlobalWindow,
    GlobalWindowSerializer,
    TypeSerializer,
)
from .windowing import WindowAssigner


class GlobalWindows(WindowAssigner[Any, GlobalWindow]):
    """One window for all records of a key. It never fires unless it is given a trigger, and is never cleaned up.

    >>> GlobalWindows.create()
    GlobalWindows()
    """

    def __init__(self, default_trigger: Trigger[Any, GlobalWindow] | None = None) -> None:
        self._default_trigger = NeverTrigger() if default_trigger is None else default_trigger
        check_instance(
            "default trigger", self._default_trigger, Trigger, fix="give for example CountTrigger.of(100)"
        )

    @staticmethod
    def create() -> GlobalWindows:
        """The assigner, with `NeverTrigger`."""
        return GlobalWindows()

    @staticmethod
    def create_with_end_of_stream_trigger() -> GlobalWindows:
        """The assigner whose window fires once, when bounded input has ended."""
        return GlobalWindows(EndOfStreamTrigger())

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> tuple[GlobalWindow]:
        return _EVERYTHING

    def get_default_trigger(self, env: Any) -> Trigger[Any, GlobalWindow]:
        return self._default_trigger

    def get_window_serializer(self) -> TypeSerializer[GlobalWindow]:
        return GlobalWindowSerializer()

    def is_event_time(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "GlobalWindows()"


_EVERYTHING = (GlobalWindow(),)


class CountTumblingWindowAssigner(WindowAssigner[Any, CountWindow]):
    """The first so many records of a key, then the next. `KeyedStream.count_window` does the same without numbering the windows.

    >>> CountTumblingWindowAssigner.of(3)
    CountTumblingWindowAssigner(3)
    """

    def __init__(self, window_size: int) -> None:
        check_count("size of a window", window_size)
        self._window_size = window_size
        self._count = ValueStateDescriptor("tumble-count-assigner", Types.LONG())

    @staticmethod
    def of(window_size: int) -> CountTumblingWindowAssigner:
        """Windows of so many records.

        Raises:
            JobDefinitionError: it is no positive number.
        """
        return CountTumblingWindowAssigner(window_size)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[CountWindow]:
        return [CountWindow(_count_one(self._count, context) // self._window_size)]

    def get_default_trigger(self, env: Any) -> Trigger[Any, CountWindow]:
        return _once_full(self._window_size)

    def get_window_serializer(self) -> TypeSerializer[CountWindow]:
        return CountWindowSerializer()

    def is_event_time(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"CountTumblingWindowAssigner({self._window_size})"


class CountSlidingWindowAssigner(WindowAssigner[Any, CountWindow]):
    """Groups of so many records of a key that begin every so many. A window fires once it is full.

    >>> CountSlidingWindowAssigner.of(4, 2)
    CountSlidingWindowAssigner(4, 2)
    """

    def __init__(self, window_size: int, window_slide: int) -> None:
        check_count("size of a window", window_size)
        check_count("slide of a window", window_slide)
        self._window_size = window_size
        self._window_slide = window_slide
        self._count = ValueStateDescriptor("slide-count-assigner", Types.LONG())

    @staticmethod
    def of(window_size: int, window_slide: int) -> CountSlidingWindowAssigner:
        """Windows of `window_size` records, one every `window_slide` records.

        Raises:
            JobDefinitionError: one of them is no positive number.
        """
        return CountSlidingWindowAssigner(window_size, window_slide)

    def assign_windows(
        self, element: Any, timestamp: int, context: WindowAssigner.WindowAssignerContext
    ) -> list[CountWindow]:
        size, slide = self._window_size, self._window_slide
        count = _count_one(self._count, context)
        first = max(0, (count - size) // slide + 1)
        return [CountWindow(number) for number in range(count // slide, first - 1, -1)]

    def get_default_trigger(self, env: Any) -> Trigger[Any, CountWindow]:
        return _once_full(self._window_size)

    def get_window_serializer(self) -> TypeSerializer[CountWindow]:
        return CountWindowSerializer()

    def is_event_time(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"CountSlidingWindowAssigner({self._window_size}, {self._window_slide})"


class _Windowed(Protocol):
    """A windowed stream, keyed or not."""

    def trigger(self, trigger: Any) -> Self: ...

    def evictor(self, evictor: Any) -> Self: ...


Windowed = TypeVar("Windowed", bound=_Windowed)


def count_windows(windowed: Windowed, size: int, slide: int | None) -> Windowed:
    """`windowed`, a global window, in groups of `size` records: all that came since the last group, or after every `slide`
    records the last `size`.

    Raises:
        JobDefinitionError: one of them is no positive number.
    """
    check_count("size of a window", size)
    if slide is None or slide == 0:  # PyFlink's default
        return windowed.trigger(PurgingTrigger.of(CountTrigger.of(size)))
    check_count("slide of a window", slide)
    return windowed.evictor(CountEvictor.of(size)).trigger(CountTrigger.of(slide))


def _count_one(descriptor: ValueStateDescriptor[int], context: WindowAssigner.WindowAssignerContext) -> int:
    """How many records of the key came before this one, which is counted."""
    state = context.get_runtime_context().get_state(descriptor)
    count = state.value() or 0
    state.update(count + 1)
    return count


def _once_full(size: int) -> Trigger[Any, CountWindow]:
    # Purging, since a full window gets no more records and never ends, so that nothing else would let go of its contents.
    return PurgingTrigger(CountTrigger(size))
