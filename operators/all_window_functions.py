"""Functions of windows over all records of a stream, whatever their key; and how they run as keyed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic

from .functions import (
    IN,
    OUT,
    Function,
    OfAnyWindow,
    OutputTag,
    ProcessWindowFunction,
    RuntimeContext,
    WindowFunction,
)
from .window_types import W, W_co

if TYPE_CHECKING:
    from ..state.keyed import KeyedStateStore


class ProcessAllWindowFunction(OfAnyWindow, Function, ABC, Generic[IN, OUT, W]):
    """Any number of results per window of a stream that is not keyed, from all its elements (or from its one aggregate)."""

    class Context(ABC, Generic[W_co]):
        """Valid during the call alone. As `ProcessWindowFunction.Context`, where there is but one key."""

        @abstractmethod
        def window(self) -> W_co:
            """The window that fires, or is cleaned up."""

        @abstractmethod
        def current_processing_time(self) -> int:
            """The machine's clock, ms since the epoch."""

        @abstractmethod
        def current_watermark(self) -> int:
            """The watermark (ms) this operator has reached."""

        @abstractmethod
        def window_state(self) -> KeyedStateStore:
            """State of this window. Nothing but `clear` deletes it. StateError where windows merge."""

        @abstractmethod
        def global_state(self) -> KeyedStateStore:
            """State over all windows. Never deleted."""

        @abstractmethod
        def output(self, tag: OutputTag[Any], value: Any) -> None:
            """Send `value` to the side output `tag`."""

    @abstractmethod
    def process(
        self, context: ProcessAllWindowFunction.Context[W], elements: Sequence[IN]
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results, yielded or returned; a pair `(tag, value)` goes to a side output. Called once per firing."""

    def clear(self, context: ProcessAllWindowFunction.Context[W]) -> None:
        """The window is over, allowed lateness included: delete its `window_state`. Nothing to do by default."""


class AllWindowFunction(OfAnyWindow, Function, ABC, Generic[IN, OUT, W]):
    """A `ProcessAllWindowFunction` that needs no context."""

    @abstractmethod
    def apply(self, window: W, inputs: Sequence[IN]) -> Iterable[OUT] | None:
        """Results, yielded or returned. Called once per firing."""


def as_keyed(function: Any) -> Any:
    """The same for the one key under which the records of such a stream are kept."""
    if not hasattr(function, "process"):
        return _KeyedApply(function)
    if overrides_clear(function):
        return _KeyedProcessAndClear(function)
    return _KeyedProcess(function)


def overrides_clear(function: Any) -> bool:
    """Whether a window function wants to know when windows are over."""
    clear = getattr(type(function), "clear", None)
    return clear not in {None, ProcessWindowFunction.clear, ProcessAllWindowFunction.clear}


class _Adapter(Function):
    def __init__(self, function: Any) -> None:
        self._function = function

    def open(self, runtime_context: RuntimeContext) -> None:
        if hasattr(self._function, "open"):
            self._function.open(runtime_context)

    def close(self) -> None:
        if hasattr(self._function, "close"):
            self._function.close()


class _KeyedProcess(_Adapter, ProcessWindowFunction[Any, Any, Any, Any]):
    # The context of a keyed function has all that one without keys is promised.
    def process(self, key: Any, context: Any, elements: Any) -> Any:
        return self._function.process(context, elements)


class _KeyedProcessAndClear(_KeyedProcess):
    def clear(self, context: Any) -> None:
        self._function.clear(context)


class _KeyedApply(_Adapter, WindowFunction[Any, Any, Any, Any]):
    def apply(self, key: Any, window: Any, inputs: Any) -> Any:
        return self._function.apply(window, inputs)
