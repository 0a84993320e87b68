"""Timers of an operator, as its functions register them and as they fire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.batch import MAX_TIMESTAMP, MIN_TIMESTAMP
from ..core.errors import StateError
from ..core.types import TypeInformation
from ..state.backend import KeyedStateBackend
from ..state.key_context import KeyContext
from ..state.timers import KeyedTimers
from .base import ProcessingTime
from .functions import TimeDomain, TimerService


class KeyedTimerService(TimerService):
    """Timers of the current key, in event time and processing time.

    Args:
        backend: where they are kept.
        keys: whose timers are meant; set to the timer's key before it fires.
        key_type: the type of the stream's keys.
        time: the machine's clock.
        on_timer: called with the timestamp and the `TimeDomain` of each timer that is due.
        after_alarm: called when the loop's callback has fired timers: what they gave has to leave the operator.

    Attributes:
        watermark: how far event time has come (ms).
        has_passed: an event-time timer was registered for a time already passed; `fire_passed` at once after the call, so
            that the outcome does not depend on how records were batched.
    """

    def __init__(
        self,
        backend: KeyedStateBackend,
        keys: KeyContext,
        key_type: TypeInformation[Any],
        time: ProcessingTime,
        on_timer: Callable[[int, str], None],
        after_alarm: Callable[[], None],
    ) -> None:
        self.watermark = MIN_TIMESTAMP
        self.has_passed = False
        self._event_timers = KeyedTimers(backend, "event-timers", key_type)
        self._processing_timers = KeyedTimers(backend, "processing-timers", key_type)
        self._keys = keys
        self._time = time
        self._on_timer = on_timer
        self._after_alarm = after_alarm
        self._alarm_ms: int | None = None
        self._ends_key = False

    def set_alarm(self) -> None:
        """Have the loop call back when the next processing-time timer is due; also once at the end of `open`."""
        due = self._processing_timers.next_due_ms()
        if due is not None and (self._alarm_ms is None or due < self._alarm_ms):
            self._alarm_ms = due
            self._time.schedule(due, self._fire_processing_timers)

    def advance_watermark(self, timestamp: int) -> None:
        """Event time advanced: fire what is due. It never goes back, although after a restore it starts anew."""
        self.watermark = max(self.watermark, timestamp)
        self.fire_passed()

    def end_key(self) -> None:
        """In BATCH mode: fire all timers, which are those of the one key there is, first in event time and then in processing time.

        As in Flink, timers that these register are ignored: they could go on for ever.
        """
        self.watermark, self._ends_key = MAX_TIMESTAMP, True
        self._fire(self._event_timers, MAX_TIMESTAMP, TimeDomain.EVENT_TIME)
        self._fire(self._processing_timers, MAX_TIMESTAMP, TimeDomain.PROCESSING_TIME)
        self.watermark, self._ends_key = MIN_TIMESTAMP, False

    def fire_passed(self) -> None:
        """Fire the event-time timers that the watermark has passed."""
        self.has_passed = False
        self._fire(self._event_timers, self.watermark, TimeDomain.EVENT_TIME)

    def _fire_processing_timers(self, now_ms: int) -> None:
        self._alarm_ms = None
        self._fire(self._processing_timers, now_ms, TimeDomain.PROCESSING_TIME)
        if self.has_passed:
            self.fire_passed()
        self._after_alarm()
        self.set_alarm()

    def _fire(self, timers: KeyedTimers, up_to_ms: int, domain: str) -> None:
        for timestamp, key in timers.pop_due(up_to_ms):
            self._keys.current_key = key
            self._on_timer(timestamp, domain)

    # ---- what functions see

    def current_processing_time(self) -> int:
        return self._time.now_ms()

    def current_watermark(self) -> int:
        return self.watermark

    def register_event_time_timer(self, timestamp: int) -> None:
        if self._ends_key:
            return
        self._event_timers.register(self._keys.current_key, timestamp)
        self.has_passed |= timestamp <= self.watermark

    def register_processing_time_timer(self, timestamp: int) -> None:
        if self._ends_key:
            return
        self._processing_timers.register(self._keys.current_key, timestamp)
        self.set_alarm()

    def delete_event_time_timer(self, timestamp: int) -> None:
        self._event_timers.delete(self._keys.current_key, timestamp)

    def delete_processing_time_timer(self, timestamp: int) -> None:
        self._processing_timers.delete(self._keys.current_key, timestamp)


class UnkeyedTimerService(TimerService):
    """Time without timers: those need a keyed stream.

    Attributes:
        watermark: how far event time has come (ms).
    """

    def __init__(self, time: ProcessingTime, operator_name: str) -> None:
        self.watermark = MIN_TIMESTAMP
        self._time = time
        self._operator_name = operator_name

    def current_processing_time(self) -> int:
        return self._time.now_ms()

    def current_watermark(self) -> int:
        return self.watermark

    def _needs_key(self, timestamp: int) -> None:
        raise StateError(
            f"a timer for {timestamp} was registered or deleted on a stream that is not keyed",
            where=f"operator '{self._operator_name}'",
            fix="call key_by(...) before process(...)",
        )

    register_event_time_timer = register_processing_time_timer = _needs_key
    delete_event_time_timer = delete_processing_time_timer = _needs_key
