"""What triggers see of time and state, and where they set timers: always for the key and window at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..core.batch import MAX_TIMESTAMP
from ..state.descriptors import StateDescriptor
from ..state.namespaced import NamespaceContext, NamespacedStateStore
from ..state.window_timers import WindowTimers
from .base import ProcessingTime
from .metrics import MetricGroup
from .trigger import Trigger
from .window_context import WatermarkHolder

TRIGGER_STATE: Final = "trigger:"
"""Before the names of triggers' states: part of the checkpoint format."""


class WindowTriggerContext(Trigger.OnMergeContext):
    """One for all calls of one operator.

    Args:
        current: the key and window at hand.
        states: of the trigger.
        event_timers, processing_timers: of the operator, clean-up timers included.
        time: the machine's clock.
        watermark: who knows how far event time has come.
        timer_set: called after a processing-time timer was set.
        metrics: of the operator.
    """

    def __init__(
        self,
        current: NamespaceContext,
        states: NamespacedStateStore,
        event_timers: WindowTimers,
        processing_timers: WindowTimers,
        time: ProcessingTime,
        watermark: WatermarkHolder,
        timer_set: Callable[[], None],
        metrics: MetricGroup,
    ) -> None:
        self._current = current
        self._states = states
        self._event_timers = event_timers
        self._processing_timers = processing_timers
        self._time = time
        self._watermark = watermark
        self._timer_set = timer_set
        self._metrics = metrics
        self.ends_key = False  # in BATCH mode: the key is over, and no timer is set any more
        self.merged: Sequence[Any] = ()  # what stands for the windows that were merged, during `on_merge`

    def get_current_processing_time(self) -> int:
        return self._time.now_ms()

    def get_metric_group(self) -> MetricGroup:
        return self._metrics

    def get_current_watermark(self) -> int:
        return self._watermark.current_watermark

    def register_processing_time_timer(self, time: int) -> None:
        if self.ends_key:
            return
        current = self._current
        self._processing_timers.register(current.current_key, current.current_namespace, _bounded(time))
        self._timer_set()

    def register_event_time_timer(self, time: int) -> None:
        if self.ends_key:
            return
        current = self._current
        self._event_timers.register(current.current_key, current.current_namespace, _bounded(time))

    def delete_processing_time_timer(self, time: int) -> None:
        current = self._current
        self._processing_timers.delete(current.current_key, current.current_namespace, _bounded(time))

    def delete_event_time_timer(self, time: int) -> None:
        current = self._current
        self._event_timers.delete(current.current_key, current.current_namespace, _bounded(time))

    def get_partitioned_state(self, state_descriptor: StateDescriptor) -> Any:
        return self._states.get(state_descriptor)

    def merge_partitioned_state(self, state_descriptor: StateDescriptor) -> None:
        self._states.merge(state_descriptor, self.merged)


def _bounded(time: int) -> int:
    """A window may reach beyond the end of time; its timers fire there."""
    return min(time, MAX_TIMESTAMP)
