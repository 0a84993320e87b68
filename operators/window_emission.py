"""What a firing window emits: the contents' results, or whatever a window function makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from ..core.batch import RecordBatch
from ..core.types import copy_value
from .base import OperatorContext
from .results import ResultCollector
from .user_function import UserFunction
from .window_contents import AggregatedContents, Contents
from .window_context import WatermarkHolder, WindowFunctionContext, WindowStates
from .window_types import TimeWindow

_FULL: Final = 1_000
"""Results passed on at once; more of one watermark follow in further batches."""


class WindowResult(Protocol):
    """Emits the results of one firing."""

    def emit(self, start: int, end: int, entries: Iterable[tuple[Any, Any]]) -> None:
        """The window `[start, end)` fires for these keys and contents; results happened at its last millisecond."""

    def flush(self) -> None:
        """Pass on what `emit` collected: many windows may fire at one watermark."""

    def close(self) -> None:
        """The user's `close`."""


def make_window_result(
    contents: Contents,
    window_function: Any,
    context: OperatorContext,
    watermark: WatermarkHolder,
    states: WindowStates,
) -> WindowResult:
    """The right way to emit for this window operator, with the user's function opened."""
    if window_function is None:
        return _PlainResult(contents, context)
    function = UserFunction(window_function, "process" if hasattr(window_function, "process") else "apply")
    function.open(states.runtime_context)
    if hasattr(window_function, "process"):
        return _ProcessResult(contents, function, context, watermark, states)
    return _ApplyResult(contents, function, context, states)


class _PlainResult:
    def __init__(self, contents: Contents, context: OperatorContext) -> None:
        self._get_result = contents.function.get_result if isinstance(contents, AggregatedContents) else None
        # A result may be what the window keeps, or hold it: other windows and a running snapshot go on using that.
        self._may_share = not contents.state_type.immutable
        self._output = context.output
        self._values: list[Any] = []
        self._timestamps: list[int] = []

    def emit(self, start: int, end: int, entries: Iterable[tuple[Any, Any]]) -> None:
        get_result = self._get_result
        if get_result is None:
            values = [kept for _, kept in entries]
        else:
            values = [get_result(kept) for _, kept in entries]
        if self._may_share:
            values = list(map(copy_value, values))
        self._values += values
        self._timestamps += [end - 1] * len(values)
        if len(self._values) >= _FULL:
            self.flush()

    def flush(self) -> None:
        if self._values:
            values, timestamps = self._values, self._timestamps
            self._values, self._timestamps = [], []
            self._output.emit(RecordBatch(values, timestamps))

    def close(self) -> None:
        """Nothing of the user's to close."""


class _ApplyResult:
    def __init__(
        self, contents: Contents, function: UserFunction, context: OperatorContext, states: WindowStates
    ) -> None:
        self._elements = contents.elements
        self._function = function
        self._results = ResultCollector(context)
        self._current = states.current

    def emit(self, start: int, end: int, entries: Iterable[tuple[Any, Any]]) -> None:
        window, apply, elements = TimeWindow(start, end), self._function.call, self._elements
        current = self._current
        for key, kept in entries:
            current.current_key = key
            self._results.collect(apply(key, window, elements(kept)), end - 1)

    def flush(self) -> None:
        self._results.flush()

    def close(self) -> None:
        self._function.close()


class _ProcessResult:
    def __init__(
        self,
        contents: Contents,
        function: UserFunction,
        context: OperatorContext,
        watermark: WatermarkHolder,
        states: WindowStates,
    ) -> None:
        self._elements = contents.elements
        self._function = function
        self._results = ResultCollector(context)
        self._context = WindowFunctionContext(self._results, context, watermark, states)
        self._current = states.current

    def emit(self, start: int, end: int, entries: Iterable[tuple[Any, Any]]) -> None:
        process, elements, context = self._function.call, self._elements, self._context
        context.enter(TimeWindow(start, end), end - 1)
        current = self._current
        current.current_namespace = (start, end)
        for key, kept in entries:
            current.current_key = key
            self._results.collect(process(key, context, elements(kept)), end - 1)

    def flush(self) -> None:
        self._results.flush()

    def close(self) -> None:
        self._function.close()
