"""What a firing window emits where windows are kept one by one: results, or whatever a window function makes of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from ..core.batch import MAX_TIMESTAMP
from ..core.types import copy_value
from ..state.backend import StateMap
from .base import OperatorContext, ProcessingTime
from .evictors import Evictor, TimestampedValue
from .results import ResultCollector
from .user_function import UserFunction
from .window_contents import AggregatedContents, Contents, ListedContents, ReducedContents
from .window_context import WatermarkHolder, WindowFunctionContext, WindowStates


class WindowFiring:
    """Emits contents. Results happened at the window's `max_timestamp`.

    Args:
        contents: what the window function is given.
        window_function: None: the contents' result itself is emitted.
        context: of the operator.
        watermark: the operator.
        states: what the function may ask for.
    """

    def __init__(
        self,
        contents: Contents,
        window_function: Any,
        context: OperatorContext,
        watermark: WatermarkHolder,
        states: WindowStates,
    ) -> None:
        self._contents = contents
        self._results = ResultCollector(context)
        self._context = WindowFunctionContext(self._results, context, watermark, states)
        # A result may be what the window keeps, or hold it: later firings and a running snapshot go on using that.
        self._may_share = not contents.state_type.immutable
        self._clear = getattr(window_function, "clear", None)
        self._function: UserFunction | None = None
        self._emit: Callable[[Any, Any, int, Any], None] = self._emit_result
        if window_function is not None:
            method = "process" if hasattr(window_function, "process") else "apply"
            self._function = UserFunction(window_function, method)
            self._emit = self._emit_processed if method == "process" else self._emit_applied
            self._function.open(states.runtime_context)

    def fire(self, key: Any, window: Any, entries: StateMap[Any, Any]) -> None:
        """The window fires for this key, unless it holds nothing."""
        kept = entries.peek(key)
        if kept is not None:
            self._emit(key, window, _timestamp_of(window), kept)

    def clear(self, window: Any) -> None:
        """The window is over for the key at hand."""
        if self._clear is not None:
            self._context.enter(window, _timestamp_of(window))
            self._clear(self._context)

    def flush(self) -> None:
        """Pass on what was emitted: many windows may fire at one watermark."""
        self._results.flush()

    def close(self) -> None:
        """The user's `close`."""
        if self._function is not None:
            self._function.close()

    def _emit_result(self, key: Any, window: Any, timestamp: int, kept: Any) -> None:
        result = self._contents.result(kept)
        self._results.collect((copy_value(result) if self._may_share else result,), timestamp)

    def _emit_applied(self, key: Any, window: Any, timestamp: int, kept: Any) -> None:
        assert self._function is not None
        self._results.collect(self._function.call(key, window, self._contents.elements(kept)), timestamp)

    def _emit_processed(self, key: Any, window: Any, timestamp: int, kept: Any) -> None:
        assert self._function is not None
        self._context.enter(window, timestamp)
        elements = self._contents.elements(kept)
        self._results.collect(self._function.call(key, self._context, elements), timestamp)


class EvictingFiring:
    """Has an evictor look at the elements before and after they are emitted; what it takes out is gone for good.

    The window keeps pairs of timestamp and record; they are reduced or aggregated here, at each firing.

    Args:
        firing: emits what is left.
        evictor: the user's.
        contents: what to make of the elements.
        time: the machine's clock.
        watermark: the operator.
    """

    def __init__(
        self,
        firing: WindowFiring,
        evictor: Evictor[Any, Any],
        contents: Contents,
        time: ProcessingTime,
        watermark: WatermarkHolder,
    ) -> None:
        self._firing = firing
        self._evictor = evictor
        self._fold = _folding(contents)
        self._context = _EvictorContext(time, watermark)
        self.clear = firing.clear
        self.flush = firing.flush
        self.close = firing.close

    def fire(self, key: Any, window: Any, entries: StateMap[Any, Any]) -> None:
        """As `WindowFiring.fire`."""
        kept = entries.peek(key)
        if kept is None:
            return
        elements = [TimestampedValue(value, timestamp) for timestamp, value in kept]
        self._evictor.evict_before(elements, len(elements), window, self._context)
        folded = self._fold([element.value for element in elements])
        if folded is not None:
            self._firing._emit(key, window, _timestamp_of(window), folded)
        self._evictor.evict_after(elements, len(elements), window, self._context)
        if len(elements) == len(kept):
            return
        if elements:
            entries[key] = [(element.timestamp, element.value) for element in elements]
        else:
            entries.remove(key)


class _EvictorContext(Evictor.EvictorContext):
    def __init__(self, time: ProcessingTime, watermark: WatermarkHolder) -> None:
        self._time = time
        self._watermark = watermark

    def get_current_processing_time(self) -> int:
        return self._time.now_ms()

    def get_current_watermark(self) -> int:
        return self._watermark.current_watermark


def _folding(contents: Contents) -> Callable[[list[Any]], Any]:
    """Records to contents; None where there is nothing to reduce."""
    match contents:
        case ListedContents():
            return lambda values: values
        case ReducedContents(function=function):
            call = UserFunction(function, "reduce").call
            return lambda values: reduce(call, values) if values else None
        case AggregatedContents(function=function):
            return lambda values: reduce(
                lambda accumulator, value: function.add(value, accumulator),
                values,
                function.create_accumulator(),
            )


def _timestamp_of(window: Any) -> int:
    last: int = window.max_timestamp()
    return min(last, MAX_TIMESTAMP)
