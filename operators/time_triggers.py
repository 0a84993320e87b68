"""Triggers that go by event time or by the clock."""

from __future__ import annotations

from typing import Any, Final

from ..core.batch import MAX_TIMESTAMP
from ..core.errors import JobDefinitionError
from ..core.time import TimeLike, to_millis
from ..core.types import Types
from ..state.descriptors import ReducingStateDescriptor, ValueStateDescriptor
from .trigger import Trigger, TriggerResult
from .window_types import GlobalWindow, TimeWindow, check_kind

CONTINUE: Final = TriggerResult.CONTINUE
FIRE: Final = TriggerResult.FIRE


class EventTimeTrigger(Trigger[Any, TimeWindow]):
    """Fires when the watermark reaches the end of the window, and again for each late record that is still allowed. The default of
    event-time windows.

    >>> EventTimeTrigger.create().can_merge()
    True
    """

    @staticmethod
    def create() -> EventTimeTrigger:
        """The trigger."""
        return EventTimeTrigger()

    def on_element(
        self, element: Any, timestamp: int, window: TimeWindow, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        last = window.max_timestamp()
        if last <= ctx.get_current_watermark():
            return FIRE
        ctx.register_event_time_timer(last)
        return CONTINUE

    def on_processing_time(self, time: int, window: TimeWindow, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def on_event_time(self, time: int, window: TimeWindow, ctx: Trigger.TriggerContext) -> TriggerResult:
        return FIRE if time == min(window.max_timestamp(), MAX_TIMESTAMP) else CONTINUE

    def can_merge(self) -> bool:
        return True

    def on_merge(self, window: TimeWindow, ctx: Trigger.OnMergeContext) -> None:
        # Of a window that is past, the record that caused the merge fires the result at once.
        if window.max_timestamp() > ctx.get_current_watermark():
            ctx.register_event_time_timer(window.max_timestamp())

    def clear(self, window: TimeWindow, ctx: Trigger.TriggerContext) -> None:
        ctx.delete_event_time_timer(window.max_timestamp())

    def __repr__(self) -> str:
        return "EventTimeTrigger()"


class ProcessingTimeTrigger(Trigger[Any, TimeWindow]):
    """Fires when the machine's clock reaches the end of the window. The default of processing-time windows.

    >>> ProcessingTimeTrigger.create()
    ProcessingTimeTrigger()
    """

    @staticmethod
    def create() -> ProcessingTimeTrigger:
        """The trigger."""
        return ProcessingTimeTrigger()

    def on_element(
        self, element: Any, timestamp: int, window: TimeWindow, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        ctx.register_processing_time_timer(window.max_timestamp())
        return CONTINUE

    def on_processing_time(self, time: int, window: TimeWindow, ctx: Trigger.TriggerContext) -> TriggerResult:
        return FIRE

    def on_event_time(self, time: int, window: TimeWindow, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def can_merge(self) -> bool:
        return True

    def on_merge(self, window: TimeWindow, ctx: Trigger.OnMergeContext) -> None:
        if window.max_timestamp() > ctx.get_current_processing_time():
            ctx.register_processing_time_timer(window.max_timestamp())

    def clear(self, window: TimeWindow, ctx: Trigger.TriggerContext) -> None:
        ctx.delete_processing_time_timer(window.max_timestamp())

    def __repr__(self) -> str:
        return "ProcessingTimeTrigger()"


class _ContinuousTrigger(Trigger[Any, Any]):
    """Fires over and over. Remembers, per window, when next."""

    def __init__(self, interval: int) -> None:
        if type(interval) is not int or interval <= 0:
            raise JobDefinitionError(
                f"the interval of a trigger must be positive, not {interval} ms",
                fix="give for example Duration.of_seconds(10)",
            )
        self.interval = interval
        self.state_desc = ReducingStateDescriptor("fire-time", min, Types.LONG())

    def can_merge(self) -> bool:
        return True

    def _next(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> int:
        """The time to fire next, remembered: one interval after `time`, at the latest at the end of the window."""
        due: int = min(time + self.interval, window.max_timestamp())
        ctx.get_partitioned_state(self.state_desc).add(due)
        return due

    def _merged(self, ctx: Trigger.OnMergeContext) -> int | None:
        ctx.merge_partitioned_state(self.state_desc)
        due: int | None = ctx.get_partitioned_state(self.state_desc).get()
        return due

    def _forget(self, ctx: Trigger.TriggerContext) -> int | None:
        state = ctx.get_partitioned_state(self.state_desc)
        due: int | None = state.get()
        state.clear()
        return due

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.interval} ms)"


class ContinuousEventTimeTrigger(_ContinuousTrigger):
    """Fires each time the watermark has advanced by the interval (at its multiples), and at the end of the window.

    >>> from millstream import Duration
    >>> ContinuousEventTimeTrigger.of(Duration.of_seconds(5))
    ContinuousEventTimeTrigger(5000 ms)
    """

    @staticmethod
    def of(interval: TimeLike) -> ContinuousEventTimeTrigger:
        """With this interval.

        Raises:
            JobDefinitionError: it is not positive.
        """
        return ContinuousEventTimeTrigger(to_millis(interval))

    def on_element(
        self, element: Any, timestamp: int, window: Any, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        if window.max_timestamp() <= ctx.get_current_watermark():
            return FIRE
        ctx.register_event_time_timer(window.max_timestamp())
        if ctx.get_partitioned_state(self.state_desc).get() is None:
            ctx.register_event_time_timer(self._next(timestamp - timestamp % self.interval, window, ctx))
        return CONTINUE

    def on_processing_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def on_event_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        if time == min(window.max_timestamp(), MAX_TIMESTAMP):
            return FIRE
        if ctx.get_partitioned_state(self.state_desc).get() != time:
            return CONTINUE
        self._forget(ctx)
        if window.max_timestamp() >= MAX_TIMESTAMP == ctx.get_current_watermark():
            time = MAX_TIMESTAMP  # a window without an end would fire at every interval until the end of time
        ctx.register_event_time_timer(self._next(time, window, ctx))
        return FIRE

    def on_merge(self, window: Any, ctx: Trigger.OnMergeContext) -> None:
        due = self._merged(ctx)
        if due is not None:
            ctx.register_event_time_timer(due)

    def clear(self, window: Any, ctx: Trigger.TriggerContext) -> None:
        ctx.delete_event_time_timer(window.max_timestamp())
        due = self._forget(ctx)
        if due is not None:
            ctx.delete_event_time_timer(due)


class ContinuousProcessingTimeTrigger(_ContinuousTrigger):
    """Fires each time the machine's clock has advanced by the interval (at its multiples), and at the end of the window.

    >>> ContinuousProcessingTimeTrigger.of(1_000)
    ContinuousProcessingTimeTrigger(1000 ms)
    """

    @staticmethod
    def of(interval: TimeLike) -> ContinuousProcessingTimeTrigger:
        """With this interval.

        Raises:
            JobDefinitionError: it is not positive.
        """
        return ContinuousProcessingTimeTrigger(to_millis(interval))

    def on_element(
        self, element: Any, timestamp: int, window: Any, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        if ctx.get_partitioned_state(self.state_desc).get() is None:
            now = ctx.get_current_processing_time()
            ctx.register_processing_time_timer(self._next(now - now % self.interval, window, ctx))
        return CONTINUE

    def on_processing_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        if ctx.get_partitioned_state(self.state_desc).get() != time:
            return CONTINUE
        self._forget(ctx)
        # At the end of the window nothing is left to wait for; a timer for that very moment would fire it for ever.
        if time < window.max_timestamp():
            ctx.register_processing_time_timer(self._next(time, window, ctx))
        return FIRE

    def on_event_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return CONTINUE

    def on_merge(self, window: Any, ctx: Trigger.OnMergeContext) -> None:
        due = self._merged(ctx)
        if due is not None:
            ctx.register_processing_time_timer(due)

    def clear(self, window: Any, ctx: Trigger.TriggerContext) -> None:
        due = self._forget(ctx)
        if due is not None:
            ctx.delete_processing_time_timer(due)


class EndOfStreamTrigger(Trigger[Any, GlobalWindow]):
    """Fires once, when bounded input has ended.

    >>> EndOfStreamTrigger()
    EndOfStreamTrigger()
    """

    def on_element(
        self, element: Any, timestamp: int, window: GlobalWindow, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        ctx.register_event_time_timer(window.max_timestamp())
        return CONTINUE

    def on_processing_time(
        self, time: int, window: GlobalWindow, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        return CONTINUE

    def on_event_time(self, time: int, window: GlobalWindow, ctx: Trigger.TriggerContext) -> TriggerResult:
        return TriggerResult.FIRE_AND_PURGE if time == window.max_timestamp() else CONTINUE

    def clear(self, window: GlobalWindow, ctx: Trigger.TriggerContext) -> None:
        ctx.delete_event_time_timer(window.max_timestamp())

    def __repr__(self) -> str:
        return "EndOfStreamTrigger()"


class ProcessingTimeoutTrigger(Trigger[Any, Any]):
    """Fires when its nested trigger does, and when no firing came for `timeout` of the machine's clock since the first record
    (with `reset_timer_on_new_record`: since the last one).

    >>> from millstream import CountTrigger
    >>> ProcessingTimeoutTrigger.of(CountTrigger.of(100), 5_000)
    ProcessingTimeoutTrigger(CountTrigger(100), 5000 ms)
    """

    def __init__(
        self,
        nested_trigger: Trigger[Any, Any],
        interval: int,
        reset_timer_on_new_record: bool,
        should_clear_on_timeout: bool,
    ) -> None:
        check_kind(nested_trigger, Trigger, "a Trigger", "CountTrigger.of(100)")
        if type(interval) is not int or interval <= 0:
            raise JobDefinitionError(
                f"the timeout of a trigger must be positive, not {interval} ms",
                fix="give for example Duration.of_seconds(10)",
            )
        self.nested_trigger = nested_trigger
        self.interval = interval
        self._resets = reset_timer_on_new_record
        self._clears = should_clear_on_timeout
        self._timeout = ValueStateDescriptor("timeout", Types.LONG())

    @staticmethod
    def of(
        nested_trigger: Trigger[Any, Any],
        timeout: TimeLike,
        reset_timer_on_new_record: bool = False,
        should_clear_on_timeout: bool = True,
    ) -> ProcessingTimeoutTrigger:
        """`nested_trigger` with a timeout.

        Args:
            should_clear_on_timeout: whether the nested trigger starts afresh after the timeout.

        Raises:
            JobDefinitionError: the timeout is not positive.
        """
        return ProcessingTimeoutTrigger(
            nested_trigger, to_millis(timeout), reset_timer_on_new_record, should_clear_on_timeout
        )

    def on_element(
        self, element: Any, timestamp: int, window: Any, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        result = self.nested_trigger.on_element(element, timestamp, window, ctx)
        if result.is_fire():
            self.clear(window, ctx)
            return result
        state = ctx.get_partitioned_state(self._timeout)
        due = state.value()
        if due is not None and self._resets:
            ctx.delete_processing_time_timer(due)
            due = None
        if due is None:
            due = ctx.get_current_processing_time() + self.interval
            state.update(due)
            ctx.register_processing_time_timer(due)
        return result

    def on_processing_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return self._fire(self.nested_trigger.on_processing_time(time, window, ctx), window, ctx)

    def on_event_time(self, time: int, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        return self._fire(self.nested_trigger.on_event_time(time, window, ctx), window, ctx)

    def _fire(self, nested: TriggerResult, window: Any, ctx: Trigger.TriggerContext) -> TriggerResult:
        # As in Flink, every timer fires the window: also one of the nested trigger, and that of the clean-up.
        if self._clears:
            self.clear(window, ctx)
        return TriggerResult.FIRE_AND_PURGE if nested.is_purge() else FIRE

    def clear(self, window: Any, ctx: Trigger.TriggerContext) -> None:
        state = ctx.get_partitioned_state(self._timeout)
        due = state.value()
        if due is not None:
            ctx.delete_processing_time_timer(due)
            state.clear()
        self.nested_trigger.clear(window, ctx)

    def __repr__(self) -> str:
        return f"ProcessingTimeoutTrigger({self.nested_trigger!r}, {self.interval} ms)"
