"""What window functions see of the window, of time and of state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..core.errors import StateError
from ..core.types import TypeInformation
from ..state.backend import KeyedStateBackend
from ..state.keyed import KeyedStateStore
from ..state.namespaced import NamespaceContext, NamespacedStateStore
from .base import OperatorContext
from .functions import OutputTag, ProcessWindowFunction, RuntimeContext
from .results import ResultCollector
from .runtime_context import KeyedRuntimeContext

WINDOW_STATE: Final = "window:"
"""Before the names of per-window states: part of the checkpoint format."""


class WatermarkHolder(Protocol):
    """Knows how far event time has come (ms)."""

    @property
    def current_watermark(self) -> int: ...


@dataclass(frozen=True, slots=True)
class WindowStates:
    """The states of one window operator's functions.

    Attributes:
        current: whose state it is; the operator sets key and window.
        of_window: None where windows merge.
        of_key: over all windows.
        runtime_context: what functions are opened with.
    """

    current: NamespaceContext
    of_window: NamespacedStateStore | None
    of_key: KeyedStateStore
    runtime_context: RuntimeContext

    @staticmethod
    def open(
        context: OperatorContext,
        backend: KeyedStateBackend,
        key_type: TypeInformation[Any],
        window_type: TypeInformation[Any] | None,
    ) -> WindowStates:
        """Args: window_type: of what stands for windows; None where windows merge."""
        current = NamespaceContext()
        of_window = None
        if window_type is not None:
            of_window = NamespacedStateStore(backend, current, key_type, window_type, WINDOW_STATE)
        return WindowStates(
            current,
            of_window,
            KeyedStateStore(backend, current, key_type),
            KeyedRuntimeContext(context.info, backend, current, key_type),
        )


class WindowFunctionContext(ProcessWindowFunction.Context[Any]):
    """One for all calls: the operator moves it from window to window."""

    def __init__(
        self,
        results: ResultCollector,
        context: OperatorContext,
        watermark: WatermarkHolder,
        states: WindowStates,
    ) -> None:
        self._results = results
        self._operator_name = context.info.operator_name
        self._time = context.processing_time
        self._watermark = watermark
        self._states = states
        self._window: Any = None
        self._timestamp = 0

    def enter(self, window: Any, timestamp: int) -> None:
        """What is asked and emitted from now on is about this window, and happened at `timestamp` ms."""
        self._window = window
        self._timestamp = timestamp

    def window(self) -> Any:
        return self._window

    def current_processing_time(self) -> int:
        return self._time.now_ms()

    def current_watermark(self) -> int:
        return self._watermark.current_watermark

    def window_state(self) -> KeyedStateStore:
        if self._states.of_window is None:
            raise StateError(
                "state of a single window was asked for, but these windows merge",
                where=f"operator '{self._operator_name}'",
                fix="use context.global_state() with the key's own bookkeeping, or windows that do not merge",
            )
        return self._states.of_window

    def global_state(self) -> KeyedStateStore:
        return self._states.of_key

    def output(self, tag: OutputTag[Any], value: Any) -> None:
        self._results.collect_side(tag, value, self._timestamp)
